//! What a request that passed the door leads to.

use std::sync::Arc;

use config::snapshot::{Action, Endpoint, Route, Service, UpstreamPolicy};
use config::table::Facts;
use config::target::Target;

use super::Protocol;
use super::client::Client;
use super::codec::head::View;
use super::codec::{Known, Piece, list};
use super::door::{Asked, Upgrade};
use super::downstream::Connection;
use super::filters::{InFlight, Refusal, path};
use super::redirect;
use super::scratch::Scratch;
use crate::fault::{Fault, Kind};
use crate::guard::SessionPermit;
use crate::live::Live;

/// What is to be done with a request.
pub(super) enum Decision<'a> {
    Forward {
        endpoints: Endpoints<'a>,
        /// Room for the session that an upgrade becomes.
        session: Option<SessionPermit>,
        /// Its place among the route's requests under way.
        in_flight: Option<InFlight>,
    },
    /// One of our consoles.
    Console(&'a Service),
    /// The same address over https.
    Https,
    /// The route answers itself, with this status.
    Own(u16),
}

pub(super) enum Endpoints<'a> {
    Many(&'a [Endpoint]),
    One(Endpoint),
}

impl Endpoints<'_> {
    pub(super) fn all(&self) -> &[Endpoint] {
        match self {
            Self::Many(endpoints) => endpoints,
            Self::One(endpoint) => std::slice::from_ref(endpoint),
        }
    }
}

/// What the route's upstream does besides round robin over plain HTTP/1.1.
pub(super) fn upstream_policy(route: &Route) -> Option<&UpstreamPolicy> {
    match &route.action {
        Action::Forward(upstream) => upstream.policy.as_deref(),
        Action::Service(_) | Action::Redirect(_) | Action::Respond(_) => None,
    }
}

impl<IO> Connection<IO> {
    /// Finds the route, on both readings of the path.
    pub(super) fn route<'a>(
        &self,
        live: &'a Live,
        scratch: &Scratch,
        asked: &Asked,
        client: &Client,
    ) -> Result<&'a Route, Fault> {
        let host = scratch.names.host.as_str();
        self.check_name(live, host)?;
        let bytes = self.link.intake.head();
        let text = |piece: Piece| std::str::from_utf8(piece.of(bytes)).unwrap_or_default();
        let path = text(asked.path);
        let facts = Facts {
            host,
            path: if path.is_empty() { "/" } else { path },
            query: text(asked.query),
            method: text(scratch.request.method),
            fields: &View { head: &scratch.request, bytes },
            client: client.address,
        };
        let route = live.table.route(&facts);
        if asked.has_other_path {
            let other = live.table.route(&Facts { path: &scratch.names.path, ..facts });
            if other.map(|route| route.id) != route.map(|route| route.id) {
                return Err(Fault::downstream(
                    Kind::BadRequest,
                    "the path leads to two routes, by how it is read",
                ));
            }
        }
        route.map(Arc::as_ref).ok_or(Fault::downstream(Kind::NoRoute, "no route for this host and path"))
    }

    /// What `route` does with the request, once its filters let it through.
    pub(super) async fn decide<'a>(
        &self,
        (live, route): (&Live, &'a Route),
        scratch: &mut Scratch,
        asked: &mut Asked,
        client: &Client,
    ) -> Result<Decision<'a>, Refusal> {
        let path = asked.path.of(self.link.intake.head());
        if redirect::applies(route, client, path) {
            return Ok(Decision::Https);
        }
        self.check_secured(live, route)?;
        let in_flight = self.admit(route, scratch, asked, client).await?;
        Ok(self.act(route, scratch, asked, in_flight)?)
    }

    fn act<'a>(
        &self,
        route: &'a Route,
        scratch: &Scratch,
        asked: &Asked,
        in_flight: Option<InFlight>,
    ) -> Result<Decision<'a>, Fault> {
        let path = asked.path.of(self.link.intake.head());
        let endpoints = match &route.action {
            Action::Forward(upstream) => Endpoints::Many(&upstream.endpoints),
            Action::Service(Service::Control { id, address }) => Endpoints::One(Endpoint {
                id: *id,
                target: Target::Address(*address),
                loopback_ok: true,
                vm: None,
                weight: 1,
                draining: false,
            }),
            Action::Redirect(to) => {
                if to.keeps_rest {
                    path::check_climbing(path)?;
                }
                return Ok(Decision::Own(to.status));
            }
            Action::Respond(respond) => return Ok(Decision::Own(respond.status)),
            Action::Service(service @ (Service::Novnc | Service::Ttyd)) => {
                return Ok(Decision::Console(service));
            }
        };
        let session = match asked.upgrade {
            None => None,
            Some(_) if !route.carries_upgrades() && self.lets_upgrade(route, scratch, asked) => {
                return Err(Fault::downstream(Kind::NotImplemented, "an upgrade to an upstream of HTTP/2"));
            }
            // HTTP/2 has no Upgrade field to say more by (RFC 9220 § 3).
            Some(_) if !route.websocket && self.meta.protocol == Protocol::Http2 => {
                return Err(Fault::downstream(Kind::NotImplemented, "a WebSocket on a route without"));
            }
            Some(Upgrade::WebSocket) if !route.websocket => {
                return Err(Fault::downstream(Kind::UpgradeRequired, "an upgrade on a route without"));
            }
            Some(Upgrade::WebSocket) => Some(self.admit_session()?),
            Some(Upgrade::Other) => {
                self.check_offer(route, scratch)?;
                Some(self.admit_session()?)
            }
        };
        Ok(Decision::Forward { endpoints, session, in_flight })
    }

    fn lets_upgrade(&self, route: &Route, scratch: &Scratch, asked: &Asked) -> bool {
        match asked.upgrade {
            None => false,
            Some(Upgrade::WebSocket) => route.websocket,
            Some(Upgrade::Other) => self.check_offer(route, scratch).is_ok(),
        }
    }

    /// Whether the route lets every protocol through that the request offers: the origin may pick any of them.
    fn check_offer(&self, route: &Route, scratch: &Scratch) -> Result<(), Fault> {
        let bytes = self.link.intake.head();
        let upgrades = route.filters.as_deref().map_or(&[][..], |filters| &filters.upgrades);
        let passes = |name: &[u8]| {
            (route.websocket && name.eq_ignore_ascii_case(b"websocket"))
                || upgrades.iter().any(|passes| passes.as_bytes().eq_ignore_ascii_case(name))
        };
        let mut offered = scratch.request.all(Known::Upgrade).flat_map(|field| list(field.value.of(bytes)));
        if offered.all(passes) {
            return Ok(());
        }
        Err(Fault::downstream(Kind::NotImplemented, "an upgrade that the route does not let through"))
    }

    fn admit_session(&self) -> Result<SessionPermit, Fault> {
        self.worker.shared.guard.admit_session(None).map_err(|full| {
            self.worker.counters.full(full);
            Fault::internal(Kind::Overloaded)
        })
    }
}

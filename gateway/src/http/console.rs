//! Requests to the consoles: a ticket, and what it opens.
//!
//! Where it came by, a listener of consoles or a route that leads to them, the addresses are the same:
//! `/console/TICKET`, and `/websockify?token=TICKET` and `/ws?token=TICKET` as users of websockify and ttyd know them. A
//! request for one without an upgrade learns what an upgrade would be answered: a browser shows a script nothing of a
//! refused handshake. [`pages`] is what a browser is shown.

mod pages;

use std::time::Duration;

use config::id::{EndpointId, RouteId};
use config::name::{HostPattern, PathPrefix};
use config::secret::Secret;
use config::snapshot::{
    Action, ConsoleKind, ConsoleWire, Endpoint, FlowPolicy, Route, Service, TlsMode, Upstream,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::Told;
use super::client::Client;
use super::codec::Known;
use super::codec::head::View;
use super::door::{Asked, Upgrade};
use super::downstream::Connection;
use super::exchange::Terms;
use super::filters::path;
use super::forward::{self, Job, Outcome};
use super::headers::{self, Outbound, Policy};
use super::scratch::Scratch;
use super::serve::Next;
use super::upgrade::Admission;
use crate::clock::now_ms;
use crate::console::bridge::{self, Bridge};
use crate::console::entrance::{Entrance, Opened};
use crate::console::handshake::Offer;
use crate::console::redeemed::Browser;
use crate::console::ticket::{self, Opening, Place};
use crate::console::{Refusal, asked};
use crate::fault::{Fault, Kind, Retry, Side};
use crate::listener;
use crate::live::Pinned;
use crate::terminal::visitor::{New, Visitor};

/// Where consoles are asked for.
#[derive(Clone, Copy)]
pub(super) struct Door<'a> {
    /// What is served there.
    pub(super) service: &'a Service,
    /// The route it came by; `None` on a listener of consoles.
    pub(super) route: Option<&'a Route>,
}

impl Door<'static> {
    /// What a listener of this kind leads to.
    pub(super) const fn of(kind: listener::Kind) -> Option<Self> {
        match kind {
            listener::Kind::Novnc => Some(Self { service: &Service::Novnc, route: None }),
            listener::Kind::Ttyd => Some(Self { service: &Service::Ttyd, route: None }),
            listener::Kind::Http | listener::Kind::Https | listener::Kind::Ssh => None,
        }
    }
}

/// A request to the consoles, with what it was decided under.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) door: Door<'a>,
    pub(super) asked: &'a Asked,
    pub(super) client: &'a Client,
    pub(super) pinned: &'a Pinned,
}

impl<'a> Visit<'a> {
    pub(super) const fn of(door: Door<'a>, asked: &'a Asked, client: &'a Client, pinned: &'a Pinned) -> Self {
        Self { door, asked, client, pinned }
    }
}

/// Somebody whose handshake was answered, and what serves them from here.
pub(super) enum Guest {
    Bridge(Box<Bridge>),
    Terminal(Box<Visitor>),
}

const fn refused(refusal: Refusal) -> Fault {
    Fault::downstream(Kind::Ticket(refusal), refusal.rule())
}

/// The ticket of a request, by its path below the consoles and its query.
fn ticket_of<'a>(rest: &'a [u8], query: &'a [u8]) -> Option<&'a [u8]> {
    if let Some(ticket) = rest.strip_prefix(b"/console/") {
        return (!ticket.contains(&b'/')).then_some(ticket);
    }
    let takes_query = matches!(rest, b"/websockify" | b"/websockify/" | b"/ws" | b"" | b"/" | b"/vnc.html");
    let mut pairs = query.split(|byte| *byte == b'&');
    takes_query.then(|| pairs.find_map(|pair| pair.strip_prefix(b"token=")))?
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Connection<IO> {
    /// Serves a request to the consoles, and tells of it.
    pub(super) async fn console(&mut self, scratch: &mut Scratch, visit: Visit<'_>) -> Next {
        let mut told = Told::new(visit.pinned.snapshot.generation(), visit.door.route.map(|route| route.id));
        let next = match self.visit(scratch, &visit, &mut told).await {
            Ok(next) => next,
            Err(fault) => {
                told.failed(&fault);
                let manner = self.manner(scratch, visit.asked, policy(&visit));
                match self.give_refusal(scratch, &visit, &fault, manner).await {
                    Some(next) => next,
                    None => self.refuse(scratch, &fault, manner).await,
                }
            }
        };
        self.record(scratch, Some(visit.asked), &told);
        next
    }

    async fn visit(
        &mut self,
        scratch: &mut Scratch,
        visit: &Visit<'_>,
        told: &mut Told,
    ) -> Result<Next, Fault> {
        let bytes = self.link.intake.head();
        let path = visit.asked.path.of(bytes);
        let below = visit.door.route.map_or(Some(path), |route| path::below(&route.path, path));
        let rest = below.unwrap_or_default();
        if visit.asked.upgrade.is_none()
            && let Some(reply) = self.reply(scratch, visit, rest)?
        {
            return Ok(self.give(scratch, visit, reply, told).await);
        }
        if self.lacks_tls(scratch, visit) {
            return Err(Fault::downstream(
                Kind::TlsRequired,
                "a console in the clear of a name with an identity",
            ));
        }
        let opening = self.admit_ticket(visit, ticket_of(rest, visit.asked.query.of(bytes)))?;
        let browser = self.browser(scratch, visit.client);
        if visit.asked.upgrade != Some(Upgrade::WebSocket) {
            self.check_ticket(&opening, browser)?;
            return Err(Fault::downstream(Kind::UpgradeRequired, "a console is a WebSocket"));
        }
        let offer = match opening.console.wire {
            ConsoleWire::Tcp => {
                let head = View { head: &scratch.request, bytes };
                let speaks: &[&str] = match opening.console.kind {
                    ConsoleKind::Ssh => &[bridge::TTY],
                    ConsoleKind::Serial => &[bridge::TTY, "binary"],
                    ConsoleKind::Vnc | ConsoleKind::Ttyd => &["binary"],
                };
                let offer = Offer::of(scratch.request.method.of(bytes), &head, speaks);
                Some(offer.map_err(|rule| Fault::downstream(Kind::BadRequest, rule))?)
            }
            ConsoleWire::WebSocket { .. } => None,
        };
        if let (ConsoleKind::Ssh, Some(offer)) = (opening.console.kind, &offer) {
            return self.terminal(scratch, visit, (opening, browser, offer), told).await;
        }
        let entrance = self.entrance(visit, opening, browser)?;
        let opened = entrance.redeem(&self.worker.shared).await.map_err(refused)?;
        match offer {
            Some(offer) => self.bridge(scratch, visit, (opened, offer), told).await,
            None => self.pass_console(scratch, visit, opened, told).await,
        }
    }

    /// Verifies a ticket, which opens something if it is redeemed, or has opened something that is open still.
    fn admit_ticket(&self, visit: &Visit<'_>, ticket: Option<&[u8]>) -> Result<Opening, Fault> {
        let ticket = ticket.filter(|ticket| !ticket.is_empty()).ok_or(refused(Refusal::Missing))?;
        let ticket = std::str::from_utf8(ticket).map_err(|_| refused(Refusal::Malformed))?;
        let gateway = self.worker.shared.gateway.load().as_deref().copied();
        let source = visit.client.address;
        let place = Place { gateway, service: visit.door.service, source, now_ms: now_ms() };
        let admitted = ticket::admit(&visit.pinned.snapshot, ticket, &place);
        let admitted = admitted.and_then(|opening| {
            let may = !opening.is_other_address || self.is_open(&opening);
            may.then_some(opening).ok_or(Refusal::OtherAddress)
        });
        admitted.map_err(|refusal| {
            if visit.asked.upgrade.is_some()
                && let Ok(claims) = ticket::claims_of(&visit.pinned.snapshot, ticket, place.now_ms)
            {
                asked::note_refused(&self.worker.shared, &claims, source, refusal.sentence());
            }
            refused(refusal)
        })
    }

    /// Takes room for a session of this ticket.
    fn entrance(&self, visit: &Visit<'_>, opening: Opening, browser: Browser) -> Result<Entrance, Fault> {
        let permit = self.worker.shared.guard.admit_session(opening.claims.user).map_err(|full| {
            self.worker.counters.full(full);
            Fault::internal(Kind::Overloaded)
        })?;
        let text = self.ticket_text(visit, self.link.intake.head()).unwrap_or_default();
        Ok(Entrance {
            opening,
            browser,
            text: Secret::new(text),
            pinned: visit.pinned.clone(),
            peer: visit.client.behind(self.meta.peer),
            route: visit.door.route.map(|route| route.id),
            permit,
        })
    }

    /// Answers the handshake; what follows is the bridge's.
    async fn bridge(
        &mut self,
        scratch: &mut Scratch,
        visit: &Visit<'_>,
        (opened, offer): (Opened, Offer),
        told: &mut Told,
    ) -> Result<Next, Fault> {
        if !self.upgraded(scratch, &offer, (opened.opening.console.endpoint.id, told)).await {
            opened.session.ended_because(bridge::LEFT.to_owned());
            return Ok(Next::Abort);
        }
        let Opened { opening, session, permit, .. } = opened;
        let idle = self.idle_of(visit);
        let handshake = Duration::from_millis(self.worker.http.deadlines().rfb_ms);
        let is_page = offer.agrees_on(bridge::TTY);
        let bridge = Bridge { opening, session, permit, idle, handshake, is_page };
        Ok(Next::Console(Guest::Bridge(Box::new(bridge))))
    }

    /// Answers the handshake of a terminal: a new one, or one that is open still. Whose it is shows when the page speaks;
    /// until then the ticket is not redeemed.
    async fn terminal(
        &mut self,
        scratch: &mut Scratch,
        visit: &Visit<'_>,
        (opening, browser, offer): (Opening, Browser, &Offer),
        told: &mut Told,
    ) -> Result<Next, Fault> {
        self.check_ticket(&opening, browser)?;
        let (claims, endpoint) = (opening.claims, opening.console.endpoint.id);
        let new = if self.is_open(&opening) {
            None
        } else {
            let entrance = self.entrance(visit, opening, browser)?;
            Some(New { entrance, idle: self.idle_of(visit) })
        };
        if !self.upgraded(scratch, offer, (endpoint, told)).await {
            return Ok(Next::Abort);
        }
        Ok(Next::Console(Guest::Terminal(Box::new(Visitor { claims, source: browser.source, new }))))
    }

    /// Whether a terminal of this ticket is open for its page to come back to.
    fn is_open(&self, opening: &Opening) -> bool {
        opening.console.kind == ConsoleKind::Ssh
            && self.worker.shared.terminals.is_open(opening.claims.session)
    }

    /// Whether the ticket would open something now, or something that it opened is open.
    fn check_ticket(&self, opening: &Opening, browser: Browser) -> Result<(), Fault> {
        // What another gateway would answer is learnt by opening.
        if opening.is_elsewhere || self.is_open(opening) {
            return Ok(());
        }
        let checked = self.worker.shared.consoles.check(&opening.claims, browser, now_ms());
        checked.map_err(|refusal| refused(refusal.of(opening.claims.kind)))
    }

    /// The ticket of a request as it was shown.
    fn ticket_text(&self, visit: &Visit<'_>, bytes: &[u8]) -> Option<String> {
        let path = visit.asked.path.of(bytes);
        let rest = visit.door.route.map_or(Some(path), |route| path::below(&route.path, path))?;
        let ticket = ticket_of(rest, visit.asked.query.of(bytes))?;
        std::str::from_utf8(ticket).ok().map(str::to_owned)
    }

    /// Answers a handshake; whether the browser took it.
    async fn upgraded(
        &mut self,
        scratch: &mut Scratch,
        offer: &Offer,
        (endpoint, told): (EndpointId, &mut Told),
    ) -> bool {
        let Scratch { to_downstream, request_id, .. } = scratch;
        to_downstream.clear();
        offer.answer(to_downstream, request_id);
        told.status = 101;
        told.endpoint = Some(endpoint);
        self.worker.counters.response(101);
        self.write(to_downstream).await.is_ok()
    }

    /// Hands the request on to a console that speaks WebSocket itself, as if a route led there.
    async fn pass_console(
        &mut self,
        scratch: &mut Scratch,
        visit: &Visit<'_>,
        opened: Opened,
        told: &mut Told,
    ) -> Result<Next, Fault> {
        let Opened { opening, session, permit, .. } = opened;
        let ConsoleWire::WebSocket { path } = &opening.console.wire else { return Ok(Next::Abort) };
        let Visit { asked, client, pinned, .. } = *visit;
        let Scratch { request, request_id, trace, to_upstream, .. } = &mut *scratch;
        to_upstream.clear();
        let outbound = Outbound {
            head: request,
            bytes: self.link.intake.head(),
            asked,
            client,
            request_id,
            trace,
            filters: None,
            // The ticket opens nothing any more, and is nobody else's all the same.
            target: Some(path),
        };
        headers::outbound(to_upstream, &outbound);
        let route = as_route(&opening);
        let job = Job {
            endpoints: std::slice::from_ref(&opening.console.endpoint),
            policy: None,
            ends: client.ends(self.meta.peer, self.meta.local),
            route: route.id,
            pinned,
            asked,
            client,
            terms: Terms::of(asked, request.version, Policy::NONE, &route),
        };
        let worker = std::rc::Rc::clone(&self.worker);
        let forward = forward::forward(&worker, &mut self.link, scratch, &job);
        let done = tokio::select! {
            biased;
            _ = session.ended() => return Ok(Next::Abort),
            done = forward => done,
        };
        told.status = done.tally.status;
        told.endpoint = done.endpoint;
        if let Some(why) = why_not_opened(&done.result) {
            session.ended_because(why.to_owned());
        }
        match done.result {
            Ok(Outcome::Tunnel(tunnel)) => {
                self.worker.counters.response(done.tally.status);
                let idle_ms = u64::try_from(self.idle_of(visit).as_millis()).unwrap_or(u64::MAX);
                let admission = Admission {
                    client: client.behind(self.meta.peer),
                    route: route.id,
                    pinned: pinned.clone(),
                    permit,
                    in_flight: None,
                    idle_ms,
                    session: Some(session),
                };
                Ok(Next::Tunnel(tunnel, Box::new(admission)))
            }
            Ok(Outcome::Done { goes_on }) => Ok(if goes_on { Next::Again } else { Next::Close }),
            Err(_) if done.tally.status != 0 => Ok(Next::Abort),
            Err(fault) => Err(fault),
        }
    }

    fn idle_of(&self, visit: &Visit<'_>) -> Duration {
        let timeouts = visit.door.route.and_then(|route| route.timeouts.as_deref());
        Duration::from_millis(self.worker.http.deadlines().of_route(timeouts).tunnel_ms)
    }

    fn browser(&self, scratch: &Scratch, client: &Client) -> Browser {
        let bytes = self.link.intake.head();
        let names = scratch.request.all(Known::UserAgent).map(|field| field.value.of(bytes));
        Browser { source: client.address, agent: self.worker.shared.consoles.digest(names) }
    }
}

/// Why a console that speaks WebSocket itself was not opened, for the audit; `None` if it was.
const fn why_not_opened(result: &Result<Outcome, Fault>) -> Option<&'static str> {
    match result {
        Ok(Outcome::Tunnel(_)) => None,
        Ok(Outcome::Done { .. }) => Some("the console of the VM did not answer as a WebSocket does"),
        Err(Fault { side: Side::Downstream, .. }) => Some(bridge::LEFT),
        // Nothing of it was sent.
        Err(
            Fault { side: Side::Upstream, retry: Retry::Safe, .. } | Fault { kind: Kind::NoEndpoint, .. },
        ) => Some(bridge::UNREACHABLE),
        Err(Fault { side: Side::Upstream, .. }) => Some("the console of the VM broke off before it was open"),
        Err(Fault { side: Side::Internal, .. }) => Some("the gate could not open the console"),
    }
}

fn policy<'a>(visit: &Visit<'a>) -> Policy<'a> {
    visit.door.route.map_or(Policy::NONE, |route| Policy::of(route, visit.client.is_secured))
}

/// The route that leads to a console and nowhere else.
fn as_route(opening: &Opening) -> Route {
    let console = &opening.console;
    let endpoints: Box<[Endpoint]> = Box::new([console.endpoint.clone()]);
    Route {
        id: RouteId::from_bytes(console.id.to_bytes()),
        namespace: console.namespace.clone(),
        host: HostPattern::CatchAll,
        path: PathPrefix::root(),
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: None,
        action: Action::Forward(Upstream { endpoints, policy: None }),
        on_change: FlowPolicy::Keep,
        on_delete: FlowPolicy::Keep,
        hsts_seconds: None,
        tls: TlsMode::Off,
        redirect_https: false,
        websocket: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_found_where_users_of_websockify_put_them() {
        for (rest, query, wanted) in [
            ("/console/abc", "", Some("abc")),
            ("/console/abc", "token=x", Some("abc")),
            ("/websockify", "token=abc", Some("abc")),
            ("/websockify/", "a=b&token=abc", Some("abc")),
            ("/", "token=abc", Some("abc")),
            ("/ws", "token=abc", Some("abc")),
            ("/vnc.html", "token=abc", Some("abc")),
            ("/websockify", "", None),
            ("/console/a/b", "", None),
            ("/other", "token=abc", None),
        ] {
            let found = ticket_of(rest.as_bytes(), query.as_bytes());
            assert_eq!(found, wanted.map(str::as_bytes), "{rest}?{query}");
        }
    }
}

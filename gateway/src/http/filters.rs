//! What a route does to requests and answers: who may ask, how much, and what is changed on the way.
//!
//! A request is looked at in this order, cheapest refusal first: sent to https, closed for work, client's address, rate,
//! name and password, requests under way, size of the body. Https goes first so that no password is asked for in clear.
//! Field edits are applied where heads are written, in `headers.rs` and `respond.rs`.

pub(super) mod addresses;
mod auth;
pub(super) mod fields;
mod in_flight;
pub(super) mod path;
mod rate;

use std::sync::Arc;

use config::limits;
use config::snapshot::{Filters, RateKey, Route};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::client::Client;
use super::codec::Body;
use super::door::Asked;
use super::downstream::Connection;
use super::scratch::Scratch;
use crate::fault::{Fault, Kind};

pub(super) use auth::Passwords;
pub(super) use in_flight::InFlight;

/// What filters remember beyond one request, for all workers. Outlives generations.
pub struct State {
    rates: rate::Buckets,
    in_flight: Arc<in_flight::Counts>,
    verifications: Arc<Semaphore>,
    /// Hashes that were computed, for the test that a refusal costs the same whatever is wrong.
    #[cfg(test)]
    pub(super) verified: Arc<std::sync::atomic::AtomicUsize>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            rates: rate::Buckets::new(limits::RATE_KEYS_MAX),
            in_flight: Arc::default(),
            verifications: Arc::new(Semaphore::new(limits::PASSWORDS_VERIFIED_AT_ONCE_MAX)),
            #[cfg(test)]
            verified: Arc::default(),
        }
    }
}

/// A request that a filter turned away.
pub(super) struct Refusal {
    pub(super) fault: Fault,
    /// When asking again makes sense, where that is known.
    pub(super) retry_after_seconds: Option<u32>,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, retry_after_seconds: None }
    }
}

impl Refusal {
    /// More than the route lets through; there is room again in `wait_ns`.
    fn too_many(rule: &'static str, wait_ns: u64) -> Self {
        let seconds = u32::try_from(wait_ns.div_ceil(1_000_000_000)).unwrap_or(u32::MAX).max(1);
        Self { fault: Fault::downstream(Kind::TooMany, rule), retry_after_seconds: Some(seconds) }
    }
}

impl<IO> Connection<IO> {
    /// Lets a request through the filters of its route, or says why not. What is returned is held until its end.
    pub(super) async fn admit(
        &self,
        route: &Route,
        scratch: &mut Scratch,
        asked: &mut Asked,
        client: &Client,
    ) -> Result<Option<InFlight>, Refusal> {
        let Some(filters) = route.filters.as_deref() else { return Ok(None) };
        if let Some(maintenance) = &filters.maintenance {
            let fault = Fault::downstream(Kind::Maintenance, "the route is closed for work");
            return Err(Refusal { fault, retry_after_seconds: Some(maintenance.retry_after_seconds) });
        }
        if !addresses::may_ask(filters, client.address) {
            self.worker.counters.denied_by_address();
            return Err(Fault::downstream(Kind::ClientForbidden, "the client's address may not ask").into());
        }
        self.admit_by_rate(route, filters, client)?;
        if let Some(auth) = &filters.basic_auth {
            self.admit_by_password(route, auth, scratch, client).await?;
        }
        let in_flight = self.admit_in_flight(route, filters)?;
        check_body(filters, asked)?;
        check_path(route, filters, scratch, asked, self.link.intake.head())?;
        Ok(in_flight)
    }

    fn admit_in_flight(&self, route: &Route, filters: &Filters) -> Result<Option<InFlight>, Fault> {
        let Some(max) = filters.in_flight_max else { return Ok(None) };
        let place = InFlight::enter(&self.worker.shared.filters.in_flight, route.id, max);
        if place.is_none() {
            self.worker.counters.rejected_by_rate();
        }
        place.map(Some).ok_or(Fault::internal(Kind::RouteFull))
    }

    fn admit_by_rate(&self, route: &Route, filters: &Filters, client: &Client) -> Result<(), Refusal> {
        let Some(limit) = &filters.rate else { return Ok(()) };
        let of = match limit.key {
            RateKey::Client => rate::Of::Client(rate::network(client.address)),
            RateKey::Route => rate::Of::Route,
        };
        let rates = &self.worker.shared.filters.rates;
        rates.take(rate::Key { route: route.id, of }, rate::Pace::of(limit), Instant::now()).map_err(
            |wait_ns| {
                self.worker.counters.rejected_by_rate();
                Refusal::too_many("more requests than the route lets through", wait_ns)
            },
        )
    }
}

/// A length that is said is compared before anything is read; chunks are counted as they come.
fn check_body(filters: &Filters, asked: &mut Asked) -> Result<(), Fault> {
    let Some(max) = filters.body_bytes_max else { return Ok(()) };
    if let Body::Length(length) = asked.body
        && length > max
    {
        return Err(Fault::downstream(Kind::BodyTooLarge, "the body is larger than the route takes"));
    }
    asked.body.bound(max);
    Ok(())
}

fn check_path(
    route: &Route,
    filters: &Filters,
    scratch: &Scratch,
    asked: &Asked,
    bytes: &[u8],
) -> Result<(), Fault> {
    use config::snapshot::Action;
    match (&route.action, &filters.path) {
        (Action::Forward(_) | Action::Service(_), Some(rewrite)) if !asked.asterisk => {
            let other = asked.has_other_path.then_some(scratch.names.path.as_str());
            path::check(rewrite, asked.path.of(bytes), other)
        }
        (Action::Forward(_) | Action::Service(_) | Action::Redirect(_) | Action::Respond(_), _) => Ok(()),
    }
}

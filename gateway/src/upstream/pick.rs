//! Which endpoint a request goes to.
//!
//! A worker has one [`Balancer`] for each route that needs one: several endpoints, or a policy. It stands under the
//! route's id, outlives generations and is made anew when the route's endpoints or policy changed. Whose turn it is and
//! the retry budget are the worker's own; health, requests under way and what was learned are the gateway's ([`Health`]).
//!
//! Order: who sticks goes to its endpoint, draining or not; everybody else to one that is neither draining, nor down,
//! nor ejected, by the policy's way of choosing. If all are down there is none: a request that cannot be served is told
//! so at once. If all are ejected none is: passive signs alone never close a route.

mod cache;
mod choose;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use config::id::{EndpointId, RouteId};
use config::name::PathPrefix;
use config::snapshot::{Balance, HashKey, Sticky, UpstreamPolicy};

use super::budget::Budget;
use super::health::{self, Health, State};
use super::sticky::learned::{Key, Table};
use super::sticky::{self, Attributes, Seal};
use crate::fault::{Fault, Kind, Side};
use crate::http::codec::head::{Field, View};
use crate::live::Live;

pub(super) use cache::Balancers;
pub(crate) use choose::Set;

/// One endpoint of a balancer.
struct Slot {
    id: EndpointId,
    weight: u16,
    draining: bool,
    state: Arc<State>,
    turn: Cell<i64>,
}

/// Chooses among the endpoints of one route.
pub(crate) struct Balancer {
    /// The generation whose route this is known to be.
    live: RefCell<Weak<Live>>,
    route: RouteId,
    path: PathPrefix,
    slots: Box<[Slot]>,
    policy: Box<UpstreamPolicy>,
    health: Arc<Health>,
    seal: Arc<Seal>,
    cookie: Option<sticky::Key>,
    learned: Option<Arc<Table>>,
    budget: Budget,
}

/// What of a request matters for where it goes.
pub(crate) struct Ask<'a> {
    pub(crate) client: IpAddr,
    /// The path as it came.
    pub(crate) path: &'a [u8],
    pub(crate) head: View<'a>,
}

/// What a request asked for, read once: the head is not at hand while it is tried.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// The endpoint it sticks to.
    stuck: Option<EndpointId>,
    hash: Option<u64>,
    /// The learned key in its path.
    key: Option<Key>,
}

/// One try of a request at one endpoint; counts as under way until it is dropped.
pub(crate) struct Attempt {
    balancer: Rc<Balancer>,
    at: usize,
    key: Option<Key>,
    /// Whether the origin said itself that it cannot.
    is_bad: Cell<bool>,
}

impl Balancer {
    /// Reads what the request asks for.
    pub(crate) fn wishes(&self, ask: &Ask<'_>) -> Wishes {
        let hash = match &self.policy.balance {
            Balance::Hash(key) => hash_of(key, ask),
            Balance::LeastConnections | Balance::PowerOfTwo | Balance::RoundRobin => None,
        };
        match &self.policy.sticky {
            None => Wishes { hash, ..Wishes::default() },
            Some(Sticky::Cookie { name, .. }) => Wishes { stuck: self.by_cookie(name, ask), hash, key: None },
            Some(Sticky::Learned(settings)) => {
                let key = Key::of_path(ask.path, settings);
                let table = self.learned.as_ref();
                let stuck = key.and_then(|key| table?.find(&key, self.health.now_ms()));
                Wishes { stuck, hash, key }
            }
        }
    }

    fn by_cookie(&self, name: &str, ask: &Ask<'_>) -> Option<EndpointId> {
        let (key, now) = (self.cookie.as_ref()?, seconds());
        let mut cookies = values(ask.head, "cookie").flat_map(|field| sticky::cookies(field, name));
        cookies.find_map(|value| key.open(value, now))
    }

    /// Chooses an endpoint that was not tried yet.
    ///
    /// Errors: there is none ([`Kind::NoEndpoint`]), or all have as much to do as they may ([`Kind::CircuitOpen`]).
    pub(crate) fn pick(self: &Rc<Self>, wishes: &Wishes, tried: &Set) -> Result<Attempt, Kind> {
        let now_ms = self.health.now_ms();
        let stuck = wishes.stuck.and_then(|id| self.slots.iter().position(|slot| slot.id == id));
        if let Some(at) = stuck.filter(|at| !tried.has(*at) && self.is_usable(*at, now_ms))
            && let Some(attempt) = self.enter(at, wishes)
        {
            return Ok(attempt);
        }
        let mut among = self.eligible(now_ms).without(tried);
        let mut none = Kind::NoEndpoint;
        while let Some(at) = self.choose(wishes, among, now_ms) {
            if let Some(attempt) = self.enter(at, wishes) {
                return Ok(attempt);
            }
            none = Kind::CircuitOpen;
            among.remove(at);
        }
        Err(none)
    }

    fn enter(self: &Rc<Self>, at: usize, wishes: &Wishes) -> Option<Attempt> {
        if self.counts() && !self.slots.get(at)?.state.enter(self.policy.in_flight_max) {
            return None;
        }
        Some(Attempt { balancer: Rc::clone(self), at, key: wishes.key, is_bad: Cell::new(false) })
    }

    /// Whether anybody looks at the requests under way.
    const fn counts(&self) -> bool {
        self.policy.in_flight_max.is_some()
            || matches!(self.policy.balance, Balance::LeastConnections | Balance::PowerOfTwo)
    }

    fn choose(&self, wishes: &Wishes, among: Set, now_ms: u64) -> Option<usize> {
        let field = Moment { balancer: self, now_ms };
        match (&self.policy.balance, wishes.hash) {
            (Balance::Hash(_), Some(key)) => choose::rendezvous(&field, among, key),
            (Balance::LeastConnections, _) => choose::least(&field, among),
            (Balance::PowerOfTwo, _) => choose::of_two(&field, among, rand::random()),
            (Balance::RoundRobin | Balance::Hash(_), _) => choose::in_turn(&field, among),
        }
    }

    /// Those that a new request may go to.
    fn eligible(&self, now_ms: u64) -> Set {
        let up = self.up(|slot| !slot.draining);
        let well: Set = up.iter().filter(|at| !self.is_ejected(*at, now_ms)).collect();
        if well.is_empty() { up } else { well }
    }

    fn up(&self, and: impl Fn(&Slot) -> bool) -> Set {
        let is_up = |(at, slot): (usize, &Slot)| (!slot.state.is_down() && and(slot)).then_some(at);
        self.slots.iter().enumerate().filter_map(is_up).collect()
    }

    fn is_ejected(&self, at: usize, now_ms: u64) -> bool {
        self.slots.get(at).is_some_and(|slot| slot.state.is_ejected(now_ms))
    }

    /// Whether one that sticks to it may go there.
    fn is_usable(&self, at: usize, now_ms: u64) -> bool {
        let up = self.up(|_| true);
        up.has(at) && (!self.is_ejected(at, now_ms) || up.iter().all(|at| self.is_ejected(at, now_ms)))
    }

    /// A request came; it pays for retries.
    pub(crate) fn count_request(&self) {
        self.budget.request(self.policy.retry.budget_percent);
    }

    /// Whether another try is in the budget.
    pub(crate) fn affords_retry(&self) -> bool {
        self.budget.retry(self.health.now_ms())
    }

    /// A retry turned out to be none: nobody had done anything before it.
    pub(crate) fn gives_back_retry(&self) {
        self.budget.give_back();
    }

    /// Tries of one request, the first included.
    pub(crate) const fn tries_max(&self) -> u8 {
        self.policy.retry.tries_max
    }
}

impl Attempt {
    /// Where the endpoint stands in its upstream.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    fn slot(&self) -> Option<&Slot> {
        self.balancer.slots.get(self.at)
    }

    /// Writes the line that keeps the client here, unless it came because of one.
    pub(crate) fn write_cookie(&self, out: &mut Vec<u8>, wishes: &Wishes, tried: &Set, is_secured: bool) {
        let balancer = &*self.balancer;
        let (Some(Sticky::Cookie { name, max_age_seconds }), Some(key), Some(slot)) =
            (&balancer.policy.sticky, &balancer.cookie, self.slot())
        else {
            return;
        };
        // One whose endpoint is only full for a moment keeps its cookie.
        let stuck = wishes.stuck.and_then(|id| balancer.slots.iter().position(|slot| slot.id == id));
        if stuck.is_some_and(|at| !tried.has(at) && balancer.is_usable(at, balancer.health.now_ms())) {
            return;
        }
        let max_age_seconds = *max_age_seconds;
        let expires = if max_age_seconds == 0 { 0 } else { seconds() + u64::from(max_age_seconds) };
        if let Some(value) = key.seal(slot.id, expires) {
            sticky::write(
                out,
                &value,
                &Attributes { name, max_age_seconds, path: &balancer.path, is_secured },
            );
        }
    }

    /// The head of the last response came.
    pub(crate) fn answered(&self, head: View<'_>) {
        let status = head.head.status;
        if matches!(status, 502..=504) {
            self.is_bad.set(true);
            self.fails();
        }
        let (Some(table), Some(Sticky::Learned(settings)), Some(slot)) =
            (&self.balancer.learned, &self.balancer.policy.sticky, self.slot())
        else {
            return;
        };
        let now_ms = self.balancer.health.now_ms();
        let told = config::table::Fields::field(&head, &settings.header);
        if let Some(key) = told.and_then(Key::of) {
            table.learn(key, slot.id, now_ms);
        }
        // HAProxy's `stick on` stores too. Not what the origin does not know: strangers would fill the table.
        if let Some(key) = self.key.filter(|_| status < 400) {
            table.learn(key, slot.id, now_ms);
        }
    }

    /// It went well to the end.
    pub(crate) fn succeeded(&self) {
        if let (false, Some(_), Some(slot)) = (self.is_bad.get(), self.balancer.policy.ejection, self.slot())
        {
            slot.state.succeeded();
        }
    }

    /// It did not. `is_stale` says that it was an idle connection, which tells nothing about the endpoint.
    pub(crate) fn failed(&self, fault: &Fault, is_stale: bool) {
        if fault.side == Side::Upstream && !is_stale {
            self.fails();
        }
    }

    fn fails(&self) {
        let (Some(ejection), Some(slot)) = (self.balancer.policy.ejection, self.slot()) else { return };
        if !slot.state.failed(ejection) {
            return;
        }
        let now_ms = self.balancer.health.now_ms();
        let mut others = self.balancer.eligible(now_ms);
        others.remove(self.at);
        if others.iter().any(|at| !self.balancer.is_ejected(at, now_ms)) {
            slot.state.eject(now_ms + u64::from(ejection.for_ms));
            health::log_ejected(&slot.state, ejection.for_ms);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(slot) = self.slot().filter(|_| self.balancer.counts()) {
            slot.state.leave();
        }
    }
}

/// A balancer at a moment.
struct Moment<'a> {
    balancer: &'a Balancer,
    now_ms: u64,
}

impl choose::Field for Moment<'_> {
    fn id(&self, at: usize) -> EndpointId {
        self.balancer.slots.get(at).map_or(EndpointId::from_bytes([0; 16]), |slot| slot.id)
    }

    fn weight(&self, at: usize) -> u32 {
        let slot = self.balancer.slots.get(at);
        let share = |slot: &Slot| slot.state.share(self.now_ms, self.balancer.policy.slow_start_ms);
        slot.map_or(0, |slot| u32::from(slot.weight) * share(slot)).max(1)
    }

    fn in_flight(&self, at: usize) -> u32 {
        self.balancer.slots.get(at).map_or(0, |slot| slot.state.in_flight())
    }

    fn turn(&self, at: usize) -> Option<&Cell<i64>> {
        self.balancer.slots.get(at).map(|slot| &slot.turn)
    }
}

fn hash_of(key: &HashKey, ask: &Ask<'_>) -> Option<u64> {
    match key {
        HashKey::Address => Some(match ask.client.to_canonical() {
            IpAddr::V4(address) => choose::hash(&address.octets()),
            IpAddr::V6(address) => choose::hash(&address.octets()),
        }),
        HashKey::Header(name) => values(ask.head, name).next().map(choose::hash),
        HashKey::Cookie(name) => {
            values(ask.head, "cookie").find_map(|field| sticky::cookies(field, name).next()).map(choose::hash)
        }
    }
}

/// The values of the fields with this name, in any case.
fn values<'a>(view: View<'a>, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let View { head, bytes } = view;
    let named = move |field: &&Field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes());
    head.fields().iter().filter(named).map(move |field| field.value.of(bytes))
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

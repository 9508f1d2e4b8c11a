//! How the endpoints of balanced upstreams are, and what their routes have learned: one for the gateway, shared by its
//! workers.
//!
//! Everything is kept under ids that outlive generations, so a swap forgets nothing; what leaves the table is dropped.
//! A worker looks in the maps when it meets a route for the first time or changed, and holds the `Arc`s from then on:
//! on the path of a request there are only atomics, and those only where the policy needs them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use config::id::{EndpointId, RouteId};
use config::snapshot::{Ejection, Learned};
use dashmap::DashMap;
use tokio::time::Instant;

use super::sticky::Seal;
use super::sticky::learned::Table;

mod probe;
pub(crate) mod watch;

/// One endpoint as the gateway finds it. Aligned so that two endpoints never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct State {
    /// The endpoint.
    pub id: EndpointId,
    /// A route it serves.
    pub route: RouteId,
    in_flight: AtomicU32,
    failures: AtomicU32,
    is_down: AtomicBool,
    ejected_until_ms: AtomicU64,
    back_at_ms: AtomicU64,
}

/// The whole share of an endpoint; less while it starts slowly.
pub(super) const WHOLE: u32 = 256;
/// The least share while it starts slowly: about one in thirty, so that it is tried at all.
const LEAST: u32 = 8;

impl State {
    pub(super) const fn new(id: EndpointId, route: RouteId) -> Self {
        Self {
            id,
            route,
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            is_down: AtomicBool::new(false),
            ejected_until_ms: AtomicU64::new(0),
            back_at_ms: AtomicU64::new(0),
        }
    }

    /// Whether active checks found it down.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// Whether failures of requests keep it out.
    pub(super) fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.ejected_until_ms.load(Relaxed)
    }

    /// Requests under way at it, from this gateway; counted only where the policy asks for it.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Counts one more request, unless there are `max` already.
    pub(super) fn enter(&self, max: Option<u32>) -> bool {
        let before = self.in_flight.fetch_add(1, Relaxed);
        let has_room = max.is_none_or(|max| before < max);
        if !has_room {
            self.leave();
        }
        has_room
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// A request came back well.
    pub(super) fn succeeded(&self) {
        // Read first: the line stays shared as long as all is well.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// A request failed. Whether it was the last straw.
    pub(super) fn failed(&self, ejection: Ejection) -> bool {
        self.failures.fetch_add(1, Relaxed).saturating_add(1) >= ejection.failures
    }

    pub(super) fn eject(&self, until_ms: u64) {
        self.failures.store(0, Relaxed);
        self.ejected_until_ms.store(until_ms, Relaxed);
    }

    /// What active checks say. Returns whether it is news.
    pub(super) fn set_down(&self, is_down: bool, now_ms: u64) -> bool {
        let was_down = self.is_down.swap(is_down, Relaxed);
        if was_down && !is_down {
            self.back_at_ms.store(now_ms, Relaxed);
            self.failures.store(0, Relaxed);
        }
        was_down != is_down
    }

    /// Its share of [`WHOLE`]: it grows evenly over `slow_start_ms` after a return.
    pub(super) fn share(&self, now_ms: u64, slow_start_ms: u32) -> u32 {
        let back_at = self.back_at_ms.load(Relaxed).max(self.ejected_until_ms.load(Relaxed));
        if slow_start_ms == 0 || back_at == 0 {
            return WHOLE;
        }
        let since = now_ms.saturating_sub(back_at).saturating_mul(u64::from(WHOLE));
        let share = since / u64::from(slow_start_ms);
        u32::try_from(share).unwrap_or(WHOLE).clamp(LEAST, WHOLE)
    }
}

/// What the gateway knows of its endpoints.
pub struct Health {
    began: Instant,
    endpoints: DashMap<EndpointId, Arc<State>>,
    learned: DashMap<RouteId, (Learned, Arc<Table>)>,
    /// Seals cookies while no generation brings a key: good for this process only.
    seal: Arc<Seal>,
    /// Time that a test let pass.
    #[cfg(test)]
    passed_ms: AtomicU64,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            endpoints: DashMap::new(),
            learned: DashMap::new(),
            seal: Arc::new(Seal::random()),
            #[cfg(test)]
            passed_ms: AtomicU64::new(0),
        }
    }
}

impl Health {
    /// Milliseconds on this gateway's own clock; never 0, which stands for never.
    pub fn now_ms(&self) -> u64 {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        #[cfg(test)]
        let now_ms = now_ms + self.passed_ms.load(Relaxed);
        now_ms
    }

    /// Lets time pass for this clock alone.
    #[cfg(test)]
    pub(crate) fn pass(&self, ms: u64) {
        self.passed_ms.fetch_add(ms, Relaxed);
    }

    /// The state of an endpoint of `route`, the same for all who ask.
    pub(super) fn of(&self, id: EndpointId, route: RouteId) -> Arc<State> {
        Arc::clone(&self.endpoints.entry(id).or_insert_with(|| Arc::new(State::new(id, route))))
    }

    /// What `route` has learned under these settings; others than before begin with nothing.
    pub(super) fn learned(&self, route: RouteId, settings: &Learned) -> Arc<Table> {
        let fresh = || (settings.clone(), Arc::new(Table::new(settings)));
        let mut found = self.learned.entry(route).or_insert_with(fresh);
        if found.0 != *settings {
            *found = fresh();
        }
        Arc::clone(&found.1)
    }

    /// `route` learns no more.
    pub(super) fn unlearn(&self, route: RouteId) {
        self.learned.remove(&route);
    }

    pub(super) const fn seal(&self) -> &Arc<Seal> {
        &self.seal
    }

    /// Every endpoint that somebody balanced or checked, and whether it gets requests.
    pub fn each(&self, mut tell: impl FnMut(RouteId, EndpointId, bool)) {
        let now_ms = self.now_ms();
        for state in &self.endpoints {
            tell(state.route, state.id, !state.is_down() && !state.is_ejected(now_ms));
        }
    }

    /// Drops what is known of endpoints that left the table and of routes that were deleted.
    pub(crate) fn retire(&self, endpoints: &HashSet<EndpointId>, routes: &[RouteId]) {
        for id in endpoints {
            self.endpoints.remove(id);
        }
        for id in routes {
            self.learned.remove(id);
        }
    }

    /// How many endpoints and tables are known.
    pub fn len(&self) -> (usize, usize) {
        (self.endpoints.len(), self.learned.len())
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

/// Why an endpoint is out, for the log.
pub(super) fn log_ejected(state: &State, for_ms: u32) {
    tracing::warn!(route = %state.route, endpoint = %state.id, for_ms, "endpoint ejected: its requests fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EndpointId = EndpointId::from_bytes([1; 16]);
    const ROUTE: RouteId = RouteId::from_bytes([1; 16]);

    #[test]
    fn the_share_of_a_returned_endpoint_grows_evenly_from_little_to_whole() {
        let state = State::new(ID, ROUTE);
        assert_eq!(state.share(5, 1_000), WHOLE, "it never was away");
        state.set_down(true, 10);
        assert!(state.set_down(false, 10_000), "that is news");
        let shares = [10_000, 10_250, 10_500, 10_750, 11_000, 99_000].map(|now| state.share(now, 1_000));
        assert_eq!(shares, [LEAST, 64, 128, 192, WHOLE, WHOLE]);
        assert_eq!(state.share(10_250, 0), WHOLE);
    }

    #[test]
    fn an_ejected_endpoint_returns_by_itself_and_slowly() {
        let state = State::new(ID, ROUTE);
        state.eject(2_000);
        assert!(state.is_ejected(1_999) && !state.is_ejected(2_000));
        assert_eq!(state.share(2_500, 1_000), 128);
    }

    #[test]
    fn a_success_between_failures_begins_the_count_anew() {
        let (state, ejection) = (State::new(ID, ROUTE), Ejection { failures: 2, for_ms: 1 });
        assert!(!state.failed(ejection));
        state.succeeded();
        assert!(!state.failed(ejection));
        assert!(state.failed(ejection));
    }

    #[test]
    fn a_full_endpoint_lets_nobody_in_until_somebody_leaves() {
        let state = State::new(ID, ROUTE);
        assert!(state.enter(Some(2)) && state.enter(Some(2)) && !state.enter(Some(2)));
        state.leave();
        assert!(state.enter(Some(2)));
        assert_eq!(state.in_flight(), 2);
    }

    #[test]
    fn what_left_the_table_is_forgotten_and_what_stays_is_the_same() {
        let health = Health::default();
        let (one, two) = (ID, EndpointId::from_bytes([2; 16]));
        let kept = health.of(two, ROUTE);
        health.of(one, ROUTE).set_down(true, 1);
        health.retire(&[one].into(), &[]);
        assert!(!health.of(one, ROUTE).is_down());
        assert!(Arc::ptr_eq(&kept, &health.of(two, ROUTE)));
    }
}

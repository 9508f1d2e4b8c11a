//! Active checks: which endpoints are asked, by one task each, all on the first worker.
//!
//! [`Watch::apply`] is a reconciler: it is told what routes want now, starts what is missing, ends what is not wanted and
//! leaves alone what did not change. An endpoint counts as well until it failed often enough, and returns by itself.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error as _;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use config::delta::Delta;
use config::id::{EndpointId, RouteId};
use config::limits;
use config::snapshot::{Action, ActiveCheck, Endpoint, Kind, Object, ObjectKey, Route, Snapshot};
use config::snapshot::{Upstream, UpstreamPolicy, Value};
use config::table::RouteTable;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::{State, probe};
use crate::worker::Worker;

/// What is wanted for one route: an upstream with a check, or nothing any more.
pub(crate) struct Wanted {
    route: RouteId,
    upstream: Option<Upstream>,
}

/// What a first generation wants.
pub(crate) fn of_whole(table: &RouteTable) -> Vec<Wanted> {
    let wanted = |route: &Arc<Route>| {
        checked(&route.action).map(|upstream| Wanted { route: route.id, upstream: Some(upstream.clone()) })
    };
    table.routes().filter_map(wanted).collect()
}

/// What changes from one generation to the next. Cost: that of the delta.
pub(crate) fn of_step(old: &Snapshot, new: &Snapshot, delta: &Delta) -> Vec<Wanted> {
    let keys = delta.upserts.iter().map(Object::key).chain(delta.removals.iter().copied());
    let in_new = |key: ObjectKey| new.get(key).and_then(upstream_of);
    let in_old = |key: ObjectKey| old.get(key).and_then(upstream_of);
    keys.filter(|key| key.kind == Kind::ROUTE)
        .filter_map(|key| {
            let (before, upstream) = (in_old(key), in_new(key));
            let route = RouteId::from_bytes(key.id);
            (before.is_some() || upstream.is_some()).then_some(Wanted { route, upstream })
        })
        .collect()
}

fn upstream_of(object: &Object) -> Option<Upstream> {
    let Ok(Value::Route(route)) = object.decode() else { return None };
    checked(&route.action).cloned()
}

fn checked(action: &Action) -> Option<&Upstream> {
    let Action::Forward(upstream) = action else { return None };
    upstream.policy.as_ref()?.check.as_ref()?;
    Some(upstream)
}

/// The checks that are running, by route.
pub(crate) struct Watch {
    routes: RefCell<HashMap<RouteId, Watched>>,
    at_once: Arc<Semaphore>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { routes: RefCell::default(), at_once: Arc::new(Semaphore::new(limits::CHECKS_AT_ONCE_MAX)) }
    }
}

struct Watched {
    policy: Rc<UpstreamPolicy>,
    endpoints: HashMap<EndpointId, Asked>,
}

/// A task that asks one endpoint; ends with this.
struct Asked {
    endpoint: Endpoint,
    state: Arc<State>,
    task: AbortHandle,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Brings the checks to what is wanted.
    pub(crate) fn apply(worker: &Rc<Worker>, changes: Vec<Wanted>) {
        let mut routes = worker.watch.routes.borrow_mut();
        for Wanted { route, upstream } in changes {
            let before = routes.remove(&route);
            let Some(upstream) = upstream else {
                before.into_iter().for_each(Watched::end);
                continue;
            };
            routes.insert(route, Watched::of(worker, route, upstream, before));
        }
    }

    /// How many endpoints are asked.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.routes.borrow().values().map(|watched| watched.endpoints.len()).sum()
    }
}

impl Watched {
    fn of(worker: &Rc<Worker>, route: RouteId, upstream: Upstream, before: Option<Self>) -> Self {
        let policy = Rc::new(upstream.policy.map(|policy| *policy).unwrap_or_default());
        let asks_alike = |before: &Self| {
            let of = |policy: &UpstreamPolicy| {
                (policy.check.clone(), policy.tls.clone(), policy.protocol, policy.proxy_protocol)
            };
            of(&before.policy) == of(&policy)
        };
        let (kept, mut old) = match before {
            Some(before) if asks_alike(&before) => (Rc::clone(&before.policy), before.endpoints),
            // Asked otherwise: what was found stands until the new answers say otherwise.
            Some(_) | None => (policy, HashMap::new()),
        };
        let ask = |endpoint: &Endpoint| {
            let is_same = |asked: &Asked| {
                asked.endpoint.target == endpoint.target && asked.endpoint.loopback_ok == endpoint.loopback_ok
            };
            let asked = old.remove(&endpoint.id).filter(is_same);
            (endpoint.id, asked.unwrap_or_else(|| Asked::start(worker, route, endpoint, Rc::clone(&kept))))
        };
        let endpoints = upstream.endpoints.iter().map(ask).collect();
        Self { policy: kept, endpoints }
    }

    /// Nobody asks any more, so nobody is known to be down.
    fn end(self) {
        for asked in self.endpoints.values() {
            asked.state.set_down(false, 0);
        }
    }
}

impl Asked {
    fn start(worker: &Rc<Worker>, route: RouteId, endpoint: &Endpoint, policy: Rc<UpstreamPolicy>) -> Self {
        let state = worker.shared.health.of(endpoint.id, route);
        let round = Round {
            worker: Rc::downgrade(worker),
            endpoint: endpoint.clone(),
            policy,
            state: Arc::clone(&state),
        };
        let task = tokio::task::spawn_local(round.run()).abort_handle();
        Self { endpoint: endpoint.clone(), state, task }
    }
}

struct Round {
    worker: Weak<Worker>,
    endpoint: Endpoint,
    policy: Rc<UpstreamPolicy>,
    state: Arc<State>,
}

impl Round {
    async fn run(self) {
        let Some(check) = &self.policy.check else { return };
        let mut count = Count::default();
        // Spread, because a start begins all at once.
        let first = check.interval_ms.min(limits::CHECK_FIRST_PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..=u64::from(first)))).await;
        loop {
            let Some(worker) = self.worker.upgrade() else { return };
            let Ok(place) = Arc::clone(&worker.watch.at_once).acquire_owned().await else { return };
            let found = probe::ask(&worker, &self.endpoint, &self.policy, check).await;
            drop(place);
            let was_down = self.state.is_down();
            if let Some(is_down) = count.heard(found.is_ok(), was_down, check)
                && self.state.set_down(is_down, worker.shared.health.now_ms())
            {
                self.log(found.err());
            }
            drop(worker);
            tokio::time::sleep(count.pause(check)).await;
        }
    }

    fn log(&self, why: Option<probe::Unwell>) {
        let (route, endpoint) = (self.state.route, self.state.id);
        match why {
            None => tracing::info!(%route, %endpoint, "endpoint is well again"),
            Some(why) => {
                let cause = why.source();
                tracing::warn!(%route, %endpoint, %why, cause, "endpoint is down");
            }
        }
    }
}

/// Answers in a row that speak against what is held true.
#[derive(Debug, Default)]
struct Count {
    against: u8,
    is_decided: bool,
}

impl Count {
    /// Whether the endpoint counts as down from now on, if that changes.
    fn heard(&mut self, is_well: bool, is_down: bool, check: &ActiveCheck) -> Option<bool> {
        if is_well != is_down {
            self.against = 0;
            self.is_decided = true;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let enough = if is_down { check.rise } else { check.fall };
        if self.against < enough {
            return None;
        }
        self.against = 0;
        self.is_decided = true;
        Some(!is_down)
    }

    /// The check's interval and up to a tenth more; shorter until the first verdict.
    fn pause(&self, check: &ActiveCheck) -> Duration {
        let most = if self.is_decided { u32::MAX } else { limits::CHECK_FIRST_PAUSE_MS };
        let pause = check.interval_ms.min(most);
        Duration::from_millis((pause + rand::random_range(0..=pause / 10)).into())
    }
}

#[cfg(test)]
mod tests {
    use config::snapshot::Probe;

    use super::*;

    fn check() -> ActiveCheck {
        ActiveCheck { probe: Probe::Tcp, interval_ms: 10_000, timeout_ms: 100, rise: 2, fall: 3 }
    }

    fn verdicts(answers: &str) -> Vec<(usize, bool)> {
        let (mut count, mut is_down, check) = (Count::default(), false, check());
        let mut news = Vec::new();
        for (at, answer) in answers.chars().enumerate() {
            if let Some(verdict) = count.heard(answer == '+', is_down, &check) {
                is_down = verdict;
                news.push((at, verdict));
            }
        }
        news
    }

    #[test]
    fn only_answers_in_a_row_count() {
        assert_eq!(verdicts("---"), [(2, true)]);
        assert_eq!(verdicts("--+--+"), []);
        assert_eq!(verdicts("---+-++"), [(2, true), (6, false)]);
    }

    #[test]
    fn the_pause_is_the_interval_and_a_tenth_at_most_and_short_until_the_first_verdict() {
        let mut count = Count::default();
        assert!(
            count.pause(&check()) <= Duration::from_millis(u64::from(limits::CHECK_FIRST_PAUSE_MS) * 11 / 10)
        );
        count.heard(true, false, &check());
        for _ in 0..100 {
            let pause = count.pause(&check());
            assert!((10_000..=11_000).contains(&pause.as_millis()), "{pause:?}");
        }
    }
}

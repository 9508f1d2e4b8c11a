//! The balancers of one worker.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use config::id::{EndpointId, RouteId};
use config::snapshot::{Action, Endpoint, Route, Sticky, Upstream, UpstreamPolicy};

use super::super::budget::Budget;
use super::super::health::Health;
use super::{Balancer, Slot};
use crate::live::Pinned;

/// Balancers by route, made when a request first needs one.
#[derive(Default)]
pub(in super::super) struct Balancers(RefCell<HashMap<RouteId, Rc<Balancer>>>);

/// What a balancer is made for.
struct Make<'a> {
    health: &'a Arc<Health>,
    pinned: &'a Pinned,
    route: &'a Route,
    upstream: &'a Upstream,
    /// Where the worker's turns begin, so that workers do not all begin with the same endpoint.
    first: usize,
}

impl Balancers {
    /// The balancer of `route` in this generation; `None` where there is nothing to choose.
    pub(in super::super) fn of(
        &self,
        health: &Arc<Health>,
        pinned: &Pinned,
        route: &Route,
        worker: usize,
    ) -> Option<Rc<Balancer>> {
        let Action::Forward(upstream) = &route.action else { return None };
        if upstream.policy.is_none() && upstream.endpoints.len() == 1 {
            return None;
        }
        let mut balancers = self.0.borrow_mut();
        let known = balancers.get(&route.id);
        if let Some(known) = known {
            if pinned.is_weak(&known.live.borrow()) {
                return Some(Rc::clone(known));
            }
            if known.is_for(pinned, health, route, upstream) {
                *known.live.borrow_mut() = pinned.downgrade();
                return Some(Rc::clone(known));
            }
        }
        let first = worker.checked_rem(upstream.endpoints.len()).unwrap_or(0);
        let make = Make { health, pinned, route, upstream, first };
        let made = Rc::new(Balancer::new(&make, known.map(Rc::as_ref)));
        balancers.insert(route.id, Rc::clone(&made));
        Some(made)
    }

    /// Forgets what led to these: they are in no route any more.
    pub(in super::super) fn retire(&self, ids: &HashSet<EndpointId>) {
        self.0.borrow_mut().retain(|_, balancer| !balancer.slots.iter().any(|slot| ids.contains(&slot.id)));
    }
}

impl Balancer {
    fn new(make: &Make<'_>, before: Option<&Self>) -> Self {
        let Make { health, pinned, route, upstream, first } = make;
        let turn = |id: EndpointId, at: usize| {
            let kept = before.and_then(|before| before.slots.iter().find(|slot| slot.id == id));
            Cell::new(kept.map_or(i64::from(at == *first), |slot| slot.turn.get()))
        };
        let slot = |(at, endpoint): (usize, &Endpoint)| Slot {
            id: endpoint.id,
            weight: endpoint.weight,
            draining: endpoint.draining,
            state: health.of(endpoint.id, route.id),
            turn: turn(endpoint.id, at),
        };
        let policy = upstream.policy.clone().unwrap_or_default();
        let seal = seal(pinned, health);
        let (cookie, learned) = match &policy.sticky {
            Some(Sticky::Cookie { .. }) => (seal.key(route.id), None),
            Some(Sticky::Learned(settings)) => (None, Some(health.learned(route.id, settings))),
            None => (None, None),
        };
        if learned.is_none() && before.is_some_and(|before| before.learned.is_some()) {
            health.unlearn(route.id);
        }
        Self {
            live: RefCell::new(pinned.downgrade()),
            route: route.id,
            path: route.path.clone(),
            slots: upstream.endpoints.iter().enumerate().map(slot).collect(),
            policy,
            health: Arc::clone(health),
            seal: Arc::clone(seal),
            cookie,
            learned,
            budget: before.map_or_else(Budget::default, |before| before.budget.clone()),
        }
    }

    /// Whether nothing changed since it was made.
    fn is_for(&self, pinned: &Pinned, health: &Arc<Health>, route: &Route, upstream: &Upstream) -> bool {
        let of = |slot: &Slot| (slot.id, slot.weight, slot.draining);
        let same_policy = match &upstream.policy {
            Some(policy) => **policy == *self.policy,
            None => *self.policy == UpstreamPolicy::default(),
        };
        same_policy
            && self.route == route.id
            && self.path == route.path
            && Arc::ptr_eq(&self.seal, seal(pinned, health))
            // Retired and back again: others look at another state by now.
            && self.slots.iter().all(|slot| Arc::ptr_eq(&slot.state, &health.of(slot.id, route.id)))
            && self.slots.iter().map(of).eq(upstream
                .endpoints
                .iter()
                .map(|endpoint| (endpoint.id, endpoint.weight, endpoint.draining)))
    }
}

/// The seal of the generation, else the process's own.
fn seal<'a>(pinned: &'a Pinned, health: &'a Health) -> &'a Arc<super::Seal> {
    pinned.seal.as_ref().unwrap_or(health.seal())
}

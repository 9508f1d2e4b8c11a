//! Which certificates to order now: pure, `(now, inventory, authorities) -> plan`.
//!
//! Owns no store and asks nobody. The caller reads what it knows into [`Item`]s and [`Authority`]s, calls [`plan`] at its
//! scan and whenever [`Plan::wake`] has come, starts the orders, and writes down every attempt: the budget counts
//! [`Authority::orders`], which must therefore outlive restarts. The same input gives the same plan; what is random
//! is drawn from `seed` and the item's own id, so that many installations do not order in the same second.
//!
//! An item is due at [`due`], waits after failures until [`next_try`], and takes its turn among the others by how much of
//! the time that is left it has used up. Times are Unix seconds.

mod budget;
mod when;

use std::collections::BTreeSet;

use config::name::HostPattern;

use crate::identity::Validity;
pub use budget::{Budget, Ordered, registered_domain};
pub use when::{Failures, Window, due, next_try};

/// One set of names that shall have a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The caller's own id; stable.
    pub id: u128,
    /// Its names; the order does not count.
    pub names: Vec<HostPattern>,
    /// Which of the authorities it is ordered from: a place in the list given to [`plan`].
    pub authority: usize,
    /// Validity of the newest certificate; `None` for one that was never issued.
    pub current: Option<Validity>,
    /// The authority's wish (ARI), for that certificate.
    pub window: Option<Window>,
    /// Failed attempts since the last success.
    pub failures: Failures,
    /// Whether an order of it is under way; it is left to that.
    pub is_ordering: bool,
    /// Whether a person asked for it (`cert renew --force`): due now, after failures too, but within the budget.
    pub is_forced: bool,
}

/// What is known of an authority.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authority {
    /// What it allows.
    pub budget: Budget,
    /// Orders of the last week, all accounts of this installation, failed ones included; any order.
    pub orders: Vec<Ordered>,
    /// It told everybody to wait until then (Retry-After of 429 or 503).
    pub wait_until: Option<i64>,
}

/// Why an item that is due must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The authority asked for it.
    Authority,
    /// Its orders of the window are used up.
    Orders,
    /// Those of one registered domain are.
    Domain,
    /// Those of this exact set of names are.
    SameNames,
    /// As many orders are under way as may be.
    AtOnce,
    /// Another item with the same names is ordering or goes first.
    Twin,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Ids to order now, the most urgent first.
    pub order: Vec<u128>,
    /// Due, but held back: why, and until when at the earliest.
    pub held: Vec<(u128, Held, i64)>,
    /// When to plan again at the latest; `None` when there is nothing to come.
    pub wake: Option<i64>,
}

/// Orders under way at once in all: each holds a job, and challenges on every gateway.
pub const AT_ONCE_MAX: usize = 10;

/// Plans. `seed` is random and stays the same for an installation.
///
/// Cost: `n log n` in the items, one pass over each authority's orders, then one over its counters for each item due.
pub fn plan(now: i64, items: &[Item], authorities: &[Authority], seed: u64) -> Plan {
    let mut plan = Plan::default();
    let mut due_now = Vec::new();
    for item in items.iter().filter(|item| !item.is_ordering) {
        let at = if item.is_forced { now } else { due(item, seed).max(next_try(item, now, seed)) };
        if at > now {
            plan.wakes(at);
        } else {
            due_now.push(item);
        }
    }
    if due_now.is_empty() {
        return plan;
    }
    due_now.sort_by_key(|item| (urgency(now, item), item.id));

    let mut spent: Vec<_> = authorities.iter().map(|one| budget::Spent::of(one, now)).collect();
    let mut names: BTreeSet<_> = items.iter().filter(|item| item.is_ordering).map(set).collect();
    let mut under_way = items.iter().filter(|item| item.is_ordering).count();
    for item in due_now {
        // One that names no authority has nobody to be ordered from; it is for the caller's own rules to refuse it.
        let Some(spent) = spent.get_mut(item.authority) else { continue };
        let verdict = if under_way >= AT_ONCE_MAX {
            Err((Held::AtOnce, now.saturating_add(when::LOOK_AGAIN)))
        } else if names.contains(&set(item)) {
            Err((Held::Twin, now.saturating_add(when::LOOK_AGAIN)))
        } else {
            spent.take(item, now)
        };
        match verdict {
            Ok(()) => {
                under_way += 1;
                names.insert(set(item));
                plan.order.push(item.id);
            }
            Err((why, until)) => {
                plan.wakes(until);
                plan.held.push((item.id, why, until));
            }
        }
    }
    plan
}

impl Plan {
    fn wakes(&mut self, at: i64) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Names of an item as a set: which authority they go to counts, their order does not.
fn set(item: &Item) -> (usize, BTreeSet<String>) {
    (item.authority, item.names.iter().map(ToString::to_string).collect())
}

/// Less is more urgent: what a person waits for, what is not served at all, then by the part of its life that is left.
/// So a six-day certificate with a day left goes before one of ninety days with ten.
fn urgency(now: i64, item: &Item) -> (u8, i64) {
    const PARTS: i64 = 1_000_000;
    let Some(current) = item.current else { return (u8::from(!item.is_forced), 0) };
    let life = current.not_after.saturating_sub(current.not_before).max(1);
    let left = current.not_after.saturating_sub(now).max(0);
    let part = i64::try_from(i128::from(left) * i128::from(PARTS) / i128::from(life)).unwrap_or(PARTS);
    match (item.is_forced, left) {
        (true, _) => (0, part),
        (false, 0) => (1, 0),
        // Failing again and again must not take the turn of those that would succeed, until little is left.
        (false, _) => (2, part.saturating_add(i64::from(item.failures.count.min(5)) * PARTS / 50)),
    }
}

#[cfg(test)]
mod tests;

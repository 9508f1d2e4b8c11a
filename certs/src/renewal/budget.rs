//! What an authority allows, and what of it is used up.

use std::collections::{BTreeMap, BTreeSet};

use config::name::HostPattern;

use super::{Authority, Held, Item};

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Orders that an authority takes. The default is Let's Encrypt's published limits
/// (<https://letsencrypt.org/docs/rate-limits/>), each with something left for people who order by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// New orders of an account in three hours (published: 300).
    pub orders_3h: u32,
    /// Certificates of a registered domain in a week, those that renew the same names not counted (published: 50).
    pub domain_week: u32,
    /// Certificates of the same set of names in a week (published: 5).
    pub same_names_week: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { orders_3h: 250, domain_week: 45, same_names_week: 4 }
    }
}

impl Budget {
    /// For an authority of one's own, which has no limits worth the name.
    pub const fn unlimited() -> Self {
        Self { orders_3h: u32::MAX, domain_week: u32::MAX, same_names_week: u32::MAX }
    }
}

/// One order that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// When, in Unix seconds.
    pub at: i64,
    /// Its names.
    pub names: Vec<HostPattern>,
    /// Whether a certificate came of it: what counts by the week.
    pub is_issued: bool,
    /// Whether it renewed a certificate of the same names: what does not count for the domain.
    pub is_renewal: bool,
}

/// The domain that the limits count by: one label more than the public suffix (`example.co.uk` of `a.b.example.co.uk`).
/// A name that is a public suffix itself, or has none, counts as itself.
pub fn registered_domain(name: &HostPattern) -> String {
    let host = match name {
        HostPattern::Exact(host) | HostPattern::Wildcard(host) => host.as_str(),
        HostPattern::CatchAll => "*",
    };
    psl::domain_str(host).unwrap_or(host).to_owned()
}

/// Moments of use within a window.
#[derive(Default)]
struct Used(Vec<i64>);

impl Used {
    /// When one more fits below `max`; `None` for now.
    fn full_until(&mut self, max: u32, window: i64) -> Option<i64> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let over = self.0.len().checked_sub(max)?;
        self.0.sort_unstable();
        // When enough of the oldest have left the window. A budget of nothing never has room.
        Some(self.0.get(over).map_or(i64::MAX, |at| at.saturating_add(window)))
    }
}

/// What is used up of an authority's budget, this plan's own orders included.
pub(super) struct Spent {
    budget: Budget,
    wait_until: Option<i64>,
    orders: Used,
    domains: BTreeMap<String, Used>,
    sets: BTreeMap<BTreeSet<String>, Used>,
}

const WINDOW_ORDERS: i64 = 3 * HOUR;
const WINDOW_WEEK: i64 = 7 * DAY;
/// Longest wait for a whole authority that is believed; a clock that went back would make it longer.
const WAIT_MAX: i64 = 7 * DAY;

impl Spent {
    pub(super) fn of(authority: &Authority, now: i64) -> Self {
        let wait_until =
            authority.wait_until.filter(|until| now < *until && until.saturating_sub(now) <= WAIT_MAX);
        let (orders, domains, sets) = (Used::default(), BTreeMap::new(), BTreeMap::new());
        let mut spent = Self { budget: authority.budget, wait_until, orders, domains, sets };
        authority.orders.iter().for_each(|order| spent.note(order, now));
        spent
    }

    /// Takes one order for the item out of the budget, or says what hides it and until when.
    pub(super) fn take(&mut self, item: &Item, now: i64) -> Result<(), (Held, i64)> {
        if let Some(until) = self.wait_until {
            return Err((Held::Authority, until));
        }
        if let Some(until) = self.orders.full_until(self.budget.orders_3h, WINDOW_ORDERS) {
            return Err((Held::Orders, until));
        }
        let same = self.sets.get_mut(&set(&item.names));
        if let Some(until) = same.and_then(|used| used.full_until(self.budget.same_names_week, WINDOW_WEEK)) {
            return Err((Held::SameNames, until));
        }
        let is_renewal = item.current.is_some();
        if !is_renewal {
            for domain in domains(&item.names) {
                let used = self.domains.get_mut(&domain);
                if let Some(until) =
                    used.and_then(|used| used.full_until(self.budget.domain_week, WINDOW_WEEK))
                {
                    return Err((Held::Domain, until));
                }
            }
        }
        // It is hoped to succeed, so it counts for all.
        self.note(&Ordered { at: now, names: item.names.clone(), is_issued: true, is_renewal }, now);
        Ok(())
    }

    /// An order of the future was made before the clock went back: it counts as one of now, not as one that will be.
    fn note(&mut self, order: &Ordered, now: i64) {
        let at = order.at.min(now);
        if now.saturating_sub(at) < WINDOW_ORDERS {
            self.orders.0.push(at);
        }
        if !order.is_issued || now.saturating_sub(at) >= WINDOW_WEEK {
            return;
        }
        self.sets.entry(set(&order.names)).or_default().0.push(at);
        if !order.is_renewal {
            for domain in domains(&order.names) {
                self.domains.entry(domain).or_default().0.push(at);
            }
        }
    }
}

fn set(names: &[HostPattern]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn domains(names: &[HostPattern]) -> BTreeSet<String> {
    names.iter().map(registered_domain).collect()
}

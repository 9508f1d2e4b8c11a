//! Requests under way at once, by route. A tunnel counts as one request until its end.

use std::sync::Arc;

use config::id::RouteId;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

/// How many requests are under way, by route. As many entries as routes with requests at most: an entry goes with the
/// last of them.
#[derive(Default)]
pub(super) struct Counts(DashMap<RouteId, u32>);

/// A request that was let in; dropping it makes room.
pub(in super::super) struct InFlight {
    counts: Arc<Counts>,
    route: RouteId,
}

impl InFlight {
    /// Counts a request, unless the route has `max` already.
    pub(super) fn enter(counts: &Arc<Counts>, route: RouteId, max: u32) -> Option<Self> {
        match counts.0.entry(route) {
            Entry::Occupied(entry) if *entry.get() >= max => return None,
            Entry::Occupied(mut entry) => *entry.get_mut() += 1,
            Entry::Vacant(_) if max == 0 => return None,
            Entry::Vacant(entry) => drop(entry.insert(1)),
        }
        Some(Self { counts: Arc::clone(counts), route })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.counts.0.entry(self.route) {
            if *entry.get() > 1 {
                *entry.get_mut() -= 1;
            } else {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_route_refuses_until_a_request_ends_and_then_forgets() {
        let counts = Arc::new(Counts::default());
        let (one, other) = (RouteId::from_bytes([1; 16]), RouteId::from_bytes([2; 16]));
        let first = InFlight::enter(&counts, one, 2).unwrap();
        let second = InFlight::enter(&counts, one, 2).unwrap();
        assert!(InFlight::enter(&counts, one, 2).is_none());
        assert!(InFlight::enter(&counts, other, 1).is_some() && InFlight::enter(&counts, other, 0).is_none());

        drop(first);

        assert!(InFlight::enter(&counts, one, 1).is_none(), "a lower bound counts at once");
        assert!(InFlight::enter(&counts, one, 2).is_some());
        drop(second);
        assert!(counts.0.is_empty());
    }
}

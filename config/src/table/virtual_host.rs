//! One virtual host: which of its routes answers a request.
//!
//! Routes stand in bands of one priority, the highest band last; in a band by path, segment by segment; at one path the
//! one that goes first stands last. Each knows the next worse one that might answer instead, so a look-up is one binary
//! search a band and then a walk. A host without priorities has one band, and without conditions one route at a path.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::limits;
use crate::name::HostPattern;
use crate::snapshot::{Matchers, Route};
use crate::table::changes::RouteChange;
use crate::table::conditions::all_hold;
use crate::table::{Conflict, Facts};

/// All routes under one host pattern: never none.
// Sixteen bytes, because there is one for most routes.
#[derive(Clone)]
pub(super) enum VirtualHost {
    /// Most have one route.
    One(Arc<Route>),
    /// Sorted by [`place_order`].
    Many(Arc<[Entry]>),
}

/// One of several routes of a virtual host.
#[derive(Clone)]
pub(super) struct Entry {
    route: Arc<Route>,
    /// Place of the next one to ask when this one does not answer: the one before at the same path, or the first to ask
    /// at the longest shorter prefix in the band. [`NO_PARENT`] where there is none.
    parent: u32,
    /// Place of the first one in its band.
    band: u32,
}

// Past the end of any slice that fits `OBJECTS_MAX`.
const NO_PARENT: u32 = u32::MAX;

impl VirtualHost {
    /// The first route in the order of [`Matchers`] whose conditions all hold.
    ///
    /// Cost: for each priority one binary search, and a step for each route at a prefix that covers the one found.
    pub(super) fn find(&self, facts: &Facts<'_>) -> Option<&Arc<Route>> {
        match self {
            Self::One(route) => (route.path.covers(facts.path) && all_hold(route, facts)).then_some(route),
            Self::Many(entries) => {
                let mut end = entries.len();
                while let Some(last) = end.checked_sub(1).and_then(|last| entries.get(last)) {
                    let start = usize::try_from(last.band).ok()?;
                    if let Some(route) = find_in_band(entries, start, end, facts) {
                        return Some(route);
                    }
                    end = start;
                }
                None
            }
        }
    }

    /// Its routes in no particular order.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let (one, many) = match self {
            Self::One(route) => (Some(route), [].as_slice()),
            Self::Many(entries) => (None, &**entries),
        };
        one.into_iter().chain(many.iter().map(|entry| &entry.route))
    }

    pub(super) fn host(&self) -> Option<&HostPattern> {
        self.routes().next().map(|route| &route.host)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(entries) => entries.len(),
        }
    }

    /// What becomes of `before`; `None` when no route is left. `changes` are all of this host.
    pub(super) fn changed(
        before: Option<&Self>,
        changes: &[RouteChange],
        conflicts: &mut Vec<Conflict>,
    ) -> Option<Self> {
        let mut gone: Vec<_> =
            changes.iter().filter(|change| !change.added).map(|change| change.route.id).collect();
        gone.sort_unstable();
        let kept =
            before.into_iter().flat_map(Self::routes).filter(|route| gone.binary_search(&route.id).is_err());
        let added = changes.iter().filter(|change| change.added).map(|change| &change.route);
        let mut routes: Vec<Arc<Route>> = kept.chain(added).cloned().collect();
        routes.sort_by(|a, b| place_order(a, b));
        name_conflicts(&routes, conflicts);
        match routes.len() {
            0 => None,
            1 => routes.pop().map(Self::One),
            _ => Some(Self::Many(with_parents(routes))),
        }
    }
}

/// The route that goes first among those from `start` to `end`, which are one band.
fn find_in_band<'a>(
    entries: &'a [Entry],
    start: usize,
    end: usize,
    facts: &Facts<'_>,
) -> Option<&'a Arc<Route>> {
    // Everything between a prefix and a path below it is below it too. So the last entry that is not after the path is
    // at the longest prefix or below it, and the way up meets the longest one first.
    let after = entries
        .get(start..end)?
        .partition_point(|entry| segment_order(entry.route.path.trimmed(), facts.path) != Ordering::Greater);
    let mut at = start + after.checked_sub(1)?;
    loop {
        let entry = entries.get(at)?;
        if entry.route.path.covers(facts.path) && all_hold(&entry.route, facts) {
            return Some(&entry.route);
        }
        at = usize::try_from(entry.parent).ok()?;
    }
}

fn with_parents(routes: Vec<Arc<Route>>) -> Arc<[Entry]> {
    // The chain of routes whose prefixes cover the current one, shortest first.
    let mut above: Vec<(u32, Arc<Route>)> = Vec::new();
    let mut band = (0, None);
    let entry = |(at, route): (usize, Arc<Route>)| {
        let at = u32::try_from(at).unwrap_or(NO_PARENT);
        let priority = rank(&route).priority;
        if band.1 != Some(priority) {
            band = (at, Some(priority));
            above.clear();
        }
        while above.last().is_some_and(|(_, other)| !other.path.covers(route.path.trimmed())) {
            above.pop();
        }
        let parent = above.last().map_or(NO_PARENT, |(at, _)| *at);
        // At one path the last one speaks for the others: it leads to them.
        if above.last().is_some_and(|(_, other)| other.path == route.path) {
            above.pop();
        }
        above.push((at, route.clone()));
        Entry { route, parent, band: band.0 }
    };
    routes.into_iter().enumerate().map(entry).collect()
}

/// Names the routes that ask for the same; `routes` are sorted by [`place_order`].
fn name_conflicts(routes: &[Arc<Route>], conflicts: &mut Vec<Conflict>) {
    let alike = |a: &Arc<Route>, b: &Arc<Route>| a.path == b.path && rank(a) == rank(b);
    for chunk in routes.chunk_by(alike).filter(|chunk| chunk.len() > 1) {
        let asked = |route| (matchers_of(route).map(Matchers::canonical).unwrap_or_default(), route);
        // Ids grow with time, and the sort is stable: the first of equals was there first.
        let mut asked: Vec<_> = chunk.iter().rev().map(asked).collect();
        asked.sort_by(|(a, _), (b, _)| a.cmp(b));
        for same in asked.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(((matchers, first), others)) = same.split_first() else { continue };
            let asks = matchers.to_string();
            let (open, close) = if asks.is_empty() { ("", "") } else { (" (", ")") };
            for (_, second) in others {
                if conflicts.len() < limits::CONFLICTS_NAMED_MAX {
                    let what = format!("{}{}{open}{asks}{close}", first.host, first.path);
                    conflicts.push(Conflict { what, first: first.id, second: second.id });
                }
            }
        }
    }
}

fn matchers_of(route: &Arc<Route>) -> Option<&Matchers> {
    route.matchers.as_deref()
}

/// What decides which of several routes at one path goes first, besides their age. Greater goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: i16,
    pub(super) path_exact: bool,
    pub(super) conditions: usize,
}

pub(super) fn rank(route: &Route) -> Rank {
    let of = |matchers: &Matchers| Rank {
        priority: matchers.priority,
        path_exact: matchers.path_exact,
        conditions: matchers.conditions_len(),
    };
    route.matchers.as_deref().map_or(Rank { priority: 0, path_exact: false, conditions: 0 }, of)
}

/// The order in which routes of one virtual host are asked, first to last.
pub(super) fn asking_order(a: &Route, b: &Route) -> Ordering {
    let (first, second) = (rank(a), rank(b));
    let length = |route: &Route| route.path.trimmed().len();
    (second.priority, second.path_exact)
        .cmp(&(first.priority, first.path_exact))
        .then_with(|| length(b).cmp(&length(a)))
        .then_with(|| second.conditions.cmp(&first.conditions))
        .then_with(|| a.id.cmp(&b.id))
}

/// The order in which they stand: a prefix before everything below it, and at one path the first to ask last.
fn place_order(a: &Route, b: &Route) -> Ordering {
    let (first, second) = (rank(a), rank(b));
    first
        .priority
        .cmp(&second.priority)
        .then_with(|| segment_order(a.path.trimmed(), b.path.trimmed()))
        .then_with(|| first.cmp(&second))
        .then_with(|| b.id.cmp(&a.id))
}

/// Compares paths segment by segment: `/` sorts before every other byte.
fn segment_order(a: &str, b: &str) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte.saturating_add(1) };
    a.bytes().map(rank).cmp(b.bytes().map(rank))
}

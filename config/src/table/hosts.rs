//! Virtual hosts: which routes answer a name, and which of them a path.

use std::cmp::Ordering;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::limits;
use crate::name::{self, HostPattern};
use crate::snapshot::Route;
use crate::table::Conflict;
use crate::table::changes::RouteChange;
use crate::table::shards::{Sharded, shard_of};

/// All virtual hosts, by the hash of the exact name or of the wildcard's suffix.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    shards: Sharded<VirtualHost>,
    catch_all: Option<VirtualHost>,
    routes_len: usize,
}

impl Hosts {
    /// The virtual host that answers `host`: exact, then wildcard, then catch-all.
    pub(super) fn answering(&self, hasher: &impl BuildHasher, host: &str) -> Option<&VirtualHost> {
        self.exact(hasher, host).or_else(|| self.wildcard(hasher, host)).or(self.catch_all.as_ref())
    }

    /// The virtual hosts whose pattern covers `host`, most exact first; the first of them answers.
    pub(super) fn covering(
        &self,
        hasher: &impl BuildHasher,
        host: &str,
    ) -> impl Iterator<Item = &VirtualHost> {
        [self.exact(hasher, host), self.wildcard(hasher, host), self.catch_all.as_ref()].into_iter().flatten()
    }

    fn exact(&self, hasher: &impl BuildHasher, host: &str) -> Option<&VirtualHost> {
        let hash = hasher.hash_one(host);
        self.shards.find(shard_of(hash), hash, |virtual_host| {
            matches!(virtual_host.host(), Some(HostPattern::Exact(name)) if name.as_str() == host)
        })
    }

    fn wildcard(&self, hasher: &impl BuildHasher, host: &str) -> Option<&VirtualHost> {
        let suffix = name::wildcard_suffix(host)?;
        let hash = hasher.hash_one(suffix);
        self.shards.find(shard_of(hash), hash, |virtual_host| {
            matches!(virtual_host.host(), Some(HostPattern::Wildcard(name)) if name.as_str() == suffix)
        })
    }

    pub(super) const fn routes_len(&self) -> usize {
        self.routes_len
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.shards.iter().chain(&self.catch_all).flat_map(VirtualHost::routes)
    }

    #[cfg(test)]
    pub(super) fn shards_not_shared(&self, other: &Self) -> usize {
        self.shards.not_shared(&other.shards)
    }

    /// Makes the changes, virtual host by virtual host; returns the conflicts that stand in the way.
    pub(super) fn apply(
        &mut self,
        hasher: &impl BuildHasher,
        mut changes: Vec<RouteChange>,
    ) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        changes.sort_by(|a, b| a.route.host.cmp(&b.route.host));
        for changes in changes.chunk_by(|a, b| a.route.host == b.route.host) {
            let Some(host) = changes.first().map(|change| &change.route.host) else { continue };
            let before = self.take(hasher, host);
            self.routes_len -= before.as_ref().map_or(0, VirtualHost::len);
            if let Some(after) = VirtualHost::changed(before.as_ref(), changes, &mut conflicts) {
                self.routes_len += after.len();
                self.put(hasher, after);
            }
        }
        conflicts
    }

    fn take(&mut self, hasher: &impl BuildHasher, host: &HostPattern) -> Option<VirtualHost> {
        let Some(hash) = hash_of(hasher, host) else { return self.catch_all.take() };
        self.shards.take(
            shard_of(hash),
            hash,
            |virtual_host| virtual_host.host() == Some(host),
            |virtual_host| virtual_host.hash(hasher),
        )
    }

    fn put(&mut self, hasher: &impl BuildHasher, virtual_host: VirtualHost) {
        match virtual_host.host().and_then(|host| hash_of(hasher, host)) {
            Some(hash) => {
                self.shards.put(shard_of(hash), hash, virtual_host, |other| other.hash(hasher));
            }
            None => self.catch_all = Some(virtual_host),
        }
    }
}

/// `None` for the catch-all, which is in no shard.
fn hash_of(hasher: &impl BuildHasher, host: &HostPattern) -> Option<u64> {
    match host {
        HostPattern::Exact(name) | HostPattern::Wildcard(name) => Some(hasher.hash_one(name.as_str())),
        HostPattern::CatchAll => None,
    }
}

/// All routes under one host pattern: never none.
// Sixteen bytes, because there is one for most routes.
#[derive(Clone)]
pub(super) enum VirtualHost {
    /// Most have one route.
    One(Arc<Route>),
    /// Sorted by [`segment_order`], so a prefix stands right before everything below it.
    Many(Arc<[Entry]>),
}

/// One of several routes of a virtual host.
#[derive(Clone)]
pub(super) struct Entry {
    route: Arc<Route>,
    /// Place of the longest other prefix that covers this one, or [`NO_PARENT`].
    parent: u32,
}

const NO_PARENT: u32 = u32::MAX;

impl VirtualHost {
    /// The route with the longest prefix of `path`.
    ///
    /// Cost: one binary search, and a step for each prefix that covers the one found but not `path`.
    pub(super) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        match self {
            Self::One(route) => route.path.covers(path).then_some(route),
            Self::Many(entries) => {
                // Everything between a prefix and a path below it is below it too. So the last entry that is not
                // after `path` is the longest prefix or below it, and the way up meets the longest one first.
                let after = entries.partition_point(|entry| {
                    segment_order(entry.route.path.trimmed(), path) != Ordering::Greater
                });
                let mut at = after.checked_sub(1)?;
                loop {
                    let entry = entries.get(at)?;
                    if entry.route.path.covers(path) {
                        return Some(&entry.route);
                    }
                    // NO_PARENT is past the end of any slice that fits `OBJECTS_MAX`.
                    at = usize::try_from(entry.parent).ok()?;
                }
            }
        }
    }

    /// Its routes; those with a prefix of another come before it.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let (one, many) = match self {
            Self::One(route) => (Some(route), [].as_slice()),
            Self::Many(entries) => (None, &**entries),
        };
        one.into_iter().chain(many.iter().map(|entry| &entry.route))
    }

    fn host(&self) -> Option<&HostPattern> {
        self.routes().next().map(|route| &route.host)
    }

    fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        self.host().and_then(|host| hash_of(hasher, host)).unwrap_or_default()
    }

    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(entries) => entries.len(),
        }
    }

    /// What becomes of `before`; `None` when no route is left. `changes` are all of this host.
    fn changed(
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
        routes
            .sort_by(|a, b| segment_order(a.path.trimmed(), b.path.trimmed()).then_with(|| a.id.cmp(&b.id)));
        name_conflicts(&routes, conflicts);
        match routes.len() {
            0 => None,
            1 => routes.pop().map(Self::One),
            _ => Some(Self::Many(with_parents(routes))),
        }
    }
}

/// `routes` are sorted by path, then by id: ids grow with time, so the first of equals was there first.
fn name_conflicts(routes: &[Arc<Route>], conflicts: &mut Vec<Conflict>) {
    for same in routes.chunk_by(|a, b| a.path == b.path) {
        let Some((first, others)) = same.split_first() else { continue };
        for second in others {
            if conflicts.len() < limits::CONFLICTS_NAMED_MAX {
                let what = format!("{}{}", first.host, first.path);
                conflicts.push(Conflict { what, first: first.id, second: second.id });
            }
        }
    }
}

fn with_parents(routes: Vec<Arc<Route>>) -> Arc<[Entry]> {
    // The chain of prefixes that cover the current one, shortest first.
    let mut above: Vec<(u32, Arc<Route>)> = Vec::new();
    let entry = |(at, route): (usize, Arc<Route>)| {
        while above.last().is_some_and(|(_, other)| !other.path.covers(route.path.trimmed())) {
            above.pop();
        }
        let parent = above.last().map_or(NO_PARENT, |(at, _)| *at);
        above.push((u32::try_from(at).unwrap_or(NO_PARENT), route.clone()));
        Entry { route, parent }
    };
    routes.into_iter().enumerate().map(entry).collect()
}

/// Compares paths segment by segment: `/` sorts before every other byte.
fn segment_order(a: &str, b: &str) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte.saturating_add(1) };
    a.bytes().map(rank).cmp(b.bytes().map(rank))
}

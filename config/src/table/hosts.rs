//! All virtual hosts: which of them answers a name.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::name::{self, HostPattern};
use crate::snapshot::Route;
use crate::table::Conflict;
use crate::table::changes::RouteChange;
use crate::table::shards::{Sharded, shard_of};
use crate::table::virtual_host::VirtualHost;

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

    /// The virtual host with exactly this pattern.
    pub(super) fn of(&self, hasher: &impl BuildHasher, pattern: &HostPattern) -> Option<&VirtualHost> {
        let Some(hash) = hash_of(hasher, pattern) else { return self.catch_all.as_ref() };
        self.shards.find(shard_of(hash), hash, |virtual_host| virtual_host.host() == Some(pattern))
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
            |virtual_host| hash_again(hasher, virtual_host),
        )
    }

    fn put(&mut self, hasher: &impl BuildHasher, virtual_host: VirtualHost) {
        match virtual_host.host().and_then(|host| hash_of(hasher, host)) {
            Some(hash) => {
                self.shards.put(shard_of(hash), hash, virtual_host, |other| hash_again(hasher, other));
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

fn hash_again(hasher: &impl BuildHasher, virtual_host: &VirtualHost) -> u64 {
    virtual_host.host().and_then(|host| hash_of(hasher, host)).unwrap_or_default()
}

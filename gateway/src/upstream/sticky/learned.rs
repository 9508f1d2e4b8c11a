//! Keys that origins told, and the endpoints that told them: bounded, the key used least recently goes first.
//!
//! What HAProxy calls a stick table (INVENTORY B-44). Kept beside the generations and shared by the workers; a shard is
//! locked for one look, never across a wait, and only by routes that asked for this.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use config::id::EndpointId;
use config::limits;
use config::snapshot::Learned;
use hashbrown::HashTable;

/// Shards of a large table; a small one has one, so that its bound is exact.
const SHARDS: usize = 16;
/// Keys from which a table counts as large.
const LARGE: usize = 1024;
const NOWHERE: u32 = u32::MAX;

/// A key, cut as HAProxy's `len 32` cuts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct Key {
    bytes: [u8; limits::LEARNED_KEY_BYTES_MAX],
    len: u8,
}

impl Key {
    /// `None` if there is nothing to key by.
    pub(in super::super) fn of(text: &[u8]) -> Option<Self> {
        let text = text.get(..limits::LEARNED_KEY_BYTES_MAX).unwrap_or(text);
        let mut bytes = [0; limits::LEARNED_KEY_BYTES_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let len = u8::try_from(text.len()).ok().filter(|len| *len > 0)?;
        Some(Self { bytes, len })
    }

    /// The key that a path carries. Empty fields count, as they do for HAProxy's `field(N,/)`.
    pub(in super::super) fn of_path(path: &[u8], settings: &Learned) -> Option<Self> {
        let text = std::str::from_utf8(path).ok().filter(|path| settings.path.covers(path))?;
        let field = usize::from(settings.field).checked_sub(1)?;
        Self::of(text.split('/').nth(field)?.as_bytes())
    }
}

#[derive(Debug)]
struct Node {
    key: Key,
    endpoint: EndpointId,
    used_ms: u64,
    newer: u32,
    older: u32,
}

/// Keys in the order of their use.
#[derive(Debug)]
struct Shard {
    index: HashTable<u32>,
    nodes: Vec<Node>,
    newest: u32,
    oldest: u32,
}

/// The keys of one route.
#[derive(Debug)]
pub(in super::super) struct Table {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    keys_max: usize,
    expire_ms: u64,
}

impl Table {
    pub(in super::super) fn new(settings: &Learned) -> Self {
        let keys_max = settings.keys_max.clamp(1, limits::LEARNED_KEYS.1) as usize;
        let shards = if keys_max < LARGE { 1 } else { SHARDS };
        let empty = || Shard { index: HashTable::new(), nodes: Vec::new(), newest: NOWHERE, oldest: NOWHERE };
        Self {
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::new(empty())).collect(),
            keys_max: keys_max / shards,
            expire_ms: u64::from(settings.expire_seconds) * 1_000,
        }
    }

    /// Where `key` leads; it counts as used.
    pub(in super::super) fn find(&self, key: &Key, now_ms: u64) -> Option<EndpointId> {
        let hash = self.hasher.hash_one(key);
        self.with(hash, |shard| {
            let at = shard.find(hash, key)?;
            let node = shard.nodes.get(at as usize)?;
            let endpoint = node.endpoint;
            if now_ms.saturating_sub(node.used_ms) >= self.expire_ms {
                return None;
            }
            shard.use_now(at, endpoint, now_ms);
            Some(endpoint)
        })
    }

    /// `key` leads to `endpoint` from now on.
    pub(in super::super) fn learn(&self, key: Key, endpoint: EndpointId, now_ms: u64) {
        let hash = self.hasher.hash_one(key);
        self.with(hash, |shard| {
            let at = shard.find(hash, &key).or_else(|| self.make_room(shard, hash, key, now_ms))?;
            shard.use_now(at, endpoint, now_ms);
            Some(())
        });
    }

    /// How many keys are kept, expired ones included.
    #[cfg(test)]
    pub(in super::super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().nodes.len()).sum()
    }

    fn with<T>(&self, hash: u64, act: impl FnOnce(&mut Shard) -> Option<T>) -> Option<T> {
        // The low bits choose the place in the shard's index.
        let shard = self.shards.get((hash >> 32) as usize % self.shards.len())?;
        act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place for a new key: that of the oldest where the table is full or the oldest is expired, else a new one.
    fn make_room(&self, shard: &mut Shard, hash: u64, key: Key, now_ms: u64) -> Option<u32> {
        let oldest = shard.nodes.get(shard.oldest as usize);
        let is_over = oldest.is_some_and(|node| now_ms.saturating_sub(node.used_ms) >= self.expire_ms);
        let at = if is_over || shard.nodes.len() >= self.keys_max {
            let (at, old) = (shard.oldest, oldest?.key);
            let old_hash = self.hasher.hash_one(old);
            if let Ok(entry) = shard.index.find_entry(old_hash, |place| *place == at) {
                entry.remove();
            }
            shard.nodes.get_mut(at as usize)?.key = key;
            at
        } else {
            let at = u32::try_from(shard.nodes.len()).ok()?;
            let endpoint = EndpointId::from_bytes([0; 16]);
            shard.nodes.push(Node { key, endpoint, used_ms: now_ms, newer: NOWHERE, older: NOWHERE });
            shard.put_first(at);
            at
        };
        let Shard { index, nodes, .. } = shard;
        let rehash =
            |place: &u32| nodes.get(*place as usize).map_or(0, |node| self.hasher.hash_one(node.key));
        index.insert_unique(hash, at, rehash);
        Some(at)
    }
}

impl Shard {
    fn find(&self, hash: u64, key: &Key) -> Option<u32> {
        let is_it = |at: &u32| self.nodes.get(*at as usize).is_some_and(|node| node.key == *key);
        self.index.find(hash, is_it).copied()
    }

    fn use_now(&mut self, at: u32, endpoint: EndpointId, now_ms: u64) {
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.endpoint = endpoint;
            node.used_ms = now_ms;
        }
        if self.newest != at {
            self.take_out(at);
            self.put_first(at);
        }
    }

    fn take_out(&mut self, at: u32) {
        let Some((newer, older)) = self.nodes.get(at as usize).map(|node| (node.newer, node.older)) else {
            return;
        };
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn put_first(&mut self, at: u32) {
        let was_newest = std::mem::replace(&mut self.newest, at);
        if let Some(node) = self.nodes.get_mut(at as usize) {
            (node.newer, node.older) = (NOWHERE, was_newest);
        }
        match self.nodes.get_mut(was_newest as usize) {
            Some(node) => node.newer = at,
            None => self.oldest = at,
        }
    }
}

#[cfg(test)]
mod tests {
    use config::name::PathPrefix;

    use super::*;

    fn settings(keys_max: u32) -> Learned {
        Learned {
            header: "infid".into(),
            path: PathPrefix::parse("/infrastructures").unwrap(),
            field: 3,
            expire_seconds: 60,
            keys_max,
        }
    }

    fn key(text: &str) -> Key {
        Key::of(text.as_bytes()).unwrap()
    }

    const ONE: EndpointId = EndpointId::from_bytes([1; 16]);
    const TWO: EndpointId = EndpointId::from_bytes([2; 16]);

    #[test]
    fn the_key_is_the_field_that_haproxy_would_take() {
        let of = |path: &str| Key::of_path(path.as_bytes(), &settings(1));
        assert_eq!(of("/infrastructures/abc/vms/0"), Some(key("abc")));
        assert_eq!(of("/infrastructures/abc"), Some(key("abc")));
        for none in ["/infrastructures", "/infrastructures/", "/infrastructures//abc", "/other/abc", "/"] {
            assert_eq!(of(none), None, "{none}");
        }
        let long = "0123456789abcdef0123456789abcdef";
        assert_eq!(of(&format!("/infrastructures/{long}-and-more")), Some(key(long)));
    }

    #[test]
    fn a_key_lives_as_long_as_it_is_used() {
        let table = Table::new(&settings(10));
        table.learn(key("a"), ONE, 1);
        assert_eq!(table.find(&key("a"), 59_999), Some(ONE));
        assert_eq!(table.find(&key("a"), 119_998), Some(ONE), "its use counts");
        assert_eq!(table.find(&key("a"), 179_998), None);
        assert_eq!(table.find(&key("b"), 1), None);
        table.learn(key("a"), TWO, 200_000);
        assert_eq!(table.find(&key("a"), 200_001), Some(TWO));
    }

    #[test]
    fn the_key_used_least_recently_goes_first() {
        let table = Table::new(&settings(3));
        for text in ["a", "b", "c"] {
            table.learn(key(text), ONE, 1);
        }
        table.find(&key("a"), 2);
        table.learn(key("d"), TWO, 3);
        let found = ["a", "b", "c", "d"].map(|text| table.find(&key(text), 4));
        assert_eq!(found, [Some(ONE), None, Some(ONE), Some(TWO)]);
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn a_large_table_stays_within_its_bound_and_finds_what_is_new() {
        let table = Table::new(&settings(2_000));
        for number in 0..20_000_u64 {
            table.learn(key(&number.to_string()), ONE, number);
        }
        assert!(table.len() <= 2_000);
        assert!((19_000..20_000).all(|number| table.find(&key(&number.to_string()), 20_000).is_some()));
    }

    #[test]
    fn what_is_expired_makes_room_before_the_table_grows() {
        let table = Table::new(&settings(100));
        for number in 0..1_000_u64 {
            table.learn(key(&number.to_string()), ONE, 1 + number * 60_000);
        }
        assert_eq!(table.len(), 1);
    }
}

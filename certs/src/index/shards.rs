//! A map in 256 shards behind `Arc`s: a clone shares them, a change copies one.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

const SHARDS: usize = 256;

/// A persistent hash map.
#[derive(Clone)]
pub(super) struct Shards<K, V>(Box<[Arc<HashMap<K, V>>]>);

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        // One empty map, shared until written to.
        let empty = Arc::new(HashMap::new());
        Self((0..SHARDS).map(|_| Arc::clone(&empty)).collect())
    }
}

/// FNV-1a: only spreads; within a shard the map's own seeded hash holds against chosen names.
fn place(bytes: &[u8]) -> usize {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    (hash ^ hash >> 32) as usize % SHARDS
}

impl<K: Eq + Hash + Clone, V: Clone> Shards<K, V> {
    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + AsRef<[u8]> + ?Sized,
    {
        self.0.get(place(key.as_ref()))?.get(key)
    }

    /// Changes the value of a key, from the default if it had none; what `is_void` afterwards is taken out.
    pub(super) fn change<Q>(&mut self, key: &Q, change: impl FnOnce(&mut V), is_void: impl Fn(&V) -> bool)
    where
        K: Borrow<Q> + for<'a> From<&'a Q>,
        Q: Eq + Hash + AsRef<[u8]> + ?Sized,
        V: Default,
    {
        let Some(shard) = self.0.get_mut(place(key.as_ref())) else { return };
        let shard = Arc::make_mut(shard);
        let value = shard.entry(K::from(key)).or_default();
        change(value);
        if is_void(value) {
            shard.remove(key);
        }
    }

    pub(super) fn insert(&mut self, key: K, value: V)
    where
        K: AsRef<[u8]>,
    {
        if let Some(shard) = self.0.get_mut(place(key.as_ref())) {
            Arc::make_mut(shard).insert(key, value);
        }
    }

    /// Takes a key out. A shard without it is not copied.
    pub(super) fn remove(&mut self, key: &K) -> Option<V>
    where
        K: AsRef<[u8]>,
    {
        let shard = self.0.get_mut(place(key.as_ref()))?;
        if shard.contains_key(key) { Arc::make_mut(shard).remove(key) } else { None }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().flat_map(|shard| shard.values())
    }
}

//! A hash table in 256 shared pieces: a clone is one count, a change copies one piece.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::HashTable;

const SHARDS: usize = 256;

/// Values in shards that tables share. Whoever stores chooses shard and hash, and names them again to find.
pub(super) struct Sharded<T> {
    shards: Arc<[Arc<HashTable<T>>; SHARDS]>,
}

/// The shard of a value that is spread by its own hash.
///
/// Not the first or last byte: the table inside takes its bucket from the low bits and its tag from the high ones.
pub(super) const fn shard_of(hash: u64) -> u8 {
    hash.to_le_bytes()[4]
}

impl<T: Clone> Sharded<T> {
    /// The value in `shard` with this hash for which `is_it` holds.
    pub(super) fn find(&self, shard: u8, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        self.shards.get(usize::from(shard))?.find(hash, is_it)
    }

    /// Values with this hash in one shard, and perhaps a few with another: the caller compares.
    pub(super) fn alike(&self, shard: u8, hash: u64) -> impl Iterator<Item = &T> {
        self.shards.get(usize::from(shard)).into_iter().flat_map(move |shard| shard.iter_hash(hash))
    }

    /// The same over all shards. Cost: one probe of each.
    pub(super) fn alike_everywhere(&self, hash: u64) -> impl Iterator<Item = &T> {
        self.shards.iter().flat_map(move |shard| shard.iter_hash(hash))
    }

    /// Every value.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    #[cfg(test)]
    pub(super) fn not_shared(&self, other: &Self) -> usize {
        self.shards.iter().zip(&*other.shards).filter(|(mine, theirs)| !Arc::ptr_eq(mine, theirs)).count()
    }

    /// Adds a value beside those that are there. `rehash` tells the hash of any value again.
    pub(super) fn put(&mut self, shard: u8, hash: u64, value: T, rehash: impl Fn(&T) -> u64) {
        if let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(usize::from(shard)) {
            Arc::make_mut(shard).insert_unique(hash, value, rehash);
        }
    }

    /// Takes out the value that [`Sharded::find`] would find.
    pub(super) fn take(
        &mut self,
        shard: u8,
        hash: u64,
        is_it: impl Fn(&T) -> bool,
        rehash: impl Fn(&T) -> u64,
    ) -> Option<T> {
        // Looked for first, so that a shard without it stays shared.
        self.find(shard, hash, &is_it)?;
        let shard = Arc::make_mut(&mut self.shards).get_mut(usize::from(shard))?;
        let shard = Arc::make_mut(shard);
        let (value, _) = shard.find_entry(hash, is_it).ok()?.remove();
        // A table that has lost most of its values gives the memory back, and does not oscillate at the edge.
        if shard.capacity() > 8 && shard.len() * 4 < shard.capacity() {
            shard.shrink_to_fit(rehash);
        }
        Some(value)
    }
}

impl<T: Clone + Hash + Eq> Sharded<T> {
    /// Replaces `value` by its equal in here, so that both share one allocation; keeps it for the next one otherwise.
    pub(super) fn share(&mut self, hasher: &impl BuildHasher, value: &mut T) {
        let hash = hasher.hash_one(&*value);
        match self.find(shard_of(hash), hash, |known| known == value) {
            Some(known) => *value = known.clone(),
            None => self.put(shard_of(hash), hash, value.clone(), |known| hasher.hash_one(known)),
        }
    }
}

impl<T> Clone for Sharded<T> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone() }
    }
}

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Self { shards: Arc::new(std::array::from_fn(|_| empty.clone())) }
    }
}

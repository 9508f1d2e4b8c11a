//! The change between two snapshots. Law: `apply(a, diff(a, b)) == b`.

use crate::snapshot::{Digest, Generation, Lineage, Object, ObjectKey, Snapshot};

/// What turns one snapshot into a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The lineage of both.
    pub lineage: Lineage,
    /// The generation it starts from.
    pub base: Generation,
    /// The generation it arrives at.
    pub to: Generation,
    /// The digest of the objects it arrives at.
    pub digest: Digest,
    /// Objects that are new or changed.
    pub upserts: Vec<Object>,
    /// Objects that are gone.
    pub removals: Vec<ObjectKey>,
}

/// Why a delta does not apply; the base is untouched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum DeltaError {
    #[error(
        "the delta starts from generation {wanted} of another lineage or number; this is generation {have}"
    )]
    Base { wanted: Generation, have: Generation },
    #[error("generation {to} has digest {got:?} after the delta, and should have {wanted:?}")]
    Digest { to: Generation, wanted: Digest, got: Digest },
}

/// The change from `old` to `new`.
///
/// Cost: proportional to the shards that differ, so to the change when `new` was derived from `old`.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Delta {
    let mut upserts = Vec::new();
    let mut removals = Vec::new();
    for (before, after) in old.differing_shards(new) {
        for object in after {
            if !is_in(before, object) {
                upserts.push(object.clone());
            }
        }
        for object in before {
            if after.binary_search_by_key(&object.key(), Object::key).is_err() {
                removals.push(object.key());
            }
        }
    }
    Delta {
        lineage: new.lineage(),
        base: old.generation(),
        to: new.generation(),
        digest: new.digest(),
        upserts,
        removals,
    }
}

/// The snapshot that `delta` makes of `base`.
///
/// Errors: the delta starts elsewhere, or the result's digest is not the promised one.
/// Cost: proportional to the delta, not to the snapshot.
pub fn apply(base: &Snapshot, delta: &Delta) -> Result<Snapshot, DeltaError> {
    if base.generation() != delta.base || base.lineage() != delta.lineage {
        return Err(DeltaError::Base { wanted: delta.base, have: base.generation() });
    }
    let mut next = base.clone().numbered(delta.to);
    for key in &delta.removals {
        next.remove(*key);
    }
    for object in &delta.upserts {
        next.put(object.clone());
    }
    if next.digest() != delta.digest {
        return Err(DeltaError::Digest { to: delta.to, wanted: delta.digest, got: next.digest() });
    }
    Ok(next)
}

fn is_in(shard: &[Object], object: &Object) -> bool {
    shard
        .binary_search_by_key(&object.key(), Object::key)
        .ok()
        .and_then(|place| shard.get(place))
        .is_some_and(|old| old == object)
}

//! The whole desired state of a gateway at one generation.
//!
//! A snapshot is a set of objects, each (kind, id, bytes). Objects keep the bytes they came in, so a gateway that is
//! older than control stores and digests fields and kinds it does not know. The set is 256 sorted shards behind
//! `Arc`s: a clone is cheap, a change copies one shard, and two snapshots share what they have in common.
//!
//! The model — what the bytes mean — is in [`object`].

pub mod balancing;
pub mod check;
pub mod console;
pub mod filters;
pub mod forward;
pub mod matchers;
pub mod object;
pub mod ssh;
pub mod tls;

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use balancing::{
    ActiveCheck, Balance, ClientIdentity, Ejection, HashKey, Learned, Probe, Protocol, ProxyProtocol,
    RetryPolicy, Sticky, UpstreamPolicy, UpstreamTls, Verify,
};
pub use check::Invalid;
pub use console::{Console, ConsoleKind, ConsoleWire, TicketAuthority};
pub use filters::{
    BasicAuth, BasicUser, Content, Edit, ErrorPage, FieldEdit, Filters, Maintenance, PathRewrite, RateKey,
    RateLimit, Timeouts,
};
pub use forward::{Forward, Ports, Transport};
pub use matchers::{Matchers, Test, ValueMatch};
pub use object::{
    Action, Endpoint, FlowPolicy, Identity, Principal, Redirect, Respond, Route, Service, Upstream, Value, Vm,
};
pub use ssh::{
    PinState, PinnedKey, SshAccess, SshGate, SshGrant, SshHostKey, SshHostKeyPin, SshKey, SshScope,
    SshUserCa, Until,
};
pub use tls::{
    Challenge, ChallengeAnswer, ClientCertificates, CookieKey, TicketKey, TlsMode, TlsPolicy, TlsVersion,
};

/// Number of a snapshot: strictly increasing within a lineage, allocated in the transaction of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Random mark of a database, new at every restore: generations of different lineages do not compare (DESIGN D3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Lineage(pub [u8; 16]);

/// Order-free digest of a set of objects: the sum, modulo 2^64 in each of four lanes, of a SHA-256 per object.
///
/// Detects damage and disagreement, not forgery: the stream is authenticated and the checkpoint is sealed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(pub [u64; 4]);

impl Digest {
    fn add(&mut self, other: Self) {
        for (lane, more) in self.0.iter_mut().zip(other.0) {
            *lane = lane.wrapping_add(more);
        }
    }

    fn remove(&mut self, other: Self) {
        for (lane, less) in self.0.iter_mut().zip(other.0) {
            *lane = lane.wrapping_sub(less);
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|lane| write!(f, "{lane:016x}"))
    }
}

/// What sort of thing an object is; the numbers are the wire's and never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// A [`Route`].
    pub const ROUTE: Self = Self(1);
    /// A [`Vm`].
    pub const VM: Self = Self(2);
    /// A [`Principal`].
    pub const PRINCIPAL: Self = Self(3);
    /// An [`Identity`].
    pub const IDENTITY: Self = Self(4);
    /// An [`SshHostKey`].
    pub const SSH_HOST_KEY: Self = Self(5);
    /// A [`Challenge`].
    pub const CHALLENGE: Self = Self(6);
    /// A [`TicketKey`].
    pub const TICKET_KEY: Self = Self(7);
    /// A [`CookieKey`].
    pub const COOKIE_KEY: Self = Self(8);
    /// A [`Forward`].
    pub const FORWARD: Self = Self(9);
    /// A [`Console`].
    pub const CONSOLE: Self = Self(10);
    /// A [`TicketAuthority`].
    pub const TICKET_AUTHORITY: Self = Self(11);
    /// An [`SshUserCa`].
    pub const SSH_USER_CA: Self = Self(12);
    /// An [`SshHostKeyPin`].
    pub const SSH_HOST_KEY_PIN: Self = Self(13);
    /// The [`SshGate`].
    pub const SSH_GATE: Self = Self(14);
}

/// Name of an object inside a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// What it is.
    pub kind: Kind,
    /// The 16 bytes of its typed id.
    pub id: [u8; 16],
}

impl ObjectKey {
    /// UUIDv7 ends in random bits, so the last byte spreads evenly.
    const fn shard(&self) -> usize {
        self.id[15] as usize
    }
}

/// One object: its key and the bytes it came in.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    key: ObjectKey,
    bytes: Arc<[u8]>,
}

impl Object {
    /// Takes an object as received; [`Object::decode`] reads it.
    pub fn new(key: ObjectKey, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { key, bytes: bytes.into() }
    }

    /// Its key.
    pub const fn key(&self) -> ObjectKey {
        self.key
    }

    /// Its bytes, as received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update([self.key.kind.0]);
        hash.update(self.key.id);
        hash.update(&self.bytes);
        let mut digest = Digest::default();
        for (lane, chunk) in digest.0.iter_mut().zip(hash.finalize().chunks_exact(8)) {
            *lane = chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        digest
    }
}

impl fmt::Debug for Object {
    // The bytes may hold a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({:?}, {} bytes)", self.key, self.bytes.len())
    }
}

const SHARDS: usize = 256;

type Shard = Arc<Vec<Object>>;

/// The whole desired state of one generation. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    lineage: Lineage,
    generation: Generation,
    digest: Digest,
    len: usize,
    shards: Box<[Shard]>,
}

impl Snapshot {
    /// A snapshot with nothing in it.
    pub fn empty(lineage: Lineage, generation: Generation) -> Self {
        Self {
            lineage,
            generation,
            digest: Digest::default(),
            len: 0,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        }
    }

    /// A snapshot of these objects; the last of several with one key wins.
    pub fn of(lineage: Lineage, generation: Generation, objects: impl IntoIterator<Item = Object>) -> Self {
        let mut snapshot = Self::empty(lineage, generation);
        for object in objects {
            snapshot.put(object);
        }
        snapshot
    }

    /// The database this state belongs to.
    pub const fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Its number.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The digest of its objects; generation and lineage are not part of it.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// How many objects it holds.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The same objects under another number.
    #[must_use]
    pub fn numbered(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// Finds one object.
    pub fn get(&self, key: ObjectKey) -> Option<&Object> {
        let shard = self.shards.get(key.shard())?;
        shard.get(shard.binary_search_by_key(&key, Object::key).ok()?)
    }

    /// Every object, in no particular order.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// Adds or replaces one object. Cost: one shard is copied if it is shared.
    pub fn put(&mut self, object: Object) {
        let added = object.digest();
        let Some(shard) = self.shards.get_mut(object.key.shard()) else { return };
        let shard = Arc::make_mut(shard);
        match shard.binary_search_by_key(&object.key, Object::key) {
            Ok(found) => {
                if let Some(old) = shard.get_mut(found) {
                    self.digest.remove(old.digest());
                    *old = object;
                }
            }
            Err(place) => {
                // By an eighth, not by doubling: a shard is as large as the state, and seldom grows.
                if shard.len() == shard.capacity() {
                    shard.reserve_exact(shard.len() / 8 + 1);
                }
                shard.insert(place, object);
                self.len += 1;
            }
        }
        self.digest.add(added);
    }

    /// Takes one object out; `None` if it was not there.
    pub fn remove(&mut self, key: ObjectKey) -> Option<Object> {
        let shard = self.shards.get_mut(key.shard())?;
        let place = shard.binary_search_by_key(&key, Object::key).ok()?;
        let old = Arc::make_mut(shard).remove(place);
        self.digest.remove(old.digest());
        self.len -= 1;
        Some(old)
    }

    /// Pairs of shards that are not the same allocation: what a comparison has to look at.
    pub(crate) fn differing_shards<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a [Object], &'a [Object])> {
        self.shards
            .iter()
            .zip(&other.shards)
            .filter(|(mine, theirs)| !Arc::ptr_eq(mine, theirs))
            .map(|(mine, theirs)| (mine.as_slice(), theirs.as_slice()))
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.lineage == other.lineage
            && self.generation == other.generation
            && self.digest == other.digest
            && self.len == other.len
            && self.differing_shards(other).all(|(mine, theirs)| mine == theirs)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot(generation {}, {} objects, {:?})", self.generation, self.len, self.digest)
    }
}

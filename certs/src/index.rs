//! SNI to identity: exact name, then one-label wildcard, then the default.
//!
//! The index is immutable and one generation's. Its maps are 256 shards behind `Arc`s, so the index of the next
//! generation costs what changed, not what there is.

mod shards;

use std::collections::BTreeMap;
use std::sync::Arc;

use config::delta::Delta;
use config::id::IdentityId;
use config::name::HostPattern;
use config::snapshot::{Identity, Kind, Object, ObjectKey, Snapshot, Value};
use rustls::sign::CertifiedKey;

use crate::identity::{Parts, Ready};
use crate::self_signed;
use shards::Shards;

/// Identities that serve one name, the one in use first.
type Candidates = Vec<Arc<Ready>>;

/// Finds an identity for a server name. Immutable; one generation's. Cheap to clone.
#[derive(Clone)]
pub struct CertIndex {
    exact: Shards<Box<str>, Candidates>,
    wildcard: Shards<Box<str>, Candidates>,
    catch_all: Candidates,
    by_id: Shards<[u8; 16], Arc<Ready>>,
    /// What is wrong with an identity, by its id: few, or somebody would have looked.
    faults: Arc<BTreeMap<[u8; 16], Vec<String>>>,
    fallback: Option<Arc<CertifiedKey>>,
}

impl CertIndex {
    /// Indexes the identities of a snapshot.
    ///
    /// Also returns what is wrong, each naming its identity: one that cannot be served is left out alone, one whose
    /// leaf does not cover a name serves it all the same, since control wrote it so.
    pub fn build(snapshot: &Snapshot) -> (Self, Vec<String>) {
        let mut index = Self::fallback();
        for object in snapshot.objects() {
            index.add(object);
        }
        let degraded = index.degraded();
        (index, degraded)
    }

    /// The index of `new`, made from this one, which is `old`'s.
    ///
    /// Returns what is wrong, as [`CertIndex::build`] does, with identities that did not change too. Cost: the delta's
    /// identities, and a copy of the shards they touch; a clone of 769 pointers when no identity changed.
    pub fn rebuild(&self, old: &Snapshot, new: &Snapshot, delta: &Delta) -> (Self, Vec<String>) {
        // A delta that does not lead from one to the other says nothing about their difference.
        if (delta.base, delta.to) != (old.generation(), new.generation()) {
            return Self::build(new);
        }
        let mut index = self.clone();
        for key in &delta.removals {
            index.remove(*key);
        }
        for object in &delta.upserts {
            index.remove(object.key());
            index.add(object);
        }
        let degraded = index.degraded();
        (index, degraded)
    }

    /// An index with nothing but a throw-away identity of `gatehouse.invalid`, which is what any client is shown when
    /// nothing matches.
    pub fn fallback() -> Self {
        Self {
            exact: Shards::default(),
            wildcard: Shards::default(),
            catch_all: Vec::new(),
            by_id: Shards::default(),
            faults: Arc::default(),
            fallback: throw_away(),
        }
    }

    /// The chain and key for a server name: exact, then one-label wildcard, then the default, then the throw-away one.
    ///
    /// `sni` is lower-case, as rustls gives it. Allocates nothing. `None` only when the system had no randomness for
    /// the throw-away identity.
    pub fn find(&self, sni: Option<&str>) -> Option<Arc<CertifiedKey>> {
        match self.identity(sni) {
            Some(ready) => Some(Arc::clone(&ready.certified)),
            None => self.fallback.clone(),
        }
    }

    /// Whether two names are served by the same identity: a request for `host` may use a connection made for `sni`.
    ///
    /// Two names that only the default serves are of the same trust. Both are lower-case, without port.
    pub fn same_identity(&self, sni: &str, host: &str) -> bool {
        match (self.identity(Some(sni)), self.identity(Some(host))) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The identity that serves a name, if any was made for it or for every name.
    pub fn identity(&self, sni: Option<&str>) -> Option<&Arc<Ready>> {
        sni.and_then(|name| self.named(name)).or_else(|| self.catch_all.first())
    }

    /// Whether an identity was made for this name, by an exact name or a wildcard.
    pub fn knows(&self, sni: &str) -> bool {
        self.named(sni).is_some()
    }

    /// Every identity that can be served, in no particular order.
    pub fn identities(&self) -> impl Iterator<Item = &Arc<Ready>> {
        self.by_id.values()
    }

    /// How many identities can be served.
    pub fn len(&self) -> usize {
        self.by_id.values().count()
    }

    /// Whether nothing but the throw-away identity can be served.
    pub fn is_empty(&self) -> bool {
        self.by_id.values().next().is_none()
    }

    fn named(&self, name: &str) -> Option<&Arc<Ready>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Some(found) = self.exact.get(name).and_then(|found| found.first()) {
            return Some(found);
        }
        let (_, suffix) = name.split_once('.')?;
        self.wildcard.get(suffix)?.first()
    }

    fn degraded(&self) -> Vec<String> {
        self.faults.values().flatten().cloned().collect()
    }

    fn add(&mut self, object: &Object) {
        if object.key().kind != Kind::IDENTITY {
            return;
        }
        match object.decode() {
            Ok(Value::Identity(identity)) => self.add_identity(&identity),
            Ok(
                Value::Route(_)
                | Value::Vm(_)
                | Value::Principal(_)
                | Value::SshHostKey(_)
                | Value::Challenge(_)
                | Value::TicketKey(_)
                | Value::CookieKey(_)
                | Value::Forward(_)
                | Value::Console(_)
                | Value::TicketAuthority(_)
                | Value::SshUserCa(_)
                | Value::SshHostKeyPin(_)
                | Value::SshGate(_)
                | Value::Unknown,
            ) => {}
            Err(error) => self.fault(object.key(), &[], &error.why),
        }
    }

    fn add_identity(&mut self, identity: &Identity) {
        let key = ObjectKey { kind: Kind::IDENTITY, id: identity.id.to_bytes() };
        let ready = match Ready::of(identity) {
            Ok(ready) => Arc::new(ready),
            Err(error) => return self.fault(key, &identity.names, &error.to_string()),
        };
        for name in ready.uncovered() {
            self.fault(key, &ready.names, &format!("its certificate is not valid for {name}"));
        }
        for name in &ready.names {
            self.change(name, |candidates| enlist(candidates, &ready));
        }
        self.by_id.insert(key.id, ready);
    }

    fn remove(&mut self, key: ObjectKey) {
        if key.kind != Kind::IDENTITY {
            return;
        }
        if self.faults.contains_key(&key.id) {
            Arc::make_mut(&mut self.faults).remove(&key.id);
        }
        let Some(old) = self.by_id.remove(&key.id) else { return };
        for name in &old.names {
            self.change(name, |candidates| candidates.retain(|one| one.id != old.id));
        }
    }

    fn fault(&mut self, key: ObjectKey, names: &[HostPattern], why: &str) {
        let id = IdentityId::from_bytes(key.id);
        let fault = match names.first() {
            Some(name) => format!("identity {id} ({name}): {why}"),
            None => format!("identity {id}: {why}"),
        };
        Arc::make_mut(&mut self.faults).entry(key.id).or_default().push(fault);
    }

    fn change(&mut self, name: &HostPattern, change: impl FnOnce(&mut Candidates)) {
        match name {
            HostPattern::Exact(name) => self.exact.change(name.as_str(), change, Vec::is_empty),
            HostPattern::Wildcard(suffix) => self.wildcard.change(suffix.as_str(), change, Vec::is_empty),
            HostPattern::CatchAll => change(&mut self.catch_all),
        }
    }
}

impl Default for CertIndex {
    fn default() -> Self {
        Self::fallback()
    }
}

impl std::fmt::Debug for CertIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CertIndex({} identities)", self.len())
    }
}

/// Of several identities for a name a preferred one serves it, then the one that lasts longest, then the newer one: which
/// it is does not depend on the order of arrival.
fn enlist(candidates: &mut Candidates, ready: &Arc<Ready>) {
    if candidates.iter().any(|one| one.id == ready.id) {
        return;
    }
    let rank = |one: &Ready| (one.preferred, one.validity.not_after, one.id);
    let place = candidates.partition_point(|one| rank(one) > rank(ready));
    candidates.insert(place, Arc::clone(ready));
}

fn throw_away() -> Option<Arc<CertifiedKey>> {
    let leaf = self_signed::throw_away().ok()?;
    Parts::parse(&leaf.chain, leaf.key.expose()).ok().map(|parts| parts.certified)
}

#[cfg(test)]
mod tests;

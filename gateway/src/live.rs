//! The generation in force: one immutable world behind one swap.

mod unusable;

use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwapOption, Cache};
use certs::CertIndex;
use config::delta::Delta;
use config::snapshot::{Kind, Snapshot, Value};
use config::table::{Conflicts, RouteTable};

use crate::forward::Forwards;
use crate::ssh::{HostKeys, Offers};
use crate::tls::rules::Rules;
use crate::upstream::sticky::Seal;
use unusable::Unusable;

/// Everything of one generation, compiled.
pub struct Live {
    /// What it was compiled from.
    pub snapshot: Arc<Snapshot>,
    /// Routes and jumps.
    pub table: RouteTable,
    /// Identities by SNI.
    pub certs: Arc<CertIndex>,
    /// What handshakes are asked, by name.
    pub(crate) tls: Arc<Rules>,
    /// What the SSH listener offers: by whom it was asked, with the host keys of this generation. `None` without any.
    pub(crate) ssh: Option<Arc<Offers>>,
    /// Seals sticky cookies; every gateway has the key, so that each reads those of the others.
    pub(crate) seal: Option<Arc<Seal>>,
    /// Port forwards.
    pub forwards: Arc<Forwards>,
    key_faults: Arc<[String]>,
    unusable: Unusable,
}

impl Live {
    /// Compiles a whole snapshot. Cost: proportional to its size.
    ///
    /// Also returns what is wrong in it without making it useless: identities, host keys, challenges, ticket keys and
    /// upstreams' authorities that cannot be read, and routes that nobody's certificate opens; each named.
    ///
    /// Errors: routes that exclude each other, or objects that cannot be read.
    pub fn compile(snapshot: Arc<Snapshot>) -> Result<(Self, Vec<String>), Conflicts> {
        let table = RouteTable::compile(&snapshot)?;
        let (certs, degraded) = CertIndex::build(&snapshot);
        let (ssh, key_faults) = ssh(&snapshot);
        let seal = seal(&snapshot);
        let tls = Arc::new(Rules::compile(&snapshot, &table));
        let unusable = Unusable::of(&table);
        let forwards = Arc::new(Forwards::compile(&snapshot));
        let certs = Arc::new(certs);
        let live = Self { snapshot, table, certs, tls, ssh, seal, forwards, key_faults, unusable };
        let degraded = live.with_other_faults(degraded);
        Ok((live, degraded))
    }

    /// Compiles the snapshot that `delta` makes of this one's. Cost: proportional to the delta.
    ///
    /// Returns and errors: as [`Live::compile`], with what is wrong in parts that did not change too.
    pub fn recompile(
        &self,
        snapshot: Arc<Snapshot>,
        delta: &Delta,
    ) -> Result<(Self, Vec<String>), Conflicts> {
        let table = self.table.recompile(&self.snapshot, &snapshot, delta)?;
        let (certs, degraded) = self.certs.rebuild(&self.snapshot, &snapshot, delta);
        let (ssh, key_faults) = if touches(delta, Kind::SSH_HOST_KEY) {
            ssh(&snapshot)
        } else {
            (self.ssh.clone(), Arc::clone(&self.key_faults))
        };
        let seal = if touches(delta, Kind::COOKIE_KEY) { seal(&snapshot) } else { self.seal.clone() };
        let tls = Arc::new(self.tls.recompile(&self.snapshot, &snapshot, &table, delta));
        let unusable = self.unusable.after(&snapshot, delta);
        let forwards = Arc::new(self.forwards.recompile(&self.snapshot, &snapshot, delta));
        let certs = Arc::new(certs);
        let live = Self { snapshot, table, certs, tls, ssh, seal, forwards, key_faults, unusable };
        let degraded = live.with_other_faults(degraded);
        Ok((live, degraded))
    }

    fn with_other_faults(&self, mut degraded: Vec<String>) -> Vec<String> {
        degraded.extend(self.tls.degraded());
        degraded.extend(self.key_faults.iter().cloned());
        degraded.extend(self.unusable.told());
        degraded
    }
}

fn touches(delta: &Delta, kind: Kind) -> bool {
    delta
        .upserts
        .iter()
        .map(|object| object.key())
        .chain(delta.removals.iter().copied())
        .any(|key| key.kind == kind)
}

/// What the SSH listener offers with the host keys of a snapshot, and what is wrong with the keys it does not use.
fn ssh(snapshot: &Snapshot) -> (Option<Arc<Offers>>, Arc<[String]>) {
    let (keys, faults) = HostKeys::of(snapshot);
    (Offers::with(&keys).map(Arc::new), faults.into())
}

/// What sticky cookies are sealed with: the key with the lowest id. Without one each process has its own.
fn seal(snapshot: &Snapshot) -> Option<Arc<Seal>> {
    let keys = snapshot.objects().filter(|object| object.key().kind == Kind::COOKIE_KEY);
    // What cannot be decoded was refused with the table.
    let Ok(Value::CookieKey(key)) = keys.min_by_key(|object| object.key())?.decode() else { return None };
    Some(Arc::new(Seal::of(key.secret.expose())))
}

/// The one place where the generation in force stands. Empty until a first one arrives. A clone is the same place.
#[derive(Clone, Default)]
pub struct Current(Arc<ArcSwapOption<Live>>);

impl Current {
    /// A reader that checks for a move without touching a shared reference count.
    pub(crate) fn cache(&self) -> LiveCache {
        LiveCache { cache: Cache::new(Arc::clone(&self.0)), pinned: None }
    }

    /// Pins the generation in force: what the caller holds does not change under it.
    pub fn pin(&self) -> Option<Arc<Live>> {
        self.0.load_full()
    }

    /// Puts a generation in force. Requests that pinned the one before end on it.
    pub fn replace(&self, live: Arc<Live>) -> Option<Arc<Live>> {
        self.0.swap(Some(live))
    }
}

/// A generation pinned by one worker thread for one request, handshake or channel. Cheap to clone: the count is the
/// thread's own.
#[derive(Clone)]
#[expect(clippy::redundant_allocation, reason = "a clone of the inner one touches a count all threads share")]
pub struct Pinned(Rc<Arc<Live>>);

impl Pinned {
    /// Whether both are one generation.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A mark of this generation that does not hold it, and is no other's as long as it exists.
    pub(crate) fn downgrade(&self) -> Weak<Live> {
        Arc::downgrade(&self.0)
    }

    /// Whether the mark is of this generation.
    pub(crate) fn is_weak(&self, mark: &Weak<Live>) -> bool {
        std::ptr::eq(mark.as_ptr(), Arc::as_ptr(&self.0))
    }
}

impl Deref for Pinned {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

/// One thread's view of [`Current`].
pub(crate) struct LiveCache {
    cache: Cache<Arc<ArcSwapOption<Live>>, Option<Arc<Live>>>,
    pinned: Option<Pinned>,
}

impl LiveCache {
    /// The generation in force, `None` before the first.
    pub(crate) fn pin(&mut self) -> Option<Pinned> {
        let newest = self.cache.load().as_ref()?;
        match &self.pinned {
            Some(pinned) if Arc::ptr_eq(&pinned.0, newest) => Some(pinned.clone()),
            Some(_) | None => {
                let pinned = Pinned(Rc::new(Arc::clone(newest)));
                self.pinned = Some(pinned.clone());
                Some(pinned)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::delta::diff;
    use config::id::KeyId;
    use config::secret::Secret;
    use config::snapshot::{Generation, Lineage, Object, SshHostKey};
    use russh::keys::PrivateKey;

    fn host_key(id: u8, pem: &str) -> Object {
        let id = KeyId::from_bytes([id; 16]);
        Object::encode(&Value::SshHostKey(SshHostKey {
            id,
            private_pem: Secret::new(pem.into()),
            is_next: false,
            certificate: None,
        }))
        .unwrap()
    }

    fn pem() -> String {
        let key = PrivateKey::random(&mut rand::rng(), russh::keys::Algorithm::Ed25519).unwrap();
        key.to_openssh(russh::keys::ssh_key::LineEnding::LF).unwrap().to_string()
    }

    fn snapshot(generation: u64, objects: impl IntoIterator<Item = Object>) -> Arc<Snapshot> {
        Arc::new(Snapshot::of(Lineage::default(), Generation(generation), objects))
    }

    #[test]
    fn a_host_key_that_cannot_be_read_degrades_alone() {
        let (live, degraded) =
            Live::compile(snapshot(1, [host_key(1, &pem()), host_key(2, "no key")])).unwrap();
        assert!(live.ssh.is_some());
        assert_eq!(degraded.len(), 1);
        assert!(degraded[0].starts_with("ssh host key 02020202-"), "{degraded:?}");
    }

    #[test]
    fn a_delta_without_host_keys_keeps_them_and_what_is_wrong_with_them() {
        let (old, _) = Live::compile(snapshot(1, [host_key(1, &pem()), host_key(2, "no key")])).unwrap();
        let next = Arc::new(Snapshot::clone(&old.snapshot).numbered(Generation(2)));

        let delta = diff(&old.snapshot, &next);
        let (live, degraded) = old.recompile(next, &delta).unwrap();

        assert!(Arc::ptr_eq(live.ssh.as_ref().unwrap(), old.ssh.as_ref().unwrap()));
        assert_eq!(degraded.len(), 1);
    }

    fn cookie_key(id: u8, secret: u8) -> Object {
        let secret = Secret::new(vec![secret; 32]);
        let key = config::snapshot::CookieKey { id: KeyId::from_bytes([id; 16]), secret };
        Object::encode(&Value::CookieKey(key)).unwrap()
    }

    #[test]
    fn cookies_are_sealed_with_their_own_key_and_a_new_host_key_changes_nothing() {
        let endpoint = config::id::EndpointId::from_bytes([1; 16]);
        let route = config::id::RouteId::from_bytes([2; 16]);
        let opens = |live: &Live, value: &str| {
            live.seal.as_ref().unwrap().key(route).unwrap().open(value.as_bytes(), 1).is_some()
        };
        let (old, _) = Live::compile(snapshot(1, [host_key(1, &pem()), cookie_key(1, 7)])).unwrap();
        let value = old.seal.as_ref().unwrap().key(route).unwrap().seal(endpoint, 0).unwrap();
        let step = |live: &Live, objects: Vec<Object>| {
            let next = snapshot(live.snapshot.generation().0 + 1, objects);
            let delta = diff(&live.snapshot, &next);
            live.recompile(next, &delta).unwrap().0
        };
        let other_host = step(&old, vec![host_key(3, &pem()), cookie_key(1, 7)]);
        assert!(opens(&other_host, &value));
        let (elsewhere, _) = Live::compile(snapshot(9, [cookie_key(1, 7)])).unwrap();
        assert!(opens(&elsewhere, &value), "another gateway has the same key");
        let other_key = step(&other_host, vec![host_key(3, &pem()), cookie_key(1, 8)]);
        assert!(!opens(&other_key, &value));
        let none = step(&other_key, vec![host_key(3, &pem())]);
        assert!(none.seal.is_none(), "nothing else takes its place");
    }

    #[test]
    fn a_pin_is_the_same_until_the_generation_moves() {
        let current = Current::default();
        let mut cache = current.cache();
        assert!(cache.pin().is_none());

        current.replace(Arc::new(Live::compile(snapshot(1, [])).unwrap().0));
        let first = cache.pin().unwrap();
        assert!(Rc::ptr_eq(&first.0, &cache.pin().unwrap().0));

        current.replace(Arc::new(Live::compile(snapshot(2, [])).unwrap().0));
        assert_eq!(cache.pin().unwrap().snapshot.generation(), Generation(2));
        assert_eq!(first.snapshot.generation(), Generation(1), "what was pinned does not move");
    }
}

//! The generation in force: one immutable world behind one swap.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Cache};
use certs::CertIndex;
use config::snapshot::Snapshot;
use config::table::RouteTable;

/// Everything of one generation, compiled.
pub struct Live {
    /// What it was compiled from.
    pub snapshot: Arc<Snapshot>,
    /// Routes and jumps.
    pub table: RouteTable,
    /// Identities by SNI.
    pub certs: Arc<CertIndex>,
    /// The SSH listener's host keys, parsed.
    pub host_keys: Arc<[russh::keys::PrivateKey]>,
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
#[expect(
    clippy::redundant_allocation,
    reason = "cloning the inner one would touch a count all threads share"
)]
pub struct Pinned(Rc<Arc<Live>>);

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

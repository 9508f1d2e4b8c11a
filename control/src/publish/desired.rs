//! The desired state in memory: snapshot and compiled table of the newest generation, and the ones before it.
//!
//! A change is staged (compiled, proved free of conflicts), committed to the database by the caller and then installed.
//! The caller holds the writers' lock from `stage` to `install`: this module orders nothing by itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use config::delta::Delta;
use config::limits::GENERATIONS_KEPT_MAX;
use config::snapshot::{Generation, Object, ObjectKey, Snapshot, Value};
use config::sync::message::Have;
use config::table::{Conflicts, RouteTable};
use tokio::sync::watch;

/// One generation: what is wanted, and its compiled form.
#[derive(Clone)]
pub struct State {
    /// The objects.
    pub snapshot: Arc<Snapshot>,
    /// What look-ups and `explain` use.
    pub table: RouteTable,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.snapshot.fmt(f)
    }
}

/// A compiled generation that is not in force yet.
#[derive(Debug)]
#[must_use = "a staged generation is not in force until it is installed"]
pub struct Staged {
    state: Arc<State>,
}

/// The newest generation and the kept ones.
#[derive(Debug)]
pub struct Desired {
    current: watch::Sender<Arc<State>>,
    kept: Mutex<VecDeque<Arc<Snapshot>>>,
}

impl Desired {
    /// Starts from a whole snapshot. Cost: proportional to it.
    ///
    /// Errors: it does not compile.
    pub fn new(snapshot: Snapshot) -> Result<Self, Conflicts> {
        let table = RouteTable::compile(&snapshot)?;
        let snapshot = Arc::new(snapshot);
        let kept = Mutex::new(VecDeque::from([Arc::clone(&snapshot)]));
        Ok(Self { current: watch::Sender::new(Arc::new(State { snapshot, table })), kept })
    }

    /// The generation in force.
    pub fn current(&self) -> Arc<State> {
        Arc::clone(&self.current.borrow())
    }

    /// Told of each newer generation; a burst is seen as its last.
    pub fn subscribe(&self) -> watch::Receiver<Arc<State>> {
        self.current.subscribe()
    }

    /// Compiles `generation` from the one in force. Cost: proportional to the change.
    ///
    /// Errors: it does not compile; nothing changed.
    pub fn stage(
        &self,
        generation: Generation,
        upserts: &[Value],
        removals: &[ObjectKey],
    ) -> Result<Staged, Conflicts> {
        let old = self.current();
        let mut next = Snapshot::clone(&old.snapshot).numbered(generation);
        let removals: Vec<_> = removals.iter().copied().filter(|key| next.remove(*key).is_some()).collect();
        let upserts: Vec<_> = upserts.iter().filter_map(Object::encode).collect();
        for object in &upserts {
            next.put(object.clone());
        }
        let delta = Delta {
            lineage: next.lineage(),
            base: old.snapshot.generation(),
            to: generation,
            digest: next.digest(),
            upserts,
            removals,
        };
        let table = old.table.recompile(&old.snapshot, &next, &delta)?;
        Ok(Staged { state: Arc::new(State { snapshot: Arc::new(next), table }) })
    }

    /// Puts a staged generation in force and wakes the publishers.
    pub fn install(&self, staged: Staged) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == GENERATIONS_KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&staged.state.snapshot));
        self.current.send_replace(staged.state);
    }

    /// The kept snapshot that a gateway says it has; `None` when it is too old, of another lineage or damaged.
    pub fn base(&self, have: Have) -> Option<Arc<Snapshot>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().rev().find(|snapshot| snapshot.generation() == have.generation)?;
        (found.lineage() == have.lineage && found.digest() == have.digest).then(|| Arc::clone(found))
    }
}

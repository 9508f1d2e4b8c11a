//! One worker: an OS thread with a single-threaded runtime, its own listeners' sockets, upstream pool and buffers.
//!
//! [`Shared`] is what all workers have in common (an `Arc`, only atomics, the live swap and the registries inside);
//! [`Worker`] is one thread's own (an `Rc`, never sent).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use config::settings;

use crate::drain::Drain;
use crate::guard::Guard;
use crate::live::{Current, LiveCache, Pinned};
use crate::session::Sessions;
use crate::telemetry::Metrics;

/// What all workers have in common.
pub struct Shared {
    /// The checked settings.
    pub settings: settings::Gateway,
    /// The generation in force.
    pub current: Current,
    /// Admission: connections, handshakes, sessions.
    pub guard: Arc<Guard>,
    /// Open tunnels and jumps.
    pub sessions: Arc<Sessions>,
    /// Whether the process is on its way out.
    pub drain: Drain,
    /// Counters.
    pub metrics: Metrics,
    /// Every address this gateway listens on: never dialled (INVENTORY 2.2, rule 3).
    pub own_addresses: ArcSwap<Vec<SocketAddr>>,
}

/// One worker thread's own.
pub struct Worker {
    /// What all workers have in common.
    pub shared: Arc<Shared>,
    /// Number of the thread, from 0.
    pub index: usize,
    /// This thread's upstream connections and resolver answers.
    pub upstream: crate::upstream::Upstreams,
    /// This thread's buffers.
    pub buffers: crate::relay::Buffers,
    live: RefCell<LiveCache>,
}

impl Worker {
    /// The generation in force, from this thread's cache: no shared reference count is touched unless it moved.
    pub fn pin(&self) -> Option<Pinned> {
        self.live.borrow_mut().pin()
    }
}

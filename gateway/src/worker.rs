//! One worker: an OS thread with a single-threaded runtime, its own listeners' sockets, upstream pool and buffers.
//!
//! [`Shared`] is what all workers have in common (an `Arc`, only atomics, the live swap and the registries inside);
//! [`Worker`] is one thread's own (an `Rc`, never sent).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use config::{limits, settings};
use tokio::sync::Semaphore;

use crate::drain::Drain;
use crate::guard::Guard;
use crate::live::{Current, LiveCache, Pinned};
use crate::session::Sessions;
use crate::telemetry::{Access, Counters, Metrics};

/// What all workers have in common.
pub struct Shared {
    /// The checked settings.
    pub settings: settings::Gateway,
    /// The generation in force.
    pub current: Current,
    /// Admission: connections, sessions.
    pub guard: Arc<Guard>,
    /// Open tunnels and jumps.
    pub sessions: Arc<Sessions>,
    /// Room for SSH connections that have not authenticated yet.
    pub ssh_unauthenticated: Arc<Semaphore>,
    /// Whether the process is on its way out.
    pub drain: Drain,
    /// Counters.
    pub metrics: Metrics,
    /// Where access records go.
    pub access: Access,
    /// What TLS handshakes are made with.
    pub tls: crate::tls::Acceptor,
    /// Every address this gateway listens on: never dialled (INVENTORY 2.2, rule 3).
    pub own_addresses: ArcSwap<Vec<SocketAddr>>,
}

impl Shared {
    /// What `workers` threads are to have in common; nothing in force, nothing open.
    pub fn new(settings: settings::Gateway, workers: usize) -> Arc<Self> {
        let current = Current::default();
        Arc::new(Self {
            settings,
            tls: crate::tls::Acceptor::new(current.clone()),
            current,
            guard: Arc::default(),
            sessions: Arc::default(),
            ssh_unauthenticated: Arc::new(Semaphore::new(limits::SSH_UNAUTHENTICATED_MAX)),
            drain: Drain::default(),
            metrics: Metrics::new(workers),
            access: Access::default(),
            own_addresses: ArcSwap::default(),
        })
    }
}

/// One worker thread's own.
pub struct Worker {
    /// What all workers have in common.
    pub shared: Arc<Shared>,
    /// Number of the thread, from 0.
    pub index: usize,
    /// This thread's counters.
    pub counters: Arc<Counters>,
    /// Room for TLS handshakes of this thread: a flood of hellos must not starve traffic.
    pub handshakes: Arc<Semaphore>,
    /// This thread's upstream connections and resolver answers.
    pub upstream: crate::upstream::Upstreams,
    /// This thread's buffers.
    pub buffers: crate::buffers::Buffers,
    live: RefCell<LiveCache>,
}

impl Worker {
    /// The state of worker number `index`; to be called on its own thread.
    pub fn new(shared: Arc<Shared>, index: usize) -> Rc<Self> {
        Rc::new(Self {
            counters: shared.metrics.shard(index),
            handshakes: Arc::new(Semaphore::new(limits::HANDSHAKES_PER_WORKER_MAX)),
            upstream: crate::upstream::Upstreams::default(),
            buffers: crate::buffers::Buffers::default(),
            live: RefCell::new(shared.current.cache()),
            shared,
            index,
        })
    }

    /// The generation in force, from this thread's cache: no shared reference count is touched unless it moved.
    pub fn pin(&self) -> Option<Pinned> {
        self.live.borrow_mut().pin()
    }
}

/// Parts for the tests of other modules.
#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;
    use std::rc::Rc;
    use std::time::Duration;

    use config::settings::{Gateway, Level, Log, LogFormat, Mode, Retention, Rotation};

    use super::{Shared, Worker};

    /// Settings of a gateway on `dir` that listens nowhere and knows no control.
    pub(crate) fn settings(dir: &Path) -> Gateway {
        Gateway {
            data: dir.to_path_buf(),
            http: Vec::new(),
            https: Vec::new(),
            ssh: Vec::new(),
            novnc: Vec::new(),
            ttyd: Vec::new(),
            admin: None,
            control: Vec::new(),
            name: config::name::GatewayName::parse("test").unwrap(),
            join_token: None,
            workers: 1,
            trusted_proxies: Vec::new(),
            drain: Duration::from_secs(5),
            log: Log {
                level: Level::Info,
                file: None,
                rotation: Rotation::Off,
                retention: Retention::Files(1),
                format: LogFormat::Text,
            },
            mode: Mode::Development,
        }
    }

    /// A worker of its own for one test, with nothing in force.
    pub(crate) fn worker(dir: &Path) -> Rc<Worker> {
        Worker::new(Shared::new(settings(dir), 1), 0)
    }
}

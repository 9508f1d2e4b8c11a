//! One worker: an OS thread with a single-threaded runtime, its own listeners' sockets, upstream pool and buffers.
//!
//! [`Shared`] is what all workers have in common (an `Arc`, only atomics, the live swap and the registries inside);
//! [`Worker`] is one thread's own (an `Rc`, never sent).

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::{ArcSwap, ArcSwapOption};
use config::id::{EndpointId, GatewayId};
use config::{limits, settings};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::audit::Audit;
use crate::drain::Drain;
use crate::forward;
use crate::guard::{Bounds, Guard};
use crate::listener::supervisor::Listed;
use crate::listener::{Kind, accept};
use crate::live::{Current, LiveCache, Pinned};
use crate::session::Sessions;
use crate::sync::Ends;
use crate::telemetry::log::LogError;
use crate::telemetry::{Access, Counters, Gauges, Metrics, Recorder, Routes};
use crate::upgrade::{self, Whose};
use crate::upstream::health::watch::{self, Watch};

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
    pub ssh_room: Arc<crate::ssh::Room>,
    /// What sources of SSH connections did before they authenticated.
    pub ssh_sources: Arc<crate::ssh::Sources>,
    /// Which console tickets were redeemed.
    pub consoles: crate::console::Redeemed,
    /// What this gateway asks of control and tells it.
    pub asking: crate::sync::Asking,
    /// What control has to hear of, whenever it can.
    pub audit: Arc<Audit>,
    /// Terminals in the browser.
    pub terminals: crate::terminal::Terminals,
    /// Who this gateway is to control; empty before it is enrolled.
    pub gateway: ArcSwapOption<GatewayId>,
    /// The ends of the last stream to control; empty before the first.
    pub control_ends: ArcSwapOption<Ends>,
    /// What routes' filters remember: rates, requests under way.
    pub filters: crate::http::FilterState,
    /// Whether the process is on its way out.
    pub drain: Drain,
    /// Counters.
    pub metrics: Metrics,
    /// What stands still between two changes: what is applied, and the stream to control.
    pub gauges: Gauges,
    /// The access log.
    pub access: Access,
    /// What TLS handshakes are made with.
    pub tls: crate::tls::Acceptor,
    /// How endpoints are, and what their routes learned.
    pub health: Arc<crate::upstream::health::Health>,
    /// Every address this gateway listens on: never dialled (INVENTORY 2.2, rule 3).
    pub own_addresses: ArcSwap<Vec<SocketAddr>>,
    /// What is counted, bounded and paused of the port forwards.
    pub forwards: forward::State,
    /// The public listeners, open or paused.
    pub listeners: ArcSwap<Vec<Listed>>,
    /// The admin endpoint, once it listens.
    pub admin: ArcSwapOption<SocketAddr>,
    /// Whether a new process takes over.
    pub upgrade: upgrade::State,
}

impl Shared {
    /// What `workers` threads are to have in common; nothing in force, nothing open.
    pub fn new(settings: settings::Gateway, workers: usize) -> Arc<Self> {
        Self::with(settings, workers, Access::default(), Bounds::default(), Arc::default())
    }

    /// The same, with the access log that the settings ask for.
    ///
    /// Errors: its file cannot be opened.
    pub fn with_access_log(settings: settings::Gateway, workers: usize) -> Result<Arc<Self>, LogError> {
        let access = Access::start(&settings.access_log, &settings.log, workers)?;
        Ok(Self::with(settings, workers, access, Bounds::default(), Arc::default()))
    }

    /// The same, with an access log that goes somewhere and bounds of its own.
    pub(crate) fn with(
        settings: settings::Gateway,
        workers: usize,
        access: Access,
        bounds: Bounds,
        audit: Arc<Audit>,
    ) -> Arc<Self> {
        let current = Current::default();
        Arc::new(Self {
            settings,
            tls: crate::tls::Acceptor::new(current.clone()),
            current,
            guard: Guard::new(bounds),
            sessions: Arc::new(Sessions::telling(Arc::clone(&audit))),
            audit,
            asking: crate::sync::Asking::default(),
            ssh_room: Arc::default(),
            ssh_sources: Arc::default(),
            consoles: crate::console::Redeemed::default(),
            terminals: crate::terminal::Terminals::default(),
            gateway: ArcSwapOption::default(),
            control_ends: ArcSwapOption::default(),
            filters: crate::http::FilterState::default(),
            drain: Drain::default(),
            metrics: Metrics::new(workers),
            gauges: Gauges::default(),
            access,
            health: Arc::default(),
            own_addresses: ArcSwap::default(),
            forwards: forward::State::new(&bounds),
            listeners: ArcSwap::default(),
            admin: ArcSwapOption::default(),
            upgrade: upgrade::State::default(),
        })
    }

    /// What of the generation in force is not as it should be, each part named: objects that cannot be used, ports that
    /// cannot be had, and ports that should be closed. Each is asked of where it is known, so that what mends itself
    /// between two generations is not told any more.
    pub fn degraded(&self) -> Vec<String> {
        let mut all = Vec::clone(&self.gauges.faults());
        let listeners = self.listeners.load();
        all.extend(
            listeners.iter().filter_map(|one| Some(format!("{}: {}", one.kind, one.paused.as_ref()?))),
        );
        all.extend(self.forwards.degraded());
        all
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
    /// This thread's counts by route.
    pub routes: Routes,
    /// This thread's way into the access log.
    pub recorder: Recorder,
    /// Room for TLS handshakes of this thread: a flood of hellos must not starve traffic.
    pub handshakes: Arc<Semaphore>,
    /// This thread's upstream connections and resolver answers.
    pub upstream: crate::upstream::Upstreams,
    /// Active checks; on the first worker only.
    pub(crate) watch: Watch,
    /// This thread's buffers.
    pub buffers: crate::buffers::Buffers,
    /// This thread's pipes.
    pub(crate) pipes: Rc<crate::splice::Pipes>,
    /// This thread's UDP sessions.
    pub(crate) forwards: forward::udp::Halls,
    /// What this thread keeps for its HTTP connections.
    pub http: crate::http::Store,
    /// This thread's listening sockets, for an upgrade.
    pub(crate) lendable: upgrade::Lendable,
    live: RefCell<LiveCache>,
}

impl Worker {
    /// The state of worker number `index`; to be called on its own thread.
    pub fn new(shared: Arc<Shared>, index: usize) -> Rc<Self> {
        Rc::new(Self {
            counters: shared.metrics.shard(index),
            routes: shared.metrics.worker_routes(),
            recorder: shared.access.recorder(index),
            handshakes: Arc::new(Semaphore::new(limits::HANDSHAKES_PER_WORKER_MAX)),
            upstream: crate::upstream::Upstreams::default(),
            watch: Watch::default(),
            buffers: crate::buffers::Buffers::default(),
            pipes: crate::splice::Pipes::for_thread(),
            forwards: forward::udp::Halls::default(),
            http: crate::http::Store::default(),
            lendable: upgrade::Lendable::default(),
            live: RefCell::new(shared.current.cache()),
            shared,
            index,
        })
    }

    /// The generation in force, from this thread's cache: no shared reference count is touched unless it moved.
    pub fn pin(&self) -> Option<Pinned> {
        self.live.borrow_mut().pin()
    }

    /// A second descriptor of everything that this thread listens on.
    fn lend(&self) -> io::Result<Vec<upgrade::Lent>> {
        let mut all = self.lendable.lend()?;
        all.append(&mut self.forwards.lend()?);
        Ok(all)
    }
}

/// What the main task tells a worker.
pub(crate) enum Command {
    /// Accept on a socket.
    Listen(Listen),
    /// Carry what comes in on a socket of a port forward.
    Door(Box<forward::doors::Door>),
    /// Close idle connections to these endpoints: they are in no route any more.
    Retire(Arc<HashSet<EndpointId>>),
    /// Change which endpoints are asked whether they are well; for the first worker.
    Watch(Vec<watch::Wanted>),
    /// Give a second descriptor of everything that listens.
    Lend(oneshot::Sender<io::Result<Vec<upgrade::Lent>>>),
    /// Leave datagrams in their sockets, and say whose sessions there are.
    Freeze(oneshot::Sender<Frozen>),
    /// Take datagrams again.
    Thaw,
    /// End now, with whatever is open.
    Stop,
}

/// Sessions of datagrams, each with a second descriptor of its socket upstream.
pub(crate) type Frozen = Vec<(upgrade::manifest::Flow, OwnedFd)>;

/// A socket for one worker.
pub(crate) struct Listen {
    /// What is spoken there.
    pub(crate) kind: Kind,
    /// The socket; non-blocking.
    pub(crate) socket: TcpListener,
    /// Ends the accept loop.
    pub(crate) close: CancellationToken,
    /// Held until the last queued connection was taken.
    pub(crate) alive: TaskTrackerToken,
}

/// The main task's end of a worker.
pub(crate) struct Handle {
    index: usize,
    commands: mpsc::Sender<Command>,
}

impl Handle {
    /// Tells the worker; waits while it has too much to do already.
    pub(crate) async fn send(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            tracing::error!(worker = self.index, "a worker thread is gone");
        }
    }

    /// Tells the worker, unless it has too much to do already.
    pub(crate) fn offer(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::debug!(worker = self.index, "a worker is too busy to be told");
        }
    }

    /// Waits until the worker takes no more commands, which is its end.
    pub(crate) async fn ended(&self) {
        self.commands.closed().await;
    }
}

/// Starts a worker thread.
pub(crate) fn spawn(shared: Arc<Shared>, index: usize) -> io::Result<(Handle, JoinHandle<()>)> {
    let (commands, orders) = mpsc::channel(limits::WORKER_COMMANDS_MAX);
    let (started, start) = std::sync::mpsc::sync_channel(1);
    let body = move || match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => {
            let _ = started.send(Ok(()));
            runtime.block_on(obey(Worker::new(shared, index), orders));
            // Not dropped in place: that would wait for resolver threads, which may take their time.
            runtime.shutdown_background();
        }
        Err(cause) => drop(started.send(Err(cause))),
    };
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(body)?;
    match start.recv() {
        Ok(Ok(())) => Ok((Handle { index, commands }, thread)),
        Ok(Err(cause)) => Err(cause),
        Err(_) => Err(io::Error::other("a worker thread ended at its start")),
    }
}

async fn obey(worker: Rc<Worker>, mut orders: mpsc::Receiver<Command>) {
    while let Some(order) = orders.recv().await {
        let Listen { kind, socket, close, alive } = match order {
            Command::Listen(listen) => listen,
            Command::Door(door) => {
                forward::serve(&worker, *door);
                continue;
            }
            Command::Retire(ids) => {
                worker.upstream.retire(&ids);
                continue;
            }
            Command::Watch(changes) => {
                Watch::apply(&worker, changes);
                continue;
            }
            Command::Lend(reply) => {
                // Whoever asked may have given up.
                drop(reply.send(worker.lend()));
                continue;
            }
            Command::Freeze(reply) => {
                drop(reply.send(worker.forwards.freeze()));
                continue;
            }
            Command::Thaw => {
                worker.forwards.thaw();
                continue;
            }
            Command::Stop => return,
        };
        match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => {
                let listener = Rc::new(listener);
                worker.lendable.add(Whose::Listener(kind), &listener);
                let accept = accept::Loop { kind, listener, close, alive };
                tokio::task::spawn_local(accept::run(Rc::clone(&worker), accept));
            }
            Err(cause) => tracing::error!(%kind, %cause, "a worker cannot watch a listener"),
        }
    }
}

/// Parts for the tests of other modules.
#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;
    use std::rc::Rc;
    use std::time::Duration;

    use config::settings::{Gateway, Level, Log, LogFormat, Mode, Retention, Rotation};

    use tokio::sync::mpsc;

    use super::{Command, Handle, Shared, Worker};

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
            access_log: config::settings::AccessLog::off(),
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            unknown_sni: config::settings::UnknownSni::Fallback,
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

    /// A worker that does nothing of what it is told, and what it was told.
    pub(crate) fn deaf_worker() -> (Handle, mpsc::Receiver<Command>) {
        let (commands, orders) = mpsc::channel(config::limits::WORKER_COMMANDS_MAX);
        (Handle { index: 0, commands }, orders)
    }

    /// A worker of its own for one test, with nothing in force.
    pub(crate) fn worker(dir: &Path) -> Rc<Worker> {
        Worker::new(Shared::new(settings(dir), 1), 0)
    }
}

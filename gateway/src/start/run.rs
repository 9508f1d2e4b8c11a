//! The main thread of a gateway: it owns what is one for all workers — supervisor, stream to control, admin endpoint —
//! and sees the process in and out.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use config::limits;
use sd_notify::NotifyState;
use tokio::sync::{Mutex, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::directory::{self, Directory};
use super::install::Install;
use super::{End, StartError, process};
use crate::admin;
use crate::checkpoint::Checkpoint;
use crate::forward::{Doors, doors};
use crate::listener::Wanted;
use crate::listener::bind::Bound;
use crate::listener::ports::Ports;
use crate::listener::supervisor::Supervisor;
use crate::sync;
use crate::upgrade::elder::{Estate, Successor};
use crate::upgrade::manifest::Serves;
use crate::upgrade::{Inheritance, Order, Program, order};
use crate::worker::{self, Command, Handle, Shared};

/// Everything the main thread needs.
pub(crate) struct Process {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: usize,
    pub(crate) directory: Directory,
    /// What is started for an upgrade.
    pub(crate) program: Option<Program>,
    /// What the process before hands over.
    pub(crate) inheritance: Option<Inheritance>,
    /// Drain and end.
    pub(crate) stop: CancellationToken,
    /// End now.
    pub(crate) cut: CancellationToken,
    /// Told once it listens, with the admin address.
    pub(crate) started: oneshot::Sender<Result<Option<SocketAddr>, StartError>>,
    /// Told when it has ended.
    pub(crate) ended: watch::Sender<Option<End>>,
}

/// The supervisor, shared by the main task and what installs generations.
pub(crate) type Listeners = Arc<Mutex<Supervisor>>;

struct Up {
    workers: Arc<[Handle]>,
    threads: Vec<JoinHandle<()>>,
    listeners: Listeners,
    doors: Arc<Mutex<Doors>>,
}

impl Process {
    /// Runs on this thread until told to stop or cut.
    pub(crate) fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                runtime.block_on(self.live());
                runtime.shutdown_background();
            }
            Err(cause) => drop(self.started.send(Err(StartError::Thread(cause)))),
        }
    }

    async fn live(self) {
        let Self { shared, workers, directory, program, inheritance, stop, cut, started, ended } = self;
        let up = match Up::start(&shared, workers, &directory).await {
            Ok(up) => up,
            Err(error) => return drop(started.send(Err(error))),
        };
        let opened = match up.open(&shared, &directory, inheritance).await {
            Ok(opened) => opened,
            Err(error) => {
                up.stop_workers().await;
                // Nothing of it is left behind when the caller hears of it.
                drop(directory);
                return drop(started.send(Err(error)));
            }
        };
        let Opened { restored, admin, orders } = opened;
        let address = admin.as_ref().map(|(address, _)| *address);
        let again =
            |socket: Option<BorrowedFd<'_>>| socket.and_then(|socket| socket.try_clone_to_owned().ok());
        let entrances = Entrances {
            admin: again(admin.as_ref().and_then(|(_, bound)| bound.sockets.first()).map(AsFd::as_fd)),
            orders: again(orders.as_ref().map(AsFd::as_fd)),
        };
        let taking = [
            tokio::spawn(serve_admin(admin, Arc::clone(&shared))),
            tokio::spawn(order::run(orders, Arc::clone(&shared))),
        ];
        let background = [
            tokio::spawn(follow(restored)),
            tokio::spawn(super::expiry::watch(Arc::clone(&shared))),
            tokio::spawn(doors::supervise(Arc::clone(&up.doors))),
        ];
        let _ = started.send(Ok(address));
        let left = tokio::select! {
            () = stop.cancelled() => None,
            () = cut.cancelled() => None,
            () = supervise(&shared, &up.listeners) => None,
            left = up.until_upgraded(&shared, directory.lock(), &entrances, program.as_ref()) => Some(left),
        };
        drop(entrances);
        let (end, directory) = match left {
            None => {
                shared.upgrade.stop_draining();
                (up.drain(&shared, &cut).await, Some(directory))
            }
            Some(left) => {
                // The directory is the new one's alone: should it die, another may take it while this one drains.
                drop(directory);
                taking.iter().for_each(tokio::task::JoinHandle::abort);
                (up.leave(&shared, left, &stop, &cut).await, None)
            }
        };
        up.stop_workers().await;
        // What sessions said with their last breath.
        let last = Arc::clone(&shared.audit);
        let _ = tokio::task::spawn_blocking(move || last.flush()).await;
        for task in taking.into_iter().chain(background) {
            task.abort();
            // Its files are still open until then.
            let _ = task.await;
        }
        // The lock goes before anybody hears of the end: they may start the next one at once.
        drop(directory);
        tracing::info!(?end, "ended");
        let _ = ended.send(Some(end));
    }
}

/// Second descriptors of what the main thread itself listens on, to be handed over.
struct Entrances {
    admin: Option<OwnedFd>,
    orders: Option<OwnedFd>,
}

/// What a start opens.
struct Opened {
    restored: (Install, sync::Start),
    admin: Option<(SocketAddr, Bound)>,
    orders: Option<UnixListener>,
}

impl Up {
    async fn start(shared: &Arc<Shared>, workers: usize, directory: &Directory) -> Result<Self, StartError> {
        let mut handles = Vec::new();
        let mut threads = Vec::new();
        for index in 0..workers {
            // Dropping the handles of those already there ends them.
            let (handle, thread) = worker::spawn(Arc::clone(shared), index).map_err(StartError::Thread)?;
            handles.push(handle);
            threads.push(thread);
        }
        let workers: Arc<[Handle]> = handles.into();
        let supervisor = Supervisor::new(Arc::clone(&workers), Ports::load(directory.path()));
        let doors = Arc::new(Mutex::new(Doors::new(Arc::clone(shared), Arc::clone(&workers))));
        Ok(Self { workers, threads, listeners: Arc::new(Mutex::new(supervisor)), doors })
    }

    /// Puts the checkpoint in force and opens everything; from the process before, if there is one, when it gives the word.
    async fn open(
        &self,
        shared: &Arc<Shared>,
        directory: &Directory,
        inheritance: Option<Inheritance>,
    ) -> Result<Opened, StartError> {
        // The process before rotates the logs until this one serves: of two, each would move the other's aside.
        let follow = |follows: bool| {
            crate::telemetry::log::follow(follows);
            shared.access.follow(follows);
        };
        follow(inheritance.is_some());
        let mut restored = restore(shared, self).await?;
        let (mut admin, mut orders, mut succession) = (None, None, None);
        if let Some(mut inheritance) = inheritance {
            inheritance.continues(shared.current.pin().map(|live| Serves::of(&live.snapshot)))?;
            self.listeners.lock().await.inherit(std::mem::take(&mut inheritance.listeners));
            self.doors.lock().await.inherit(std::mem::take(&mut inheritance.doors));
            (admin, orders) = (inheritance.admin.take(), inheritance.orders.take());
            succession = Some(inheritance.succession());
        }
        let admin = self.prepare(shared, admin).await?;
        if let Some(succession) = &succession {
            let (go, flows) = succession.clone().word().await?;
            shared.consoles.inherit(&go.tickets);
            self.doors.lock().await.inherit_flows(flows);
        }
        let mut supervisor = self.listeners.lock().await;
        supervisor.open().await;
        publish(shared, &supervisor);
        drop(supervisor);
        // The gateway's own listeners first: a forward that wants the port of one is paused, and nothing else.
        self.doors.lock().await.start().await;
        restored.1.degraded = shared.degraded();
        if let Some(succession) = succession {
            // Before it is told: whoever hears of it looks there for the one that serves.
            directory.sign();
            follow(false);
            shared.upgrade.succeed(succession);
        }
        let orders = orders.or_else(|| match order::listen(directory.path()) {
            Ok(orders) => Some(orders),
            Err(cause) => {
                tracing::warn!(%cause, "orders to upgrade can be given by SIGUSR2 alone");
                None
            }
        });
        Ok(Opened { restored, admin, orders })
    }

    /// Binds the public listeners and the admin endpoint; all of them, or an error that names every one that failed.
    async fn prepare(
        &self,
        shared: &Shared,
        inherited: Option<std::net::TcpListener>,
    ) -> Result<Option<(SocketAddr, Bound)>, StartError> {
        let mut supervisor = self.listeners.lock().await;
        let mut errors =
            supervisor.prepare(&Wanted::from_settings(&shared.settings)).err().unwrap_or_default();
        let admin = shared.settings.admin.map(|address| {
            let adopted = inherited.and_then(|socket| supervisor.adopt_admin(address, socket));
            adopted.map_or_else(|| supervisor.bind_admin(address), Ok)
        });
        let admin = match admin {
            None => None,
            Some(Ok(bound)) => Some((bound.address, bound)),
            Some(Err(error)) => {
                errors.push(error);
                None
            }
        };
        if errors.is_empty() { Ok(admin) } else { Err(StartError::Listen(errors)) }
    }

    /// Obeys orders to upgrade, until one of them succeeds.
    async fn until_upgraded(
        &self,
        shared: &Arc<Shared>,
        lock: &std::fs::File,
        entrances: &Entrances,
        program: Option<&Program>,
    ) -> (Successor, Order) {
        let Entrances { admin, orders } = entrances;
        let (admin, orders) = (admin.as_ref(), orders.as_ref());
        let (workers, listeners) = (&self.workers, &self.listeners);
        let estate = Estate { shared, workers, listeners, lock, admin, orders, program };
        let Some(mut given) = shared.upgrade.orders() else { return std::future::pending().await };
        while let Some(order) = given.recv().await {
            process::notify_reloading();
            match estate.hand_over(&order).await {
                Ok(successor) => {
                    process::notify(&[NotifyState::MainPid(successor.pid), NotifyState::Ready]);
                    return (successor, order);
                }
                Err(error) => {
                    process::notify(&[NotifyState::Ready]);
                    tracing::error!(%error, "no upgrade: serving as before");
                    directory::sign(lock);
                    shared.upgrade.refuse(order, error);
                }
            }
        }
        std::future::pending().await
    }

    /// Leaves everything new to the successor, and waits for what is open: until it ends, or is too old.
    async fn leave(
        &self,
        shared: &Arc<Shared>,
        (successor, order): (Successor, Order),
        stop: &CancellationToken,
        cut: &CancellationToken,
    ) -> End {
        shared.drain.leave();
        self.listeners.lock().await.close_all().await;
        self.doors.lock().await.close_all().await;
        let max_age = order.max_age;
        let upgraded = successor.describe(shared);
        tracing::info!(
            pid = upgraded.pid,
            version = upgraded.version,
            connections = upgraded.connections,
            ?max_age,
            "upgraded: draining"
        );
        shared.upgrade.report(order, upgraded);
        successor.attend(Arc::clone(shared), stop.clone());
        let finish = async {
            shared.guard.idle().await;
            shared.upgrade.answered().await;
        };
        tokio::select! {
            () = finish => return End::Drained,
            () = cut.cancelled() => return End::Cut,
            () = stop.cancelled() => return self.drain(shared, cut).await,
            () = tokio::time::sleep(max_age) => {
                let open = shared.guard.connections();
                tracing::warn!(open, ?max_age, "open for too long after an upgrade: cutting what is open");
            }
        }
        self.cut(shared).await
    }

    /// Stops accepting, tells peers, waits for them at most the settings' time.
    async fn drain(&self, shared: &Shared, cut: &CancellationToken) -> End {
        shared.drain.begin();
        let finish = async {
            self.listeners.lock().await.close_all().await;
            self.doors.lock().await.close_all().await;
            shared.guard.idle().await;
        };
        tokio::select! {
            () = finish => return End::Drained,
            () = tokio::time::sleep(shared.settings.drain) => {
                let open = shared.guard.connections();
                tracing::warn!(open, drain = ?shared.settings.drain, "the time to drain is over: cutting what is open");
            }
            () = cut.cancelled() => return End::Cut,
        }
        self.cut(shared).await
    }

    /// Sessions get a moment to say goodbye and to be counted.
    async fn cut(&self, shared: &Shared) -> End {
        shared.sessions.stop();
        let grace = Duration::from_millis(limits::CUT_GRACE_MS);
        let _ = tokio::time::timeout(grace, shared.guard.idle()).await;
        End::Cut
    }

    async fn stop_workers(self) {
        let last_words = async {
            for worker in self.workers.iter() {
                worker.send(Command::Stop).await;
                worker.ended().await;
            }
        };
        let deadline = Duration::from_millis(limits::WORKER_STOP_DEADLINE_MS);
        if tokio::time::timeout(deadline, last_words).await.is_err() {
            tracing::error!("a worker does not end: leaving it behind");
            return;
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Tells everybody what is listened on.
pub(crate) fn publish(shared: &Shared, supervisor: &Supervisor) {
    let listed = supervisor.list();
    let mut own: Vec<SocketAddr> = listed.iter().map(|one| one.address).collect();
    own.extend(supervisor.admin());
    shared.admin.store(supervisor.admin().map(Arc::new));
    shared.own_addresses.store(Arc::new(own));
    shared.listeners.store(Arc::new(listed));
}

/// Tries paused listeners again, for ever.
async fn supervise(shared: &Shared, listeners: &Listeners) {
    loop {
        let next = listeners.lock().await.retry_at();
        let pause = next.map_or(limits::LISTENER_RETRY.0, |at| at.saturating_duration_since(Instant::now()));
        tokio::time::sleep(pause).await;
        if next.is_some() {
            let mut supervisor = listeners.lock().await;
            supervisor.retry(Instant::now()).await;
            publish(shared, &supervisor);
        }
    }
}

async fn serve_admin(admin: Option<(SocketAddr, Bound)>, shared: Arc<Shared>) {
    let Some(socket) = admin.and_then(|(_, bound)| bound.sockets.into_iter().next()) else { return };
    match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => admin::run(listener, shared).await,
        Err(cause) => tracing::error!(%cause, "the admin endpoint cannot be served"),
    }
}

/// Opens the checkpoint and puts what it holds in force, before anything listens.
async fn restore(shared: &Arc<Shared>, up: &Up) -> Result<(Install, sync::Start), StartError> {
    let settings = &shared.settings;
    let opened = Checkpoint::open(&settings.data);
    let (checkpoint, saved, notes) =
        opened.map_err(|cause| StartError::Data { path: settings.data.join("gateway"), cause })?;
    for note in notes {
        tracing::warn!("{note}");
    }
    // Console tickets name the gateway: one that does not know yet who it is takes its own for another's.
    shared.gateway.store(sync::known_as(&settings.data).map(Arc::new));
    let install = Install {
        shared: Arc::clone(shared),
        listeners: Arc::clone(&up.listeners),
        doors: Arc::clone(&up.doors),
        boot: rand::random(),
    };
    let mut start = sync::Start {
        data: settings.data.clone(),
        control: settings.control.clone(),
        name: settings.name.clone(),
        join_token: settings.join_token.clone(),
        checkpoint,
        have: None,
        degraded: Vec::new(),
    };
    if let Some(saved) = saved.map(Arc::new) {
        match install.put_in_force(Arc::clone(&saved), None).await {
            Ok(degraded) => (start.have, start.degraded) = (Some(saved), degraded),
            // It is of a program that knew other rules.
            Err(cause) => tracing::error!(%cause, "the checkpoint does not compile: waiting for control"),
        }
    }
    Ok((install, start))
}

/// Follows what control publishes, for ever.
async fn follow((install, start): (Install, sync::Start)) {
    sync::run(start, &install).await;
}

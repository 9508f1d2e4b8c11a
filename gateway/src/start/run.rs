//! The main thread of a gateway: it owns what is one for all workers — supervisor, stream to control, admin endpoint —
//! and sees the process in and out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use config::limits;
use tokio::sync::{Mutex, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::directory::Directory;
use super::install::Install;
use super::{End, StartError};
use crate::admin;
use crate::checkpoint::Checkpoint;
use crate::forward::{Doors, doors};
use crate::listener::Wanted;
use crate::listener::bind::Bound;
use crate::listener::ports::Ports;
use crate::listener::supervisor::Supervisor;
use crate::sync;
use crate::worker::{self, Command, Handle, Shared};

/// Everything the main thread needs.
pub(crate) struct Process {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: usize,
    pub(crate) directory: Directory,
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
        let Self { shared, workers, directory, stop, cut, started, ended } = self;
        let up = match Up::start(&shared, workers, &directory).await {
            Ok(up) => up,
            Err(error) => return drop(started.send(Err(error))),
        };
        let opened = async {
            let mut restored = restore(&shared, &up).await?;
            let admin = up.listen(&shared).await?;
            // The gateway's own listeners first: a forward that wants the port of one is paused, and nothing else.
            let paused = up.doors.lock().await.start().await;
            shared.gauges.degrade(&paused);
            restored.1.degraded.extend(paused);
            Ok((restored, admin))
        };
        let (restored, admin) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                up.stop_workers().await;
                // Nothing of it is left behind when the caller hears of it.
                drop(directory);
                return drop(started.send(Err(error)));
            }
        };
        let address = admin.as_ref().map(|(address, _)| *address);
        let background = [
            tokio::spawn(follow(restored)),
            tokio::spawn(serve_admin(admin, Arc::clone(&shared))),
            tokio::spawn(super::expiry::watch(Arc::clone(&shared))),
            tokio::spawn(doors::supervise(Arc::clone(&up.doors))),
        ];
        let _ = started.send(Ok(address));
        tokio::select! {
            () = stop.cancelled() => {}
            () = cut.cancelled() => {}
            () = supervise(&shared, &up.listeners) => {}
        }
        let end = up.drain(&shared, &cut).await;
        up.stop_workers().await;
        for task in background {
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

    /// Opens the public listeners and the admin endpoint; all of them, or an error that names every one that failed.
    async fn listen(&self, shared: &Shared) -> Result<Option<(SocketAddr, Bound)>, StartError> {
        let mut supervisor = self.listeners.lock().await;
        let wanted = Wanted::from_settings(&shared.settings);
        let mut errors = supervisor.start(&wanted).await.err().unwrap_or_default();
        let admin = match shared.settings.admin.map(|address| supervisor.bind_admin(address)) {
            None => None,
            Some(Ok(bound)) => Some((bound.address, bound)),
            Some(Err(error)) => {
                errors.push(error);
                None
            }
        };
        if !errors.is_empty() {
            return Err(StartError::Listen(errors));
        }
        publish(shared, &supervisor);
        Ok(admin)
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
        // Sessions get a moment to say goodbye and to be counted.
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

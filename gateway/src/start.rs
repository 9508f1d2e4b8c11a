//! From settings to a running gateway, and out again.
//!
//! Order of a start: the data directory and its lock, the checkpoint, workers, listeners, and only *then* control is
//! dialled. Order of a stop: stop accepting, tell peers, wait, cut (see [`run`]).

pub(crate) mod directory;
pub(crate) mod expiry;
pub(crate) mod install;
pub mod process;
pub(crate) mod run;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use config::settings;
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::guard::Bounds;
use crate::listener::bind::BindError;
use crate::listener::supervisor::Listed;
use crate::telemetry::Access;
use crate::telemetry::log::LogError;
use crate::upgrade::heir::HeirError;
use crate::upgrade::{Inheritance, Order, Program, UpgradeError, Upgraded};
use crate::worker::Shared;

/// Why a gateway did not start. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is not ours to use.
    #[error("the data directory {} cannot be used: {cause}", path.display())]
    Data {
        /// The directory or file.
        path: PathBuf,
        /// What the system said; part of the message.
        cause: io::Error,
    },
    /// A gateway runs on it.
    #[error("another gateway runs on {} (process {pid}): stop it, or give this one a directory of its own", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Who holds it, or `?`.
        pid: String,
    },
    /// Ports that cannot be had; all of them.
    #[error("{}", lines(.0))]
    Listen(Vec<BindError>),
    /// The admin endpoint needs no credentials, so it is for this machine alone.
    #[error(
        "the gateway's admin endpoint cannot listen on {0}: only loopback is safe, for it asks for no credentials"
    )]
    AdminNotLoopback(SocketAddr),
    /// The access log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The process before does not hand over, or not what is needed.
    #[error(transparent)]
    Heir(#[from] HeirError),
    /// No threads to run on.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// The main thread ended before it had started; the log says why.
    #[error("the gateway ended at its start: see the log")]
    Ended,
}

fn lines(errors: &[BindError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The data plane.
pub struct Gateway {}

impl Gateway {
    /// Starts a gateway on threads of its own; done when it listens. It may not be ready yet: see
    /// [`Running::wait_ready`].
    ///
    /// Several can run in one process; they share nothing but the log.
    ///
    /// Errors: a directory, lock or listener that cannot be had; every listener that cannot is named.
    pub async fn start(settings: settings::Gateway) -> Result<Running, StartError> {
        Self::start_as(settings, Origin::default()).await
    }

    /// Starts one that can be upgraded, or that takes over from the process before.
    ///
    /// Errors: as of [`Gateway::start`]; the process before serves on then.
    pub async fn start_as(settings: settings::Gateway, origin: Origin) -> Result<Running, StartError> {
        if let Some(admin) = settings.admin.filter(|admin| !admin.ip().is_loopback()) {
            return Err(StartError::AdminNotLoopback(admin));
        }
        let Origin { program, mut inheritance } = origin;
        if let Some(inheritance) = &inheritance {
            inheritance.fits(&settings.data)?;
        }
        let directory = match inheritance.as_mut().and_then(|inheritance| inheritance.lock.take()) {
            Some(lock) => directory::Directory::inherit(&settings.data, lock),
            None => directory::Directory::open(&settings.data)?,
        };
        let workers = match settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let access = Access::start(&settings.access_log, &settings.log, workers)?;
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let audit = Audit::open(directory.path())
            .map_err(|cause| StartError::Data { path: directory.path().join("audit"), cause })?;
        let bounds = Bounds::for_open_files(files);
        let shared = Shared::with(settings, workers, access, bounds, Arc::new(audit));
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let (started, start) = oneshot::channel();
        let (ended, end) = watch::channel(None);
        let process = run::Process {
            shared: Arc::clone(&shared),
            workers,
            directory,
            program,
            inheritance,
            stop: stop.clone(),
            cut: cut.clone(),
            started,
            ended,
        };
        let thread = std::thread::Builder::new().name("main-task".into()).spawn(move || process.run());
        let thread = thread.map_err(StartError::Thread)?;
        // From here on, dropping what is running ends it.
        let mut running = Running { shared, admin: None, stop, cut, end, thread: Some(thread) };
        running.admin = start.await.unwrap_or(Err(StartError::Ended))?;
        Ok(running)
    }
}

/// What a gateway comes from, and can go on as.
#[derive(Debug, Default)]
pub struct Origin {
    /// The program that is started for an upgrade; without one there is no upgrade.
    pub program: Option<Program>,
    /// What the process before hands over.
    pub inheritance: Option<Inheritance>,
}

/// How a gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything open finished by itself.
    Drained,
    /// What was open at the deadline, or when told to end at once, was cut.
    Cut,
}

/// The addresses in force, as a script wants them: the ready line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// Plain HTTP.
    pub http: Vec<SocketAddr>,
    /// HTTP over TLS.
    pub https: Vec<SocketAddr>,
    /// The jump host.
    pub ssh: Vec<SocketAddr>,
    /// The noVNC console gate.
    pub novnc: Vec<SocketAddr>,
    /// The ttyd console gate.
    pub ttyd: Vec<SocketAddr>,
    /// The admin endpoint, `null` when it is off.
    pub admin: Option<SocketAddr>,
    /// This process.
    pub pid: u32,
}

/// A gateway that runs. Dropping it ends it at once, without draining.
pub struct Running {
    shared: Arc<Shared>,
    admin: Option<SocketAddr>,
    stop: CancellationToken,
    cut: CancellationToken,
    end: watch::Receiver<Option<End>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// The addresses in force.
    pub fn addresses(&self) -> Addresses {
        use crate::listener::Kind;
        let listed = self.shared.listeners.load();
        let of = |kind: Kind| {
            let open = |one: &&Listed| one.kind == kind && one.paused.is_none();
            listed.iter().filter(open).map(|one| one.address).collect()
        };
        Addresses {
            http: of(Kind::Http),
            https: of(Kind::Https),
            ssh: of(Kind::Ssh),
            novnc: of(Kind::Novnc),
            ttyd: of(Kind::Ttyd),
            admin: self.admin,
            pid: std::process::id(),
        }
    }

    /// What all workers have in common: counters, sessions, the generation in force.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits until a generation is in force.
    pub async fn wait_ready(&self) {
        self.shared.gauges.wait_applied(|| self.shared.current.pin().is_some()).await;
    }

    /// Begins to drain, without waiting for the end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Starts a new program that takes over; done when it serves. This gateway drains then.
    ///
    /// Errors: there is no upgrade, and this gateway serves as before.
    pub async fn upgrade(
        &self,
        binary: Option<PathBuf>,
        max_age: Option<Duration>,
    ) -> Result<Upgraded, UpgradeError> {
        let (order, _, done) = Order::new(binary, max_age);
        self.shared.upgrade.give(order)?;
        done.await.unwrap_or(Err(UpgradeError::Stopping))
    }

    /// Orders an upgrade to the program as it lies there now, without waiting for it.
    ///
    /// Errors: one is under way, or this process is on its way out.
    pub fn order_upgrade(&self) -> Result<(), UpgradeError> {
        self.shared.upgrade.give(Order::new(None, None).0)
    }

    /// Cuts what is open, without waiting for the end.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// Waits for the end.
    pub async fn ended(&self) -> End {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(End::Cut),
            // The main thread is gone without a word.
            Err(_) => End::Cut,
        }
    }

    /// Drains and ends: open requests and tunnels get the settings' time.
    pub async fn shutdown(self) -> End {
        self.stop();
        self.ended().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cut.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;

//! The process that serves: starts a heir, hands it everything, and goes on as if nothing was if the heir does not make it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::link::{Link, LinkError};
use super::manifest::{FORMAT, Flow, Go, Handed, Manifest, Serves, ToElder, ToHeir};
use super::{Lent, Order, UpgradeError, Upgraded, Whose};
use crate::start::run::Listeners;
use crate::worker::{self, Handle, Shared};

/// The program that this process is: what a heir is started from.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where it lies; asked at the start, for a file that was replaced has another name later.
    pub path: PathBuf,
    /// The arguments after the name, without the one that makes a heir.
    pub arguments: Vec<OsString>,
}

/// The argument that makes a heir.
pub const INHERIT: &str = "--inherit";

/// All that can be handed over.
pub(crate) struct Estate<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) workers: &'a [Handle],
    pub(crate) listeners: &'a Listeners,
    pub(crate) lock: &'a std::fs::File,
    pub(crate) admin: Option<&'a OwnedFd>,
    pub(crate) orders: Option<&'a OwnedFd>,
    pub(crate) program: Option<&'a Program>,
}

/// A heir that serves.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) sockets: usize,
    pub(crate) flows: usize,
    child: Option<Child>,
    link: Link,
}

impl Estate<'_> {
    /// Starts a heir and hands everything over.
    ///
    /// Errors: why there is none. This process serves then as before, and the heir is gone.
    pub(crate) async fn hand_over(&self, order: &Order) -> Result<Successor, UpgradeError> {
        let mut program = self.program.ok_or(UpgradeError::NoProgram)?.clone();
        if let Some(path) = &order.binary {
            program.path.clone_from(path);
        }
        let draining = self.shared.upgrade.draining().len();
        if draining >= limits::UPGRADE_DRAINING_MAX {
            return Err(UpgradeError::TooMany(draining));
        }
        order.tell(format!("starting {}", program.path.display()));
        let heir = aside(move || Heir::start(&program)).await?;
        order.tell(format!("gatehouse-gateway {} runs as process {}", heir.version, heir.child.id()));
        // No generation moves from here on: what the heir finds on disk is what is in force.
        let _turn = self.shared.upgrade.turn().await;
        let (manifest, descriptors) = self.gather().await.map_err(UpgradeError::Sockets)?;
        let sockets = descriptors.len();
        order.tell(format!("handing over {sockets} sockets"));
        let heir = aside(move || heir.offer(manifest, &descriptors)).await?;
        order.tell("the new process is ready to take over".to_owned());
        let (flows, descriptors) = self.freeze().await;
        let go = Go { flows, tickets: self.shared.consoles.hand_over() };
        let flows = go.flows.len();
        self.follow(true);
        match aside(move || heir.go(go, &descriptors)).await {
            Ok(heir) => {
                self.shared.upgrade.hand();
                order.tell(format!("process {} serves", heir.child.id()));
                Ok(heir.succeeds(sockets, flows))
            }
            Err(error) => {
                self.follow(false);
                self.shared.consoles.take_back();
                for worker in self.workers {
                    worker.send(worker::Command::Thaw).await;
                }
                Err(error)
            }
        }
    }

    /// Leaves rotating the logs to the heir, or takes it back: one of the two does it.
    fn follow(&self, follows: bool) {
        crate::telemetry::log::follow(follows);
        self.shared.access.follow(follows);
    }

    /// A second descriptor of everything that listens.
    async fn gather(&self) -> io::Result<(Manifest, Vec<OwnedFd>)> {
        let mut all: Vec<(Handed, OwnedFd)> = vec![(Handed::Lock, self.lock.as_fd().try_clone_to_owned()?)];
        let ours = [(Handed::Orders, self.orders), (Handed::Admin, self.admin)];
        for (handed, descriptor) in ours.into_iter().filter_map(|(handed, one)| Some((handed, one?))) {
            all.push((handed, descriptor.try_clone()?));
        }
        let listeners = self.listeners.lock().await;
        for lent in self.lent().await? {
            let handed = match lent.whose {
                Whose::Listener(kind) => {
                    let socket = socket2::SockRef::from(&lent.descriptor);
                    let bound = socket.local_addr()?.as_socket();
                    let wanted = bound.and_then(|bound| listeners.wanted_at(kind, bound));
                    // One that is just being closed is nobody's.
                    let Some(wanted) = wanted else { continue };
                    Handed::listener(&wanted)
                }
                Whose::Door(spot) => Handed::door(spot),
            };
            all.push((handed, lent.descriptor));
        }
        for one in self.shared.upgrade.draining() {
            all.push((Handed::Draining { pid: one.pid }, one.link.as_fd().try_clone_to_owned()?));
        }
        let (handed, descriptors) = all.into_iter().unzip();
        let manifest = Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            data: self.shared.settings.data.clone(),
            serves: self.shared.current.pin().map(|live| Serves::of(&live.snapshot)),
            handed,
        };
        Ok((manifest, descriptors))
    }

    async fn lent(&self) -> io::Result<Vec<Lent>> {
        let mut all = Vec::new();
        for worker in self.workers {
            let (reply, lent) = oneshot::channel();
            worker.send(worker::Command::Lend(reply)).await;
            let within = Duration::from_millis(limits::WORKER_STOP_DEADLINE_MS);
            let lent = tokio::time::timeout(within, lent).await;
            let lent = lent.map_err(|_| io::Error::other("a worker is too busy"))?;
            all.append(&mut lent.map_err(|_| io::Error::other("a worker is gone"))??);
        }
        Ok(all)
    }

    /// Holds datagrams back, in the sockets, and returns who sends them. A worker that is stuck keeps its own.
    async fn freeze(&self) -> (Vec<Flow>, Vec<OwnedFd>) {
        let (mut flows, mut descriptors) = (Vec::new(), Vec::new());
        for worker in self.workers {
            let (reply, frozen) = oneshot::channel();
            worker.send(worker::Command::Freeze(reply)).await;
            let within = Duration::from_millis(limits::WORKER_STOP_DEADLINE_MS);
            let Ok(Ok(some)) = tokio::time::timeout(within, frozen).await else { continue };
            for (flow, descriptor) in some {
                flows.push(flow);
                descriptors.push(descriptor);
            }
        }
        (flows, descriptors)
    }
}

/// Runs what blocks off the runtime's thread.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UpgradeError> + Send + 'static,
) -> Result<T, UpgradeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(UpgradeError::Sockets(io::Error::other(error))))
}

/// A child that is killed unless it is let go.
struct Guarded(Option<Child>);

impl Guarded {
    fn id(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    fn wait(&mut self) -> io::Result<String> {
        self.0
            .as_mut()
            .map_or_else(|| Ok(String::new()), |child| child.wait().map(|status| status.to_string()))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A heir that does not serve yet.
struct Heir {
    child: Guarded,
    link: Link,
    path: PathBuf,
    version: String,
}

impl Heir {
    /// Starts the program and waits for its first word.
    fn start(program: &Program) -> Result<Self, UpgradeError> {
        let (link, theirs) = Link::pair().map_err(UpgradeError::Sockets)?;
        let path = program.path.clone();
        let started =
            Command::new(&path).args(&program.arguments).arg(INHERIT).stdin(Stdio::from(theirs)).spawn();
        let child = match started {
            Ok(child) => Guarded(Some(child)),
            Err(cause) => return Err(UpgradeError::Start { path, cause }),
        };
        let mut heir = Self { child, link, path, version: String::new() };
        let within = Duration::from_millis(limits::UPGRADE_HELLO_MS);
        match heir.link.receive::<ToElder>(within) {
            Ok((ToElder::Hello { version, formats }, _)) => {
                heir.version = version;
                if formats.contains(&FORMAT) {
                    return Ok(heir);
                }
                Err(heir.failed("it takes over in another way than this one knows".to_owned()))
            }
            Ok(_) => Err(heir.no_heir("it speaks out of turn".to_owned())),
            Err(error) => {
                let why = heir.ended(&error);
                Err(heir.no_heir(why))
            }
        }
    }

    /// Hands over what listens, and waits until the heir has it all in hand.
    fn offer(mut self, manifest: Manifest, descriptors: &[OwnedFd]) -> Result<Self, UpgradeError> {
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = self.link.send(&ToHeir::Offer(manifest), &borrowed);
        self.answer(sent, ToElder::Ready, limits::UPGRADE_READY_MS)?;
        Ok(self)
    }

    /// Gives the word, and waits until the heir serves.
    fn go(mut self, go: Go, descriptors: &[OwnedFd]) -> Result<Self, UpgradeError> {
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = self.link.send(&ToHeir::Go(go), &borrowed);
        self.answer(sent, ToElder::Serving, limits::UPGRADE_SERVING_MS)?;
        Ok(self)
    }

    fn answer(&mut self, sent: Result<(), LinkError>, wanted: ToElder, ms: u64) -> Result<(), UpgradeError> {
        // What it said before it ended is the better reason.
        let heard = self.link.receive::<ToElder>(Duration::from_millis(ms));
        match (sent, heard) {
            (_, Ok((ToElder::Failed(why), _))) => Err(self.failed(why)),
            (Ok(()), Ok((said, _))) if said == wanted => Ok(()),
            (Ok(()), Ok(_)) => Err(self.failed("it speaks out of turn".to_owned())),
            (Err(error), _) | (Ok(()), Err(error)) => {
                let why = self.ended(&error);
                Err(self.failed(why))
            }
        }
    }

    /// What an error of the link means, with how the process ended.
    fn ended(&mut self, error: &LinkError) -> String {
        match error {
            LinkError::Ended => match self.child.wait() {
                Ok(status) => {
                    format!("it ended ({status}); its own message, if it had one, is in its output")
                }
                Err(cause) => format!("it ended ({cause})"),
            },
            LinkError::Late | LinkError::Malformed(_) | LinkError::Io(_) => error.to_string(),
        }
    }

    fn failed(&self, why: String) -> UpgradeError {
        UpgradeError::Failed { version: self.version.clone(), why }
    }

    fn no_heir(&self, why: String) -> UpgradeError {
        UpgradeError::NoHeir { path: self.path.clone(), why }
    }

    fn succeeds(mut self, sockets: usize, flows: usize) -> Successor {
        let pid = self.child.id();
        // Let go: from here on it lives for itself.
        Successor { pid, version: self.version, sockets, flows, child: self.child.0.take(), link: self.link }
    }
}

impl Successor {
    /// What is told to who asked.
    pub(crate) fn describe(&self, shared: &Shared) -> Upgraded {
        Upgraded {
            pid: self.pid,
            version: self.version.clone(),
            was_pid: std::process::id(),
            was_version: env!("CARGO_PKG_VERSION").to_owned(),
            sockets: self.sockets,
            flows: self.flows,
            connections: shared.guard.connections(),
            draining: shared.upgrade.draining().len() + 1,
        }
    }

    /// Listens to the heir in a thread of its own, for as long as this process lives: when control may be told, and when
    /// the gateway stops.
    pub(crate) fn attend(self, shared: Arc<Shared>, stop: CancellationToken) {
        let Self { child, link, .. } = self;
        let link = Arc::new(link);
        shared.upgrade.keep(Arc::clone(&link));
        let listen = move || {
            let follow = Duration::from_millis(limits::UPGRADE_FOLLOW_MS);
            loop {
                match link.receive::<ToElder>(follow) {
                    Ok((ToElder::Stop, _)) => stop.cancel(),
                    Ok((ToElder::End { session }, _)) => {
                        // One that is none of ours is another process's.
                        let _ = session.parse().map(|session| shared.sessions.end(session));
                    }
                    // What a later program says beyond what this one knows is passed over.
                    Err(LinkError::Malformed(what)) => {
                        tracing::debug!(what, "the new process is not understood")
                    }
                    // Control may be away; it is told in any case, after a while.
                    Ok(_) | Err(LinkError::Late) => shared.upgrade.step_back(),
                    Err(LinkError::Ended | LinkError::Io(_)) => return shared.upgrade.step_back(),
                }
            }
        };
        let listening = std::thread::Builder::new().name("heir-link".into()).spawn(listen);
        // Somebody has to see its end, as long as this process is its parent.
        let reap = move || child.map(|mut child| child.wait());
        let reaping = std::thread::Builder::new().name("heir-end".into()).spawn(reap);
        if let Some(cause) = listening.err().or(reaping.err()) {
            tracing::warn!(%cause, "the new process is not listened to");
        }
    }
}

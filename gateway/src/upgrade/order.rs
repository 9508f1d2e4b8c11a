//! How an upgrade is asked for: `DIR/gateway/upgrade.sock`, one line of JSON in, lines of JSON out.
//!
//! Not the admin endpoint: whoever can name the program that runs next is the gateway, and that endpoint asks nobody who
//! he is. This socket is for root and the user that the gateway runs as.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::worker::Shared;

/// The socket's name in the gateway's own directory.
pub const SOCKET: &str = "upgrade.sock";

/// Lines of progress that may wait for their reader.
const LINES_MAX: usize = 32;

/// An order to upgrade, and where its progress and end are told.
#[derive(Debug)]
pub struct Order {
    /// The program; that of the running process without it.
    pub binary: Option<PathBuf>,
    /// How long what is open may go on.
    pub max_age: Duration,
    pub(crate) told: mpsc::Sender<String>,
    pub(crate) done: oneshot::Sender<Result<Upgraded, UpgradeError>>,
}

/// An upgrade that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upgraded {
    /// The process that serves.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The process that drains.
    pub was_pid: u32,
    /// Its version.
    pub was_version: String,
    /// Sockets that were handed over.
    pub sockets: usize,
    /// Sessions of datagrams that were handed over.
    pub flows: usize,
    /// Connections that the old process still has.
    pub connections: usize,
    /// Processes that drain, with this one.
    pub draining: usize,
}

/// Why there was no upgrade. The gateway serves as before.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum UpgradeError {
    #[error("this gateway runs inside another program and has none of its own to start")]
    NoProgram,
    #[error("an upgrade is under way already")]
    Busy,
    #[error("the gateway is on its way out")]
    Stopping,
    #[error(
        "{0} processes of earlier upgrades still drain: wait until one of them ends, or end its sessions"
    )]
    TooMany(usize),
    #[error("{} cannot be started: {}", path.display(), reason(cause))]
    Start { path: PathBuf, cause: io::Error },
    #[error("{} does not take over ({why}): is it a gatehouse-gateway that knows how?", path.display())]
    NoHeir { path: PathBuf, why: String },
    #[error("gatehouse-gateway {version} cannot take over: {why}")]
    Failed { version: String, why: String },
    #[error("the sockets cannot be handed over: {0}")]
    Sockets(io::Error),
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest speaks for itself")]
fn reason(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::NotFound => "there is no such file, or not the loader that it wants".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be executed".to_owned(),
        _ => cause.to_string(),
    }
}

impl Order {
    /// An order, and the ends at which it is heard of.
    pub fn new(
        binary: Option<PathBuf>,
        max_age: Option<Duration>,
    ) -> (Self, mpsc::Receiver<String>, oneshot::Receiver<Result<Upgraded, UpgradeError>>) {
        let (told, telling) = mpsc::channel(LINES_MAX);
        let (done, end) = oneshot::channel();
        let max_age = max_age.unwrap_or(Duration::from_millis(limits::UPGRADE_AGE_MS));
        (Self { binary, max_age, told, done }, telling, end)
    }

    /// Says how far it is. Nobody has to listen.
    pub(crate) fn tell(&self, line: String) {
        tracing::info!("upgrade: {line}");
        let _ = self.told.try_send(line);
    }
}

/// What comes in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    binary: Option<PathBuf>,
    #[serde(default)]
    max_age_ms: Option<u64>,
}

/// Listens in the gateway's own directory, in place of what a dead process left there. The caller holds the lock.
pub(crate) fn listen(directory: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let path = directory.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    // By a short name: the address of a unix socket has room for a hundred bytes.
    let folder = std::fs::File::open(directory)?;
    let short = format!("/proc/self/fd/{}/{SOCKET}", std::os::fd::AsRawFd::as_raw_fd(&folder));
    let listener = std::os::unix::net::UnixListener::bind(short)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes orders until it is dropped.
pub(crate) async fn run(listener: Option<std::os::unix::net::UnixListener>, shared: Arc<Shared>) {
    let Some(Ok(listener)) = listener.map(UnixListener::from_std) else {
        return std::future::pending().await;
    };
    let room = Arc::new(Semaphore::new(limits::UPGRADE_ORDERS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
            continue;
        };
        let answers = shared.upgrade.answers.token();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let (_permit, _answers) = (permit, answers);
            // Who went away has heard enough.
            let _ = answer(stream, &shared).await;
        });
    }
}

async fn answer(stream: UnixStream, shared: &Shared) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred()?.uid();
    let (read, mut write) = stream.into_split();
    if peer != 0 && peer != own {
        return say(&mut write, &json!({ "error": "only root and the gateway's own user may upgrade it" }))
            .await;
    }
    let mut line = String::new();
    let most = u64::try_from(limits::UPGRADE_ORDER_BYTES_MAX).unwrap_or(u64::MAX);
    let deadline = Duration::from_millis(limits::UPGRADE_ORDER_MS);
    tokio::time::timeout(deadline, BufReader::new(read.take(most)).read_line(&mut line)).await??;
    let asked: Asked = match serde_json::from_str(&line) {
        Ok(asked) => asked,
        Err(error) => {
            return say(&mut write, &json!({ "error": format!("the order cannot be read: {error}") })).await;
        }
    };
    if asked.binary.as_ref().is_some_and(|path| path.is_relative()) {
        return say(&mut write, &json!({ "error": "the program has to be named by an absolute path" })).await;
    }
    let (order, mut telling, end) = Order::new(asked.binary, asked.max_age_ms.map(Duration::from_millis));
    if let Err(error) = shared.upgrade.give(order) {
        return say(&mut write, &json!({ "error": error.to_string() })).await;
    }
    while let Some(step) = telling.recv().await {
        // The upgrade goes on whoever listens.
        let _ = say(&mut write, &json!({ "step": step })).await;
    }
    let said = match end.await {
        Ok(Ok(upgraded)) => json!({ "upgraded": upgraded }),
        Ok(Err(error)) => json!({ "error": error.to_string() }),
        Err(_) => json!({ "error": UpgradeError::Stopping.to_string() }),
    };
    say(&mut write, &said).await
}

async fn say(write: &mut tokio::net::unix::OwnedWriteHalf, line: &serde_json::Value) -> io::Result<()> {
    let deadline = Duration::from_millis(limits::UPGRADE_ORDER_MS);
    tokio::time::timeout(deadline, write.write_all(format!("{line}\n").as_bytes())).await?
}

//! The stream to control: enrols once, then follows what control publishes.
//!
//! Owns the gateway's own identity ([`identity`]), the framed TLS stream ([`stream`]) and the driver of
//! [`config::sync::follower::Follower`] ([`drive`]). Deliberately does not compile or bind: that is the [`Installer`]'s
//! work. Start at [`run`].
//!
//! A generation is acknowledged after the installer put it in force and the checkpoint made it durable.

mod asking;
mod drive;
mod enrol;
mod identity;
mod renewal;
mod retry;
mod stream;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::delta::Delta;
use config::id::GatewayId;
use config::name::GatewayName;
use config::secret::Secret;
use config::snapshot::Snapshot;
use config::sync::asking::{Ask, Told};
use config::sync::message::{Hello, Report};
use tokio::net::TcpStream;

use crate::audit::Audit;
use crate::checkpoint::Checkpoint;

pub use asking::Asking;

/// What the stream needs of the rest of the gateway.
pub trait Installer {
    /// Puts `snapshot` in force: compile, bind, swap. `delta` is what made it of the one before, if it came as one.
    ///
    /// Returns what is paused in it. Errors: why the whole of it is refused; the one before stays in force.
    fn install(
        &self,
        snapshot: Arc<Snapshot>,
        delta: Option<Delta>,
    ) -> impl Future<Output = Result<Vec<String>, String>> + Send;

    /// What this gateway is: boot, version, listeners, draining. The rest is filled in here.
    fn hello(&self) -> Hello;

    /// What happens at this gateway.
    fn report(&self) -> Report;

    /// What is paused now, if it can change while a generation is in force.
    fn degraded(&self) -> Option<Vec<String>> {
        None
    }

    /// Waits until a generation may be installed and made durable; what is returned is held meanwhile.
    fn turn(&self) -> impl Future<Output = Option<tokio::sync::OwnedMutexGuard<()>>> + Send {
        std::future::ready(None)
    }

    /// Whether the checkpoint is another process' by now: this one drains after an upgrade.
    fn is_handed(&self) -> bool {
        false
    }

    /// Resolves when control may hear that this process drains, because its successor follows.
    fn stepped_back(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// A stream to control stands between these ends.
    fn met(&self, _ends: Ends) {}

    /// This gateway knows who it is to control.
    fn named(&self, _gateway: GatewayId) {}

    /// Control asks something; `None` is said of what is not known here.
    fn asked(&self, _ask: &Ask) -> Option<Told> {
        None
    }

    /// What this gateway asks of control.
    fn asking(&self) -> Option<&Asking> {
        None
    }

    /// What it tells the audit.
    fn audit(&self) -> Option<&Audit> {
        None
    }

    /// The stream came up or went down; told on every change and every failed try.
    fn link(&self, link: Link);
}

/// The two ends of a stream to control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// This gateway's address on it.
    pub local: IpAddr,
    /// Where control, whose name was verified, was reached.
    pub control: IpAddr,
}

impl Ends {
    fn of(tcp: &TcpStream) -> std::io::Result<Self> {
        Ok(Self { local: tcp.local_addr()?.ip(), control: tcp.peer_addr()?.ip() })
    }

    /// Whether control is on this machine: the stream did not leave it.
    pub fn is_one_machine(self) -> bool {
        let [local, control] = [self.local, self.control].map(|ip| ip.to_canonical());
        control.is_loopback() || local == control
    }
}

/// State of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Control answers.
    Up,
    /// It does not, or this gateway is not enrolled.
    Down {
        /// Why, for people.
        why: String,
    },
}

/// What the stream starts from.
#[derive(Debug)]
pub struct Start {
    /// `DIR`.
    pub data: PathBuf,
    /// Where control takes the stream, as `host:port`, tried in order. Empty: where the join token says.
    pub control: Vec<String>,
    /// The name to enrol under.
    pub name: GatewayName,
    /// For the first start.
    pub join_token: Option<Secret<String>>,
    /// Opened, and read before the start.
    pub checkpoint: Checkpoint,
    /// What is in force: the checkpoint's generation, if it could be compiled.
    pub have: Option<Arc<Snapshot>>,
    /// What is paused in it.
    pub degraded: Vec<String>,
}

/// Why the stream is down.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum SyncError {
    #[error("control at {address} cannot be reached: {cause}")]
    Dial { address: String, cause: std::io::Error },
    #[error("no secure stream with control at {address}: {cause}")]
    Handshake { address: String, cause: std::io::Error },
    #[error("the stream to control broke: {0}")]
    Broken(std::io::Error),
    #[error("control ended the stream")]
    Ended,
    #[error("control was silent for {seconds} s")]
    Silent { seconds: u64 },
    #[error(transparent)]
    Malformed(#[from] config::sync::message::MalformedMessage),
    #[error("{0}")]
    Closed(String),
    #[error("control refused to enrol this gateway: {0}")]
    NotEnrolled(String),
    #[error("another process of this gateway follows control now")]
    SteppedBack,
    #[error("control withdrew this gateway: make a join token on control and start with it once")]
    Withdrawn,
    #[error("this gateway has no identity and no join token: make a token on control and start with it once")]
    NoToken,
    #[error("no address of control is known: set [gateway] control = [\"host:port\"]")]
    NoAddress,
    #[error("join token: {0}")]
    Token(#[from] config::sync::join::JoinTokenError),
    #[error("the gateway's own identity ({what}) cannot be used: {why}")]
    Identity { what: &'static str, why: String },
}

/// Follows control for ever; dropping it ends the stream.
///
/// Order: the identity, by enrolling if there is none; then stream after stream, with a growing pause between failures.
pub async fn run<I: Installer + Sync>(start: Start, installer: &I) {
    run_at(start, installer, renewal::system_clock()).await;
}

/// Who the gateway of this directory is, if it was enrolled: to be known before anybody may ask, and control need not be
/// there for it. Reads small files.
pub(crate) fn known_as(data: &Path) -> Option<GatewayId> {
    // What is wrong with them is told by [`run`], which reads them again.
    identity::Files::below(data).ok()?.load().ok()??.gateway()
}

async fn run_at<I: Installer + Sync>(start: Start, installer: &I, clock: renewal::Clock) {
    let Start { data, control, name, join_token, checkpoint, have, degraded } = start;
    let newcomer = enrol::Newcomer { data, control, name, join_token, clock: Arc::clone(&clock) };
    let (identity, files) = enrol::identity(&newcomer, installer).await;
    identity.gateway().into_iter().for_each(|gateway| installer.named(gateway));
    let renewal = renewal::Renewal::new(identity, files, clock);
    drive::run(drive::Origin { renewal, newcomer, checkpoint, have, degraded }, installer).await;
}

#[cfg(test)]
mod tests;

//! One jump: from the name a person typed to bytes that flow.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::limits;
use config::table::{JumpRefusal, JumpTarget};
use config::target;
use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelOpenFailure};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Connection;
use super::auth::Who;
use crate::guard::{Full, SessionPermit};
use crate::live::Live;
use crate::relay::{RelayLimits, Totals};
use crate::session::{EndReason, SessionHandle, SessionKind, Subject};

/// What somebody asked for.
pub(super) struct Asked {
    pub(super) connection: Arc<Connection>,
    pub(super) who: Arc<Who>,
    /// As it was typed.
    pub(super) host: String,
    /// As it came: SSH has room for more than a port.
    pub(super) port: u32,
    /// Cancelled when the client closes the channel, and when the jump ended.
    pub(super) closed: CancellationToken,
}

/// Why a jump is refused. The message is shown to the person; it names no address they did not type.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this gate has nothing in force yet; try again in a moment")]
    NotReady,
    #[error("this gate is stopping; connect again")]
    Stopping,
    #[error("your key is no longer accepted here")]
    Gone,
    #[error(transparent)]
    Target(#[from] JumpRefusal),
    #[error("too many channels are open on this connection; close one first")]
    Channels,
    #[error("this connection has carried as many channels as one may; connect again")]
    Worn,
    #[error("you have too many open sessions; close one first")]
    Principal,
    #[error("this gate has too many open sessions; try again later")]
    Sessions,
    #[error("{target:?} cannot be reached: {why}")]
    Dial { target: String, why: &'static str },
    #[error("ended before it began")]
    Ended,
}

impl Refusal {
    /// The refusal as SSH says it (RFC 4254 § 5.1).
    pub(super) fn failure(&self) -> ChannelOpenFailure {
        let kind = match self {
            Self::Gone | Self::Target(_) | Self::Ended => ChannelOpenFailure::AdministrativelyProhibited,
            Self::Dial { .. } => ChannelOpenFailure::ConnectFailed,
            Self::NotReady
            | Self::Stopping
            | Self::Channels
            | Self::Worn
            | Self::Principal
            | Self::Sessions => ChannelOpenFailure::ResourceShortage,
        };
        // russh's named kinds carry a fixed text; this one carries ours under the same code.
        ChannelOpenFailure::Other { code: kind.code(), reason: self.to_string() }
    }
}

/// A jump that was admitted and registered, and not yet dialled.
struct Admitted {
    target: JumpTarget,
    session: SessionHandle,
    _permit: SessionPermit,
}

impl Asked {
    /// Serves the jump to its end: dial first, then accept the channel.
    pub(super) async fn serve(self, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        let _closed = self.closed.clone().drop_guard();
        let opened = match self.admit() {
            Ok(admitted) => self.dial(&admitted).await.map(|upstream| (admitted, upstream)),
            Err(refusal) => Err(refusal),
        };
        match opened {
            Err(refusal) => {
                tracing::info!(
                    peer = %self.connection.peer, principal = %self.who.name, key = %self.who.fingerprint,
                    target = ?self.shown(), port = self.port, %refusal, "jump refused"
                );
                reply.reject(refusal.failure()).await;
            }
            Ok((admitted, mut upstream)) => {
                reply.accept().await;
                let mut downstream = channel.into_stream();
                let limits = RelayLimits { idle: Duration::from_millis(limits::TUNNEL_IDLE_MS) };
                let session = &admitted.session;
                let totals =
                    session.relay_until(&mut downstream, &mut upstream, limits, self.is_over()).await;
                self.record(&admitted, totals);
            }
        }
    }

    /// Decides under the generation in force, and registers the session before anything is dialled: a change that
    /// comes later finds it and ends it.
    fn admit(&self) -> Result<Admitted, Refusal> {
        let shared = &self.connection.shared;
        let live = shared.current.pin().ok_or(Refusal::NotReady)?;
        let target = self.target(&live)?;
        let permit = shared.guard.admit_session(Some(self.who.user)).map_err(|full| {
            self.connection.counters.full(full);
            match full {
                Full::Principal => Refusal::Principal,
                Full::Connections | Full::Source | Full::Sessions => Refusal::Sessions,
            }
        })?;
        let subject = Subject {
            kind: SessionKind::Jump,
            peer: self.connection.peer,
            principal: Some(self.who.user),
            route: None,
            forward: None,
            endpoint: None,
            vm: target.vm,
            console: None,
        };
        let session = shared.sessions.open_under(subject, &live.snapshot, &shared.current);
        Ok(Admitted { target, session, _permit: permit })
    }

    fn target(&self, live: &Live) -> Result<JumpTarget, Refusal> {
        let principal = self.who.principal(live).ok_or(Refusal::Gone)?;
        let not_granted = || JumpRefusal::NotGranted { target: self.shown() };
        if self.host.len() > limits::SSH_TARGET_BYTES_MAX {
            return Err(not_granted().into());
        }
        let port = u16::try_from(self.port).map_err(|_| not_granted())?;
        Ok(live.table.jump(principal, &self.host, port, now_ms())?)
    }

    async fn dial(&self, admitted: &Admitted) -> Result<TcpStream, Refusal> {
        let JumpTarget { address, loopback_ok, .. } = admitted.target;
        // Checked here again: the addresses we listen on are known to this gateway alone.
        let own = self.connection.shared.own_addresses.load_full();
        target::check(address, loopback_ok, &own)
            .map_err(|cause| JumpRefusal::Forbidden { target: self.shown(), cause })?;
        let deadline = Duration::from_millis(limits::CONNECT_DEADLINE_MS);
        let dialled = tokio::select! {
            dialled = timeout(deadline, TcpStream::connect(address)) => dialled,
            _ = admitted.session.ended() => return Err(Refusal::Ended),
            () = self.connection.closed.cancelled() => return Err(Refusal::Ended),
        };
        let why = match dialled {
            Ok(Ok(upstream)) => {
                if let Err(error) = upstream.set_nodelay(true) {
                    tracing::debug!(%error, "nodelay");
                }
                if let Ok(local) = upstream.local_addr() {
                    target::check_connected(local, address, &own)
                        .map_err(|cause| JumpRefusal::Forbidden { target: self.shown(), cause })?;
                }
                return Ok(upstream);
            }
            Ok(Err(error)) => reason(&error),
            Err(_) => "no answer in time",
        };
        Err(Refusal::Dial { target: self.shown(), why })
    }

    /// Resolves when the downstream side is gone for good.
    async fn is_over(&self) -> EndReason {
        let lingered = async {
            self.closed.cancelled().await;
            // What the person sent before they closed is still on its way to the VM.
            sleep(Duration::from_millis(limits::SSH_LINGER_MS)).await;
        };
        tokio::select! {
            () = self.connection.closed.cancelled() => EndReason::Broken,
            () = lingered => EndReason::Finished,
        }
    }

    fn record(&self, admitted: &Admitted, totals: Totals) {
        self.connection.counters.bytes(totals.up, totals.down);
        tracing::info!(
            session = %admitted.session.id(), peer = %self.connection.peer,
            principal = %self.who.name, key = %self.who.fingerprint,
            target = ?self.shown(), port = self.port, address = %admitted.target.address,
            bytes_up = totals.up, bytes_down = totals.down, reason = ?totals.reason,
            "jump ended"
        );
    }

    /// The target as it was typed, as much of it as is shown.
    fn shown(&self) -> String {
        self.host.chars().take(limits::SSH_TARGET_BYTES_MAX).collect()
    }
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// An error of connect(2) in words that name no address.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds are open-ended, and the rest is one to a person"
)]
fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no way there",
        io::ErrorKind::TimedOut => "no answer in time",
        io::ErrorKind::ConnectionReset => "connection reset",
        _ => "connecting failed",
    }
}

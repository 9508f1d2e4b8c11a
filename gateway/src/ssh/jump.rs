//! One jump: from the name a person typed to bytes that flow.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use config::id::VmId;
use config::limits;
use config::sync::audit;
use config::table::JumpRefusal;
use config::target;
use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelOpenFailure, ChannelStream};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Connection;
use super::auth::Who;
use super::rights::{self, Granted, Over};
use crate::audit::Happened;
use crate::guard::{Full, SessionPermit};
use crate::relay::pieces::{InPieces, Pieces};
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
    #[error("this gate was not told where control listens")]
    NoControl,
    #[error("this gate has not met control since it started; try again when it is connected")]
    ControlUnmet,
    #[error(
        "control listens on loopback of its own machine, which is not this gate's: give it an --admin address that gates reach"
    )]
    ControlElsewhere,
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
            Self::Dial { .. } | Self::NoControl | Self::ControlUnmet | Self::ControlElsewhere => {
                ChannelOpenFailure::ConnectFailed
            }
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
    target: Granted,
    session: SessionHandle,
    since: Instant,
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
                    peer = %self.connection.peer, user = %self.who.user, principal = %self.who.name,
                    key = %self.who.fingerprint, certificate = self.who.certificate(),
                    target = ?self.shown(), port = self.port, %refusal, "jump refused"
                );
                self.note_refused(&refusal);
                reply.reject(refusal.failure()).await;
            }
            Ok((admitted, mut upstream)) => {
                admitted.session.tell((
                    self.on(admitted.target.vm),
                    audit::Who::User(self.who.user),
                    self.who.proof(),
                ));
                reply.accept().await;
                let mut downstream = InPieces(Box::new(channel.into_stream()));
                let limits = RelayLimits { idle: Duration::from_millis(limits::TUNNEL_IDLE_MS) };
                let session = &admitted.session;
                let over = self.is_over(&admitted.target);
                let totals = session.relay_until(&mut downstream, &mut upstream, limits, over).await;
                self.record(&admitted, totals).await;
            }
        }
    }

    /// Decides under the generation in force, and registers the session before anything is dialled: a change that
    /// comes later finds it and ends it.
    fn admit(&self) -> Result<Admitted, Refusal> {
        let shared = &self.connection.shared;
        let live = shared.current.pin().ok_or(Refusal::NotReady)?;
        let ends = shared.control_ends.load().as_deref().copied();
        let target = rights::grant(&live, &self.who, (&self.host, self.port), ends)?;
        let permit =
            shared.guard.admit_session_within(Some(self.who.user), target.sessions_max).map_err(|full| {
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
        Ok(Admitted { target, session, since: Instant::now(), _permit: permit })
    }

    async fn dial(&self, admitted: &Admitted) -> Result<TcpStream, Refusal> {
        let Granted { address, loopback_ok, .. } = admitted.target;
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

    /// Resolves when the downstream side is gone for good, or the right to be there is over.
    async fn is_over(&self, granted: &Granted) -> EndReason {
        let lingered = async {
            self.closed.cancelled().await;
            // What the person sent before they closed is still on its way to the VM.
            sleep(Duration::from_millis(limits::SSH_LINGER_MS)).await;
        };
        tokio::select! {
            () = self.connection.closed.cancelled() => EndReason::Broken,
            () = lingered => EndReason::Finished,
            () = self.right_is_over(granted) => EndReason::Cut,
        }
    }

    /// Resolves when the generation in force no longer grants this jump: the person is gone or may no longer, the key
    /// was removed, the certificate revoked, or the time is over.
    async fn right_is_over(&self, granted: &Granted) {
        let shared = &self.connection.shared;
        let mut steps = shared.sessions.steps();
        loop {
            steps.mark_unchanged();
            let Some(left) = shared.current.pin().map(|live| granted.lasts(&live, &self.who)) else { return };
            let moved = match left {
                Err(Over) => return,
                Ok(None) => steps.changed().await,
                Ok(Some(left)) => timeout(left, steps.changed()).await.unwrap_or(Ok(())),
            };
            if moved.is_err() {
                // Not reached: the sender lives as long as the gateway.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Why it ended. What broke because the client said goodbye did not break.
    async fn reason(&self, totals: Totals) -> EndReason {
        if totals.reason != EndReason::Broken {
            return totals.reason;
        }
        if self.connection.over.is_cancelled() {
            self.connection.closed.cancelled().await;
        }
        let said_goodbye = self.closed.is_cancelled() || self.connection.goodbye.load(Ordering::Acquire);
        if said_goodbye { EndReason::Finished } else { EndReason::Broken }
    }

    async fn record(&self, admitted: &Admitted, totals: Totals) {
        let reason = self.reason(totals).await;
        admitted.session.ended_by(reason);
        self.connection.counters.bytes(totals.up, totals.down);
        tracing::info!(
            session = %admitted.session.id(), peer = %self.connection.peer, user = %self.who.user,
            principal = %self.who.name, key = %self.who.fingerprint, certificate = self.who.certificate(),
            target = ?self.shown(), port = self.port, address = %admitted.target.address,
            seconds = admitted.since.elapsed().as_secs(),
            bytes_up = totals.up, bytes_down = totals.down, ?reason,
            "jump ended"
        );
    }

    /// Tells the audit of what was not reached. Which VM was meant is not said: often it is somebody else's.
    fn note_refused(&self, refusal: &Refusal) {
        self.connection.shared.audit.note(Happened {
            what: audit::What::Refuse,
            on: self.on(None),
            who: audit::Who::User(self.who.user),
            proof: self.who.proof(),
            source: self.connection.peer.ip(),
            session: None,
            why: refusal.to_string(),
            totals: None,
        });
    }

    fn on(&self, vm: Option<VmId>) -> audit::On {
        audit::On::Jump { vm, target: format!("{}:{}", self.shown(), self.port) }
    }

    /// The target as it was typed, as much of it as is shown.
    fn shown(&self) -> String {
        self.host.chars().take(limits::SSH_TARGET_BYTES_MAX).collect()
    }
}

impl Pieces for ChannelStream<Msg> {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_data(context)
    }
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

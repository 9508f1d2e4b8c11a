//! After a `101`: two connections relayed as bytes, registered as a session.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use config::id::{EndpointId, RouteId, VmId};
use config::limits;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::downstream::Connection;
use super::filters::InFlight;
use super::intake::Intake;
use crate::guard::{Permit, SessionPermit};
use crate::live::Pinned;
use crate::relay::RelayLimits;
use crate::session::{EndReason, SessionHandle, SessionKind, Subject};
use crate::upstream::Stream;
use crate::upstream::pick::Attempt;
use crate::worker::Worker;

/// The upstream's side of an upgraded connection.
pub(super) struct Tunnel {
    pub(super) upstream: Stream,
    /// Holds what came glued to the `101`.
    pub(super) from_upstream: Intake,
    pub(super) endpoint: EndpointId,
    pub(super) vm: Option<VmId>,
    /// Counts as under way at the endpoint while it is open.
    pub(super) attempt: Option<Attempt>,
}

/// What an upgrade was admitted by.
pub(super) struct Admission {
    /// Who asked.
    pub(super) client: SocketAddr,
    pub(super) route: RouteId,
    /// The generation that was asked. A change that came while the origin thought about it counts all the same.
    pub(super) pinned: Pinned,
    pub(super) permit: SessionPermit,
    /// Its place among the route's requests under way, until the tunnel ends.
    pub(super) in_flight: Option<InFlight>,
    /// Longest silence.
    pub(super) idle_ms: u64,
    /// The session that it is already; `None` opens one.
    pub(super) session: Option<SessionHandle>,
}

/// Two connections that are bytes from here: what a tunnel holds for as long as it is open.
pub(super) struct Joined<IO> {
    worker: Rc<Worker>,
    io: IO,
    upstream: Stream,
    session: SessionHandle,
    limits: RelayLimits,
    looks_cut: fn(&IO, bool),
    _under_way: (Option<Attempt>, Option<InFlight>),
    _permits: (SessionPermit, Option<Permit>),
}

/// Registers the session and sends what came glued to the handshake. `None` says that it ended with that.
///
/// Apart from [`Joined::carry`], because a future keeps room for whatever was moved through it.
pub(super) async fn join<IO: AsyncRead + AsyncWrite + Unpin + 'static>(
    mut connection: Box<Connection<IO>>,
    mut tunnel: Box<Tunnel>,
    admission: Box<Admission>,
) -> Option<Box<Joined<IO>>> {
    let Admission { client, route, pinned, permit, in_flight, idle_ms, session } = *admission;
    let subject = Subject {
        kind: SessionKind::Upgrade,
        peer: client,
        principal: None,
        route: Some(route),
        forward: None,
        endpoint: Some(tunnel.endpoint),
        vm: tunnel.vm,
        console: None,
    };
    let worker = Rc::clone(&connection.worker);
    let shared = &worker.shared;
    let open = || shared.sessions.open_under(subject, &pinned.snapshot, &shared.current);
    let session = session.unwrap_or_else(open);
    // A tunnel may outlive many generations, and holds none of them.
    drop(pinned);
    let link = &mut connection.link;
    let glued = async {
        link.io.write_all(tunnel.from_upstream.unread()).await?;
        link.io.flush().await?;
        tunnel.upstream.write_all(link.intake.unread()).await?;
        tunnel.upstream.flush().await
    };
    let deadline = Duration::from_millis(limits::SEND_DEADLINE_MS);
    let sent = tokio::select! {
        sent = tokio::time::timeout(deadline, glued) => match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(EndReason::Broken),
        },
        reason = session.ended() => Err(reason),
    };
    let (up, down) = (link.intake.unread().len() as u64, tunnel.from_upstream.unread().len() as u64);
    link.intake.release(&worker.buffers);
    tunnel.from_upstream.release(&worker.buffers);
    worker.counters.bytes(up, down);
    if let Err(reason) = sent {
        session.ended_by(reason);
        return None;
    }
    session.carried(up, down);
    let Connection { link, permit: connection_permit, .. } = *connection;
    Some(Box::new(Joined {
        worker,
        io: link.io,
        looks_cut: link.looks_cut,
        upstream: tunnel.upstream,
        session,
        limits: RelayLimits { idle: Duration::from_millis(idle_ms) },
        _under_way: (tunnel.attempt, in_flight),
        _permits: (permit, connection_permit),
    }))
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Joined<IO> {
    /// Relays until both ends are done or the session is to end.
    pub(super) async fn carry(mut self: Box<Self>) {
        let Self { worker, io, upstream, session, limits, looks_cut, .. } = &mut *self;
        let glued = session.totals(EndReason::Finished);
        let totals = session.relay(io, upstream, *limits).await;
        if totals.reason != EndReason::Finished {
            // What was cut off must not look like an end.
            looks_cut(io, true);
            if let Some(tcp) = upstream.plain() {
                // One that is gone cannot be told, and need not be.
                let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
            }
        }
        worker.counters.bytes(totals.up - glued.up, totals.down - glued.down);
    }
}

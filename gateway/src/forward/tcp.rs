//! Connections of a forward: admitted, dialled, introduced, relayed.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use config::snapshot::{Endpoint, Forward, Transport};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::flows::{self, Refused, Ticket};
use super::record::{self, Told};
use super::{Spot, endpoint_of, may_come};
use crate::fault::{self, Fault};
use crate::guard::{Permit, SessionPermit};
use crate::listener::accept::PanicCount;
use crate::live::Pinned;
use crate::relay::{RelayLimits, Totals};
use crate::session::{EndReason, SessionHandle, SessionKind, Subject};
use crate::upstream::{Ends, bare};
use crate::worker::Worker;

/// One socket to accept on.
pub(super) struct Loop {
    pub(super) spot: Spot,
    pub(super) listener: Rc<TcpListener>,
    pub(super) close: CancellationToken,
    /// Held until the socket is closed.
    pub(super) _alive: TaskTrackerToken,
}

/// Accepts until told to close. What the kernel has queued then is taken first: it may be another forward's by now.
pub(super) async fn run(worker: Rc<Worker>, accept: Loop) {
    let Loop { spot, listener, close, _alive } = accept;
    let mut closing = std::pin::pin!(close.cancelled());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut closing => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => admit(&worker, spot, tcp, peer),
            Err(cause) => pause_after(&worker, spot, &cause).await,
        }
    }
    let Some(Ok(listener)) = Rc::into_inner(listener).map(TcpListener::into_std) else { return };
    for _ in 0..=limits::LISTEN_BACKLOG {
        let Ok((tcp, peer)) = listener.accept() else { break };
        if tcp.set_nonblocking(true).is_ok()
            && let Ok(tcp) = TcpStream::from_std(tcp)
        {
            admit(&worker, spot, tcp, peer);
        }
    }
}

/// As for the gateway's own listeners: without descriptors or memory, trying again at once would only spin.
async fn pause_after(worker: &Worker, spot: Spot, cause: &io::Error) {
    worker.counters.accept_error();
    if matches!(cause.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%spot, %cause, "accepting pauses");
    tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
}

/// A connection that was let in.
struct Admitted {
    forward: Arc<Forward>,
    endpoint: Endpoint,
    pinned: Pinned,
    tcp: TcpStream,
    ends: Ends,
    ticket: Ticket,
    permits: (Permit, SessionPermit),
}

fn admit(worker: &Rc<Worker>, spot: Spot, tcp: TcpStream, peer: SocketAddr) {
    match let_in(worker, spot, &tcp, peer) {
        Ok((pinned, forward, endpoint, ends, ticket, permits)) => {
            let admitted = Admitted { forward, endpoint, pinned, tcp, ends, ticket, permits };
            tokio::task::spawn_local(carry(Rc::clone(worker), Box::new(admitted)));
        }
        // A reset says at once what a close would leave open: that nobody is there.
        Err(_) => reset(&tcp),
    }
}

type LetIn = (Pinned, Arc<Forward>, Endpoint, Ends, Ticket, (Permit, SessionPermit));

fn let_in(worker: &Worker, spot: Spot, tcp: &TcpStream, peer: SocketAddr) -> Result<LetIn, Refused> {
    let pinned = worker.pin().ok_or(Refused::Gone)?;
    let local = tcp.local_addr().map_err(|_| Refused::Gone)?;
    let forward = pinned.forwards.at(Transport::Tcp, local.ip(), spot.port).ok_or(Refused::Gone)?;
    let state = &worker.shared.forwards;
    let flows = state.of(forward.id);
    let refused = |why| {
        flows.refuse(why);
        why
    };
    if !may_come(&forward.sources, peer.ip()) {
        return Err(refused(Refused::Source));
    }
    let endpoint = endpoint_of(forward, spot.port).ok_or(Refused::Gone)?;
    let full = |full| {
        worker.counters.full(full);
        refused(Refused::Gateway)
    };
    let permit = worker.shared.guard.admit_connection(peer.ip()).map_err(full)?;
    let session = worker.shared.guard.admit_session(None).map_err(full)?;
    state.paced(&flows, forward, Instant::now()).map_err(refused)?;
    let ticket = state.enter(&flows, forward).map_err(refused)?;
    let ends = Ends { client: peer, local };
    let forward = Arc::clone(forward);
    Ok((pinned, forward, endpoint, ends, ticket, (permit, session)))
}

async fn carry(worker: Rc<Worker>, admitted: Box<Admitted>) {
    let Admitted { forward, endpoint, pinned, mut tcp, ends, ticket, permits } = *admitted;
    let _panic = PanicCount::on(&worker.counters);
    let began = Instant::now();
    prepare(&tcp);
    let subject = Subject {
        kind: SessionKind::Forward,
        peer: ends.client,
        principal: None,
        route: None,
        forward: Some(forward.id),
        endpoint: Some(endpoint.id),
        vm: endpoint.vm,
        console: None,
    };
    let session = worker.shared.sessions.open_under(subject, &pinned.snapshot, &worker.shared.current);
    let generation = pinned.snapshot.generation();
    let mut told = Told { generation, ..Told::of(&forward, ends, began) };
    match dial(&worker, &forward, &endpoint, pinned, (&session, ends)).await {
        Ok(mut upstream) => {
            told.connected = Some(began.elapsed());
            told.address = upstream.peer_addr().ok();
            let limits = RelayLimits { idle: flows::idle(&forward) };
            let totals = session.relay(&mut tcp, &mut upstream, limits).await;
            ended(&tcp, &upstream, totals);
            told.totals = totals;
            ticket.flows().carried(totals.up, totals.down);
            worker.counters.bytes(totals.up, totals.down);
        }
        Err(Some(fault)) => {
            reset(&tcp);
            worker.counters.fault(fault.side);
            let why = why(fault.kind);
            ticket.flows().refuse(why);
            let cause = std::error::Error::source(&fault);
            tracing::debug!(forward = %forward.id, peer = %ends.client, %fault, cause, "not forwarded");
            told.refused = Some(why);
        }
        Err(None) => reset(&tcp),
    }
    record::tell(&worker, &told);
    drop((session, ticket, permits, tcp));
}

/// Errors: `None` is an order to end while the target is dialled.
async fn dial(
    worker: &Rc<Worker>,
    forward: &Forward,
    endpoint: &Endpoint,
    pinned: Pinned,
    (session, ends): (&SessionHandle, Ends),
) -> Result<TcpStream, Option<Fault>> {
    let own = bare::own(worker, &pinned.forwards, Transport::Tcp, endpoint.target.port());
    // It may outlive many generations, and holds none of them.
    drop(pinned);
    let introduction = forward.proxy_protocol.map(|version| (version, ends));
    tokio::select! {
        // Boxed: its size would be every open connection's.
        dialled = Box::pin(bare::connect(worker, endpoint, &own, introduction)) => dialled.map_err(Some),
        _ = session.ended() => Err(None),
    }
}

/// Small writes go at once; a client that is gone without a word is found out.
fn prepare(tcp: &TcpStream) {
    let (idle_ms, interval_ms, probes) = limits::UPSTREAM_KEEPALIVE;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_millis(idle_ms))
        .with_interval(Duration::from_millis(interval_ms))
        .with_retries(probes);
    // Failing means that it is gone already; the relay finds out.
    let _ = tcp.set_nodelay(true);
    let _ = SockRef::from(tcp).set_tcp_keepalive(&keepalive);
}

/// What was cut off must not look like an end.
fn ended(tcp: &TcpStream, upstream: &TcpStream, totals: Totals) {
    if totals.reason != EndReason::Finished {
        reset(tcp);
        reset(upstream);
    }
}

/// Closing it will reset it.
fn reset(tcp: &TcpStream) {
    let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

/// A fault of dialling as it is counted.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are no faults of a connect")]
pub(super) fn why(kind: fault::Kind) -> Refused {
    match kind {
        fault::Kind::Unresolved => Refused::Unresolved,
        fault::Kind::Forbidden => Refused::Forbidden,
        fault::Kind::Timeout => Refused::Timeout,
        _ => Refused::Unreachable,
    }
}

//! How a session begins: at once where the target is an address, else when its name was looked up.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use config::snapshot::{Endpoint, Forward, Transport};
use config::target::{self, Target};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::super::flows::{Refused, Ticket};
use super::super::tcp;
use super::session::{self, Session};
use super::{Hall, Key};
use crate::live::Pinned;
use crate::session::{EndReason, SessionKind, Subject};
use crate::upstream::bare;

/// A session that was let in.
pub(super) struct Asked {
    pub(super) forward: Arc<Forward>,
    pub(super) endpoint: Endpoint,
    pub(super) key: Key,
    pub(super) ticket: Ticket,
}

/// What it takes to find the target by name.
pub(super) struct Asking {
    endpoint: Endpoint,
    own: Vec<SocketAddr>,
}

/// Begins a session with its first datagram.
pub(super) fn open(hall: &Rc<Hall>, asked: Asked, pinned: &Pinned, datagram: &[u8]) -> Result<(), Refused> {
    let Asked { forward, endpoint, key, ticket } = asked;
    let worker = &hall.worker;
    let own = bare::own(worker, &pinned.forwards, Transport::Udp, endpoint.target.port());
    let upstream = OnceCell::new();
    let asking = match endpoint.target {
        Target::Address(address) => {
            let connected = connect(address, endpoint.loopback_ok, &own)?;
            let _ = upstream.set(connected);
            None
        }
        Target::Name { .. } => Some(Box::new(Asking { endpoint: endpoint.clone(), own })),
    };
    let subject = Subject {
        kind: SessionKind::Forward,
        peer: key.client,
        principal: None,
        route: None,
        forward: Some(forward.id),
        endpoint: Some(endpoint.id),
        vm: endpoint.vm,
        console: None,
    };
    let handle = worker.shared.sessions.open_under(subject, &pinned.snapshot, &worker.shared.current);
    let now = Instant::now();
    let session = Rc::new(Session {
        key,
        forward,
        flows: Arc::clone(ticket.flows()),
        handle,
        ticket: RefCell::new(Some(ticket)),
        upstream,
        named: OnceCell::new(),
        waiting: RefCell::default(),
        parted: OnceCell::new(),
        over: Cell::new(None),
        wake: Notify::new(),
        began: now,
        generation: pinned.snapshot.generation(),
    });
    hall.table.borrow_mut().insert(Rc::clone(&session), now);
    if let Err(reason) = session.pass_on(worker, datagram) {
        hall.end(&session, reason);
    }
    tokio::task::spawn_local(session::run(Rc::clone(hall), session, asking));
    Ok(())
}

/// Looks the target up, connects, and sends what came meanwhile.
pub(super) async fn find(hall: &Rc<Hall>, session: &Rc<Session>, asking: Asking) -> Result<(), EndReason> {
    let refused = |why| {
        session.flows.refuse(why);
        EndReason::Broken
    };
    let Asking { endpoint, own } = asking;
    let deadline = Duration::from_millis(limits::CONNECT_DEADLINE_MS);
    let found = timeout(deadline, bare::resolve(&hall.worker, &endpoint.target)).await;
    let found = found.map_err(|_| refused(Refused::Timeout))?;
    let found = found.map_err(|fault| refused(tcp::why(fault.kind)))?;
    let mut last = Refused::Unresolved;
    for (address, named) in found {
        match connect(address, endpoint.loopback_ok, &own) {
            Ok(upstream) => {
                let _ = session.upstream.set(upstream);
                if let Some(named) = named {
                    let _ = session.named.set(Box::new(named));
                }
                for datagram in session.waited(&hall.worker) {
                    session.pass_on(&hall.worker, &datagram)?;
                }
                return Ok(());
            }
            Err(why) => last = why,
        }
    }
    Err(refused(last))
}

fn connect(address: SocketAddr, loopback_ok: bool, own: &[SocketAddr]) -> Result<UdpSocket, Refused> {
    target::check(address, loopback_ok, own).map_err(|_| Refused::Forbidden)?;
    let open = || -> io::Result<UdpSocket> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    };
    let socket = open().map_err(|cause| {
        tracing::debug!(%address, %cause, "no socket to a target");
        Refused::Unreachable
    })?;
    let local = socket.local_addr().map_err(|_| Refused::Unreachable)?;
    target::check_connected(local, address, own).map_err(|_| Refused::Forbidden)?;
    Ok(socket)
}

//! Datagrams of a forward: those of one client's address and port are a session, with a connected socket upstream.
//!
//! A [`Hall`] is what one worker has of one spot: the socket and the table of its sessions, the longest silent first.
//! The kernel gives each worker a client by hash, so a client's session is one worker's as long as the set of sockets
//! stands, and nothing here locks. Full tables make room at the expense of who is silent longest: first in the hall that
//! asks, so that a flooded forward pays for its flood.

mod gate;
mod handover;
mod opening;
mod parting;
mod session;
mod table;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use config::id::ForwardId;
use config::limits;
use config::snapshot::{Forward, Transport};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::flows::{self, Flows, Refused, Ticket};
use super::{Spot, endpoint_of, may_come};
use crate::session::EndReason;
use crate::worker::Worker;
use gate::{Gate, Heard};
use session::Session;
use table::Table;

/// One worker's halls, and what they share.
#[derive(Default)]
pub(crate) struct Halls {
    halls: RefCell<Vec<Weak<Hall>>>,
    /// A datagram on its way from one socket to another.
    buffer: RefCell<Vec<u8>>,
    /// Bytes of datagrams that wait for the address of their target.
    waiting: Cell<usize>,
}

/// Whose datagrams are a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    client: SocketAddr,
    /// The address of ours that the client uses, where the socket has several.
    local: Option<IpAddr>,
}

/// What one worker has of one spot.
pub(crate) struct Hall {
    worker: Rc<Worker>,
    spot: Spot,
    /// `None` once the spot is closed.
    gate: RefCell<Option<Rc<Gate>>>,
    table: RefCell<Table>,
    /// Of the forward that it belongs to.
    idle: Cell<Duration>,
    forward: Cell<Option<ForwardId>>,
    /// Whether another process is about to take over: datagrams stay in their sockets.
    frozen: Cell<bool>,
    /// Whether nobody is let in any more: whatever the generation in force has at this address is another socket's.
    closing: Cell<bool>,
    /// Told when that changes, and when the forward does.
    turned: Arc<Notify>,
}

impl Hall {
    /// Opens the hall of a socket.
    ///
    /// `turned` is told when its forward changed.
    pub(super) fn open(
        worker: &Rc<Worker>,
        spot: Spot,
        socket: std::net::UdpSocket,
        turned: Arc<Notify>,
    ) -> io::Result<Rc<Self>> {
        let gate = Gate::new(socket, spot.ip)?;
        let hall = Rc::new(Self {
            worker: Rc::clone(worker),
            spot,
            gate: RefCell::new(Some(Rc::new(gate))),
            table: RefCell::default(),
            idle: Cell::new(Duration::from_millis(limits::FORWARD_UDP_IDLE_MS)),
            forward: Cell::new(None),
            frozen: Cell::new(false),
            closing: Cell::new(false),
            turned,
        });
        let mut halls = worker.forwards.halls.borrow_mut();
        halls.retain(|hall| hall.strong_count() > 0);
        halls.push(Rc::downgrade(&hall));
        Ok(hall)
    }

    /// Takes what came, up to a bound. Returns whether there may be more.
    fn take(self: &Rc<Self>, gate: &Gate) -> bool {
        self.take_by(|buffer| gate.try_recv(buffer))
    }

    fn take_by(self: &Rc<Self>, recv: impl Fn(&mut [u8]) -> io::Result<Heard>) -> bool {
        let now = Instant::now();
        let mut buffer = self.worker.forwards.buffer.borrow_mut();
        buffer.resize(limits::UDP_BUFFER_BYTES, 0);
        for _ in 0..limits::UDP_BATCH_MAX {
            match recv(&mut buffer) {
                Ok((count, client, local)) => {
                    let datagram = buffer.get(..count).unwrap_or_default();
                    self.came(datagram, Key { client, local }, now);
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return false,
                Err(cause) => {
                    self.worker.counters.accept_error();
                    tracing::debug!(spot = %self.spot, %cause, "a datagram cannot be received");
                    return false;
                }
            }
        }
        true
    }

    fn came(self: &Rc<Self>, datagram: &[u8], key: Key, now: Instant) {
        let known = self.table.borrow_mut().touch(&key, now);
        if let Some(session) = known {
            if session.leads_there(&self.worker) {
                if let Err(reason) = session.pass_on(&self.worker, datagram) {
                    self.end(&session, reason);
                }
                return;
            }
            // Its name has come to mean another place (DESIGN D5).
            self.end(&session, EndReason::Cut);
        }
        if self.closing.get() {
            return;
        }
        if let Err((flows, why)) = self.let_in(datagram, key, now)
            && let Some(flows) = flows
        {
            flows.refuse(why);
        }
    }

    /// Begins a session.
    fn let_in(
        self: &Rc<Self>,
        datagram: &[u8],
        key: Key,
        now: Instant,
    ) -> Result<(), (Option<Arc<Flows>>, Refused)> {
        let pinned = self.worker.pin().ok_or((None, Refused::Gone))?;
        let ip = key.local.unwrap_or(self.spot.ip);
        let found = pinned.forwards.at(Transport::Udp, ip, self.spot.port);
        let forward = found.ok_or((None, Refused::Gone))?;
        let flows = self.worker.shared.forwards.of(forward.id);
        let refused = |why| (Some(Arc::clone(&flows)), why);
        if !may_come(&forward.sources, key.client.ip()) {
            return Err(refused(Refused::Source));
        }
        let endpoint = endpoint_of(forward, self.spot.port).ok_or_else(|| refused(Refused::Gone))?;
        self.idle.set(flows::idle(forward));
        self.forward.set(Some(forward.id));
        let ticket = self.ticket(&flows, forward, now).map_err(refused)?;
        let asked = opening::Asked { forward: Arc::clone(forward), endpoint, key, ticket };
        opening::open(self, asked, &pinned, datagram).map_err(refused)
    }

    fn ticket(&self, flows: &Arc<Flows>, forward: &Forward, now: Instant) -> Result<Ticket, Refused> {
        let state = &self.worker.shared.forwards;
        state.paced(flows, forward, now)?;
        match state.enter(flows, forward) {
            Err(why @ (Refused::Flows | Refused::Gateway)) if self.make_room(why, forward.id) => {
                state.enter(flows, forward)
            }
            entered => entered,
        }
    }

    /// Ends the session that is silent longest: of this hall, else of this worker's others that count for the bound.
    fn make_room(&self, full: Refused, id: ForwardId) -> bool {
        if self.displace() {
            return true;
        }
        let counts = |hall: &Rc<Self>| full == Refused::Gateway || hall.forward.get() == Some(id);
        let halls = self.worker.forwards.halls.borrow();
        let others = halls.iter().filter_map(Weak::upgrade).filter(counts);
        let longest = others.filter_map(|hall| Some((hall.oldest()?, hall))).min_by_key(|(last, _)| *last);
        longest.is_some_and(|(_, hall)| hall.displace())
    }

    fn oldest(&self) -> Option<Instant> {
        self.table.try_borrow().ok()?.oldest().map(|(last, _)| last)
    }

    fn displace(&self) -> bool {
        let oldest = self.table.borrow().oldest().map(|(_, session)| Rc::clone(session));
        oldest.is_some_and(|session| {
            session.flows.displaced.fetch_add(1, Relaxed);
            self.end(&session, EndReason::Cut);
            true
        })
    }

    /// Learns whose the spot is now: how long silence may last is for those that are open, too, which have no other end.
    fn look_up(&self) {
        let Some(pinned) = self.worker.pin() else { return };
        if let Some(forward) = pinned.forwards.at(Transport::Udp, self.spot.ip, self.spot.port) {
            self.idle.set(flows::idle(forward));
            self.forward.set(Some(forward.id));
        }
    }

    /// Ends the sessions that were silent too long. Returns when to look again.
    fn expire(&self, now: Instant) -> Instant {
        let idle = self.idle.get();
        loop {
            let oldest = self.table.borrow().oldest().map(|(last, session)| (last, Rc::clone(session)));
            match oldest {
                Some((last, session)) if last + idle <= now => self.end(&session, EndReason::Idle),
                Some((last, _)) => return last + idle,
                None => return now + idle,
            }
        }
    }

    /// Takes a session out and tells its task, which closes its sockets. Its place is free at once.
    fn end(&self, session: &Rc<Session>, reason: EndReason) {
        self.leave(session);
        session.end(reason);
    }

    /// Takes a session out of the table, if it is there.
    fn leave(&self, session: &Rc<Session>) {
        self.table.borrow_mut().remove(session);
    }
}

/// Receives until told to close; then what goes on without the forward gets sockets of its own.
pub(super) async fn run(hall: Rc<Hall>, close: CancellationToken, alive: TaskTrackerToken) {
    let Some(gate) = hall.gate.borrow().as_ref().map(Rc::clone) else { return };
    let mut closing = std::pin::pin!(close.cancelled());
    let mut look = std::pin::pin!(tokio::time::sleep(hall.idle.get()));
    loop {
        tokio::select! {
            biased;
            () = &mut closing => break,
            () = hall.turned.notified() => {
                hall.look_up();
                look.as_mut().reset(hall.expire(Instant::now()));
            }
            () = &mut look => {
                let next = hall.expire(Instant::now());
                look.as_mut().reset(next);
            }
            ready = gate.readable(), if !hall.frozen.get() => {
                if ready.is_err() {
                    tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
                } else if hall.table.borrow().is_empty() {
                    hall.take(&gate);
                    // The idle time may be another one now.
                    look.as_mut().reset(Instant::now() + hall.idle.get());
                } else if hall.take(&gate) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    if hall.frozen.get() {
        hall.hand_over();
    } else {
        parting::part(&hall, &gate);
    }
    hall.gate.borrow_mut().take();
    drop(gate);
    drop(alive);
}

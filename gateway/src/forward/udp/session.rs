//! One client's datagrams: the socket upstream, and the task that brings the answers back.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use config::limits;
use config::snapshot::{Forward, Generation};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::flows::{Flows, Refused, Ticket};
use super::super::record::{self, Told};
use super::opening::Asking;
use super::parting::Parted;
use super::{Hall, Key, gate, opening, parting};
use crate::session::{EndReason, SessionHandle};
use crate::upstream::Ends;
use crate::upstream::bare::Named;
use crate::worker::Worker;

/// One client's datagrams.
pub(super) struct Session {
    pub(super) key: Key,
    pub(super) forward: Arc<Forward>,
    pub(super) flows: Arc<Flows>,
    pub(super) handle: SessionHandle,
    /// Its place among the open ones, until it is told to end.
    pub(super) ticket: RefCell<Option<Ticket>>,
    /// Connected; not there while the target's name is looked up.
    pub(super) upstream: OnceCell<UdpSocket>,
    pub(super) named: OnceCell<Box<Named>>,
    /// What came meanwhile.
    pub(super) waiting: RefCell<Vec<Box<[u8]>>>,
    /// A socket of its own to the client, once its forward is gone.
    pub(super) parted: OnceCell<Box<Parted>>,
    pub(super) over: Cell<Option<EndReason>>,
    pub(super) wake: Notify,
    pub(super) began: Instant,
    pub(super) generation: Generation,
}

impl Session {
    /// Sends a datagram upstream, or keeps it until that is there.
    ///
    /// Errors: the target is not there; the session is over.
    pub(super) fn pass_on(&self, worker: &Worker, datagram: &[u8]) -> Result<(), EndReason> {
        let Some(upstream) = self.upstream.get() else {
            self.wait(worker, datagram);
            return Ok(());
        };
        match gate::send(upstream, datagram) {
            Ok(count) => self.handle.carried(count as u64, 0),
            Err(cause) => return self.failed(&cause),
        }
        Ok(())
    }

    /// What an error of a socket means: a datagram lost, or a target that is not there (as ICMP says).
    pub(super) fn failed(&self, cause: &io::Error) -> Result<(), EndReason> {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, WouldBlock};
        if matches!(cause.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) {
            self.flows.refuse(Refused::Unreachable);
            return Err(EndReason::Broken);
        }
        self.flows.refuse(Refused::Overrun);
        if cause.kind() != WouldBlock {
            tracing::debug!(forward = %self.forward.id, %cause, "a datagram is lost");
        }
        Ok(())
    }

    fn wait(&self, worker: &Worker, datagram: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        let held: usize = waiting.iter().map(|one| one.len()).sum();
        let all = &worker.forwards.waiting;
        // An empty one takes room, too.
        let is_full = held + datagram.len() > limits::UDP_WAITING_BYTES_MAX
            || all.get() + datagram.len() > limits::UDP_WAITING_WORKER_BYTES_MAX
            || waiting.len() >= limits::UDP_BATCH_MAX;
        if is_full {
            self.flows.refuse(Refused::Overrun);
            return;
        }
        all.set(all.get() + datagram.len());
        waiting.push(datagram.into());
    }

    /// Takes out what waited.
    pub(super) fn waited(&self, worker: &Worker) -> Vec<Box<[u8]>> {
        let waited = self.waiting.take();
        let held: usize = waited.iter().map(|one| one.len()).sum();
        let all = &worker.forwards.waiting;
        all.set(all.get().saturating_sub(held));
        waited
    }

    /// Whether its target is still where it was when it began.
    pub(super) fn leads_there(&self, worker: &Rc<Worker>) -> bool {
        self.named.get().is_none_or(|named| named.is_current(worker))
    }

    /// Tells its task that it is over. Others may have its place.
    pub(super) fn end(&self, reason: EndReason) {
        self.over.set(Some(reason));
        self.ticket.take();
        self.wake.notify_one();
    }
}

/// Brings answers back until the session is over.
pub(super) async fn run(hall: Rc<Hall>, session: Rc<Session>, asking: Option<Box<Asking>>) {
    let reason = serve(&hall, &session, asking).await;
    hall.leave(&session);
    session.waited(&hall.worker);
    let totals = session.handle.totals(reason);
    session.flows.carried(totals.up, totals.down);
    hall.worker.counters.bytes(totals.up, totals.down);
    let local = std::net::SocketAddr::new(session.key.local.unwrap_or(hall.spot.ip), hall.spot.port);
    let ends = Ends { client: session.key.client, local };
    record::tell(
        &hall.worker,
        &Told {
            generation: session.generation,
            address: session.upstream.get().and_then(|upstream| upstream.peer_addr().ok()),
            totals,
            ..Told::of(&session.forward, ends, session.began)
        },
    );
}

async fn serve(hall: &Rc<Hall>, session: &Rc<Session>, asking: Option<Box<Asking>>) -> EndReason {
    if let Some(asking) = asking {
        // Boxed: few targets are names.
        let found = tokio::select! {
            found = Box::pin(opening::find(hall, session, *asking)) => found,
            reason = session.handle.ended() => Err(reason),
        };
        if let Err(reason) = found {
            return reason;
        }
    }
    let Some(upstream) = session.upstream.get() else { return EndReason::Broken };
    let mut ended = std::pin::pin!(session.handle.ended());
    loop {
        tokio::select! {
            biased;
            reason = &mut ended => return reason,
            () = session.wake.notified() => {
                if let Some(reason) = session.over.get() {
                    return reason;
                }
                if let Some(parted) = session.parted.get() {
                    // Boxed: most sessions never come to it.
                    return Box::pin(parting::serve(hall, session, upstream, parted)).await;
                }
            }
            heard = heard(session, upstream), if !hall.frozen.get() => {
                if let Err(reason) = heard.and_then(|()| answers(hall, session, upstream)) {
                    return reason;
                }
            }
        }
    }
}

/// Waits until something came, or ICMP says that nobody is there: that alone does not make a socket readable.
pub(super) async fn heard(session: &Session, upstream: &UdpSocket) -> Result<(), EndReason> {
    let ready = upstream.ready(Interest::READABLE | Interest::ERROR).await;
    if ready.map_err(|_| EndReason::Broken)?.is_error() {
        match SockRef::from(upstream).take_error() {
            Ok(Some(cause)) | Err(cause) => session.failed(&cause)?,
            Ok(None) => {}
        }
        // It was taken: wait for the next one.
        let _ = upstream.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
    Ok(())
}

/// Brings back what has come, up to a bound.
fn answers(hall: &Rc<Hall>, session: &Rc<Session>, upstream: &UdpSocket) -> Result<(), EndReason> {
    let gate = hall.gate.borrow();
    // Whoever may go on without the hall's socket has one of their own by then, and does not come here.
    let Some(gate) = gate.as_ref() else { return Err(EndReason::Cut) };
    let Key { client, local } = session.key;
    let mut buffer = hall.worker.forwards.buffer.borrow_mut();
    buffer.resize(limits::UDP_BUFFER_BYTES, 0);
    let mut moved = 0_u64;
    for nth in 0..limits::UDP_BATCH_MAX {
        let count = match upstream.try_recv(&mut buffer) {
            Ok(count) => count,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => break,
            Err(cause) => return session.failed(&cause),
        };
        if nth == 0 {
            hall.table.borrow_mut().touch(&session.key, Instant::now());
        }
        match gate.send(buffer.get(..count).unwrap_or_default(), client, local) {
            Ok(count) => moved += count as u64,
            // Of the client, nothing is known for certain here; it is silent if it is gone.
            Err(_) => session.flows.refuse(Refused::Overrun),
        }
    }
    session.handle.carried(0, moved);
    Ok(())
}

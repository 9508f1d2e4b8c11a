//! The bytes of a connection with an eye on its frames.

use std::cell::{Cell, RefCell};
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::floods::Floods;
use super::frames::Frames;
use super::wire::Wire;

/// What is seen on a connection.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) floods: Floods,
    /// Since when the client has taken nothing although something waits for it.
    pub(super) stalled_since: Cell<Option<Instant>>,
}

impl Seen {
    pub(super) fn stalled(&self) {
        if self.stalled_since.get().is_none() {
            self.stalled_since.set(Some(Instant::now()));
        }
    }
}

/// Length of the client's preface (RFC 9113 § 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A downstream connection below HTTP/2.
pub(super) struct Watched<IO> {
    wire: Rc<RefCell<Wire<IO>>>,
    /// Read before it was known what is spoken.
    early: Vec<u8>,
    received: Frames,
    sent: Frames,
    seen: Rc<Seen>,
}

impl<IO> Watched<IO> {
    /// `early` was read from `io` already.
    pub(super) fn new(io: IO, early: Vec<u8>) -> (Self, Rc<Seen>, Rc<RefCell<Wire<IO>>>) {
        let floods = Floods::new(Instant::now());
        let seen = Rc::new(Seen { floods, stalled_since: Cell::new(None) });
        let wire = Rc::new(RefCell::new(Wire::new(io)));
        let watched = Self {
            wire: Rc::clone(&wire),
            early,
            received: Frames::after(PREFACE.len()),
            sent: Frames::after(0),
            seen: Rc::clone(&seen),
        };
        (watched, seen, wire)
    }

    fn wrote(&mut self, count: usize, parts: &[IoSlice<'_>]) {
        // What only waits may wait for a client that takes nothing.
        if !self.wire.borrow().is_waiting() {
            self.seen.stalled_since.set(None);
        }
        let mut left = count;
        for part in parts {
            let count = left.min(part.len());
            self.sent.feed(part.get(..count).unwrap_or_default(), |frame| self.seen.floods.sent(frame));
            left -= count;
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        // The connection ends: its task says so to the client and wakes nobody for more.
        if this.seen.floods.found().is_some() {
            return Poll::Pending;
        }
        let before = room.filled().len();
        if this.early.is_empty() {
            std::task::ready!(this.wire.borrow_mut().poll_read(context, room))?;
        } else {
            let count = this.early.len().min(room.remaining());
            room.put_slice(this.early.get(..count).unwrap_or_default());
            this.early.drain(..count);
        }
        let new = room.filled().get(before..).unwrap_or_default();
        this.received.feed(new, |frame| this.seen.floods.received(frame));
        if this.seen.floods.found().is_some() {
            room.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let parts = [IoSlice::new(bytes)];
        let written = self.wire.borrow_mut().poll_write(context, &parts);
        match &written {
            Poll::Ready(Ok(count)) => self.wrote(*count, &parts),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.seen.stalled(),
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = self.wire.borrow_mut().poll_write(context, parts);
        match &written {
            Poll::Ready(Ok(count)) => self.wrote(*count, parts),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.seen.stalled(),
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = self.wire.borrow_mut().poll_flush(context);
        if flushed.is_pending() {
            self.seen.stalled();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.wire.borrow_mut().poll_shutdown(context)
    }
}

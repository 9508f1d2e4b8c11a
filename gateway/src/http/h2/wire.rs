//! The bytes of many streams gathered into few writes.
//!
//! The `h2` crate flushes after each DATA frame that it does not copy, which made a system call and a TLS record for each
//! response. Its flushes are put off here until the connection's task has nothing left to do ([`Wire::poll_push`]), so that
//! all streams that were ready together leave together.

use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use config::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection with what waits to be written to it.
pub(super) struct Wire<IO> {
    io: IO,
    waiting: Vec<u8>,
    /// How much of it went.
    sent: usize,
    /// Whether flushes are put off: there is a task that pushes.
    pub(super) is_pushed: bool,
}

impl<IO> Wire<IO> {
    pub(super) const fn new(io: IO) -> Self {
        Self { io, waiting: Vec::new(), sent: 0, is_pushed: false }
    }

    /// Whether something still waits.
    pub(super) const fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl<IO: AsyncRead + Unpin> Wire<IO> {
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_read(context, room)
    }
}

impl<IO: AsyncWrite + Unpin> Wire<IO> {
    /// Takes what fits; what is large goes by itself where nothing waits before it.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.waiting.is_empty() && len >= limits::BUFFER_BYTES {
            return Pin::new(&mut self.io).poll_write_vectored(context, parts);
        }
        if !self.waiting.is_empty() && self.waiting.len() + len > limits::RELAY_BUFFER_BYTES {
            ready!(self.poll_out(context))?;
        }
        if self.waiting.is_empty() {
            self.waiting.reserve(len.max(limits::BUFFER_BYTES));
        }
        for part in parts {
            self.waiting.extend_from_slice(part);
        }
        Poll::Ready(Ok(len))
    }

    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.is_pushed { Poll::Ready(Ok(())) } else { self.poll_push(context) }
    }

    /// Writes all that waits, and pushes it through whatever lies below. An idle connection then holds no buffer.
    pub(super) fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_out(context))?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_out(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some(rest) = self.waiting.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.io).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.waiting = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn wire() -> Wire<Vec<u8>> {
        Wire { is_pushed: true, ..Wire::new(Vec::new()) }
    }

    #[test]
    fn small_writes_wait_for_the_push_and_keep_their_order() {
        let mut context = Context::from_waker(Waker::noop());
        let mut wire = wire();
        for part in [&b"one"[..], b"two"] {
            assert!(wire.poll_write(&mut context, &[IoSlice::new(part)]).is_ready());
            assert!(wire.poll_flush(&mut context).is_ready());
        }
        assert!(wire.io.is_empty() && wire.is_waiting());
        assert!(wire.poll_push(&mut context).is_ready());
        assert_eq!(wire.io, b"onetwo");
        assert_eq!(wire.waiting.capacity(), 0, "an idle connection holds no buffer");
    }

    #[test]
    fn what_is_large_goes_by_itself_and_what_waits_goes_before_it() {
        let mut context = Context::from_waker(Waker::noop());
        let mut wire = wire();
        let large = vec![b'x'; limits::RELAY_BUFFER_BYTES];
        assert!(wire.poll_write(&mut context, &[IoSlice::new(b"small")]).is_ready());
        assert!(wire.poll_write(&mut context, &[IoSlice::new(&large)]).is_ready());
        assert!(wire.io.starts_with(b"small"), "what does not fit beside it pushes it out");
        assert!(wire.poll_push(&mut context).is_ready());
        assert_eq!(wire.io.len(), 5 + large.len());
    }
}

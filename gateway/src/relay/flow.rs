//! One direction of a relay.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use config::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

thread_local! {
    /// Buffers between two uses. A thread's own, so that taking one costs neither a lock nor an allocation.
    static KEPT: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

fn lend() -> Box<[u8]> {
    let kept = KEPT.with_borrow_mut(Vec::pop);
    kept.unwrap_or_else(|| vec![0; limits::RELAY_BUFFER_BYTES].into_boxed_slice())
}

fn give_back(buffer: Box<[u8]>) {
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < limits::RELAY_BUFFERS_KEPT_MAX {
            kept.push(buffer);
        }
    });
}

/// Bytes that were read and not yet written.
struct InFlight {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// One direction: reads, writes what it read, and passes the end on.
#[derive(Default)]
pub(super) struct Flow {
    in_flight: Option<InFlight>,
    moved: u64,
    is_unflushed: bool,
    has_ended: bool,
    is_done: bool,
}

impl Flow {
    /// Grows with every byte read or written: silence is when it stands still.
    pub(super) const fn moved(&self) -> u64 {
        self.moved
    }

    /// Moves what can be moved. Ready when the source ended and its end was passed on, or at an error of either end.
    pub(super) fn poll<R, W>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        count: &AtomicU64,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.is_done {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..limits::RELAY_STEPS_MAX {
            if self.in_flight.is_some() {
                ready!(self.write(context, to, count))?;
            } else if self.has_ended {
                ready!(shut_down(context, to))?;
                self.is_done = true;
                return Poll::Ready(Ok(()));
            } else if self.read(context, from)?.is_pending() {
                if self.is_unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(context))?;
                    self.is_unflushed = false;
                }
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn read<R>(&mut self, context: &mut Context<'_>, from: &mut R) -> io::Result<Poll<()>>
    where
        R: AsyncRead + Unpin,
    {
        let mut buffer = lend();
        let mut view = ReadBuf::new(&mut buffer);
        let answer = Pin::new(from).poll_read(context, &mut view);
        let end = view.filled().len();
        match answer {
            Poll::Ready(Ok(())) if end > 0 => {
                self.moved = self.moved.wrapping_add(end as u64);
                self.in_flight = Some(InFlight { buffer, start: 0, end });
                return Ok(Poll::Ready(()));
            }
            Poll::Ready(Ok(())) => self.has_ended = true,
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        give_back(buffer);
        match answer {
            Poll::Ready(result) => result.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn write<W>(&mut self, context: &mut Context<'_>, to: &mut W, count: &AtomicU64) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        let Some(mut held) = self.in_flight.take() else { return Poll::Ready(Ok(())) };
        let rest = held.buffer.get(held.start..held.end).unwrap_or_default();
        let answer = Pin::new(to).poll_write(context, rest);
        if let Poll::Ready(Ok(written)) = answer {
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            held.start += written;
            self.moved = self.moved.wrapping_add(written as u64);
            self.is_unflushed = true;
            count.fetch_add(written as u64, Ordering::Relaxed);
        }
        if held.start < held.end {
            self.in_flight = Some(held);
        } else {
            give_back(held.buffer);
        }
        answer.map_ok(drop)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(held) = self.in_flight.take() {
            give_back(held.buffer);
        }
    }
}

fn shut_down<W: AsyncWrite + Unpin>(context: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>> {
    match ready!(Pin::new(to).poll_shutdown(context)) {
        // The other end is gone already: there is nobody left to tell.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
        answer => Poll::Ready(answer),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_flow_holds_a_buffer_only_while_bytes_are_on_their_way() {
        let (mut person, mut downstream) = duplex(64);
        let (mut upstream, _origin) = duplex(8);
        let (mut flow, count) = (Flow::default(), AtomicU64::new(0));
        let mut context = Context::from_waker(Waker::noop());
        assert!(flow.poll(&mut context, &mut downstream, &mut upstream, &count).is_pending());
        assert!(flow.in_flight.is_none());
        assert_eq!(KEPT.with_borrow(Vec::len), 1);

        person.write_all(b"more than eight bytes").await.unwrap();
        assert!(flow.poll(&mut context, &mut downstream, &mut upstream, &count).is_pending());

        assert!(flow.in_flight.is_some());
        assert_eq!((count.load(Ordering::Relaxed), KEPT.with_borrow(Vec::len)), (8, 0));
        drop(flow);
        assert_eq!(KEPT.with_borrow(Vec::len), 1);
    }
}

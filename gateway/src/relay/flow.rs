//! One direction of a relay.

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use config::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::pieces::{Gathered, InPieces};
use crate::splice::{Filled, Pipe, Pipes};
use crate::upstream::Stream;

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

/// Where bytes wait that were read and not yet written.
#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Here(InFlight),
    /// Where the source has them.
    There(Gathered),
    /// In the kernel, on their way from one plain socket to another.
    Piped(Pipe),
}

/// One direction: reads, writes what it read, and passes the end on.
#[derive(Default)]
pub(super) struct Flow {
    held: Held,
    moved: u64,
    is_unflushed: bool,
    has_ended: bool,
    is_done: bool,
    pace: Pace,
}

/// Whether much comes at once. A pipe costs as many system calls as a copy and a visit more, so it serves those flows
/// alone whose reads are large; small messages go by copy.
#[derive(Default)]
struct Pace {
    is_bulk: bool,
    small_in_a_row: u8,
}

impl Pace {
    const fn came(&mut self, bytes: usize) {
        if !self.is_bulk {
            self.is_bulk = bytes >= limits::RELAY_SPLICE_BYTES.0;
            self.small_in_a_row = 0;
        } else if bytes < limits::RELAY_SPLICE_BYTES.1 {
            self.small_in_a_row += 1;
            self.is_bulk = self.small_in_a_row < limits::RELAY_SPLICE_SMALL_MAX;
        } else {
            self.small_in_a_row = 0;
        }
    }
}

/// What came of trying to fill a pipe.
enum Fill {
    Step(Poll<()>),
    /// It has to be a buffer.
    Copy,
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
        R: AsyncRead + Unpin + 'static,
        W: AsyncWrite + Unpin + 'static,
    {
        if self.is_done {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..limits::RELAY_STEPS_MAX {
            match self.held {
                Held::Here(_) => ready!(self.write(context, to, count))?,
                Held::There(_) => ready!(self.pass(context, to, count))?,
                Held::Piped(_) => ready!(self.drain(context, to, count))?,
                Held::Nothing if self.has_ended => {
                    ready!(shut_down(context, to))?;
                    self.is_done = true;
                    return Poll::Ready(Ok(()));
                }
                Held::Nothing => {
                    if self.take_in(context, from, to)?.is_pending() {
                        if self.is_unflushed {
                            ready!(Pin::new(&mut *to).poll_flush(context))?;
                            self.is_unflushed = false;
                        }
                        return Poll::Pending;
                    }
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads on: by a pipe where much comes from a plain socket and goes to one, else into a buffer.
    fn take_in<R, W>(&mut self, context: &mut Context<'_>, from: &mut R, to: &W) -> io::Result<Poll<()>>
    where
        R: AsyncRead + Unpin + 'static,
        W: 'static,
    {
        if self.pace.is_bulk
            && let (Some(from), Some(_)) = (plain(from), plain(to))
            && let Fill::Step(step) = self.fill(context, from)?
        {
            return Ok(step);
        }
        if let Some(from) = (from as &mut dyn Any).downcast_mut::<InPieces>() {
            return Ok(self.gather(context, from));
        }
        self.read(context, from)
    }

    fn gather(&mut self, context: &mut Context<'_>, from: &mut InPieces) -> Poll<()> {
        let (gathered, bytes) = ready!(Gathered::poll_from(context, from));
        self.moved = self.moved.wrapping_add(bytes as u64);
        if bytes > 0 {
            self.held = Held::There(gathered);
        } else {
            self.has_ended = true;
        }
        Poll::Ready(())
    }

    fn fill(&mut self, context: &mut Context<'_>, from: &TcpStream) -> io::Result<Fill> {
        let pipes = Pipes::of_thread();
        let Some(mut pipe) = pipes.take_for_relay() else { return Ok(Fill::Copy) };
        let filled = pipe.poll_fill(context, from, u64::MAX);
        if let Poll::Ready(Ok(Filled::Bytes(count))) = filled {
            self.moved = self.moved.wrapping_add(count as u64);
            self.pace.came(count);
            self.held = Held::Piped(pipe);
            return Ok(Fill::Step(Poll::Ready(())));
        }
        pipes.put(pipe);
        Ok(match filled {
            Poll::Pending => Fill::Step(Poll::Pending),
            Poll::Ready(Err(cause)) => return Err(cause),
            Poll::Ready(Ok(Filled::End)) => {
                self.has_ended = true;
                Fill::Step(Poll::Ready(()))
            }
            Poll::Ready(Ok(Filled::Bytes(_) | Filled::Unsupported)) => {
                pipes.turn_off();
                Fill::Copy
            }
        })
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
                self.pace.came(end);
                self.held = Held::Here(InFlight { buffer, start: 0, end });
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
        let Held::Here(held) = &mut self.held else { return Poll::Ready(Ok(())) };
        let rest = held.buffer.get(held.start..held.end).unwrap_or_default();
        let written = ready!(Pin::new(to).poll_write(context, rest))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        held.start += written;
        let is_empty = held.start >= held.end;
        self.is_unflushed = true;
        self.wrote(written, count);
        if is_empty {
            self.let_go();
        }
        Poll::Ready(Ok(()))
    }

    fn pass<W>(&mut self, context: &mut Context<'_>, to: &mut W, count: &AtomicU64) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        let Held::There(gathered) = &mut self.held else { return Poll::Ready(Ok(())) };
        let written = ready!(gathered.poll_write(context, to))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let is_empty = gathered.is_empty();
        self.is_unflushed = true;
        self.wrote(written, count);
        if is_empty {
            self.let_go();
        }
        Poll::Ready(Ok(()))
    }

    fn drain<W: 'static>(
        &mut self,
        context: &mut Context<'_>,
        to: &W,
        count: &AtomicU64,
    ) -> Poll<io::Result<()>> {
        // Filled only towards a plain socket, and it stays one.
        let (Held::Piped(pipe), Some(to)) = (&mut self.held, plain(to)) else { return Poll::Ready(Ok(())) };
        let written = ready!(pipe.poll_drain(context, to))?;
        let is_empty = pipe.held() == 0;
        self.wrote(written, count);
        if is_empty {
            self.let_go();
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, bytes: usize, count: &AtomicU64) {
        self.moved = self.moved.wrapping_add(bytes as u64);
        count.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Gives back what bytes waited in.
    fn let_go(&mut self) {
        match std::mem::take(&mut self.held) {
            Held::Nothing | Held::There(_) => {}
            Held::Here(held) => give_back(held.buffer),
            Held::Piped(pipe) => Pipes::of_thread().put(pipe),
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The socket, where nothing lies between.
fn plain<IO: 'static>(io: &IO) -> Option<&TcpStream> {
    let io = io as &dyn Any;
    io.downcast_ref().or_else(|| io.downcast_ref::<Stream>().and_then(Stream::plain))
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
        assert!(matches!(flow.held, Held::Nothing));
        assert_eq!(KEPT.with_borrow(Vec::len), 1);

        person.write_all(b"more than eight bytes").await.unwrap();
        assert!(flow.poll(&mut context, &mut downstream, &mut upstream, &count).is_pending());

        assert!(matches!(flow.held, Held::Here(_)));
        assert_eq!((count.load(Ordering::Relaxed), KEPT.with_borrow(Vec::len)), (8, 0));
        drop(flow);
        assert_eq!(KEPT.with_borrow(Vec::len), 1);
    }
}

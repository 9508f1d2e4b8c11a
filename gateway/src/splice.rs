//! Bytes from one socket to another without a visit to this process: splice(2) through a pipe.
//!
//! What waits between two sockets waits in the pipe, in the kernel. A [`Pipe`] is taken when the source turns out to be
//! readable and given back when it is empty, like a buffer; one that still holds something is closed, never lent again.
//! Where there is none to be had (too many lent, no descriptors, a kernel or sandbox without splice) the caller copies.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use config::limits;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Size of a pipe in bytes, how many of them one worker lends at once, and how many it keeps.
const PIPES: (usize, usize, usize) = limits::SPLICE_PIPES;

thread_local! {
    /// The pipes of the worker whose thread this is.
    static OF_THREAD: RefCell<Rc<Pipes>> = RefCell::default();
}

/// A worker's pipes.
#[derive(Default)]
pub(crate) struct Pipes {
    kept: RefCell<Vec<Pipe>>,
    lent: Rc<Cell<usize>>,
    is_off: Cell<bool>,
    /// How often one was lent.
    #[cfg(test)]
    taken: Cell<usize>,
}

impl Pipes {
    /// Makes those of this thread.
    pub(crate) fn for_thread() -> Rc<Self> {
        let pipes = Rc::new(Self::default());
        OF_THREAD.set(Rc::clone(&pipes));
        pipes
    }

    /// Those of this thread.
    pub(crate) fn of_thread() -> Rc<Self> {
        OF_THREAD.with_borrow(Rc::clone)
    }

    /// Lends an empty pipe to a relay. A tunnel whose reader has stopped may hold one for as long as it is open, so the
    /// last ones are left to bodies, which have deadlines.
    pub(crate) fn take_for_relay(&self) -> Option<Pipe> {
        if self.lent.get() >= limits::RELAY_PIPES_MAX {
            return None;
        }
        self.take()
    }

    /// Lends an empty pipe, if there is one to be had.
    pub(crate) fn take(&self) -> Option<Pipe> {
        if self.is_off.get() || self.lent.get() >= PIPES.1 {
            return None;
        }
        let kept = self.kept.borrow_mut().pop();
        let mut pipe = match kept.map_or_else(Pipe::open, Ok) {
            Ok(pipe) => pipe,
            Err(cause) => {
                // Descriptors may come back; who has none now copies now.
                tracing::debug!(%cause, "no pipe to splice through");
                return None;
            }
        };
        self.lent.set(self.lent.get() + 1);
        pipe.lent = Some(Lent(Rc::clone(&self.lent)));
        #[cfg(test)]
        self.taken.set(self.taken.get() + 1);
        Some(pipe)
    }

    /// Takes a pipe back; one that is not empty is closed.
    pub(crate) fn put(&self, mut pipe: Pipe) {
        pipe.lent = None;
        let mut kept = self.kept.borrow_mut();
        if pipe.held == 0 && kept.len() < PIPES.2 {
            kept.push(pipe);
        }
    }

    /// Lends none any more: splice does not work here.
    pub(crate) fn turn_off(&self) {
        self.is_off.set(true);
    }

    /// How many are lent, how many are kept, and how often one was lent.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.lent.get(), self.kept.borrow().len(), self.taken.get())
    }
}

/// One of a bounded number, until it is dropped.
struct Lent(Rc<Cell<usize>>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// What came of filling a pipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// These many bytes are in it.
    Bytes(usize),
    /// The source has ended.
    End,
    /// Splice does not work between these two. Nothing was read.
    Unsupported,
}

/// A pipe and how much is in it.
pub(crate) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    held: usize,
    lent: Option<Lent>,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user who has many gets small ones: those are worse than a copy.
        if fcntl_setpipe_size(&into, PIPES.0).is_err()
            && fcntl_getpipe_size(&into)? < limits::RELAY_BUFFER_BYTES
        {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self { out, into, held: 0, lent: None })
    }

    /// Bytes that were read and not yet written.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// Moves at most `most` bytes into the pipe, which has to be empty.
    pub(crate) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        from: &TcpStream,
        most: u64,
    ) -> Poll<io::Result<Filled>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(PIPES.0);
        loop {
            ready!(from.poll_read_ready(context))?;
            let moved = from.try_io(Interest::READABLE, || {
                Ok(splice(from, None, &self.into, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
            });
            return Poll::Ready(match moved {
                Ok(0) => Ok(Filled::End),
                Ok(count) => {
                    self.held += count;
                    Ok(Filled::Bytes(count))
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => continue,
                Err(cause) if is_unsupported(&cause) => Ok(Filled::Unsupported),
                Err(cause) => Err(cause),
            });
        }
    }

    /// Moves what is in the pipe on, as far as `to` takes it.
    pub(crate) fn poll_drain(
        &mut self,
        context: &mut Context<'_>,
        to: &TcpStream,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(context))?;
            let moved = to.try_io(Interest::WRITABLE, || {
                let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
                Ok(splice(&self.out, None, to, None, self.held, flags)?)
            });
            return Poll::Ready(match moved {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.held = self.held.saturating_sub(count);
                    Ok(count)
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => continue,
                Err(cause) => Err(cause),
            });
        }
    }
}

/// What a sandbox or an odd socket answers, before anything was moved.
fn is_unsupported(cause: &io::Error) -> bool {
    let errno = Errno::from_io_error(cause);
    [Errno::INVAL, Errno::NOSYS, Errno::PERM].iter().any(|no| errno == Some(*no))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    async fn fill(pipe: &mut Pipe, from: &TcpStream, most: u64) -> Filled {
        std::future::poll_fn(|context| pipe.poll_fill(context, from, most)).await.unwrap()
    }

    #[tokio::test]
    async fn bytes_pass_through_a_pipe_up_to_the_bound_and_the_end_is_told() {
        let pipes = Pipes::default();
        let ((mut near, from), (to, mut far)) = (pair().await, pair().await);
        near.write_all(b"hello, world").await.unwrap();
        let mut pipe = pipes.take().unwrap();

        assert_eq!(fill(&mut pipe, &from, 5).await, Filled::Bytes(5));
        let sent = std::future::poll_fn(|context| pipe.poll_drain(context, &to)).await.unwrap();

        let mut read = [0; 5];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!((sent, pipe.held(), &read), (5, 0, b"hello"));
        assert_eq!(fill(&mut pipe, &from, 100).await, Filled::Bytes(7));
        std::future::poll_fn(|context| pipe.poll_drain(context, &to)).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(fill(&mut pipe, &from, 100).await, Filled::End);
    }

    #[tokio::test]
    async fn a_source_that_is_silent_is_waited_for() {
        let (_near, from) = pair().await;
        let pipes = Pipes::default();
        let mut pipe = pipes.take().unwrap();
        let mut context = Context::from_waker(Waker::noop());
        assert!(pipe.poll_fill(&mut context, &from, 1).is_pending());
    }

    #[tokio::test]
    async fn a_pipe_with_something_in_it_is_never_lent_again() {
        let pipes = Pipes::default();
        let (mut near, from) = pair().await;
        near.write_all(b"somebody's").await.unwrap();
        let mut pipe = pipes.take().unwrap();
        fill(&mut pipe, &from, 100).await;
        pipes.put(pipe);
        assert_eq!(pipes.counts(), (0, 0, 1));

        pipes.put(pipes.take().unwrap());
        assert_eq!(pipes.counts(), (0, 1, 2));
    }

    #[test]
    fn pipes_are_lent_in_bounded_number_and_one_that_is_lost_counts_no_more() {
        let pipes = Pipes::default();
        let lent: Vec<Pipe> = std::iter::from_fn(|| pipes.take()).collect();
        assert_eq!(lent.len(), PIPES.1);
        drop(lent);
        assert!(pipes.take().is_some());
        pipes.turn_off();
        assert!(pipes.take().is_none());
    }

    #[tokio::test]
    async fn who_takes_nothing_is_waited_for_and_who_left_is_an_error() {
        let pipes = Pipes::default();
        let ((mut near, from), (mut to, far)) = (pair().await, pair().await);
        let mut context = Context::from_waker(Waker::noop());
        while Pin::new(&mut to).poll_write(&mut context, &[0; 65_536]).is_ready() {}
        near.write_all(b"late").await.unwrap();
        let mut pipe = pipes.take().unwrap();
        fill(&mut pipe, &from, 100).await;
        assert!(pipe.poll_drain(&mut context, &to).is_pending());
        assert_eq!(pipe.held(), 4);
        drop(far);
        let left = std::future::poll_fn(|context| pipe.poll_drain(context, &to)).await;
        assert!(left.is_err());
    }
}

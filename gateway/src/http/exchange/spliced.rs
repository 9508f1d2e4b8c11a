//! A long body that nobody looks at: from socket to socket, through a pipe in the kernel.
//!
//! The same steps as by a buffer, with the same outcomes: what was read is counted off the body, what was written is
//! counted for the client, and an end or an error of either side means what it means there. It begins only where nothing
//! of the body is at hand, and gives way to a buffer wherever there is no pipe to be had.

use std::any::Any;
use std::io;
use std::task::{Context, Poll};

use config::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::super::codec::Body;
use super::down::cut_short;
use super::{Exchange, downstream_gone};
use crate::fault::Fault;
use crate::splice::{Filled, Pipe, Pipes};

/// Pipes with something in them.
#[derive(Default)]
pub(super) struct Spliced {
    pub(super) up: Option<Pipe>,
    pub(super) down: Option<Pipe>,
}

/// A step, or `None` where a buffer has to do it.
type Step = Option<Poll<()>>;

/// Reads on in `body` by a pipe, which is left in `held` with what came.
///
/// Errors: the source's, or its end before the body's.
fn poll_fill(
    context: &mut Context<'_>,
    (pipes, held): (&Pipes, &mut Option<Pipe>),
    body: &mut Body,
    from: &TcpStream,
) -> io::Result<Step> {
    let Some(left) = body.left().filter(|left| *left >= limits::SPLICE_BYTES_MIN) else { return Ok(None) };
    let Some(mut pipe) = pipes.take() else { return Ok(None) };
    let filled = pipe.poll_fill(context, from, left);
    match filled {
        Poll::Ready(Ok(Filled::Bytes(count))) => {
            body.passed(count as u64);
            *held = Some(pipe);
            return Ok(Some(Poll::Ready(())));
        }
        Poll::Pending | Poll::Ready(_) => pipes.put(pipe),
    }
    match filled {
        Poll::Pending => Ok(Some(Poll::Pending)),
        Poll::Ready(Ok(Filled::End)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Poll::Ready(Err(cause)) => Err(cause),
        Poll::Ready(Ok(Filled::Bytes(_) | Filled::Unsupported)) => {
            pipes.turn_off();
            Ok(None)
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Exchange<'_, IO> {
    /// Reads on in the response.
    pub(super) fn poll_down_fill(&mut self, context: &mut Context<'_>) -> Result<Step, Fault> {
        let Some(from) = self.upstream.plain().filter(|_| plain(&self.link.io).is_some()) else {
            return Ok(None);
        };
        let pipes = (&*self.worker.pipes, &mut self.spliced.down);
        poll_fill(context, pipes, &mut self.body, from).map_err(cut_short)
    }

    /// Writes what lies in the pipe to the client.
    pub(super) fn poll_down_drain(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        let (Some(to), Some(mut pipe)) = (plain(&self.link.io), self.spliced.down.take()) else {
            return Ok(Poll::Ready(()));
        };
        match pipe.poll_drain(context, to) {
            Poll::Pending => {
                self.waits_for_reader = true;
                self.spliced.down = Some(pipe);
                return Ok(Poll::Pending);
            }
            Poll::Ready(Err(cause)) => return Err(downstream_gone(cause)),
            Poll::Ready(Ok(count)) => self.tally.bytes_down += count as u64,
        }
        self.spliced.down = self.unless_empty(pipe);
        Ok(Poll::Ready(()))
    }

    /// Reads on in the request.
    pub(super) fn poll_up_fill(&mut self, context: &mut Context<'_>) -> Result<Step, Fault> {
        let Some(from) = plain(&self.link.io).filter(|_| self.upstream.plain().is_some()) else {
            return Ok(None);
        };
        let pipes = (&*self.worker.pipes, &mut self.spliced.up);
        poll_fill(context, pipes, self.up.body_mut(), from).map_err(downstream_gone)
    }

    /// Writes what lies in the pipe to the origin.
    pub(super) fn poll_up_drain(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (Some(to), Some(mut pipe)) = (self.upstream.plain(), self.spliced.up.take()) else {
            return Poll::Ready(());
        };
        match pipe.poll_drain(context, to) {
            Poll::Pending => {
                self.spliced.up = Some(pipe);
                return Poll::Pending;
            }
            // The origin may have answered before it stopped reading: the answer decides.
            Poll::Ready(Err(_)) => {
                self.up.stop();
                return Poll::Ready(());
            }
            Poll::Ready(Ok(count)) => self.up.bytes += count as u64,
        }
        self.spliced.up = self.unless_empty(pipe);
        Poll::Ready(())
    }

    fn unless_empty(&self, pipe: Pipe) -> Option<Pipe> {
        if pipe.held() > 0 {
            return Some(pipe);
        }
        self.worker.pipes.put(pipe);
        None
    }
}

/// The socket, where nothing lies between.
fn plain<IO: 'static>(io: &IO) -> Option<&TcpStream> {
    (io as &dyn Any).downcast_ref()
}

//! The request's direction: head and first body bytes in one write, then the body.

use std::io;
use std::task::{Context, Poll};

use config::limits;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::codec::{Body, Broken, Span};
use super::super::door;
use super::super::intake::Intake;
use super::{Exchange, downstream_gone, poll_write, take_first};
use crate::fault::{Fault, Kind, Retry};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    Head,
    Body,
    Done,
    /// The origin takes no more, or nobody wants the rest.
    Stopped,
}

/// The request as it is being sent. Outlives a try: what was taken from the downstream is not read twice.
#[derive(Debug)]
pub(in super::super) struct Upward {
    state: Up,
    body: Body,
    /// Bytes in the downstream's intake that are to pass on.
    pass: usize,
    /// Of head and first body bytes: how much was written in this try.
    sent: usize,
    has_begun_body: bool,
    waits: bool,
    /// Bytes of the body that went upstream.
    pub(in super::super) bytes: u64,
}

impl Upward {
    /// Takes the beginning of the body from `intake` and puts it behind the head in `out`.
    ///
    /// Errors: the body breaks a rule already; nothing has been sent.
    pub(in super::super) fn new(
        mut body: Body,
        intake: &mut Intake,
        out: &mut Vec<u8>,
    ) -> Result<Self, Broken> {
        let head_len = out.len();
        let pass = take_first(&mut body, intake, out)?;
        // The rest of what came is read once for its rules, so that what is broken already goes nowhere.
        preview(&body, intake.unread().get(pass..).unwrap_or_default())?;
        let bytes = (out.len() - head_len) as u64;
        Ok(Self { state: Up::Head, body, pass, sent: 0, has_begun_body: bytes > 0, waits: false, bytes })
    }

    /// Begins another try.
    pub(in super::super) const fn rewind(&mut self) {
        self.state = Up::Head;
        self.sent = 0;
    }

    /// Whether everything that was taken from the downstream is still at hand.
    pub(in super::super) const fn is_whole(&self) -> bool {
        matches!(self.state, Up::Head) || self.is_bodyless()
    }

    /// Whether there is no body beyond what goes with the head.
    pub(in super::super) const fn is_bodyless(&self) -> bool {
        !self.has_begun_body && self.body.is_done()
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.state, Up::Done)
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, Up::Done | Up::Stopped)
    }

    pub(super) const fn has_begun_body(&self) -> bool {
        self.has_begun_body
    }

    pub(super) const fn waits_for_downstream(&self) -> bool {
        self.waits
    }

    pub(super) const fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    pub(super) const fn stop(&mut self) {
        self.state = Up::Stopped;
    }
}

fn preview(body: &Body, mut rest: &[u8]) -> Result<(), Broken> {
    let mut body = body.clone();
    loop {
        match body.next(rest)? {
            Span::Pass(count) | Span::Drop(count) => rest = rest.get(count..).unwrap_or_default(),
            Span::More | Span::Done => return Ok(()),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Exchange<'_, IO> {
    pub(super) fn poll_up(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        self.up.waits = false;
        loop {
            let step = match self.up.state {
                Up::Head => self.poll_up_head(context)?,
                Up::Body if self.spliced.up.is_some() => self.poll_up_drain(context),
                Up::Body if self.up.pass > 0 => self.poll_up_pass(context)?,
                Up::Body => self.poll_up_body(context)?,
                Up::Done | Up::Stopped => return Ok(()),
            };
            if step.is_pending() {
                return Ok(());
            }
            self.has_moved = true;
        }
    }

    fn poll_up_head(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        let rest = self.scratch.to_upstream.get(self.up.sent..).unwrap_or_default();
        match poll_write(context, self.upstream, rest) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Err(cause)) if self.up.sent == 0 => {
                return Err(Fault::upstream(Kind::Closed, Retry::Safe, cause));
            }
            Poll::Ready(Err(_)) => self.up.stop(),
            Poll::Ready(Ok(count)) => {
                self.up.sent += count;
                if self.up.sent == self.scratch.to_upstream.len() {
                    let is_over = self.up.pass == 0 && self.up.body.is_done();
                    self.up.state = if is_over { Up::Done } else { Up::Body };
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_up_pass(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        let bytes = self.link.intake.unread().get(..self.up.pass).unwrap_or_default();
        match poll_write(context, self.upstream, bytes) {
            Poll::Pending => return Ok(Poll::Pending),
            // The origin may have answered before it stopped reading: the answer decides.
            Poll::Ready(Err(_)) => self.up.stop(),
            Poll::Ready(Ok(count)) => {
                self.link.intake.consume(count);
                self.up.pass -= count;
                self.up.bytes += count as u64;
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_up_body(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        match self.up.body.next(self.link.intake.unread()).map_err(door::refused)? {
            Span::Pass(count) => self.up.pass = count,
            Span::Drop(count) => self.link.intake.consume(count),
            Span::Done => self.up.state = Up::Done,
            Span::More => {
                if let Some(step) = self.poll_up_fill(context)? {
                    self.up.waits = step.is_pending();
                    self.up.has_begun_body |= step.is_ready();
                    return Ok(step);
                }
                let is_long = self.up.body.is_long(limits::BUFFER_BYTES);
                let (link, buffers) = (&mut *self.link, &self.worker.buffers);
                match link.intake.poll_body(context, &mut link.io, buffers, is_long) {
                    Poll::Pending => {
                        self.up.waits = true;
                        return Ok(Poll::Pending);
                    }
                    Poll::Ready(Ok(0)) => {
                        return Err(downstream_gone(io::ErrorKind::UnexpectedEof.into()));
                    }
                    Poll::Ready(Ok(_)) => self.up.has_begun_body = true,
                    Poll::Ready(Err(cause)) => return Err(downstream_gone(cause)),
                }
            }
        }
        Ok(Poll::Ready(()))
    }
}

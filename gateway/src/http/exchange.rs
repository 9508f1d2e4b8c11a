//! One request and its response: two connections driven by one task, both directions at once.
//!
//! A direction moves only as fast as its receiver takes: nothing is read while something waits to be written. The
//! response may begin, and end, before the request is whole. Order of states: [`Up`] `Head`, `Body`, `Done` (or
//! `Stopped`, when the origin takes no more); [`Down`] `Head`, `Out` (again for each interim response), `Body`, `Flush`,
//! `Done`.

mod clock;
mod down;
mod gains;
mod link;
mod pack;
mod replace;
mod spliced;
mod up;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use config::limits;
use config::snapshot::Route;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::codec::{Body, Version};
use super::door::Asked;
use super::headers::Policy;
use super::intake::Intake;
use super::scratch::Scratch;
use crate::fault::{Cause, Fault, Kind, Retry};
use crate::upstream::Stream;
use crate::upstream::pick::Attempt;
use crate::worker::Worker;

pub(super) use link::Link;
pub(super) use pack::Packers;
pub(super) use up::Upward;

/// What the response has to fit.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) route: &'a Route,
    /// When all of it has to be over, if ever.
    pub(super) whole_at: Option<Instant>,
    pub(super) is_head: bool,
    pub(super) keep_alive: bool,
    pub(super) may_switch: bool,
    pub(super) expects_continue: bool,
    pub(super) version: Version,
    pub(super) policy: Policy<'a>,
}

impl<'a> Terms<'a> {
    pub(super) fn of(asked: &Asked, version: Version, policy: Policy<'a>, route: &'a Route) -> Self {
        let whole_ms = route.timeouts.as_ref().and_then(|timeouts| timeouts.whole_ms);
        Self {
            route,
            whole_at: whole_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into())),
            is_head: asked.is_head,
            keep_alive: asked.keep_alive,
            may_switch: asked.upgrade.is_some(),
            expects_continue: asked.expects_continue,
            version,
            policy,
        }
    }
}

impl Terms<'_> {
    /// How long a connection to one of `endpoints` may take.
    pub(super) fn connect_deadline(&self, endpoints: usize) -> Duration {
        let default = match endpoints {
            0 | 1 => limits::CONNECT_DEADLINE_MS,
            _ => limits::CONNECT_DEADLINE_OF_SEVERAL_MS,
        };
        let own = self.route.timeouts.as_ref().and_then(|timeouts| timeouts.connect_ms);
        Duration::from_millis(own.map_or(default, u64::from))
    }
}

/// How an exchange ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The whole response went out.
    Done { downstream_goes_on: bool, upstream_goes_on: bool },
    /// Both sides speak another protocol from here.
    Switched,
}

/// What went through.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Status of the response whose head began to go out; 0 if none did.
    pub(super) status: u16,
    pub(super) bytes_down: u64,
    /// Whether the client learns where the body ends from the end of its connection alone.
    pub(super) ends_by_close: bool,
}

/// The response's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Down {
    Head,
    Out(After),
    Body,
    Flush,
    Done,
    Switched,
}

/// What follows a head that goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    NextHead,
    Body,
    Switched,
}

/// One request and its response.
pub(super) struct Exchange<'a, IO> {
    worker: &'a Worker,
    link: &'a mut Link<IO>,
    upstream: &'a mut Stream,
    from_upstream: &'a mut Intake,
    scratch: &'a mut Scratch,
    up: &'a mut Upward,
    terms: Terms<'a>,
    is_reused: bool,
    attempt: Option<&'a Attempt>,
    down: Down,
    /// Of what goes out first: how much went.
    sent: usize,
    body: Body,
    /// What compresses the body.
    pack: Option<pack::Pack<'a>>,
    /// Bytes in the upstream's intake that are to pass on.
    pass: usize,
    /// Bodies on their way that nobody looks at.
    spliced: spliced::Spliced,
    interims: usize,
    downstream_goes_on: bool,
    upstream_goes_on: bool,
    has_moved: bool,
    /// Whether the response waits for the downstream to read.
    waits_for_reader: bool,
    /// Whether a used connection has yet to show that nothing came on it.
    is_unproved: bool,
    paces: clock::Paces,
    tally: Tally,
}

/// The two ends of an exchange.
pub(super) struct Ends<'a, IO> {
    pub(super) link: &'a mut Link<IO>,
    pub(super) upstream: &'a mut Stream,
    pub(super) from_upstream: &'a mut Intake,
    /// Whether the upstream connection carried an earlier request.
    pub(super) is_reused: bool,
    /// Who is told of the response's head.
    pub(super) attempt: Option<&'a Attempt>,
}

impl<'a, IO: AsyncRead + AsyncWrite + Unpin + 'static> Exchange<'a, IO> {
    pub(super) fn new(
        worker: &'a Worker,
        ends: Ends<'a, IO>,
        scratch: &'a mut Scratch,
        up: &'a mut Upward,
        terms: Terms<'a>,
    ) -> Self {
        scratch.response.reset();
        Self {
            worker,
            link: ends.link,
            upstream: ends.upstream,
            from_upstream: ends.from_upstream,
            is_reused: ends.is_reused,
            attempt: ends.attempt,
            scratch,
            up,
            terms,
            down: Down::Head,
            sent: 0,
            body: Body::Empty,
            pack: None,
            pass: 0,
            spliced: spliced::Spliced::default(),
            interims: 0,
            downstream_goes_on: terms.keep_alive,
            upstream_goes_on: true,
            has_moved: true,
            waits_for_reader: false,
            is_unproved: ends.is_reused,
            paces: clock::Paces::default(),
            tally: Tally::default(),
        }
    }

    /// Drives both directions to the end.
    pub(super) async fn run(mut self) -> (Tally, Result<End, Fault>) {
        let result = std::future::poll_fn(|context| self.poll(context)).await;
        (self.tally, result)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<End, Fault>> {
        if std::mem::take(&mut self.is_unproved) {
            self.poll_premature(context)?;
        }
        self.poll_up(context)?;
        self.poll_down(context)?;
        if let Some(end) = self.poll_end(context) {
            return Poll::Ready(Ok(end));
        }
        if self.up.is_over() {
            self.has_moved |= self.link.poll_early(context)?;
        }
        self.poll_time(context)
    }

    /// Nothing may come before the request went out: it would be taken for the answer. Costs no system call unless the
    /// runtime has heard of something.
    fn poll_premature(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        match self.from_upstream.poll_head(context, self.upstream, &self.worker.buffers) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(cause)) => Err(Fault::upstream(Kind::Closed, Retry::Safe, cause)),
            Poll::Ready(Ok(_)) => {
                let cause = Cause::Rule("an idle connection was closed or written to by the origin");
                Err(Fault::upstream(Kind::Closed, Retry::Safe, cause))
            }
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Option<End> {
        match self.down {
            Down::Switched => return Some(End::Switched),
            Down::Done => {}
            Down::Head | Down::Out(_) | Down::Body | Down::Flush => return None,
        }
        if !self.up.is_over() && self.request_is_pointless(context) {
            self.up.stop();
        }
        self.up.is_over().then(|| End::Done {
            downstream_goes_on: self.downstream_goes_on && self.up.is_done(),
            upstream_goes_on: self.upstream_goes_on && self.up.is_done() && self.from_upstream.is_empty(),
        })
    }

    /// The response is over and the rest of the request is not: whether anybody still wants it.
    fn request_is_pointless(&mut self, context: &mut Context<'_>) -> bool {
        if !self.downstream_goes_on || !self.upstream_goes_on {
            return true;
        }
        if self.terms.expects_continue && !self.up.has_begun_body() {
            return true;
        }
        // Nothing may follow the response; the end of the stream says that the origin takes no more either.
        if !self.from_upstream.is_empty() {
            return true;
        }
        let more = self.from_upstream.poll_body(context, self.upstream, &self.worker.buffers, false);
        more.is_ready()
    }
}

/// The downstream left: nobody is there to be told.
pub(super) fn downstream_gone(cause: io::Error) -> Fault {
    Fault {
        side: crate::fault::Side::Downstream,
        kind: Kind::Closed,
        retry: Retry::Never,
        cause: Some(cause.into()),
    }
}

/// One write; nothing written is an error.
fn poll_write<W: AsyncWrite + Unpin>(
    context: &mut Context<'_>,
    writer: &mut W,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match Pin::new(writer).poll_write(context, bytes) {
        Poll::Ready(Ok(0)) if !bytes.is_empty() => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        outcome @ (Poll::Ready(_) | Poll::Pending) => outcome,
    }
}

/// Moves the beginning of a body from `intake` to the end of `out`, as far as one buffer holds it. Returns the bytes
/// that pass on but did not fit.
fn take_first(
    body: &mut Body,
    intake: &mut Intake,
    out: &mut Vec<u8>,
) -> Result<usize, super::codec::Broken> {
    while out.len() < limits::BUFFER_BYTES {
        match body.next(intake.unread())? {
            super::codec::Span::Pass(count) => {
                let fits = count.min(limits::BUFFER_BYTES - out.len());
                out.extend_from_slice(intake.unread().get(..fits).unwrap_or_default());
                intake.consume(fits);
                if fits < count {
                    return Ok(count - fits);
                }
            }
            super::codec::Span::Drop(count) => intake.consume(count),
            super::codec::Span::More | super::codec::Span::Done => break,
        }
    }
    Ok(0)
}

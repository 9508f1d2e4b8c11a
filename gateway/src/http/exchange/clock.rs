//! How long an exchange may take: silence by what is waited for, the pace of the client, and the whole.
//!
//! One timer serves all of them. Silence ends with any byte in either direction, so that a stream in one direction may
//! be silent in the other; the pace is for clients that keep silence away with a byte now and then.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::super::codec::head::View;
use super::{Down, Exchange, downstream_gone};
use crate::fault::{Cause, Fault, Kind, Retry, Side};
use config::table::Fields as _;

/// What an exchange waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The client takes nothing.
    Reader,
    /// The client sends nothing of its body.
    RequestBody,
    /// The client ended its sending, and the response has not begun: it may have left.
    HalfClosed,
    /// The origin does not answer, or does not take the request.
    ResponseHead,
    /// The origin sends nothing of its body.
    ResponseBody,
}

/// Bytes in a time, both directions.
#[derive(Default)]
pub(super) struct Paces {
    up: Pace,
    down: Pace,
}

/// One direction.
#[derive(Default)]
struct Pace {
    since: Option<Instant>,
    bytes: u64,
    /// Whether somebody else than the client was waited for meanwhile.
    is_excused: bool,
}

impl Pace {
    /// Notes where the direction stands; true when the client was too slow for a whole window.
    fn is_broken(&mut self, now: Instant, bytes: u64, waits: bool, (least, window_ms): (u64, u64)) -> bool {
        let since = *self.since.get_or_insert(now);
        self.is_excused |= !waits;
        if now.duration_since(since) < Duration::from_millis(window_ms) {
            return false;
        }
        let is_slow = !self.is_excused && bytes.wrapping_sub(self.bytes) < least;
        *self = Self { since: Some(now), bytes, is_excused: !waits };
        is_slow
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Exchange<'_, IO> {
    pub(super) fn poll_time<T>(&mut self, context: &mut Context<'_>) -> Poll<Result<T, Fault>> {
        if std::mem::take(&mut self.has_moved) {
            let now = Instant::now();
            self.check_paces(now)?;
            let silent_at = now + Duration::from_millis(self.silence_ms());
            let at = self.terms.whole_at.map_or(silent_at, |whole_at| whole_at.min(silent_at));
            self.link.deadline.set_at(at);
        }
        match self.link.deadline.poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(self.timeout())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn waiting(&self) -> Waiting {
        let is_up_over = self.up.is_over();
        match self.down {
            _ if self.waits_for_reader => Waiting::Reader,
            Down::Head | Down::Done if !is_up_over && self.up.waits_for_downstream() => Waiting::RequestBody,
            Down::Head if is_up_over && self.link.is_eof => Waiting::HalfClosed,
            Down::Head => Waiting::ResponseHead,
            Down::Out(_) | Down::Flush => Waiting::Reader,
            Down::Body | Down::Done | Down::Switched => Waiting::ResponseBody,
        }
    }

    fn silence_ms(&self) -> u64 {
        let deadlines = self.worker.http.deadlines().of_route(self.terms.route.timeouts.as_deref());
        match self.waiting() {
            Waiting::Reader => deadlines.send_ms,
            Waiting::RequestBody => deadlines.request_body_ms,
            Waiting::HalfClosed => deadlines.half_closed_ms,
            Waiting::ResponseHead => deadlines.response_head_ms,
            Waiting::ResponseBody => deadlines.idle_body_ms,
        }
    }

    fn timeout(&self) -> Fault {
        if self.terms.whole_at.is_some_and(|at| at <= Instant::now()) {
            return whole_is_over();
        }
        let upstream = |kind, rule| Fault::upstream(kind, Retry::Never, Cause::Rule(rule));
        match self.waiting() {
            Waiting::Reader => slow_reader("the client takes nothing of its answer"),
            Waiting::RequestBody => {
                Fault::downstream(Kind::RequestBodyTimeout, "the request body stopped coming")
            }
            Waiting::HalfClosed => downstream_gone(io::ErrorKind::ConnectionAborted.into()),
            Waiting::ResponseHead if self.up.is_over() => {
                upstream(Kind::ResponseHeadTimeout, "the response head did not come in time")
            }
            Waiting::ResponseHead => {
                upstream(Kind::ResponseHeadTimeout, "the origin neither takes the request nor answers")
            }
            Waiting::ResponseBody => upstream(Kind::IdleBody, "the response body stopped coming"),
        }
    }

    fn check_paces(&mut self, now: Instant) -> Result<(), Fault> {
        let pace = self.worker.http.deadlines().pace;
        // Once the origin answers, it knows what it still reads and for how long.
        if self.down == Down::Head
            && !self.up.is_over()
            && self.paces.up.is_broken(now, self.up.bytes, self.up.waits_for_downstream(), pace)
            && !self.is_stream_of_messages()
        {
            return Err(Fault::downstream(Kind::RequestBodyTimeout, "the request body comes too slowly"));
        }
        if self.down == Down::Body
            && self.paces.down.is_broken(now, self.tally.bytes_down, self.waits_for_reader, pace)
        {
            return Err(slow_reader("the client takes its answer too slowly"));
        }
        Ok(())
    }

    /// A call of gRPC may send a message now and then, and be answered at its end.
    fn is_stream_of_messages(&self) -> bool {
        let request = View { head: &self.scratch.request, bytes: self.link.intake.head() };
        request.field("content-type").is_some_and(|media| media.starts_with(b"application/grpc"))
    }
}

/// Nobody waits for the answer any more.
pub(super) fn whole_is_over() -> Fault {
    let cause = Cause::Rule("the exchange took longer than its route allows");
    Fault::upstream(Kind::WholeTimeout, Retry::Never, cause)
}

fn slow_reader(rule: &'static str) -> Fault {
    Fault { side: Side::Downstream, ..Fault::downstream(Kind::SlowReader, rule) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_broken_by_the_client_alone() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        const PACE: (u64, u64) = (100, 1_000);

        let mut slow = Pace::default();
        assert!(!slow.is_broken(at(0), 0, true, PACE), "the first window begins");
        assert!(!slow.is_broken(at(900), 1, true, PACE), "and is not over");
        assert!(slow.is_broken(at(1_000), 99, true, PACE));

        let mut held_up = Pace::default();
        held_up.is_broken(at(0), 0, true, PACE);
        held_up.is_broken(at(500), 1, false, PACE);
        assert!(!held_up.is_broken(at(1_000), 2, true, PACE), "somebody else was slow");
        assert!(held_up.is_broken(at(2_000), 3, true, PACE), "but not this time");

        let mut fast = Pace::default();
        fast.is_broken(at(0), 0, true, PACE);
        assert!(!fast.is_broken(at(1_000), 100, true, PACE));
        assert!(fast.is_broken(at(2_000), 199, true, PACE), "each window counts for itself");
    }
}

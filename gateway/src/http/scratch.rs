//! What one request needs room for. Lent from the worker while the request is under way, so that an idle connection has
//! none of it and a busy worker allocates none of it.

use std::cell::{Cell, RefCell};

use config::limits;
use config::snapshot::Timeouts;
use tokio::time::Instant;

use super::client::Client;
use super::codec::Head;
use super::door::Names;
use super::exchange::Packers;
use super::journey::Journey;
use super::trace::{Numbers, Trace};

/// Room of one request.
#[derive(Default)]
pub(super) struct Scratch {
    /// The request's head; its bytes are in the downstream's intake.
    pub(super) request: Head,
    /// The response's head; its bytes are in the upstream's intake.
    pub(super) response: Head,
    /// Host and other path.
    pub(super) names: Names,
    /// `X-Request-Id`.
    pub(super) request_id: String,
    /// The trace it belongs to.
    pub(super) trace: Trace,
    /// When its head was whole.
    pub(super) began: Option<Instant>,
    /// Who asked, once that is known.
    pub(super) client: Option<Client>,
    /// Its way to an endpoint.
    pub(super) journey: Journey,
    /// Who logged in, if a filter asked for that; for the access log.
    pub(super) user: String,
    /// What is written upstream first: head and beginning of the body.
    pub(super) to_upstream: Vec<u8>,
    /// Lines that the response's head gets besides its own.
    pub(super) to_add: Vec<u8>,
    /// What is written downstream first.
    pub(super) to_downstream: Vec<u8>,
}

impl Scratch {
    fn reset(&mut self) {
        self.request.reset();
        self.response.reset();
        self.request_id.clear();
        self.user.clear();
        for out in [&mut self.to_upstream, &mut self.to_downstream] {
            out.clear();
            out.shrink_to(2 * limits::BUFFER_BYTES);
        }
    }
}

/// How long a worker's connections may take, in milliseconds; each from [`limits`], or from a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) request_head_ms: u64,
    pub(super) request_body_ms: u64,
    pub(super) response_head_ms: u64,
    pub(super) idle_body_ms: u64,
    pub(super) send_ms: u64,
    pub(super) keep_alive_ms: u64,
    pub(super) quiet_ms: u64,
    pub(super) half_closed_ms: u64,
    pub(super) linger_ms: u64,
    pub(super) tunnel_ms: u64,
    /// From the connection to a console's VNC server to the end of its handshake and the browser's.
    pub(super) rfb_ms: u64,
    /// Bytes that a client sends or takes at least, in how long.
    pub(super) pace: (u64, u64),
}

impl Deadlines {
    /// How often a connection of many streams looks what has lasted too long: the shortest of what it watches.
    pub(super) fn tick_ms(self) -> u64 {
        self.request_head_ms.min(self.send_ms).min(self.keep_alive_ms)
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            request_head_ms: limits::REQUEST_HEAD_DEADLINE_MS,
            request_body_ms: limits::REQUEST_BODY_DEADLINE_MS,
            response_head_ms: limits::RESPONSE_HEAD_DEADLINE_MS,
            idle_body_ms: limits::BODY_IDLE_DEADLINE_MS,
            send_ms: limits::SEND_DEADLINE_MS,
            keep_alive_ms: limits::KEEP_ALIVE_IDLE_MS,
            quiet_ms: limits::QUIET_MS,
            half_closed_ms: limits::HALF_CLOSED_MS,
            linger_ms: limits::LINGER_MS,
            tunnel_ms: limits::TUNNEL_IDLE_MS,
            rfb_ms: limits::RFB_HANDSHAKE_DEADLINE_MS,
            pace: limits::PACE,
        }
    }
}

impl Deadlines {
    /// With what a route says instead.
    pub(super) fn of_route(self, timeouts: Option<&Timeouts>) -> Self {
        let Some(timeouts) = timeouts else { return self };
        let or = |theirs: Option<u32>, ours| theirs.map_or(ours, u64::from);
        Self {
            request_body_ms: or(timeouts.request_body_ms, self.request_body_ms),
            response_head_ms: or(timeouts.response_head_ms, self.response_head_ms),
            idle_body_ms: or(timeouts.idle_body_ms, self.idle_body_ms),
            tunnel_ms: or(timeouts.tunnel_ms, self.tunnel_ms),
            ..self
        }
    }
}

/// What a worker keeps for its HTTP connections: scratches that are not in use, and how long to wait.
#[derive(Default)]
pub struct Store {
    #[expect(clippy::vec_box, reason = "lent by handing the box over, not by copying what is in it")]
    scratches: RefCell<Vec<Box<Scratch>>>,
    deadlines: Cell<Deadlines>,
    /// Passwords that were right of late.
    pub(super) passwords: super::filters::Passwords,
    /// What compresses responses.
    pub(super) packers: Packers,
    /// Ids of traces.
    pub(super) numbers: Numbers,
}

impl Store {
    pub(super) fn take(&self) -> Box<Scratch> {
        self.scratches.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn put(&self, mut scratch: Box<Scratch>) {
        let mut store = self.scratches.borrow_mut();
        if store.len() < limits::BUFFERS_KEPT_MAX {
            scratch.reset();
            store.push(scratch);
        }
    }

    pub(super) fn deadlines(&self) -> Deadlines {
        self.deadlines.get()
    }

    /// Shorter ones, so that a test need not wait.
    #[cfg(test)]
    pub(super) fn set_deadlines(&self, deadlines: Deadlines) {
        self.deadlines.set(deadlines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_says_its_own_times_and_leaves_the_others() {
        let ours = Deadlines::default();
        let theirs = Timeouts { response_head_ms: Some(1), tunnel_ms: Some(2), ..Timeouts::default() };

        let both = ours.of_route(Some(&theirs));

        assert_eq!((both.response_head_ms, both.tunnel_ms), (1, 2));
        assert_eq!((both.idle_body_ms, both.request_body_ms), (ours.idle_body_ms, ours.request_body_ms));
    }
}

//! One coarse deadline for a connection, instead of a timer for each request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The point at which a connection has been silent for too long. Moving it later costs nothing: the timer beneath is
/// set anew only when it fires, or when the deadline comes closer.
pub(super) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
}

impl Deadline {
    pub(super) fn in_ms(ms: u64) -> Self {
        let at = Instant::now() + Duration::from_millis(ms);
        Self { sleep: Box::pin(tokio::time::sleep_until(at)), at }
    }

    /// Moves the deadline; returns the time it was counted from.
    pub(super) fn set_ms(&mut self, ms: u64) -> Instant {
        let now = Instant::now();
        self.set_at(now + Duration::from_millis(ms));
        now
    }

    pub(super) fn set_at(&mut self, at: Instant) {
        self.at = at;
        if self.at < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.at);
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(context));
            if self.sleep.deadline() >= self.at {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_setting_counts_whether_later_or_sooner() {
        let begin = Instant::now();
        let mut deadline = Deadline::in_ms(1);
        deadline.set_ms(20);
        std::future::poll_fn(|context| deadline.poll(context)).await;
        assert!(begin.elapsed() >= Duration::from_millis(20));

        deadline.set_ms(3_600_000);
        deadline.set_ms(1);
        std::future::poll_fn(|context| deadline.poll(context)).await;
    }
}

//! Pauses between tries, and saying the same failure once.

use std::time::Duration;

use config::limits;

use super::{Installer, Link, SyncError};

/// A pause that doubles, with jitter so that gateways that lost control together do not return together.
#[derive(Debug)]
pub(super) struct Backoff {
    next_ms: u64,
    said: String,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next_ms: limits::SYNC_BACKOFF_MS.0, said: String::new() }
    }

    /// It went well; the next pause is short again.
    pub(super) fn reset(&mut self) {
        self.next_ms = limits::SYNC_BACKOFF_MS.0;
        self.said.clear();
    }

    /// The longest that the next pause may be.
    pub(super) const fn peek(&self) -> Duration {
        Duration::from_millis(self.next_ms)
    }

    /// Between half and the whole of the pause that is due.
    pub(super) fn next(&mut self) -> Duration {
        let ms = self.next_ms;
        self.next_ms = (ms * 2).min(limits::SYNC_BACKOFF_MS.1);
        Duration::from_millis(rand::random_range(ms / 2..=ms))
    }

    /// Tells the installer and the log; a failure that repeats is logged once.
    pub(super) fn failed(&mut self, error: &SyncError, installer: &impl Installer) {
        let why = error.to_string();
        if why == self.said {
            tracing::debug!(%why, "control is still not reached");
        } else {
            tracing::warn!(%why, "not connected to control");
            self.said.clone_from(&why);
        }
        installer.link(Link::Down { why });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_begin_again() {
        let mut backoff = Backoff::new();
        let (first, longest) = limits::SYNC_BACKOFF_MS;
        for step in 0..20 {
            let due = (first << step.min(10)).min(longest);
            let pause = u64::try_from(backoff.next().as_millis()).unwrap();
            assert!((due / 2..=due).contains(&pause), "{pause} of {due}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(first));
    }
}

//! What stands still between two changes: the generation applied last, and the stream to control.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::now_ms;

/// Gauges of the process; only atomics.
#[derive(Debug, Default)]
pub struct Gauges {
    control_connected: AtomicBool,
    link_down: ArcSwap<Option<String>>,
    refused: AtomicBool,
    applied_at_ms: AtomicU64,
    apply_micros: AtomicU64,
    fresh_at_ms: AtomicU64,
    faults: ArcSwap<Vec<String>>,
    applied: Notify,
}

impl Gauges {
    /// Says why the stream to control is down; `None` is up. While it is up, what is served is what control wants.
    pub fn set_link(&self, down: Option<String>) {
        let connected = down.is_none();
        self.link_down.store(Arc::new(down));
        if connected || self.control_connected() {
            self.fresh_at_ms.store(now_ms(), Relaxed);
        }
        self.control_connected.store(connected, Relaxed);
    }

    /// Why the stream to control is down, if anybody tried and it is.
    pub fn link_down(&self) -> Option<String> {
        Option::clone(&self.link_down.load())
    }

    /// Whether the stream to control is up.
    pub fn control_connected(&self) -> bool {
        self.control_connected.load(Relaxed)
    }

    /// A generation came into force, and this took so long; `faults` names the objects in it that cannot be used.
    pub fn applied(&self, took: Duration, faults: Vec<String>) {
        self.applied_at_ms.store(now_ms(), Relaxed);
        self.apply_micros.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.refused.store(false, Relaxed);
        self.faults.store(faults.into());
        self.applied.notify_waiters();
    }

    /// More of the generation in force turned out to be of no use.
    pub fn add_faults(&self, more: &[String]) {
        if !more.is_empty() {
            let mut faults = Vec::clone(&self.faults.load());
            faults.extend_from_slice(more);
            self.faults.store(faults.into());
        }
    }

    /// A generation was refused.
    pub fn refused(&self) {
        self.refused.store(true, Relaxed);
    }

    /// Whether the last generation that came was put in force.
    pub fn last_apply_succeeded(&self) -> bool {
        !self.refused.load(Relaxed)
    }

    /// When a generation last came into force, in milliseconds since 1970; 0 if none did.
    pub fn applied_at_ms(&self) -> u64 {
        self.applied_at_ms.load(Relaxed)
    }

    /// How long that took.
    pub fn apply_duration(&self) -> Duration {
        Duration::from_micros(self.apply_micros.load(Relaxed))
    }

    /// How long ago control last vouched for what is served: nothing while its stream is up. `None` if it never did
    /// since the process started.
    pub fn snapshot_age(&self) -> Option<Duration> {
        if self.control_connected() {
            return Some(Duration::ZERO);
        }
        let fresh_at = self.fresh_at_ms.load(Relaxed);
        (fresh_at > 0).then(|| Duration::from_millis(now_ms().saturating_sub(fresh_at)))
    }

    /// The objects of the generation in force that cannot be used. What its ports lack is asked of whoever binds them:
    /// [`Shared::degraded`](crate::worker::Shared::degraded) has it all.
    pub fn faults(&self) -> Arc<Vec<String>> {
        self.faults.load_full()
    }

    /// The next [`Gauges::applied`] after this call.
    pub(crate) fn next_applied(&self) -> Notified<'_> {
        self.applied.notified()
    }

    /// Waits until `true` is what `done` says; asked again after each [`Gauges::applied`].
    pub(crate) async fn wait_applied(&self, done: impl Fn() -> bool) {
        loop {
            let applied = self.applied.notified();
            if done() {
                return;
            }
            applied.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_is_fresh_while_control_is_there_and_ages_when_it_is_gone() {
        let gauges = Gauges::default();
        gauges.set_link(Some("away".into()));
        assert_eq!(gauges.snapshot_age(), None, "it was never there");

        gauges.set_link(None);
        assert_eq!(gauges.snapshot_age(), Some(Duration::ZERO));

        gauges.set_link(Some("away".into()));
        assert!(gauges.snapshot_age().unwrap() < Duration::from_secs(60));
    }
}

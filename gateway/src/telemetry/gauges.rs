//! What stands still between two changes: the generation applied last, and the stream to control.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

/// Gauges of the process; only atomics.
#[derive(Debug, Default)]
pub struct Gauges {
    control_connected: AtomicBool,
    refused: AtomicBool,
    applied_at_ms: AtomicU64,
    apply_micros: AtomicU64,
    fresh_at_ms: AtomicU64,
    degraded: ArcSwap<Vec<String>>,
    applied: Notify,
}

impl Gauges {
    /// Says whether the stream to control is up. While it is, what is served is what control wants.
    pub fn set_control_connected(&self, connected: bool) {
        self.fresh_at_ms.store(now_ms(), Relaxed);
        self.control_connected.store(connected, Relaxed);
    }

    /// Whether the stream to control is up.
    pub fn control_connected(&self) -> bool {
        self.control_connected.load(Relaxed)
    }

    /// A generation came into force, and this took so long; `degraded` names what is paused in it.
    pub fn applied(&self, took: Duration, degraded: Vec<String>) {
        self.applied_at_ms.store(now_ms(), Relaxed);
        self.fresh_at_ms.store(now_ms(), Relaxed);
        self.apply_micros.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.refused.store(false, Relaxed);
        self.degraded.store(degraded.into());
        self.applied.notify_waiters();
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

    /// How long ago control last vouched for what is served: nothing while its stream is up.
    pub fn snapshot_age(&self) -> Duration {
        if self.control_connected() {
            return Duration::ZERO;
        }
        Duration::from_millis(now_ms().saturating_sub(self.fresh_at_ms.load(Relaxed)))
    }

    /// What is paused in the generation in force.
    pub fn degraded(&self) -> std::sync::Arc<Vec<String>> {
        self.degraded.load_full()
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

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

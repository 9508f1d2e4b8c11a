//! The way out: stop accepting, tell peers, wait, cut.
//!
//! [`Drain`] is what connections see of it. The order of the steps is `start::run`'s.
//!
//! There are two ways out. A process that *leaves* has a successor on the same sockets: nobody waits for its end, so every
//! connection may finish what it is about, and closes politely after that. One that *stops* has the settings' time.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use config::limits;
use tokio::sync::Notify;

const SHARDS: usize = 32;

/// Waiters of one thread or few: idle connections wait here between any two requests, so workers must not meet.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Notify);

const LEAVING: u8 = 1;
const STOPPING: u8 = 2;

/// Whether the process is on its way out.
#[derive(Default)]
pub struct Drain {
    /// Only ever grows.
    stage: AtomicU8,
    shards: [Shard; SHARDS],
}

impl Drain {
    /// Whether connections should close at their next chance.
    pub fn is_draining(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= LEAVING
    }

    /// Whether the process stops for good, with nobody to come after it.
    pub fn is_stopping(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= STOPPING
    }

    /// Resolves when draining begins, in either way.
    pub fn begun(&self) -> impl Future<Output = ()> {
        self.reached(LEAVING)
    }

    /// Resolves when the process stops: who is idle closes now. One that only leaves waits for the next request of its
    /// idle connections and closes them after the answer, for a request may be on its way at any moment.
    pub fn stopping(&self) -> impl Future<Output = ()> {
        self.reached(STOPPING)
    }

    /// Resolves when a connection that has nothing open may close: at a stop, or a while after the process began to leave.
    pub async fn parting(&self) {
        self.begun().await;
        let grace = tokio::time::sleep(Duration::from_millis(limits::UPGRADE_GRACE_MS));
        tokio::select! {
            () = self.stopping() => {}
            () = grace => {}
        }
    }

    /// Begins to stop; there is no way back.
    pub(crate) fn begin(&self) {
        self.advance(STOPPING);
    }

    /// Begins to leave to a successor; there is no way back.
    pub(crate) fn leave(&self) {
        self.advance(LEAVING);
    }

    /// A block, not an `async fn`, which would keep what it was called with twice: each idle connection holds one.
    fn reached(&self, stage: u8) -> impl Future<Output = ()> {
        let shard = self.shards.get(shard_of_this_thread());
        async move {
            while let Some(Shard(notify)) = shard {
                // Made before the stage is read: it hears of everything after that.
                let moved = notify.notified();
                if self.stage.load(Ordering::Acquire) >= stage {
                    return;
                }
                moved.await;
            }
        }
    }

    fn advance(&self, stage: u8) {
        self.stage.fetch_max(stage, Ordering::AcqRel);
        for Shard(notify) in &self.shards {
            notify.notify_waiters();
        }
    }
}

fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    MINE.with(|mine| *mine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_hears_that_draining_begins() {
        let drain = Drain::default();
        assert!(!drain.is_draining());

        tokio::join!(drain.begun(), drain.begun(), async { drain.begin() });

        assert!(drain.is_draining());
        drain.begun().await;
    }

    #[tokio::test]
    async fn who_leaves_has_not_stopped_and_who_stops_has_left() {
        let drain = Drain::default();
        drain.leave();
        drain.begun().await;
        assert!(drain.is_draining() && !drain.is_stopping());

        tokio::join!(drain.stopping(), drain.parting(), async { drain.begin() });

        drain.leave();
        assert!(drain.is_stopping(), "there is no way back");
    }
}

//! The way out: stop accepting, tell peers, wait, cut.
//!
//! [`Drain`] is what connections see of it. The order of the steps is `start::run`'s.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

const SHARDS: usize = 32;

/// Waiters of one thread or few: idle connections wait here between any two requests, so workers must not meet.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Notify);

/// Whether the process is on its way out.
#[derive(Default)]
pub struct Drain {
    begun: AtomicBool,
    shards: [Shard; SHARDS],
}

impl Drain {
    /// Whether connections should close at their next chance.
    pub fn is_draining(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Resolves when draining begins.
    pub async fn begun(&self) {
        let Some(Shard(notify)) = self.shards.get(shard_of_this_thread()) else { return };
        loop {
            // Made before the flag is read: it hears of everything after that.
            let begun = notify.notified();
            if self.is_draining() {
                return;
            }
            begun.await;
        }
    }

    /// Begins; there is no way back.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
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
}

//! How many retries an upstream may cause: a share of its requests, so that an origin that is gone is not stormed by
//! those who missed it. A retry that only leads past an origin that is away, to one that is there, costs nothing.

use std::cell::Cell;

/// One retry, in hundredths.
const RETRY: u32 = 100;
/// Retries that are always allowed in a second, however few requests there were.
const FLOOR: u32 = 3 * RETRY;
/// Retries that quiet times save up, at most.
const MOST: u32 = 100 * RETRY;

/// The budget of one upstream in one worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget {
    saved: Cell<u32>,
    floor_at_ms: Cell<u64>,
}

impl Budget {
    /// A request came: it pays its share.
    pub(super) fn request(&self, percent: u8) {
        self.saved.set((self.saved.get() + u32::from(percent)).min(MOST));
    }

    /// Takes one retry out, if there is one.
    pub(super) fn retry(&self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.floor_at_ms.get()) >= 1_000 || self.floor_at_ms.get() == 0 {
            self.floor_at_ms.set(now_ms);
            self.saved.set(self.saved.get().max(FLOOR));
        }
        let left = self.saved.get().checked_sub(RETRY);
        self.saved.set(left.unwrap_or(self.saved.get()));
        left.is_some()
    }

    /// Puts one back: it led past an origin that could not be reached to one that could.
    pub(super) fn give_back(&self) {
        self.saved.set((self.saved.get() + RETRY).min(MOST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_gets_its_percentage_and_three_a_second() {
        let budget = Budget::default();
        let mut retries = 0;
        for request in 0..10_000_u64 {
            budget.request(20);
            // Ten thousand requests in ten seconds, and each would like two retries.
            retries += usize::from(budget.retry(1 + request)) + usize::from(budget.retry(1 + request));
        }
        assert!((2_000..=2_030).contains(&retries), "{retries}");
    }

    #[test]
    fn a_few_requests_may_be_tried_again_all_the_same() {
        let budget = Budget::default();
        let tries = |now| (0..5).filter(|_| budget.retry(now)).count();
        assert_eq!((tries(1), tries(500), tries(1_001)), (3, 0, 3));
    }

    #[test]
    fn quiet_times_save_up_a_hundred_at_most() {
        let budget = Budget::default();
        (0..1_000_000).for_each(|_| budget.request(100));
        assert_eq!((0..1_000).filter(|_| budget.retry(1)).count(), 100);
    }
}

//! What sources did before they authenticated: one that fails again and again is slowed, and no other notices.
//!
//! A connection that ends unauthenticated is a strike. Strikes beyond the free ones delay the source's next connection
//! before it is greeted, and are forgotten one by one; a login forgets half of them. Nobody is locked out: behind one
//! address there may be a whole office. For the same reason a source that has too many connections waiting is not
//! refused another: its oldest ends.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use config::limits;
use dashmap::DashMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::guard;

/// What is remembered of sources, all workers together.
#[derive(Default)]
pub struct Sources {
    seen: DashMap<IpAddr, Source>,
    numbers: AtomicU64,
}

struct Source {
    /// Connections that have not authenticated, oldest first; at most `SSH_UNAUTHENTICATED_PER_SOURCE_MAX`.
    waiting: VecDeque<(u64, CancellationToken)>,
    strikes: u32,
    /// When the strikes were counted last.
    at: Instant,
}

impl Source {
    fn new(now: Instant) -> Self {
        Self { waiting: VecDeque::new(), strikes: 0, at: now }
    }

    /// Forgets what is old enough.
    fn age(&mut self, now: Instant) {
        let step = Duration::from_millis(limits::SSH_STRIKE_FORGOTTEN_MS);
        let passed = now.saturating_duration_since(self.at).as_millis() / step.as_millis().max(1);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed >= self.strikes {
            (self.strikes, self.at) = (0, now);
        } else {
            self.strikes -= passed;
            self.at += step * passed;
        }
    }

    fn is_forgotten(&self) -> bool {
        self.waiting.is_empty() && self.strikes == 0
    }

    fn delay(&self) -> Duration {
        let (each, most) = limits::SSH_STRIKE_MS;
        let beyond = self.strikes.saturating_sub(limits::SSH_STRIKES_FREE);
        Duration::from_millis(each.saturating_mul(beyond.into()).min(most))
    }
}

// Not Clone: two owners would count twice.
/// A connection that has not authenticated yet. Dropped as it is, it is a strike.
pub(super) struct Newcomer {
    sources: Arc<Sources>,
    source: IpAddr,
    number: u64,
    displaced: CancellationToken,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Failed,
    LoggedIn,
    /// We closed it for a reason of our own.
    Excused,
}

impl Sources {
    /// A new connection, with the time for which it is to wait before it is greeted. One too many of its source
    /// displaces the oldest.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> (Newcomer, Duration) {
        let (source, now) = (guard::source(peer), Instant::now());
        if self.seen.len() >= limits::SSH_SOURCES_MAX {
            self.sweep(now);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let displaced = CancellationToken::new();
        let mut known = self.seen.entry(source).or_insert_with(|| Source::new(now));
        known.age(now);
        let is_full = known.waiting.len() >= limits::SSH_UNAUTHENTICATED_PER_SOURCE_MAX;
        let leaves = if is_full { known.waiting.pop_front() } else { None };
        known.waiting.push_back((number, displaced.clone()));
        let delay = known.delay();
        drop(known);
        if let Some((_, oldest)) = leaves {
            oldest.cancel();
        }
        let outcome = Outcome::Failed;
        (Newcomer { sources: Arc::clone(self), source, number, displaced, outcome }, delay)
    }

    /// The strikes of all sources.
    #[cfg(test)]
    pub(super) fn strikes(&self) -> u32 {
        self.seen.iter().map(|source| source.strikes).sum()
    }

    /// Drops what is over. Of sources that still fail, none has to be remembered: being forgotten is being free.
    fn sweep(&self, now: Instant) {
        self.seen.retain(|_, source| {
            source.age(now);
            !source.is_forgotten()
        });
        if self.seen.len() >= limits::SSH_SOURCES_MAX {
            self.seen.retain(|_, source| !source.waiting.is_empty());
        }
    }
}

impl Newcomer {
    /// What it counts as.
    pub(super) const fn source(&self) -> IpAddr {
        self.source
    }

    /// Cancelled when it has to make room for another.
    pub(super) const fn displaced(&self) -> &CancellationToken {
        &self.displaced
    }

    /// Somebody proved who they are.
    pub(super) fn logged_in(mut self) {
        self.outcome = Outcome::LoggedIn;
    }

    /// It ends for a reason that is not the client's.
    pub(super) fn excused(mut self) {
        self.outcome = Outcome::Excused;
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(mut source) = self.sources.seen.get_mut(&self.source) {
            source.waiting.retain(|(number, _)| *number != self.number);
            source.age(now);
            match self.outcome {
                Outcome::Failed => {
                    // Beyond the longest delay a strike says nothing new, and would be remembered for too long.
                    let (each, most) = limits::SSH_STRIKE_MS;
                    let enough =
                        limits::SSH_STRIKES_FREE + u32::try_from(most / each.max(1)).unwrap_or(u32::MAX);
                    source.strikes = source.strikes.saturating_add(1).min(enough);
                }
                Outcome::LoggedIn => source.strikes /= 2,
                Outcome::Excused => {}
            }
        }
        self.sources.seen.remove_if(&self.source, |_, source| source.is_forgotten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const GOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_hundred_failures_slow_their_source_and_no_other() {
        let sources = Arc::<Sources>::default();
        for _ in 0..100 {
            drop(sources.enter(BAD));
        }

        let (newcomer, delay) = sources.enter(BAD);
        assert_eq!(delay, Duration::from_millis(limits::SSH_STRIKE_MS.1), "slowed, and not locked out");
        let (other, none) = sources.enter(GOOD);
        assert_eq!(none, Duration::ZERO);
        newcomer.logged_in();
        other.logged_in();

        let (later, less) = sources.enter(BAD);
        assert!(less < delay, "a login forgets");
        later.excused();
        let in_an_hour = Instant::now() + Duration::from_secs(3_600);
        sources.seen.get_mut(&BAD).unwrap().age(in_an_hour);
        assert_eq!(sources.enter(BAD).1, Duration::ZERO, "time forgets");
    }

    #[test]
    fn one_source_does_not_take_all_the_room() {
        let sources = Arc::<Sources>::default();
        let (other, _) = sources.enter(GOOD);
        let waiting: Vec<_> =
            (0..=limits::SSH_UNAUTHENTICATED_PER_SOURCE_MAX).map(|_| sources.enter(BAD).0).collect();
        let leaves: Vec<bool> = waiting.iter().map(|one| one.displaced().is_cancelled()).collect();
        assert!(leaves[0] && !leaves[1..].contains(&true), "the oldest makes room");
        assert!(!other.displaced().is_cancelled());
        assert_eq!(sources.seen.get(&BAD).unwrap().waiting.len(), limits::SSH_UNAUTHENTICATED_PER_SOURCE_MAX);
        drop((waiting, other));
        assert!(sources.seen.get(&BAD).unwrap().waiting.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let sources = Arc::<Sources>::default();
        for number in 0..u32::try_from(limits::SSH_SOURCES_MAX).unwrap() + 100 {
            drop(sources.enter(IpAddr::V4(number.into())));
        }
        assert!(sources.seen.len() <= limits::SSH_SOURCES_MAX);
    }

    #[test]
    fn who_logs_in_at_once_is_not_remembered() {
        let sources = Arc::<Sources>::default();
        sources.enter(GOOD).0.logged_in();
        sources.enter(GOOD).0.excused();
        assert!(sources.seen.is_empty());
    }
}

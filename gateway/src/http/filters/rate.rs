//! Requests in a time: one generic cell rate algorithm (ITU-T I.371, GCRA) for each key, shared by all workers.
//!
//! A bucket is one number: the time at which it is full again (the theoretical arrival time). One whose time has come is
//! as good as none, so buckets that are forgotten when the map is full are exactly those that say nothing.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use config::id::RouteId;
use config::snapshot::RateLimit;
use dashmap::DashMap;
use tokio::time::Instant;

/// Time between two attempts to make room in a full map, in nanoseconds: each looks at every bucket.
const SWEEP_PAUSE_NS: u64 = 1_000_000_000;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) route: RouteId,
    pub(super) of: Of,
}

/// Whose requests of the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// Requests of one client.
    Client(IpAddr),
    /// Wrong passwords of one client.
    Guesses(IpAddr),
    /// All requests.
    Route,
    /// Those of clients that no bucket was left for.
    Crowd,
}

/// How fast, and how many at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    interval_ns: u64,
    /// How far ahead of the clock a bucket may be.
    reach_ns: u64,
}

impl Pace {
    pub(super) fn of(limit: &RateLimit) -> Self {
        Self::new(limit.requests, limit.per_ms, limit.burst)
    }

    pub(super) fn new(requests: u32, per_ms: u32, burst: u32) -> Self {
        let interval_ns = (u64::from(per_ms) * 1_000_000 / u64::from(requests.max(1))).max(1);
        Self { interval_ns, reach_ns: interval_ns.saturating_mul(u64::from(burst.max(1))) }
    }
}

/// The buckets of the process.
pub(super) struct Buckets {
    full_at_ns: DashMap<Key, AtomicU64>,
    keys_max: usize,
    began: Instant,
    swept_at_ns: AtomicU64,
}

impl Buckets {
    /// Room for this many keys.
    pub(super) fn new(keys_max: usize) -> Self {
        Self { full_at_ns: DashMap::new(), keys_max, began: Instant::now(), swept_at_ns: AtomicU64::new(0) }
    }

    /// Takes one from the bucket of `key`, or says in how many nanoseconds there will be one.
    ///
    /// A pace that changed counts at once: a bucket is never further ahead than today's pace allows.
    pub(super) fn take(&self, key: Key, pace: Pace, now: Instant) -> Result<(), u64> {
        let now_ns = self.nanos(now);
        if let Some(bucket) = self.full_at_ns.get(&key) {
            return take(&bucket, pace, now_ns);
        }
        // Counted without a shard in hand: counting visits them all.
        let key = if self.has_room(now_ns) { key } else { Key { of: Of::Crowd, ..key } };
        let bucket = self.full_at_ns.entry(key).or_default().downgrade();
        take(&bucket, pace, now_ns)
    }

    /// Puts back what was taken for something that turned out not to count.
    pub(super) fn give_back(&self, key: Key, pace: Pace) {
        if let Some(bucket) = self.full_at_ns.get(&key) {
            let _ = bucket.try_update(Relaxed, Relaxed, |full_at| full_at.checked_sub(pace.interval_ns));
        }
    }

    fn has_room(&self, now_ns: u64) -> bool {
        if self.full_at_ns.len() < self.keys_max {
            return true;
        }
        let swept_at = self.swept_at_ns.load(Relaxed);
        let is_due = swept_at == 0 || now_ns.saturating_sub(swept_at) >= SWEEP_PAUSE_NS;
        if !is_due || self.swept_at_ns.compare_exchange(swept_at, now_ns, Relaxed, Relaxed).is_err() {
            return false;
        }
        self.full_at_ns.retain(|_, full_at| *full_at.get_mut() > now_ns);
        self.full_at_ns.len() < self.keys_max
    }

    fn nanos(&self, now: Instant) -> u64 {
        // One more, so that no time is the 0 of a new bucket.
        u64::try_from(now.saturating_duration_since(self.began).as_nanos())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}

fn take(bucket: &AtomicU64, pace: Pace, now_ns: u64) -> Result<(), u64> {
    let horizon = now_ns.saturating_add(pace.reach_ns);
    let next = |full_at: u64| full_at.clamp(now_ns, horizon).saturating_add(pace.interval_ns);
    let taken =
        bucket.try_update(Relaxed, Relaxed, |full_at| Some(next(full_at)).filter(|at| *at <= horizon));
    taken.map(drop).map_err(|full_at| next(full_at) - horizon)
}

/// Who a client counts as: an IPv6 customer has a /64.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(last: u8) -> Key {
        let of = Of::Client(IpAddr::from([192, 0, 2, last]));
        Key { route: RouteId::from_bytes([1; 16]), of }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_for_each_interval() {
        let buckets = Buckets::new(10);
        let (start, pace) = (Instant::now(), Pace::new(10, 1_000, 3));
        let take = |at| buckets.take(client(1), pace, start + ms(at));
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(100_000_000));
        assert_eq!(take(60), Err(40_000_000));
        assert_eq!(take(100), Ok(()));
        assert!(take(100).is_err());
        assert_eq!(
            [take(9_000), take(9_000), take(9_000)],
            [Ok(()); 3],
            "no more than the burst is saved up"
        );
        assert!(take(9_000).is_err());
        assert_eq!(buckets.take(client(2), pace, start), Ok(()), "each client has its own");
    }

    #[test]
    fn a_change_of_the_pace_counts_at_once() {
        let buckets = Buckets::new(10);
        let start = Instant::now();
        let hourly = Pace::new(1, 3_600_000, 5);
        for _ in 0..5 {
            buckets.take(client(1), hourly, start).unwrap();
        }
        let quick = Pace::new(10, 1_000, 1);
        assert_eq!(buckets.take(client(1), quick, start), Err(100_000_000), "not an hour's debt");
        assert_eq!(buckets.take(client(1), quick, start + ms(5 * 3_600_000)), Ok(()));
    }

    #[test]
    fn a_full_map_forgets_what_says_nothing_and_lets_the_rest_share_one_bucket() {
        let buckets = Buckets::new(2);
        let (start, pace) = (Instant::now(), Pace::new(1, 1_000, 1));
        assert!(buckets.take(client(1), pace, start).is_ok());
        assert!(buckets.take(client(2), pace, start + ms(500)).is_ok());
        assert!(buckets.take(client(3), pace, start + ms(600)).is_ok(), "the first of the crowd");
        assert!(buckets.take(client(4), pace, start + ms(600)).is_err(), "the second");
        assert!(buckets.take(client(1), pace, start + ms(600)).is_err(), "who has a bucket keeps it");

        assert!(buckets.take(client(4), pace, start + ms(60_000)).is_ok());
        assert!(buckets.take(client(5), pace, start + ms(60_000)).is_ok());
        assert!(buckets.full_at_ns.len() <= 2);
    }

    #[test]
    fn what_is_given_back_was_not_taken() {
        let buckets = Buckets::new(2);
        let (now, pace) = (Instant::now(), Pace::new(1, 60_000, 1));
        buckets.take(client(1), pace, now).unwrap();
        buckets.give_back(client(1), pace);
        assert!(buckets.take(client(1), pace, now).is_ok());
        assert!(buckets.take(client(1), pace, now).is_err());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_client() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::2"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }

    #[test]
    fn extremes_neither_overflow_nor_let_everything_through() {
        let buckets = Buckets::new(2);
        let (now, pace) = (Instant::now(), Pace::new(0, u32::MAX, u32::MAX));
        assert!(buckets.take(client(1), pace, now).is_ok());
        assert!(buckets.take(client(1), Pace::new(u32::MAX, 0, 0), now).is_err());
    }
}

//! What became of requests, by route, method and status, and how long they took.
//!
//! Each worker counts in cells of its own, found in a map of its own: nothing is shared between workers but with whoever
//! reads the metrics page. The lock is taken when a worker meets a route for the first time, and for a page. Series are
//! bounded: a cell has room for so many pairs of method and status, and a gateway for so many routes
//! ([`limits::METRIC_ROUTES_MAX`]); what does not fit is counted under `other`.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::id::RouteId;
use config::limits;

/// Upper bounds of the histogram's buckets in microseconds: from a cached answer to a long poll.
pub(super) const BUCKETS: [(u64, &str); 14] = [
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
];

/// The methods that are told apart; the last stands for every other.
pub(super) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "other"];

/// Pairs of method and status that one worker tells apart for one route.
const PAIRS: usize = 24;

/// One worker's counts of one route.
#[derive(Debug, Default)]
struct Cell {
    pairs: [Pair; PAIRS],
    /// What found no pair free, by the first digit of its status.
    rest: [AtomicU64; 6],
    buckets: [AtomicU64; BUCKETS.len()],
    over: AtomicU64,
    micros: AtomicU64,
    /// Its route is gone and so are its series: who has it still is to ask for a new one.
    is_retired: AtomicBool,
}

#[derive(Debug, Default)]
struct Pair {
    /// Method and status; 0 is free.
    key: AtomicU32,
    count: AtomicU64,
}

const fn key(method: usize, status: u16) -> u32 {
    (method as u32 + 1) << 16 | status as u32
}

impl Cell {
    // One thread writes: a free pair needs no exchange to be taken.
    fn count(&self, method: usize, status: u16, micros: u64) {
        let key = key(method, status);
        let pair = self.pairs.iter().find_map(|pair| match pair.key.load(Relaxed) {
            found if found == key => Some(&pair.count),
            0 => {
                pair.key.store(key, Relaxed);
                Some(&pair.count)
            }
            _ => None,
        });
        let class = usize::from(status / 100).min(self.rest.len() - 1);
        if let Some(counter) = pair.or_else(|| self.rest.get(class)) {
            counter.fetch_add(1, Relaxed);
        }
        let bucket = BUCKETS.iter().zip(&self.buckets).find(|((most, _), _)| micros <= *most);
        bucket.map_or(&self.over, |(_, counter)| counter).fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    fn add_to(&self, sum: &mut Sum) {
        for pair in &self.pairs {
            let key = pair.key.load(Relaxed);
            let method = (key >> 16) as usize;
            if let Some(name) = method.checked_sub(1).and_then(|at| METHODS.get(at)) {
                let status = Code::Exact((key & 0xffff) as u16);
                *sum.requests.entry((name, status)).or_default() += pair.count.load(Relaxed);
            }
        }
        for (class, counter) in self.rest.iter().enumerate() {
            let count = counter.load(Relaxed);
            if count > 0 {
                *sum.requests.entry(("other", Code::Class(class as u8))).or_default() += count;
            }
        }
        for (to, from) in sum.buckets.iter_mut().zip(&self.buckets) {
            *to += from.load(Relaxed);
        }
        sum.over += self.over.load(Relaxed);
        sum.micros += self.micros.load(Relaxed);
    }
}

/// A status as the label shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Code {
    /// The status; 0 where nobody was there to be answered.
    Exact(u16),
    /// Its first digit.
    Class(u8),
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(0) | Self::Class(0) => f.write_str("none"),
            Self::Exact(status) => write!(f, "{status}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

/// The counts of one route over all workers.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) requests: BTreeMap<(&'static str, Code), u64>,
    /// By bucket, not yet added up.
    pub(super) buckets: [u64; BUCKETS.len()],
    /// Longer than the last bucket.
    pub(super) over: u64,
    pub(super) micros: u64,
}

/// Whose counts they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    Route(RouteId),
    /// Routes beyond the bound.
    Other,
    /// Requests that matched no route.
    Nobody,
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Route(id) => id.fmt(f),
            Self::Other => f.write_str("other"),
            Self::Nobody => f.write_str("none"),
        }
    }
}

/// Every worker's cells.
#[derive(Debug)]
pub struct Registry {
    known: Mutex<BTreeMap<Whose, Known>>,
    has_room: AtomicBool,
    max: usize,
}

#[derive(Debug, Default)]
struct Known {
    cells: Vec<Arc<Cell>>,
    gone_since: Option<Instant>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::with_room(limits::METRIC_ROUTES_MAX)
    }
}

impl Registry {
    fn with_room(max: usize) -> Self {
        Self { known: Mutex::default(), has_room: AtomicBool::new(max > 0), max }
    }

    /// The counts of one more worker.
    pub(crate) fn worker(self: &Arc<Self>) -> Routes {
        let cell = |whose| self.register(whose).unwrap_or_default();
        Routes {
            nobody: cell(Whose::Nobody),
            other: cell(Whose::Other),
            mine: RefCell::default(),
            registry: Arc::clone(self),
        }
    }

    /// A new cell; `None` if it would be of one route too many.
    fn register(&self, whose: Whose) -> Option<Arc<Cell>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_route = matches!(whose, Whose::Route(_));
        let routes = known.keys().filter(|whose| matches!(whose, Whose::Route(_))).count();
        if is_route && !known.contains_key(&whose) && routes >= self.max {
            self.has_room.store(false, Relaxed);
            return None;
        }
        let cell = Arc::<Cell>::default();
        known.entry(whose).or_default().cells.push(Arc::clone(&cell));
        Some(cell)
    }

    /// What was counted, and forgets routes that `exists` has said no to for [`limits::METRIC_ROUTE_KEPT_MS`].
    pub(super) fn sums(&self, exists: impl Fn(RouteId) -> bool, now: Instant) -> Vec<(Whose, Sum)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|whose, known| {
            let Whose::Route(id) = whose else { return true };
            if exists(*id) {
                known.gone_since = None;
                return true;
            }
            let since = *known.gone_since.get_or_insert(now);
            let is_kept = now.duration_since(since) < Duration::from_millis(limits::METRIC_ROUTE_KEPT_MS);
            if !is_kept {
                known.cells.iter().for_each(|cell| cell.is_retired.store(true, Relaxed));
            }
            is_kept
        });
        let routes = known.keys().filter(|whose| matches!(whose, Whose::Route(_))).count();
        self.has_room.store(routes < self.max, Relaxed);
        let sum = |(whose, known): (&Whose, &Known)| {
            let mut sum = Sum::default();
            known.cells.iter().for_each(|cell| cell.add_to(&mut sum));
            (*whose, sum)
        };
        known.iter().map(sum).collect()
    }
}

/// One worker's counts, by route.
#[derive(Debug)]
pub struct Routes {
    registry: Arc<Registry>,
    nobody: Arc<Cell>,
    other: Arc<Cell>,
    mine: RefCell<HashMap<RouteId, Arc<Cell>>>,
}

impl Routes {
    /// Counts a request that ended: `status` 0 says that nobody was there to be answered. Allocates only for a route
    /// that this worker did not meet before.
    pub fn count(&self, route: Option<RouteId>, method: &[u8], status: u16, took: Duration) {
        let other = METHODS.len() - 1;
        let method = METHODS.iter().position(|name| name.as_bytes() == method).unwrap_or(other);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let Some(route) = route else { return self.nobody.count(method, status, micros) };
        let mut mine = self.mine.borrow_mut();
        match mine.get(&route) {
            Some(cell) if !cell.is_retired.load(Relaxed) => cell.count(method, status, micros),
            Some(_) | None => self.meet(&mut mine, route).count(method, status, micros),
        }
    }

    fn meet(&self, mine: &mut HashMap<RouteId, Arc<Cell>>, route: RouteId) -> Arc<Cell> {
        // Without room no lock is taken: a gateway of very many routes would take it at each request.
        let cell = if self.registry.has_room.load(Relaxed) {
            self.registry.register(Whose::Route(route))
        } else {
            None
        };
        mine.retain(|_, cell| !cell.is_retired.load(Relaxed));
        match cell {
            Some(cell) => {
                mine.insert(route, Arc::clone(&cell));
                cell
            }
            None => Arc::clone(&self.other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn id(byte: u8) -> RouteId {
        RouteId::from_bytes([byte; 16])
    }

    fn requests(sums: &[(Whose, Sum)], whose: Whose) -> Vec<(&'static str, String, u64)> {
        let found = sums.iter().find(|(found, _)| *found == whose);
        let requests = found.map(|(_, sum)| &sum.requests).into_iter().flatten();
        requests.map(|((method, code), count)| (*method, code.to_string(), *count)).collect()
    }

    #[test]
    fn workers_count_apart_and_are_added_up() {
        let registry = Arc::new(Registry::default());
        let (one, two) = (registry.worker(), registry.worker());
        one.count(Some(id(1)), b"GET", 200, MS);
        two.count(Some(id(1)), b"GET", 200, 40_000 * MS);
        two.count(Some(id(1)), b"BREW", 418, MS);
        two.count(None, b"", 400, MS);
        one.count(None, b"GET", 0, MS);

        let sums = registry.sums(|_| true, Instant::now());

        let said = |method, code: &str, count| (method, code.to_owned(), count);
        assert_eq!(requests(&sums, Whose::Route(id(1))), [said("GET", "200", 2), said("other", "418", 1)]);
        assert_eq!(requests(&sums, Whose::Nobody), [said("GET", "none", 1), said("other", "400", 1)]);
        let (_, sum) = sums.iter().find(|(whose, _)| *whose == Whose::Route(id(1))).unwrap();
        assert_eq!((sum.buckets[0], sum.over, sum.micros), (2, 1, 40_002_000));
    }

    #[test]
    fn what_no_pair_is_left_for_is_counted_by_class() {
        let registry = Arc::new(Registry::default());
        let worker = registry.worker();
        for status in 200..300 {
            worker.count(Some(id(1)), b"GET", status, MS);
        }
        let sums = registry.sums(|_| true, Instant::now());
        let requests = requests(&sums, Whose::Route(id(1)));
        assert_eq!(requests.len(), PAIRS + 1);
        assert!(requests.contains(&("other", "2xx".to_owned(), 100 - PAIRS as u64)));
    }

    #[test]
    fn routes_beyond_the_bound_are_one() {
        let registry = Arc::new(Registry::with_room(2));
        let worker = registry.worker();
        for byte in 1..=5 {
            worker.count(Some(id(byte)), b"GET", 200, MS);
        }
        let sums = registry.sums(|_| true, Instant::now());
        assert_eq!(requests(&sums, Whose::Other), [("GET", "200".to_owned(), 3)]);
        assert_eq!(sums.len(), 4);
        assert_eq!(worker.mine.borrow().len(), 2, "the rest is not remembered either");
    }

    #[test]
    fn a_route_that_is_gone_is_forgotten_after_a_while_and_makes_room() {
        let registry = Arc::new(Registry::with_room(1));
        let worker = registry.worker();
        worker.count(Some(id(1)), b"GET", 200, MS);
        worker.count(Some(id(2)), b"GET", 200, MS);
        let now = Instant::now();
        let later = now + Duration::from_millis(limits::METRIC_ROUTE_KEPT_MS);
        let has =
            |sums: &[(Whose, Sum)], byte| sums.iter().any(|(whose, _)| *whose == Whose::Route(id(byte)));

        assert!(has(&registry.sums(|route| route != id(1), now), 1), "somebody may still scrape it");
        assert!(!has(&registry.sums(|route| route != id(1), later), 1));
        worker.count(Some(id(2)), b"GET", 200, MS);
        assert!(has(&registry.sums(|_| true, later), 2));
        assert_eq!(worker.mine.borrow().len(), 1);

        worker.count(Some(id(1)), b"GET", 200, MS);
        assert_eq!(requests(&registry.sums(|_| true, later), Whose::Other), [("GET", "200".to_owned(), 2)]);
    }
}

//! Atomic counters, a shard for each worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use super::routes::{Registry, Routes};
use crate::fault::Side;
use crate::guard::Full;
use crate::listener::Kind;

/// One worker's counters. Aligned so that two workers never write the same cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Answers by the first digit of the status, 1xx to 5xx.
    pub responses: [AtomicU64; 5],
    /// Requests refused at the strict door.
    pub refused_requests: AtomicU64,
    /// Accepted connections by kind.
    pub accepted: [AtomicU64; 5],
    /// Open connections by kind.
    pub open: [AtomicI64; 5],
    /// Refused connections and sessions by [`Full`].
    pub full: [AtomicU64; 4],
    /// Failed answers by side.
    pub faults: [AtomicU64; 3],
    /// TLS handshakes that came to nothing.
    pub handshakes_failed: AtomicU64,
    /// TLS handshakes that were done.
    pub handshakes: AtomicU64,
    /// SSH authentication attempts that were refused.
    pub auth_failures: AtomicU64,
    /// Connection tasks that panicked.
    pub panics: AtomicU64,
    /// Failed accepts.
    pub accept_errors: AtomicU64,
    /// Connections that had to begin with a PROXY protocol header and did not.
    pub proxy_refused: AtomicU64,
    /// HTTP logins that were refused: basic authentication.
    pub auth_failures_http: AtomicU64,
    /// Requests refused because their client or route asked too often, or has too many under way.
    pub ratelimit_rejected: AtomicU64,
    /// Requests refused because of the address they came from.
    pub address_denied: AtomicU64,
    /// Connections passed through to an upstream's own TLS.
    pub passed_through: AtomicU64,
    /// Requests sent to an origin again, or to another one, after a first try failed.
    pub retries: AtomicU64,
    /// HTTP/2 connections ended because their client only made work: resets, settings, pings, empty frames.
    pub h2_floods: AtomicU64,
    /// HTTP requests under way.
    pub in_flight: AtomicI64,
    /// Bytes of request bodies and tunnels towards the VM.
    pub bytes_up: AtomicU64,
    /// Bytes of response bodies and tunnels towards the user.
    pub bytes_down: AtomicU64,
}

impl Counters {
    /// Counts an answered request.
    pub fn response(&self, status: u16) {
        let class = usize::from(status / 100).wrapping_sub(1);
        if let Some(counter) = self.responses.get(class) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Counts a request that the strict door refused.
    pub fn refused_request(&self) {
        self.refused_requests.fetch_add(1, Relaxed);
    }

    /// Counts a connection as open until the answer is dropped.
    pub fn connection(self: &Arc<Self>, kind: Kind) -> OpenConnection {
        add(&self.accepted, kind as usize, 1);
        if let Some(open) = self.open.get(kind as usize) {
            open.fetch_add(1, Relaxed);
        }
        OpenConnection { counters: Arc::clone(self), kind }
    }

    /// Counts a refusal for want of room.
    pub fn full(&self, which: Full) {
        add(&self.full, which as usize, 1);
    }

    /// Counts a failure by whose fault it was.
    pub fn fault(&self, side: Side) {
        add(&self.faults, side as usize, 1);
    }

    /// Counts a TLS handshake.
    pub fn handshake(&self, done: bool) {
        let counter = if done { &self.handshakes } else { &self.handshakes_failed };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts a refused authentication attempt on SSH.
    pub fn auth_failure(&self) {
        self.auth_failures.fetch_add(1, Relaxed);
    }

    /// Counts an HTTP login that was refused.
    pub fn auth_failure_http(&self) {
        self.auth_failures_http.fetch_add(1, Relaxed);
    }

    /// Counts a request refused by a rate or in-flight limit.
    pub fn rejected_by_rate(&self) {
        self.ratelimit_rejected.fetch_add(1, Relaxed);
    }

    /// Counts a request refused by an address list.
    pub fn denied_by_address(&self) {
        self.address_denied.fetch_add(1, Relaxed);
    }

    /// Counts a connection whose TLS is the upstream's.
    pub fn passed_through(&self) {
        self.passed_through.fetch_add(1, Relaxed);
    }

    /// Counts another try of a request.
    pub fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Counts an HTTP/2 connection that was ended as a flood.
    pub fn h2_flood(&self) {
        self.h2_floods.fetch_add(1, Relaxed);
    }

    /// Counts a request as under way until the answer is dropped.
    pub fn request_under_way(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    /// Counts a connection task that panicked.
    pub fn panic(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// Counts a connection without the PROXY protocol header that it had to begin with.
    pub fn proxy_refused(&self) {
        self.proxy_refused.fetch_add(1, Relaxed);
    }

    /// Counts an accept that failed.
    pub fn accept_error(&self) {
        self.accept_errors.fetch_add(1, Relaxed);
    }

    /// Counts bytes that went through, towards the VM and towards the user.
    pub fn bytes(&self, up: u64, down: u64) {
        self.bytes_up.fetch_add(up, Relaxed);
        self.bytes_down.fetch_add(down, Relaxed);
    }
}

fn add<const N: usize>(counters: &[AtomicU64; N], index: usize, n: u64) {
    if let Some(counter) = counters.get(index) {
        counter.fetch_add(n, Relaxed);
    }
}

/// A connection that counts as open until this is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    counters: Arc<Counters>,
    kind: Kind,
}

impl OpenConnection {
    /// Where it counts.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(open) = self.counters.open.get(self.kind as usize) {
            open.fetch_sub(1, Relaxed);
        }
    }
}

/// A request that counts as under way until this is dropped.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Counters);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    shards: Box<[Arc<Counters>]>,
    routes: Arc<Registry>,
}

impl Metrics {
    /// Counters for this many workers, and one shard for what is no worker's.
    pub fn new(workers: usize) -> Self {
        Self { shards: (0..=workers).map(|_| Arc::default()).collect(), routes: Arc::default() }
    }

    /// The counters of one worker; beyond the last worker, those of the rest of the process.
    pub fn shard(&self, index: usize) -> Arc<Counters> {
        let shard = self.shards.get(index).or_else(|| self.shards.last());
        shard.map(Arc::clone).unwrap_or_default()
    }

    /// Counts by route for one more worker.
    pub(crate) fn worker_routes(&self) -> Routes {
        self.routes.worker()
    }

    /// Every worker's counts by route.
    pub(super) fn routes(&self) -> &Registry {
        &self.routes
    }

    /// Connections of a kind that are open now.
    pub fn open(&self, kind: Kind) -> u64 {
        let open = |shard: &Arc<Counters>| shard.open.get(kind as usize).map_or(0, |n| n.load(Relaxed));
        u64::try_from(self.shards.iter().map(open).sum::<i64>()).unwrap_or(0)
    }

    /// Every worker's counters, and last those of the rest of the process.
    pub fn shards(&self) -> &[Arc<Counters>] {
        &self.shards
    }

    /// The sum over all shards of what `read` takes from one.
    pub fn sum(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.shards.iter().map(|shard| read(shard)).sum()
    }
}

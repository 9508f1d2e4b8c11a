//! Towards the VM: which endpoint, over which connection.
//!
//! One worker's own, so nothing here locks. [`Upstreams::connect`] is the one door: it lends an idle connection, or
//! resolves, dials, says who asks (PROXY protocol) and shakes hands (TLS), all under one deadline. Connections are kept
//! under the endpoint's id, which outlives generations and is new when the target changes, and under the [`way`] they
//! were made: a swap can neither lose an idle connection nor hand out one that leads elsewhere or was made otherwise.

pub(crate) mod bare;
mod budget;
mod dial;
mod h2;
pub mod health;
mod open;
pub(crate) mod pick;
mod pool;
mod proxy;
mod resolve;
pub(crate) mod retired;
pub(crate) mod sticky;
mod stream;
pub(crate) mod tls;
mod way;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use config::id::EndpointId;
use config::snapshot::{Endpoint, Protocol, Route, UpstreamPolicy};
use tokio::time::Instant;

use crate::fault::Fault;
use crate::live::Pinned;
use crate::worker::Worker;

pub use dial::dial_address;
pub use h2::Http2Stream;
pub use pool::Lease;
pub use proxy::Ends;
pub use stream::Stream;

/// One worker's upstream connections and resolver answers.
#[derive(Default)]
pub struct Upstreams {
    pool: pool::Pool,
    resolver: resolve::Resolver,
    ways: way::Ways,
    balancers: pick::Balancers,
    sessions: h2::Sessions,
}

/// What a connection is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Where to.
    pub endpoint: &'a Endpoint,
    /// What the upstream says about connections; `None` is plain HTTP/1.1.
    pub policy: Option<&'a UpstreamPolicy>,
    /// Who asks, where the policy wants a PROXY header. `None` is the gateway itself: a health check.
    pub ends: Option<&'a Ends>,
    /// Time for everything: name, connect, header, handshake.
    pub deadline: Duration,
    /// Whether an idle connection will do.
    pub takes_idle: bool,
}

impl Upstreams {
    /// What chooses among the endpoints of `route`; `None` where there is one and nothing to choose.
    pub(crate) fn balancer(worker: &Worker, pinned: &Pinned, route: &Route) -> Option<Rc<pick::Balancer>> {
        worker.upstream.balancers.of(&worker.shared.health, pinned, route, worker.index)
    }

    /// Lends an idle connection that is still open as far as can be told without asking, the one used last first; or
    /// opens one. Allocates nothing for an idle one without a PROXY header.
    ///
    /// Errors: an upstream fault that is safe to try elsewhere; unresolved, forbidden, refused, not trusted or too slow.
    pub async fn connect(worker: &Rc<Worker>, call: &Call<'_>) -> Result<Lease, Fault> {
        let upstream = &worker.upstream;
        let way = upstream.ways.of(call.endpoint.id, call.policy);
        let key = pool::Key::new(call, way.as_deref());
        if call.takes_idle
            && let Some(lease) = upstream.pool.checkout(&key, Instant::now())
        {
            if let Some(place) = &lease.place {
                resolve::touch(worker, place);
            }
            return Ok(lease);
        }
        // Boxed: rare, and its size would be every idle connection's.
        Box::pin(Self::open(worker, call, way.as_deref(), key)).await
    }

    async fn open(
        worker: &Rc<Worker>,
        call: &Call<'_>,
        way: Option<&way::Way>,
        key: pool::Key,
    ) -> Result<Lease, Fault> {
        match way {
            Some(way) if way.protocol == Protocol::Http2 => h2::lease(worker, call, way, key).await,
            _ => open::open(worker, call, way, key).await,
        }
    }

    /// Keeps a connection on which nothing is under way.
    pub fn checkin(worker: &Rc<Worker>, lease: Lease, now: Instant) {
        // A stream has had its request; its connection keeps itself.
        if !matches!(lease.stream, Stream::Http2(_)) && worker.upstream.pool.checkin(lease, now) {
            pool::sweep(worker);
        }
    }

    /// Closes idle connections to endpoints that left the table (DESIGN D5), and forgets the rest about them.
    pub fn retire(&self, ids: &HashSet<EndpointId>) {
        self.pool.retire(ids);
        self.ways.retire(ids);
        self.balancers.retire(ids);
        self.sessions.retire(ids);
    }

    /// An idle connection to an endpoint that is reached the plain way.
    #[cfg(test)]
    pub(crate) fn take_idle(&self, id: EndpointId) -> Option<Lease> {
        self.pool.checkout(&pool::Key::plain(id), Instant::now())
    }

    /// How many idle connections are kept.
    pub fn idle_len(&self) -> usize {
        self.pool.len()
    }
}

/// The addresses that must not be dialled: our own.
fn own_addresses(worker: &Worker) -> std::sync::Arc<Vec<SocketAddr>> {
    worker.shared.own_addresses.load_full()
}

#[cfg(test)]
mod tests;

//! Towards the VM: which endpoint, over which connection.
//!
//! One worker's own, so nothing here locks. Connections and answers of the resolver are kept under the endpoint's id,
//! which outlives generations and is new when the target changes: a swap can neither lose an idle connection nor hand
//! out one that leads elsewhere.

mod dial;
mod pool;
mod resolve;
pub(crate) mod retired;
mod stream;

use std::cell::Cell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;

use config::id::EndpointId;
use config::snapshot::Endpoint;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::worker::Worker;

pub use dial::dial_address;
pub use stream::Stream;

/// One worker's upstream connections and resolver answers.
#[derive(Default)]
pub struct Upstreams {
    pool: pool::Pool,
    resolved: resolve::Resolved,
    turn: Cell<usize>,
}

impl Upstreams {
    /// Where a new request begins to look: round robin, one step for each call.
    pub fn turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    /// The endpoint for try number `attempt` of a request that began at `turn`; `None` if there are none.
    pub fn pick(endpoints: &[Endpoint], turn: usize, attempt: usize) -> Option<&Endpoint> {
        endpoints.get(turn.wrapping_add(attempt).checked_rem(endpoints.len())?)
    }

    /// An idle connection that is still open as far as can be told without asking, the one used last first.
    pub fn checkout(&self, id: EndpointId, now: Instant) -> Option<Stream> {
        self.pool.checkout(id, now)
    }

    /// Keeps a connection on which nothing is under way.
    pub fn checkin(worker: &Rc<Worker>, id: EndpointId, io: Stream, now: Instant) {
        if worker.upstream.pool.checkin(id, io, now) {
            pool::sweep(worker);
        }
    }

    /// Closes idle connections to endpoints that left the table (DESIGN D5).
    pub fn retire(&self, ids: &HashSet<EndpointId>) {
        self.pool.retire(ids);
    }

    /// How many idle connections are kept.
    pub fn idle_len(&self) -> usize {
        self.pool.len()
    }

    /// Opens a new connection.
    ///
    /// Errors: an upstream fault that is safe to try elsewhere; unresolved, forbidden, refused or too slow.
    pub async fn dial(&self, endpoint: &Endpoint, own: &[SocketAddr]) -> Result<Stream, Fault> {
        let addresses = self.resolved.addresses(endpoint).await?;
        dial::first_of(&addresses, endpoint.loopback_ok, own).await.map(Stream::Plain)
    }
}

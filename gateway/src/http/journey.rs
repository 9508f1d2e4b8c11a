//! How long a request took on its way to an endpoint; for the access log.

use config::id::EndpointId;
use config::snapshot::Endpoint;
use config::target::Target;
use tokio::time::Instant;

use crate::telemetry::UpstreamWay;
use crate::upstream::Lease;

/// One request's way, from the moment its head is ready to go. Stands in the scratch: it would be every idle
/// connection's size otherwise.
#[derive(Debug, Default)]
pub(super) struct Journey {
    since: Option<Instant>,
    tries: u8,
    way: UpstreamWay,
}

impl Journey {
    pub(super) fn begin() -> Self {
        Self { since: Some(Instant::now()), ..Self::default() }
    }

    /// A try begins; what an earlier one reached is forgotten.
    pub(super) fn tries(&mut self, endpoint: EndpointId) {
        self.tries = self.tries.saturating_add(1);
        self.way = UpstreamWay { endpoint: Some(endpoint), ..UpstreamWay::default() };
    }

    /// There is a connection.
    pub(super) fn connected(&mut self, endpoint: &Endpoint, lease: &Lease) {
        // One that stood already costs no look at the clock.
        self.way.connected = if lease.is_reused { Some(0) } else { self.micros(Instant::now()) };
        self.way.address = match &endpoint.target {
            Target::Address(address) => Some(*address),
            Target::Name { port, .. } => lease.ip().map(|ip| (ip, *port).into()),
        };
    }

    /// The head of the response is whole.
    pub(super) fn answered(&mut self) {
        self.way.head = self.micros(Instant::now());
    }

    /// All of it, up to now; `None` for a request that went nowhere.
    pub(super) fn end(&self, now: Instant) -> Option<UpstreamWay> {
        let total = self.micros(now)?;
        Some(UpstreamWay { total, retries: self.tries.saturating_sub(1), ..self.way })
    }

    fn micros(&self, now: Instant) -> Option<u64> {
        let took = now.saturating_duration_since(self.since?);
        Some(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
    }
}

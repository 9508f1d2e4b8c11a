//! The access-log line of a flow: its host is the gate's address and port, its path the id of the forward.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::snapshot::{Forward, Generation, Transport};
use tokio::time::Instant;

use super::flows::Refused;
use crate::relay::Totals;
use crate::session::EndReason;
use crate::telemetry::{Protocol, Record, UpstreamWay};
use crate::upstream::Ends;
use crate::worker::Worker;

/// What became of one flow.
pub(super) struct Told<'a> {
    pub(super) forward: &'a Forward,
    pub(super) ends: Ends,
    pub(super) generation: Generation,
    pub(super) began: Instant,
    /// Time until the target was reached.
    pub(super) connected: Option<Duration>,
    pub(super) address: Option<SocketAddr>,
    pub(super) totals: Totals,
    pub(super) refused: Option<Refused>,
}

impl<'a> Told<'a> {
    /// A flow of which nothing has become yet.
    pub(super) fn of(forward: &'a Forward, ends: Ends, began: Instant) -> Self {
        let totals = Totals { up: 0, down: 0, reason: EndReason::Finished };
        let generation = Generation(0);
        Self { forward, ends, generation, began, connected: None, address: None, totals, refused: None }
    }
}

/// Writes the line, if anybody reads it.
pub(super) fn tell(worker: &Worker, told: &Told<'_>) {
    if !worker.recorder.is_on() {
        return;
    }
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let took = micros(told.began.elapsed());
    let (host, id) = (told.ends.local.to_string(), told.forward.id.to_string());
    let fault = match (told.refused, told.totals.reason) {
        (Some(refused), _) => refused.name(),
        (None, EndReason::Finished) => "",
        (None, EndReason::Idle) => "idle",
        (None, EndReason::Broken) => "broken",
        (None, EndReason::Cut | EndReason::Stopping) => "cut",
    };
    worker.recorder.record(&Record {
        at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        request: b"",
        trace: [0; 16],
        client: told.ends.client.ip().to_canonical(),
        peer: told.ends.client,
        is_secured: false,
        protocol: match told.forward.transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        },
        host: host.as_bytes(),
        method: b"",
        path: id.as_bytes(),
        query: b"",
        status: 0,
        bytes: (told.totals.up, told.totals.down),
        micros: took,
        generation: told.generation.0,
        route: None,
        upstream: Some(UpstreamWay {
            endpoint: Some(told.forward.endpoint.id),
            address: told.address,
            connected: told.connected.map(micros),
            total: took,
            ..UpstreamWay::default()
        }),
        tls: None,
        user: b"",
        fault: fault.as_bytes(),
        agent: b"",
        referer: b"",
    });
}

//! Names whose TLS is the upstream's: the bytes of the hello, and all that follow, go there as they are.
//!
//! Nothing of the connection is read but the hello's server name. Who may come is decided by address; which endpoint
//! gets it by the route's upstream, as for a request; how long it may be silent by the route's tunnels.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::id::EndpointId;
use config::limits;
use config::snapshot::{Action, Endpoint, Route, Upstream};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::accept::deny;
use super::rules::Rule;
use crate::fault::{Fault, Kind, Retry};
use crate::guard::Permit;
use crate::http::codec::Head;
use crate::http::codec::head::View;
use crate::http::{ConnMeta, may_ask};
use crate::live::Pinned;
use crate::relay::RelayLimits;
use crate::session::{SessionKind, Subject};
use crate::telemetry::{Protocol, Record, TlsFacts, UpstreamWay};
use crate::upstream::pick::{Ask, Attempt, Balancer, Set, Wishes};
use crate::upstream::{Call, Ends, Lease, Upstreams};
use crate::worker::Worker;

/// A connection to be passed through.
pub(crate) struct Passing {
    pub(super) tcp: TcpStream,
    /// What was read of it to learn its name.
    pub(super) early: Vec<u8>,
    /// The generation that says so.
    pub(super) pinned: Pinned,
    pub(super) sni: Box<str>,
}

/// What became of one.
#[derive(Default)]
struct Told {
    fault: Option<Kind>,
    endpoint: Option<EndpointId>,
    /// Microseconds until there was a connection.
    connected: Option<u64>,
    bytes: (u64, u64),
}

/// Carries the connection to its end, and tells of it.
pub(crate) async fn pass(worker: Rc<Worker>, passing: Box<Passing>, meta: ConnMeta, permit: Permit) {
    let began = Instant::now();
    let (generation, sni) = (passing.pinned.snapshot.generation(), passing.sni.clone());
    let Some(Rule::Passthrough(route)) = passing.pinned.tls.of(&passing.pinned.table, &sni) else { return };
    let route = Arc::clone(route);
    worker.counters.passed_through();
    let mut told = Told::default();
    if let Err(fault) = carry(&worker, *passing, &route, &meta, &mut told).await {
        worker.counters.fault(fault.side);
        let cause = std::error::Error::source(&fault);
        tracing::debug!(route = %route.id, peer = %meta.peer, %fault, cause, "not passed through");
        told.fault = Some(fault.kind);
    }
    drop(permit);
    worker.counters.bytes(told.bytes.0, told.bytes.1);
    if !worker.recorder.is_on() {
        return;
    }
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let fault = told.fault.map(|kind| format!("{kind:?}")).unwrap_or_default();
    let way = |endpoint| UpstreamWay {
        endpoint: Some(endpoint),
        connected: told.connected,
        total: micros,
        ..UpstreamWay::default()
    };
    worker.recorder.record(&Record {
        at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        request: b"",
        trace: [0; 16],
        client: meta.peer.ip().to_canonical(),
        peer: meta.peer,
        is_secured: true,
        protocol: Protocol::Tls,
        host: sni.as_bytes(),
        method: b"",
        path: b"",
        query: b"",
        status: 0,
        bytes: told.bytes,
        micros,
        generation: generation.0,
        route: Some(route.id),
        upstream: told.endpoint.map(way),
        tls: Some((TlsFacts::default(), sni.as_bytes())),
        user: b"",
        fault: fault.as_bytes(),
        agent: b"",
        referer: b"",
    });
}

async fn carry(
    worker: &Rc<Worker>,
    passing: Passing,
    route: &Route,
    meta: &ConnMeta,
    told: &mut Told,
) -> Result<(), Fault> {
    let Passing { mut tcp, early, pinned, .. } = passing;
    let began = Instant::now();
    let reached = match reach(worker, &pinned, route, meta).await {
        Ok(reached) => reached,
        Err(fault) => {
            deny(&tcp);
            return Err(fault);
        }
    };
    let Reached { mut lease, endpoint, attempt: _under_way, permit: _permit } = reached;
    told.endpoint = Some(endpoint.id);
    told.connected = u64::try_from(began.elapsed().as_micros()).ok();
    let subject = Subject {
        kind: SessionKind::Passthrough,
        peer: meta.peer,
        principal: None,
        route: Some(route.id),
        forward: None,
        endpoint: Some(endpoint.id),
        vm: endpoint.vm,
        console: None,
    };
    let session = worker.shared.sessions.open_under(subject, &pinned.snapshot, &worker.shared.current);
    // It may outlive many generations, and holds none of them.
    drop(pinned);
    let send = Duration::from_millis(limits::SEND_DEADLINE_MS);
    let sent = tokio::select! {
        sent = timeout(send, lease.stream.write_all(&early)) => sent.is_ok_and(|sent| sent.is_ok()),
        _ = session.ended() => return Ok(()),
    };
    if !sent {
        let rule = crate::fault::Cause::Rule("the upstream did not take the hello");
        return Err(Fault::upstream(Kind::Closed, Retry::Never, rule));
    }
    let early_len = early.len() as u64;
    drop(early);
    let own = route.timeouts.as_ref().and_then(|timeouts| timeouts.tunnel_ms);
    let idle = Duration::from_millis(own.map_or(limits::TUNNEL_IDLE_MS, u64::from));
    let totals = session.relay(&mut tcp, &mut lease.stream, RelayLimits { idle }).await;
    told.bytes = (early_len + totals.up, totals.down);
    Ok(())
}

/// A connection to the upstream, and what is held while it is open.
struct Reached {
    lease: Lease,
    endpoint: Endpoint,
    attempt: Option<Attempt>,
    permit: crate::guard::SessionPermit,
}

async fn reach(
    worker: &Rc<Worker>,
    pinned: &Pinned,
    route: &Route,
    meta: &ConnMeta,
) -> Result<Reached, Fault> {
    let client = meta.peer.ip().to_canonical();
    if route.filters.as_deref().is_some_and(|filters| !may_ask(filters, client)) {
        worker.counters.denied_by_address();
        return Err(Fault::downstream(Kind::ClientForbidden, "the client's address may not come in"));
    }
    let permit = worker.shared.guard.admit_session(None).map_err(|full| {
        worker.counters.full(full);
        Fault::internal(Kind::Overloaded)
    })?;
    // The rules of a snapshot see to it that a name is passed to an upstream.
    let Action::Forward(upstream) = &route.action else { return Err(Fault::internal(Kind::NoEndpoint)) };
    let ends = Ends { client: meta.peer, local: meta.local };
    let mut tries = Tries::new(worker, pinned, route, upstream, client);
    loop {
        let (endpoint, attempt) = tries.next()?;
        let call = Call {
            endpoint,
            policy: upstream.policy.as_deref(),
            ends: Some(&ends),
            deadline: connect_deadline(route, upstream),
            takes_idle: false,
        };
        match Upstreams::connect(worker, &call).await {
            Ok(lease) => {
                if let Some(attempt) = &attempt {
                    attempt.succeeded();
                }
                return Ok(Reached { lease, endpoint: endpoint.clone(), attempt, permit });
            }
            Err(fault) => tries.failed(attempt, fault)?,
        }
    }
}

fn connect_deadline(route: &Route, upstream: &Upstream) -> Duration {
    let default = match upstream.endpoints.len() {
        0 | 1 => limits::CONNECT_DEADLINE_MS,
        _ => limits::CONNECT_DEADLINE_OF_SEVERAL_MS,
    };
    let own = route.timeouts.as_ref().and_then(|timeouts| timeouts.connect_ms);
    Duration::from_millis(own.map_or(default, u64::from))
}

/// The way of one connection through the endpoints.
struct Tries<'a> {
    upstream: &'a Upstream,
    balancer: Option<Rc<Balancer>>,
    wishes: Wishes,
    tried: Set,
    left: u8,
}

impl<'a> Tries<'a> {
    fn new(worker: &Worker, pinned: &Pinned, route: &Route, upstream: &'a Upstream, client: IpAddr) -> Self {
        let balancer = Upstreams::balancer(worker, pinned, route);
        // There is an address and nothing else to go by.
        let head = Head::default();
        let ask = Ask { client, path: b"", head: View { head: &head, bytes: b"" } };
        let wishes = balancer.as_ref().map(|balancer| balancer.wishes(&ask)).unwrap_or_default();
        let left = balancer.as_ref().map_or(1, |balancer| balancer.tries_max().max(1));
        if let Some(balancer) = &balancer {
            balancer.count_request();
        }
        Self { upstream, balancer, wishes, tried: Set::default(), left }
    }

    fn next(&mut self) -> Result<(&'a Endpoint, Option<Attempt>), Fault> {
        self.left = self.left.saturating_sub(1);
        let Some(balancer) = &self.balancer else {
            let only = self.upstream.endpoints.first().filter(|endpoint| !endpoint.draining);
            return only.map(|only| (only, None)).ok_or(Fault::internal(Kind::NoEndpoint));
        };
        let attempt = balancer.pick(&self.wishes, &self.tried).map_err(Fault::internal)?;
        let endpoint = self.upstream.endpoints.get(attempt.at());
        endpoint.map(|endpoint| (endpoint, Some(attempt))).ok_or(Fault::internal(Kind::NoEndpoint))
    }

    /// Whether there is another try: nothing was sent to an endpoint that could not be reached.
    fn failed(&mut self, attempt: Option<Attempt>, fault: Fault) -> Result<(), Fault> {
        let (Some(attempt), Some(balancer)) = (attempt, &self.balancer) else { return Err(fault) };
        attempt.failed(&fault, false);
        self.tried.insert(attempt.at());
        drop(attempt);
        let goes_on = self.left > 0 && fault.retry == Retry::Safe && balancer.affords_retry();
        if goes_on { Ok(()) } else { Err(fault) }
    }
}

//! A request to one of its endpoints: over an idle connection, or a new one; tried again only where that is safe.

use std::pin::pin;
use std::rc::Rc;

use config::id::{EndpointId, RouteId};
use config::limits;
use config::snapshot::{Endpoint, Kind as ObjectKind, ObjectKey, UpstreamPolicy};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::door::{self, Asked};
use super::exchange::{End, Ends, Exchange, Link, Tally, Terms, Upward};
use super::intake::Intake;
use super::scratch::Scratch;
use super::upgrade::Tunnel;
use crate::fault::{Fault, Kind, Retry};
use crate::live::Pinned;
use crate::upstream::{Call, Ends as ConnectionEnds, Upstreams};
use crate::worker::Worker;

/// A request that goes upstream. Its head is written in the scratch already.
pub(super) struct Job<'a> {
    pub(super) endpoints: &'a [Endpoint],
    pub(super) policy: Option<&'a UpstreamPolicy>,
    /// Who asks, for endpoints that want to be told by a PROXY header.
    pub(super) ends: ConnectionEnds,
    pub(super) route: RouteId,
    pub(super) pinned: &'a Pinned,
    pub(super) asked: &'a Asked,
    pub(super) terms: Terms<'a>,
}

impl Job<'_> {
    /// Whether the route is as it was when the request was decided: an endpoint that left it meanwhile gets no idle
    /// connection any more.
    fn is_current(&self, worker: &Worker) -> bool {
        let Some(newest) = worker.pin() else { return false };
        if newest.is(self.pinned) {
            return true;
        }
        let key = ObjectKey { kind: ObjectKind::ROUTE, id: self.route.to_bytes() };
        newest.snapshot.get(key) == self.pinned.snapshot.get(key)
    }
}

/// What came of it.
pub(super) struct Forwarded {
    pub(super) tally: Tally,
    pub(super) bytes_up: u64,
    pub(super) endpoint: Option<EndpointId>,
    pub(super) result: Result<Outcome, Fault>,
}

/// How it ended well.
pub(super) enum Outcome {
    /// The response went out; whether the downstream connection goes on.
    Done { goes_on: bool },
    /// Both sides are bytes from here.
    Tunnel(Box<Tunnel>),
}

/// Sends the request and passes the response on.
pub(super) async fn forward<IO: AsyncRead + AsyncWrite + Unpin>(
    worker: &Rc<Worker>,
    link: &mut Link<IO>,
    scratch: &mut Scratch,
    job: &Job<'_>,
) -> Forwarded {
    let mut done = Forwarded {
        tally: Tally::default(),
        bytes_up: 0,
        endpoint: None,
        result: Err(Fault::internal(Kind::NoEndpoint)),
    };
    let mut up = match Upward::new(job.asked.body.clone(), &mut link.intake, &mut scratch.to_upstream) {
        Ok(up) => up,
        Err(broken) => return Forwarded { result: Err(door::refused(broken)), ..done },
    };
    let turn = worker.upstream.turn();
    let mut hops = 0;
    let mut takes_idle = true;
    for _ in 0..limits::FORWARD_TRIES_MAX {
        let Some(endpoint) = Upstreams::pick(job.endpoints, turn, hops) else { break };
        done.endpoint = Some(endpoint.id);
        let call = Call {
            endpoint,
            policy: job.policy,
            ends: Some(job.ends),
            deadline: job.terms.connect_deadline(job.endpoints.len()),
            takes_idle,
        };
        let connected = pin!(Upstreams::connect(worker, &call));
        let mut lease = match link.attend(job.terms.whole_at, connected).await {
            Ok(lease) => lease,
            Err(fault) => {
                let is_over = fault.retry != Retry::Safe;
                done.result = Err(fault);
                hops += 1;
                if is_over || hops >= job.endpoints.len() {
                    break;
                }
                continue;
            }
        };
        let mut from_upstream = Intake::default();
        let is_reused = lease.is_reused;
        let ends = Ends { link, upstream: &mut lease.stream, from_upstream: &mut from_upstream, is_reused };
        let (tally, result) = Exchange::new(worker, ends, scratch, &mut up, job.terms).run().await;
        done.tally = tally;
        match result {
            Ok(End::Switched) => {
                let upstream = lease.stream;
                let tunnel = Tunnel { upstream, from_upstream, endpoint: endpoint.id, vm: endpoint.vm };
                done.result = Ok(Outcome::Tunnel(Box::new(tunnel)));
                break;
            }
            Ok(End::Done { downstream_goes_on, upstream_goes_on }) => {
                from_upstream.release(&worker.buffers);
                if upstream_goes_on && job.is_current(worker) {
                    Upstreams::checkin(worker, lease, Instant::now());
                }
                done.result = Ok(Outcome::Done { goes_on: downstream_goes_on });
                break;
            }
            Err(fault) => {
                from_upstream.release(&worker.buffers);
                let again = tally.status == 0 && is_safe_again(&fault, job.asked, &up);
                done.result = Err(fault);
                if !again {
                    break;
                }
                // The other idle connections of this origin are likely as dead as the one that just failed.
                takes_idle = false;
                up.rewind();
            }
        }
    }
    done.bytes_up = up.bytes;
    done
}

fn is_safe_again(fault: &Fault, asked: &Asked, up: &Upward) -> bool {
    match fault.retry {
        Retry::Safe => up.is_whole(),
        Retry::IfIdempotent => asked.is_idempotent && up.is_bodyless(),
        Retry::Never => false,
    }
}

//! A request to one of its endpoints: over an idle connection, or a new one; tried again only where that is safe.

mod course;

use std::pin::pin;
use std::rc::Rc;

use config::id::{EndpointId, RouteId};
use config::snapshot::{Endpoint, Kind as ObjectKind, ObjectKey, UpstreamPolicy};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use self::course::{Again, Course};
use super::client::Client;
use super::door::{self, Asked};
use super::exchange::{End, Ends, Exchange, Link, Tally, Terms, Upward};
use super::intake::Intake;
use super::journey::Journey;
use super::scratch::Scratch;
use super::upgrade::Tunnel;
use crate::fault::{Fault, Retry};
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
    pub(super) client: &'a Client,
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

impl Forwarded {
    /// No endpoint heard of it.
    fn unsent(fault: Fault) -> Self {
        Self { tally: Tally::default(), bytes_up: 0, endpoint: None, result: Err(fault) }
    }
}

/// How it ended well.
pub(super) enum Outcome {
    /// The response went out; whether the downstream connection goes on.
    Done { goes_on: bool },
    /// Both sides are bytes from here.
    Tunnel(Box<Tunnel>),
}

/// Sends the request and passes the response on.
pub(super) async fn forward<IO: AsyncRead + AsyncWrite + Unpin + 'static>(
    worker: &Rc<Worker>,
    link: &mut Link<IO>,
    scratch: &mut Scratch,
    job: &Job<'_>,
) -> Forwarded {
    scratch.journey = Journey::begin();
    let mut up = match Upward::new(job.asked.body.clone(), &mut link.intake, &mut scratch.to_upstream) {
        Ok(up) => up,
        Err(broken) => return Forwarded::unsent(door::refused(broken)),
    };
    let mut course = Course::new(worker, job, link.intake.head(), &scratch.request);
    let mut tally = Tally::default();
    // Nothing of a try is kept while the next is under way: it would be every idle connection's.
    let (endpoint, result) = loop {
        let endpoint = match course.endpoint(&mut scratch.to_add) {
            Ok(endpoint) => endpoint,
            Err(kind) => return Forwarded::unsent(Fault::internal(kind)),
        };
        let one = Try { worker, job, endpoint, course: &mut course };
        let (result, again) = one.run(link, scratch, &mut up, &mut tally).await;
        if !again.is_some_and(|again| course.goes_on(again)) {
            break (endpoint.id, result);
        }
        up.rewind();
    };
    Forwarded { tally, bytes_up: up.bytes, endpoint: Some(endpoint), result }
}

/// One try at one endpoint.
struct Try<'a, 'b> {
    worker: &'a Rc<Worker>,
    job: &'a Job<'a>,
    endpoint: &'a Endpoint,
    course: &'b mut Course<'a>,
}

impl Try<'_, '_> {
    async fn run<IO: AsyncRead + AsyncWrite + Unpin + 'static>(
        self,
        link: &mut Link<IO>,
        scratch: &mut Scratch,
        up: &mut Upward,
        tally: &mut Tally,
    ) -> (Result<Outcome, Fault>, Option<Again>) {
        let Self { worker, job, endpoint, course } = self;
        scratch.journey.tries(endpoint.id);
        // In a block of its own: what it needs is not kept while the exchange goes on.
        let connected = {
            let call = Call {
                endpoint,
                policy: job.policy,
                ends: Some(&job.ends),
                deadline: job.terms.connect_deadline(job.endpoints.len()),
                takes_idle: course.takes_idle(),
            };
            let connected = pin!(Upstreams::connect(worker, &call));
            link.attend(job.terms.whole_at, connected).await
        };
        let mut lease = match connected {
            Ok(lease) => lease,
            Err(fault) => {
                course.failed(&fault, false);
                let again = (fault.retry == Retry::Safe).then_some(Again::Elsewhere);
                return (Err(fault), again);
            }
        };
        course.reached();
        scratch.journey.connected(endpoint, &lease);
        let is_reused = lease.is_reused;
        let mut from_upstream = Intake::default();
        let attempt = course.attempt();
        let upstream = &mut lease.stream;
        let ends = Ends { link, upstream, from_upstream: &mut from_upstream, is_reused, attempt };
        let (told, result) = Exchange::new(worker, ends, scratch, up, job.terms).run().await;
        *tally = told;
        let outcome = match result {
            Ok(End::Switched) => {
                course.succeeded();
                let (endpoint, vm) = (endpoint.id, endpoint.vm);
                let (upstream, attempt) = (lease.stream, course.take_attempt());
                Outcome::Tunnel(Box::new(Tunnel { upstream, from_upstream, endpoint, vm, attempt }))
            }
            Ok(End::Done { downstream_goes_on, upstream_goes_on }) => {
                course.succeeded();
                from_upstream.release(&worker.buffers);
                if upstream_goes_on && job.is_current(worker) {
                    Upstreams::checkin(worker, lease, Instant::now());
                }
                Outcome::Done { goes_on: downstream_goes_on }
            }
            Err(fault) => {
                from_upstream.release(&worker.buffers);
                let is_stale = is_reused && told.status == 0 && fault.retry != Retry::Never;
                course.failed(&fault, is_stale);
                let is_safe = told.status == 0 && is_safe_again(&fault, job.asked, up);
                let again = if is_stale { Again::Here } else { Again::Anywhere };
                return (Err(fault), is_safe.then_some(again));
            }
        };
        (Ok(outcome), None)
    }
}

fn is_safe_again(fault: &Fault, asked: &Asked, up: &Upward) -> bool {
    match fault.retry {
        Retry::Safe => up.is_whole(),
        Retry::IfIdempotent => asked.is_idempotent && up.is_bodyless(),
        Retry::Never => false,
    }
}

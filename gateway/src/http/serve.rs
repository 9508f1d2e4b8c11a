//! The life of one downstream connection: heads in, each handled to its end, then the next.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use config::snapshot::{Filters, Route};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use super::answer::{Manner, Told, log};
use super::client::Client;
use super::console::{self, Guest, Visit};
use super::decide::{Decision, upstream_policy};
use super::door::{self, Asked};
use super::downstream::{Arrival, Connection};
use super::exchange::Terms;
use super::filters::{InFlight, Refusal};
use super::forward::{self, Forwarded, Job, Outcome};
use super::headers::{self, Outbound, Policy};
use super::scratch::Scratch;
use super::upgrade::{self, Admission, Tunnel};
use super::{ConnMeta, Protocol, h2};
use crate::console::bridge;
use crate::fault::{Fault, Kind, Side};
use crate::guard::{Permit, SessionPermit};
use crate::listener;
use crate::live::Pinned;
use crate::terminal::visitor;
use crate::worker::Worker;

/// What happens after a request.
pub(super) enum Next {
    Again,
    /// What was written is to arrive first.
    Close,
    /// Nobody is there any more, or a response was cut short.
    Abort,
    Tunnel(Box<Tunnel>, Box<Admission>),
    Console(Guest),
}

/// A downstream connection that is to be served by [`run`].
pub struct Opened<IO>(Box<Connection<IO>>);

/// Prepares a downstream connection. Apart from [`run`], because a future keeps room for whatever was moved through it.
pub fn open<IO>(worker: Rc<Worker>, io: IO, meta: ConnMeta, permit: Permit) -> Opened<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut connection = Box::new(Connection::new(worker, io, meta));
    connection.permit = Some(permit);
    connection.link.looks_cut = looks_cut::<IO>;
    Opened(connection)
}

/// Serves one downstream connection to its end.
pub async fn serve<IO>(worker: Rc<Worker>, io: IO, meta: ConnMeta, permit: Permit)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    run(open(worker, io, meta, permit)).await;
}

/// Serves what was opened, to its end.
pub fn run<IO>(opened: Opened<IO>) -> impl Future<Output = ()>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Opened(mut connection) = opened;
    // A block, not an `async fn`, which would keep what it was called with twice.
    async move {
        if connection.meta.protocol == Protocol::Http2 {
            return go_on_as_http_2(*connection, None).await;
        }
        let shared = Arc::clone(&connection.worker.shared);
        let mut stopping = pin!(shared.drain.stopping());
        // Boxed, like all that is awaited below: a future keeps room for each value that was ever moved.
        let next = loop {
            let mut scratch = None;
            let arrival = connection.arrival(&mut scratch, false, stopping.as_mut()).await;
            if connection.requests == 0 && connection.begins_http_2(&arrival) {
                return go_on_as_http_2(*connection, scratch).await;
            }
            match Box::pin(connection.busy(arrival, scratch, stopping.as_mut())).await {
                Next::Again => {}
                next @ (Next::Close | Next::Abort | Next::Tunnel(..) | Next::Console(_)) => break next,
            }
        };
        follow(connection, next).await;
    }
}

/// Does what follows the last request. In a box, which is made when it is needed: what waits for requests has no room
/// for it.
pub(super) fn follow<IO>(connection: Box<Connection<IO>>, next: Next) -> Pin<Box<dyn Future<Output = ()>>>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    match next {
        // Boxed within: of a tunnel that is open, only what moves its bytes is to be there.
        Next::Tunnel(tunnel, admission) => {
            let joining = Box::pin(upgrade::join(connection, tunnel, admission));
            Box::pin(async move {
                if let Some(joined) = joining.await {
                    Box::pin(joined.carry()).await;
                }
            })
        }
        next @ (Next::Again | Next::Close | Next::Abort | Next::Console(_)) => Box::pin(connection.end(next)),
    }
}

/// Gives a connection that speaks HTTP/2, or began with its preface, to those who speak it.
fn go_on_as_http_2<IO>(
    connection: Connection<IO>,
    scratch: Option<Box<Scratch>>,
) -> Pin<Box<impl Future<Output = ()>>>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Connection { worker, mut link, meta, permit, .. } = connection;
    let early = link.intake.head().to_vec();
    link.intake.release(&worker.buffers);
    scratch.into_iter().for_each(|scratch| worker.http.put(scratch));
    let meta = ConnMeta { protocol: Protocol::Http2, ..meta };
    Box::pin(async move {
        if let Some(permit) = permit {
            h2::serve(worker, link.io, early, meta, permit).await;
        }
    })
}

/// Serves a connection that has one request: a stream of HTTP/2. A `fault` is what is wrong with its head. Returns what
/// became a tunnel, to [`follow`].
pub(super) async fn serve_one<IO: AsyncRead + AsyncWrite + Unpin + 'static>(
    mut connection: Connection<IO>,
    fault: Option<Fault>,
) -> Option<(Box<Connection<IO>>, Next)> {
    let mut scratch = None;
    let arrival = match fault {
        Some(fault) => {
            scratch = Some(connection.worker.http.take());
            Arrival::Refused(Box::new(fault))
        }
        None => connection.arrival(&mut scratch, false, pin!(std::future::pending())).await,
    };
    let next = connection.arrived(arrival, scratch).await;
    match next {
        Next::Tunnel(..) | Next::Console(_) => return Some((Box::new(connection), next)),
        Next::Again | Next::Close => {
            // The end of a body that nothing else ends; it waits for nothing.
            let _ = connection.link.io.shutdown().await;
        }
        Next::Abort => {}
    }
    connection.link.intake.release(&connection.worker.buffers);
    None
}

/// Has a plain connection end by a reset, or in order again. The kernel keeps to it whoever closes the socket, so it
/// holds for a task that is dropped and a process that is killed too. TLS tells a cut by itself: there is no
/// `close_notify` (RFC 8446 § 6.1).
fn looks_cut<IO: 'static>(io: &IO, is_cut: bool) {
    if let Some(stream) = (io as &dyn std::any::Any).downcast_ref::<tokio::net::TcpStream>() {
        let linger = is_cut.then_some(std::time::Duration::ZERO);
        // A socket that is gone cannot be told, and need not be.
        let _ = socket2::SockRef::from(stream).set_linger(linger);
    }
}

/// Length of the preface's first line: what the codec has read when it refuses its version.
const PREFACE_LINE_LEN: usize = 16;

/// A request that went upstream, with what is needed to end it.
struct Served<'a> {
    done: Forwarded,
    route: &'a Route,
    policy: Policy<'a>,
    session: Option<SessionPermit>,
    in_flight: Option<InFlight>,
    pinned: &'a Pinned,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Connection<IO> {
    /// Does what follows the last request, unless that is a tunnel.
    async fn end(mut self: Box<Self>, next: Next) {
        match next {
            Next::Again => {}
            Next::Close => self.close().await,
            Next::Abort | Next::Tunnel(..) => self.link.intake.release(&self.worker.buffers),
            Next::Console(guest) => self.serve_console(guest).await,
        }
    }

    /// Joins the browser to its console.
    async fn serve_console(mut self, guest: Guest) {
        let early = self.link.intake.unread().to_vec();
        self.link.intake.release(&self.worker.buffers);
        let Self { worker, link, permit, .. } = self;
        match guest {
            Guest::Bridge(bridge) => bridge::run(worker, link.io, early, *bridge).await,
            Guest::Terminal(visitor) => visitor::run(worker, link.io, early, *visitor).await,
        }
        drop(permit);
    }

    /// Whether a plain connection begins like one of HTTP/2, whose preface is made to fail as HTTP/1.1.
    fn begins_http_2(&self, arrival: &Arrival) -> bool {
        let line = h2::PREFACE.get(..PREFACE_LINE_LEN).unwrap_or_default();
        matches!(arrival, Arrival::Refused(_))
            && self.meta.secured.is_none()
            && self.meta.kind == listener::Kind::Http
            && self.link.intake.head().starts_with(line)
    }

    /// Serves requests as long as one follows another; [`Next::Again`] says that it is quiet now.
    async fn busy(
        &mut self,
        mut arrival: Arrival,
        mut scratch: Option<Box<Scratch>>,
        mut stopping: Pin<&mut impl Future<Output = ()>>,
    ) -> Next {
        loop {
            match self.arrived(arrival, scratch.take()).await {
                Next::Again => {}
                next @ (Next::Close | Next::Abort | Next::Tunnel(..) | Next::Console(_)) => return next,
            }
            arrival = self.arrival(&mut scratch, true, stopping.as_mut()).await;
            if matches!(arrival, Arrival::Quiet) {
                return Next::Again;
            }
        }
    }

    /// Does what an arrival asks for.
    async fn arrived(&mut self, arrival: Arrival, mut scratch: Option<Box<Scratch>>) -> Next {
        let next = match (arrival, &mut scratch) {
            (Arrival::Head(len), Some(scratch)) => {
                self.link.intake.end_head(len);
                self.requests += 1;
                let worker = Rc::clone(&self.worker);
                let _in_flight = worker.counters.request_under_way();
                self.request(scratch).await
            }
            (Arrival::Refused(fault), Some(scratch)) => {
                scratch.began = Some(Instant::now());
                self.worker.counters.refused_request();
                self.name_request(scratch);
                self.refuse_unrouted(scratch, None, &fault, Manner::CLOSING).await
            }
            (Arrival::Head(_) | Arrival::Refused(_) | Arrival::Quiet | Arrival::Over, _) => Next::Abort,
        };
        if let Some(scratch) = scratch {
            self.worker.http.put(scratch);
        }
        self.link.intake.next_message(&self.worker.buffers);
        next
    }

    async fn request(&mut self, scratch: &mut Scratch) -> Next {
        scratch.began = Some(Instant::now());
        let checked = door::check(&mut scratch.request, self.link.intake.head(), &mut scratch.names);
        self.name_request(scratch);
        let mut asked = match checked {
            Ok(asked) => asked,
            Err(fault) => {
                self.worker.counters.refused_request();
                return self.refuse_unrouted(scratch, None, &fault, Manner::CLOSING).await;
            }
        };
        let client = self.client(scratch);
        scratch.client = Some(client);
        let Some(pinned) = self.worker.pin() else {
            return self.refuse_unready(scratch, &asked).await;
        };
        let live = &*pinned;
        if let Some(content) = self.challenge(live, scratch, &asked) {
            return self.answer_challenge(scratch, &mut asked, content, live.snapshot.generation()).await;
        }
        if let Some(door) = console::Door::of(self.meta.kind) {
            return Box::pin(self.console(scratch, Visit::of(door, &asked, &client, &pinned))).await;
        }
        let (route, decision) = match self.route(live, scratch, &asked, &client) {
            Ok(route) => (Some(route), self.decide((live, route), scratch, &mut asked, &client).await),
            Err(fault) => (None, Err(fault.into())),
        };
        let policy = route.map_or(Policy::NONE, |route| Policy::of(route, client.is_secured));
        let mut told = Told::new(live.snapshot.generation(), route.map(|route| route.id));
        let next = match (decision, route) {
            (Ok(Decision::Forward { endpoints, session, in_flight }), Some(route)) => {
                self.outbound(scratch, &asked, &client, policy.filters());
                let terms = Terms::of(&asked, scratch.request.version, policy, route);
                let job = Job {
                    endpoints: endpoints.all(),
                    policy: upstream_policy(route),
                    ends: client.ends(self.meta.peer, self.meta.local),
                    route: route.id,
                    pinned: &pinned,
                    asked: &asked,
                    client: &client,
                    terms,
                };
                let done = forward::forward(&self.worker, &mut self.link, scratch, &job).await;
                let served = Served { done, route, policy, session, in_flight, pinned: &pinned };
                return self.finish(scratch, &asked, served).await;
            }
            (Ok(Decision::Console(service)), Some(route)) => {
                let door = console::Door { service, route: Some(route) };
                return Box::pin(self.console(scratch, Visit::of(door, &asked, &client, &pinned))).await;
            }
            (Ok(Decision::Own(status)), Some(route)) => {
                told.status = status;
                self.skip_body(&mut asked);
                let manner = self.manner(scratch, &asked, policy);
                self.perform(scratch, &asked, route, manner).await
            }
            (Ok(_), _) => {
                told.status = self.redirect_status(scratch);
                self.redirect_https(scratch, &asked, policy).await
            }
            (Err(refusal), _) => {
                told.failed(&refusal.fault);
                self.refuse_decided(scratch, &mut asked, (&refusal, route.is_some()), policy).await
            }
        };
        self.record(scratch, Some(&asked), &told);
        next
    }

    /// Refuses what was decided about; the body of what a route was found for is read over.
    async fn refuse_decided(
        &mut self,
        scratch: &mut Scratch,
        asked: &mut Asked,
        (refusal, is_routed): (&Refusal, bool),
        policy: Policy<'_>,
    ) -> Next {
        if is_routed {
            self.skip_body(asked);
        }
        let mut manner = self.manner(scratch, asked, policy);
        manner.retry_after_seconds = refusal.retry_after_seconds;
        self.refuse(scratch, &refusal.fault, manner).await
    }

    /// Refuses a request for which there is no generation yet.
    async fn refuse_unready(&mut self, scratch: &mut Scratch, asked: &Asked) -> Next {
        let manner = self.manner(scratch, asked, Policy::NONE);
        self.refuse_unrouted(scratch, Some(asked), &Fault::internal(Kind::NotReady), manner).await
    }

    /// Refuses what no route was found for, and tells of it.
    async fn refuse_unrouted(
        &mut self,
        scratch: &mut Scratch,
        asked: Option<&Asked>,
        fault: &Fault,
        manner: Manner<'_>,
    ) -> Next {
        let next = self.refuse(scratch, fault, manner).await;
        self.record(scratch, asked, &Told::refused(fault));
        next
    }

    fn client(&self, scratch: &Scratch) -> Client {
        let trusted = &self.worker.shared.settings.trusted_proxies;
        let is_tls = self.meta.secured.is_some();
        Client::of(self.meta.peer, is_tls, trusted, &scratch.request, self.link.intake.head())
    }

    fn outbound(&self, scratch: &mut Scratch, asked: &Asked, client: &Client, filters: Option<&Filters>) {
        let Scratch { request, request_id, trace, to_upstream, .. } = scratch;
        to_upstream.clear();
        let bytes = self.link.intake.head();
        headers::outbound(
            to_upstream,
            &Outbound { head: request, bytes, asked, client, request_id, trace, filters, target: None },
        );
    }

    async fn finish(&mut self, scratch: &mut Scratch, asked: &Asked, served: Served<'_>) -> Next {
        let Served { done, route, policy, session, in_flight, pinned } = served;
        let Forwarded { tally, bytes_up, endpoint, result } = done;
        self.worker.counters.bytes(bytes_up, tally.bytes_down);
        let mut told = Told::new(pinned.snapshot.generation(), Some(route.id));
        told.status = tally.status;
        told.endpoint = endpoint;
        told.bytes = (bytes_up, tally.bytes_down);
        if result.is_ok() {
            self.worker.counters.response(tally.status);
            if tally.ends_by_close {
                (self.link.looks_cut)(&self.link.io, false);
            }
        }
        let next = match (result, session) {
            (Ok(Outcome::Done { goes_on: true }), _) => Next::Again,
            (Ok(Outcome::Done { goes_on: false }), _) => Next::Close,
            (Ok(Outcome::Tunnel(tunnel)), Some(permit)) => {
                let deadlines = self.worker.http.deadlines().of_route(route.timeouts.as_deref());
                let idle_ms = deadlines.tunnel_ms;
                let admission = Admission {
                    client: scratch.client.map_or(self.meta.peer, |client| client.behind(self.meta.peer)),
                    route: route.id,
                    pinned: pinned.clone(),
                    permit,
                    in_flight,
                    idle_ms,
                    session: None,
                };
                Next::Tunnel(tunnel, Box::new(admission))
            }
            (Ok(Outcome::Tunnel(_)), None) => Next::Abort,
            // Half a response went out: only a closed connection can say so.
            (Err(fault), _) if tally.status != 0 => {
                self.worker.counters.fault(fault.side);
                told.fault = Some(fault.kind);
                log(scratch, &fault, Some(&told));
                Next::Abort
            }
            (Err(fault), _) => {
                told.failed(&fault);
                log(scratch, &fault, Some(&told));
                let mut manner = self.manner(scratch, asked, policy);
                manner.is_logged = true;
                // A request that broke a rule while it was sent is as doubtful as one refused at the door.
                manner.closes |= fault.side == Side::Downstream;
                self.refuse(scratch, &fault, manner).await
            }
        };
        self.record(scratch, Some(asked), &told);
        next
    }
}

//! Answers of our own on a downstream connection, and the record of every one.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use config::id::{EndpointId, RouteId};
use config::limits;
use config::snapshot::{Action, Generation, Respond, Route};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use uuid::Uuid;
use uuid::fmt::Simple;

use super::codec::{Known, Span, Version, list};
use super::door::Asked;
use super::downstream::Connection;
use super::headers::Policy;
use super::journey::Journey;
use super::redirect;
use super::respond::{self, Answer, What};
use super::scratch::Scratch;
use super::serve::Next;
use super::trace::Trace;
use crate::fault::{Fault, Kind, Side};
use crate::telemetry::{Protocol, Record};

/// How an answer of our own is given.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) is_head: bool,
    pub(super) wants_html: bool,
    pub(super) closes: bool,
    pub(super) says_keep_alive: bool,
    pub(super) policy: Policy<'a>,
    /// When asking again makes sense, where a filter knows.
    pub(super) retry_after_seconds: Option<u32>,
    /// Whether the fault stands in the log already.
    pub(super) is_logged: bool,
}

impl Manner<'_> {
    /// For what could not be read.
    pub(super) const CLOSING: Self = Self {
        is_head: false,
        wants_html: false,
        closes: true,
        says_keep_alive: false,
        policy: Policy::NONE,
        retry_after_seconds: None,
        is_logged: false,
    };
}

/// What became of a request.
pub(super) struct Told {
    pub(super) status: u16,
    generation: Generation,
    route: Option<RouteId>,
    pub(super) endpoint: Option<EndpointId>,
    pub(super) bytes: (u64, u64),
    /// What went wrong.
    pub(super) fault: Option<Kind>,
}

impl Told {
    pub(super) const fn new(generation: Generation, route: Option<RouteId>) -> Self {
        Self { status: 0, generation, route, endpoint: None, bytes: (0, 0), fault: None }
    }

    /// Of a request that was answered before anything was decided about it.
    pub(super) fn refused(fault: &Fault) -> Self {
        let mut told = Self::new(Generation(0), None);
        told.failed(fault);
        told
    }

    /// It ends with this fault, and the answer to that.
    pub(super) fn failed(&mut self, fault: &Fault) {
        self.status = respond::status(fault).unwrap_or(0);
        self.fault = Some(fault.kind);
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// Gives the request its trace and its id. Takes the client's id over, or makes one: unique by connection and request, without a system call.
    pub(super) fn name_request(&self, scratch: &mut Scratch) {
        let Scratch { request, request_id, trace, client, journey, user, .. } = scratch;
        let bytes = self.link.intake.head();
        (*client, *journey) = (None, Journey::default());
        user.clear();
        *trace = Trace::of(request, bytes, &self.worker.http.numbers);
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let theirs = request.all(Known::XRequestId).next().map(|field| field.value.of(bytes)).filter(|id| {
            !id.is_empty() && id.len() <= limits::REQUEST_ID_BYTES_MAX && id.iter().all(is_plain)
        });
        request_id.clear();
        match theirs.and_then(|id| std::str::from_utf8(id).ok()) {
            Some(id) => request_id.push_str(id),
            None => {
                let mut text = [0; Simple::LENGTH];
                let number = Uuid::from_u64_pair(self.id, self.requests).simple();
                request_id.push_str(number.encode_lower(&mut text));
            }
        }
    }

    /// How to answer a request that was understood.
    pub(super) fn manner<'a>(&self, scratch: &Scratch, asked: &Asked, policy: Policy<'a>) -> Manner<'a> {
        let bytes = self.link.intake.head();
        let names_html = |value: &[u8]| list(value).any(|sort| sort.starts_with(b"text/html"));
        Manner {
            is_head: asked.is_head,
            wants_html: scratch.request.all(Known::Accept).any(|field| names_html(field.value.of(bytes))),
            closes: !asked.keep_alive || !asked.body.is_done(),
            says_keep_alive: scratch.request.version == Version::Http10,
            policy,
            retry_after_seconds: None,
            is_logged: false,
        }
    }

    /// Reads over the body of a request that is answered here, if all of it has come already: the connection may go on
    /// then. Only for one of which nothing was sent.
    pub(super) fn skip_body(&mut self, asked: &mut Asked) {
        loop {
            match asked.body.next(self.link.intake.unread()) {
                Ok(Span::Pass(count) | Span::Drop(count)) => self.link.intake.consume(count),
                Ok(Span::More | Span::Done) | Err(_) => return,
            }
        }
    }

    /// Answers a fault.
    pub(super) async fn refuse(
        &mut self,
        scratch: &mut Scratch,
        fault: &Fault,
        mut manner: Manner<'_>,
    ) -> Next {
        self.worker.counters.fault(fault.side);
        if !manner.is_logged {
            log(scratch, fault, None);
        }
        let Some(what) = What::fault(fault, manner.policy) else { return Next::Abort };
        let what = What { retry_after_seconds: manner.retry_after_seconds, ..what };
        manner.closes |= matches!(
            fault.kind,
            Kind::BadRequest | Kind::RequestTimeout | Kind::RequestBodyTimeout | Kind::BodyTooLarge
        );
        self.answer(scratch, what, manner).await
    }

    /// Sends the request to https.
    pub(super) async fn redirect_https(
        &mut self,
        scratch: &mut Scratch,
        asked: &Asked,
        policy: Policy<'_>,
    ) -> Next {
        let origin = redirect::origin(&self.worker.shared, &scratch.names.host);
        let mut location = origin.into_bytes();
        let rest = asked.path_and_query.of(self.link.intake.head());
        if !rest.starts_with(b"/") {
            location.push(b'/');
        }
        if !asked.asterisk {
            location.extend_from_slice(rest);
        }
        let manner = self.manner(scratch, asked, policy);
        let sentence = Some("This address is served over https.");
        let status = self.redirect_status(scratch);
        let what = What { sentence, location: Some(&location), ..What::status(status) };
        self.answer(scratch, what, manner).await
    }

    pub(super) fn redirect_status(&self, scratch: &Scratch) -> u16 {
        redirect::status(scratch.request.method.of(self.link.intake.head()))
    }

    /// Does what a route does without an upstream.
    pub(super) async fn perform(
        &mut self,
        scratch: &mut Scratch,
        asked: &Asked,
        route: &Route,
        manner: Manner<'_>,
    ) -> Next {
        let bytes = self.link.intake.head();
        let mut location = Vec::new();
        let what = match &route.action {
            Action::Redirect(to) => {
                redirect::location(&mut location, to, route, asked.path.of(bytes), asked.query.of(bytes));
                What { location: Some(&location), ..What::status(to.status) }
            }
            Action::Respond(Respond { status, content }) => {
                What { content: Some(content), ..What::status(*status) }
            }
            Action::Forward(_) | Action::Service(_) => return Next::Abort,
        };
        self.answer(scratch, What { is_regular: true, ..what }, manner).await
    }

    pub(super) async fn answer(&mut self, scratch: &mut Scratch, what: What<'_>, manner: Manner<'_>) -> Next {
        let Manner { is_head, wants_html, closes, says_keep_alive, policy, .. } = manner;
        let closes = closes || self.worker.shared.drain.is_draining();
        let Scratch { request_id, to_downstream, .. } = scratch;
        let answer = Answer { what, request_id, is_head, wants_html, closes, says_keep_alive, policy };
        to_downstream.clear();
        respond::render(to_downstream, &answer);
        self.worker.counters.response(what.status);
        match self.write(to_downstream).await {
            Ok(()) if closes => Next::Close,
            Ok(()) => Next::Again,
            Err(_) => Next::Abort,
        }
    }

    /// Counts a request that is over, and tells the access log what became of it. `asked` is absent where the door let
    /// nothing in.
    pub(super) fn record(&self, scratch: &Scratch, asked: Option<&Asked>, told: &Told) {
        let now = Instant::now();
        let took = now.saturating_duration_since(scratch.began.unwrap_or(now));
        let bytes = self.link.intake.head();
        let method = scratch.request.method.of(bytes);
        self.worker.routes.count(told.route, method, told.status, took);
        if !self.worker.recorder.is_on() {
            return;
        }
        let value = |known| scratch.request.all(known).next().map_or(&b""[..], |field| field.value.of(bytes));
        let (path, query): (&[u8], &[u8]) = match asked {
            Some(asked) if asked.asterisk => (b"*", b""),
            Some(asked) => (asked.path.of(bytes), asked.query.of(bytes)),
            None => refused_target(scratch.request.target.of(bytes)),
        };
        let secured = self.meta.secured.as_ref();
        let mut fault = FaultName::default();
        if let Some(kind) = told.fault {
            let _ = write!(fault, "{kind:?}");
        }
        self.worker.recorder.record(&Record {
            at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            request: scratch.request_id.as_bytes(),
            trace: scratch.trace.id,
            client: scratch.client.map_or(self.meta.peer.ip(), |client| client.address),
            peer: self.meta.peer,
            is_secured: scratch.client.map_or(secured.is_some(), |client| client.is_secured),
            protocol: self.protocol(scratch),
            host: if asked.is_some() { scratch.names.host.as_bytes() } else { b"" },
            method,
            path,
            query,
            status: told.status,
            bytes: told.bytes,
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            generation: told.generation.0,
            route: told.route,
            upstream: scratch.journey.end(now),
            tls: secured
                .map(|secured| (secured.agreed, secured.sni.as_deref().unwrap_or_default().as_bytes())),
            user: scratch.user.as_bytes(),
            fault: fault.text(),
            agent: value(Known::UserAgent),
            referer: value(Known::Referer),
        });
    }

    fn protocol(&self, scratch: &Scratch) -> Protocol {
        match (self.meta.protocol, scratch.request.version) {
            (super::Protocol::Http2, _) => Protocol::Http2,
            (super::Protocol::Http1, Version::Http10) => Protocol::Http10,
            (super::Protocol::Http1, Version::Http11) => Protocol::Http11,
        }
    }
}

/// Path and query of a target that was refused; of any but a path nothing is said, for it may hold a login.
fn refused_target(target: &[u8]) -> (&[u8], &[u8]) {
    if !target.starts_with(b"/") {
        return (b"", b"");
    }
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    (target.get(..end).unwrap_or_default(), target.get(end + 1..).unwrap_or_default())
}

/// The name of a kind of fault, without an allocation.
#[derive(Default)]
struct FaultName {
    bytes: [u8; 32],
    len: usize,
}

impl FaultName {
    fn text(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl std::fmt::Write for FaultName {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// The cause goes to the log, where it may name addresses. What strangers can cause at will is not a warning.
pub(super) fn log(scratch: &Scratch, fault: &Fault, told: Option<&Told>) {
    let (request, trace) = (scratch.request_id.as_str(), tracing::field::display(scratch.trace.id_text()));
    let cause = fault.source();
    let route = told.and_then(|told| told.route).map(tracing::field::display);
    let endpoint = told.and_then(|told| told.endpoint).map(tracing::field::display);
    match fault.side {
        Side::Downstream => {
            tracing::debug!(request, trace, %fault, cause, route, endpoint, "request refused")
        }
        Side::Upstream | Side::Internal => {
            tracing::info!(request, trace, %fault, cause, route, endpoint, "request failed");
        }
    }
}

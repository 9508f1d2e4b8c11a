//! Answers of our own on a downstream connection, and the record of every one.

use std::error::Error as _;
use std::fmt::Write as _;

use config::id::{EndpointId, RouteId};
use config::limits;
use config::snapshot::{Action, Generation, Respond, Route};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::codec::{Known, Span, Version, list};
use super::door::Asked;
use super::downstream::Connection;
use super::headers::Policy;
use super::redirect;
use super::respond::{self, Answer, What};
use super::scratch::Scratch;
use super::serve::Next;
use crate::fault::{Fault, Kind, Side};
use crate::telemetry::Record;

/// How an answer of our own is given.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    is_head: bool,
    wants_html: bool,
    pub(super) closes: bool,
    says_keep_alive: bool,
    policy: Policy<'a>,
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
}

impl Told {
    pub(super) const fn new(generation: Generation, route: Option<RouteId>) -> Self {
        Self { status: 0, generation, route, endpoint: None, bytes: (0, 0) }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// Takes the client's id over, or makes one: unique by connection and request, without a system call.
    pub(super) fn name_request(&self, scratch: &mut Scratch) {
        let Scratch { request, request_id, .. } = scratch;
        let bytes = self.link.intake.head();
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let theirs = request.all(Known::XRequestId).next().map(|field| field.value.of(bytes)).filter(|id| {
            !id.is_empty() && id.len() <= limits::REQUEST_ID_BYTES_MAX && id.iter().all(is_plain)
        });
        request_id.clear();
        // Writing to a String cannot fail.
        let _ = match theirs.and_then(|id| std::str::from_utf8(id).ok()) {
            Some(id) => write!(request_id, "{id}"),
            None => write!(request_id, "{:016x}{:016x}", self.id, self.requests),
        };
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
            log(&scratch.request_id, fault, None);
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

    /// Hands the record over, if somebody reads records: `began` says so.
    pub(super) fn record(&self, scratch: &Scratch, asked: &Asked, told: &Told, began: Option<Instant>) {
        let Some(began) = began else { return };
        let bytes = self.link.intake.head();
        let text = |piece: super::codec::Piece| String::from_utf8_lossy(piece.of(bytes)).into_owned();
        self.worker.shared.access.record(Record {
            request: scratch.request_id.clone(),
            peer: self.meta.peer,
            host: scratch.names.host.clone(),
            method: text(scratch.request.method),
            path: text(asked.path),
            status: told.status,
            generation: Some(told.generation),
            route: told.route,
            endpoint: told.endpoint,
            bytes: told.bytes,
            micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
    }
}

/// The cause goes to the log, where it may name addresses. What strangers can cause at will is not a warning.
pub(super) fn log(request: &str, fault: &Fault, told: Option<&Told>) {
    let cause = fault.source();
    let route = told.and_then(|told| told.route).map(tracing::field::display);
    let endpoint = told.and_then(|told| told.endpoint).map(tracing::field::display);
    match fault.side {
        Side::Downstream => tracing::debug!(request, %fault, cause, route, endpoint, "request refused"),
        Side::Upstream | Side::Internal => {
            tracing::info!(request, %fault, cause, route, endpoint, "request failed");
        }
    }
}

//! Fault to response: the one place that chooses status codes.
//!
//! What stands in an answer is for the public: never an internal address, a route's name or a cause. Those are in the
//! log under the request's id.

use std::io::Write as _;
use std::time::SystemTime;

use config::snapshot::Content;

use super::headers::Policy;
use crate::console::Refusal;
use crate::fault::{Fault, Kind};

/// A second try makes sense after this many seconds.
const RETRY_AFTER_SECONDS: u32 = 5;

/// An answer of our own.
#[derive(Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) what: What<'a>,
    pub(super) request_id: &'a str,
    pub(super) is_head: bool,
    pub(super) wants_html: bool,
    pub(super) closes: bool,
    /// Whether the other end has to be told that the connection stays: HTTP/1.0.
    pub(super) says_keep_alive: bool,
    pub(super) policy: Policy<'a>,
}

/// What is said.
#[derive(Clone, Copy, Default)]
pub(super) struct What<'a> {
    pub(super) status: u16,
    /// Instead of the sentence that goes with the status.
    pub(super) sentence: Option<&'static str>,
    /// Where else to go.
    pub(super) location: Option<&'a [u8]>,
    /// A page of the route's instead of ours.
    pub(super) content: Option<&'a Content>,
    /// A file or page of the gateway's own.
    pub(super) document: Option<Document<'a>>,
    /// The scheme by which what is missing is to be shown (RFC 9110 § 11.6.1); none that a browser would ask a name and
    /// password for.
    pub(super) challenge: Option<&'static str>,
    /// What a name and password are wanted for.
    pub(super) realm: Option<&'a str>,
    /// Instead of the usual one.
    pub(super) retry_after_seconds: Option<u32>,
    /// Whether the route is there to give this answer.
    pub(super) is_regular: bool,
}

/// What the gateway serves by itself.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) media_type: &'a str,
    /// Whole lines, `Cache-Control` among them.
    pub(super) fields: &'a str,
    pub(super) body: &'a [u8],
}

impl<'a> What<'a> {
    /// Nothing but the status.
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// What is said about a fault, with what the route has to say about it; `None` when nobody is left to read it.
    pub(super) fn fault(fault: &Fault, policy: Policy<'a>) -> Option<Self> {
        let filters = policy.filters();
        let maintenance = filters
            .and_then(|filters| filters.maintenance.as_ref())
            .filter(|_| fault.kind == Kind::Maintenance);
        let auth = filters
            .and_then(|filters| filters.basic_auth.as_ref())
            .filter(|_| fault.kind == Kind::Unauthorized);
        Some(Self {
            sentence: sentence(fault.kind),
            content: maintenance.and_then(|maintenance| maintenance.page.as_ref()),
            realm: auth.map(|auth| &*auth.realm),
            challenge: (fault.kind == Kind::Ticket(Refusal::Missing)).then_some("Ticket"),
            ..Self::status(status(fault)?)
        })
    }
}

/// The status that says what went wrong; `None` when nobody is left to read it.
pub fn status(fault: &Fault) -> Option<u16> {
    Some(match fault.kind {
        Kind::BadRequest => 400,
        Kind::Unauthorized | Kind::Ticket(Refusal::Missing) => 401,
        Kind::Ticket(Refusal::Full | Refusal::NotAsked | Refusal::Moved) => 503,
        Kind::Ticket(_) | Kind::ClientForbidden | Kind::ClientCertificate | Kind::TlsRequired => 403,
        Kind::NoRoute => 404,
        Kind::RequestTimeout | Kind::RequestBodyTimeout => 408,
        Kind::BodyTooLarge => 413,
        Kind::TargetTooLong => 414,
        Kind::Misdirected => 421,
        Kind::UpgradeRequired => 426,
        Kind::TooMany => 429,
        Kind::HeadTooLarge => 431,
        Kind::NotImplemented => 501,
        Kind::Refused | Kind::Unresolved | Kind::Forbidden | Kind::UpstreamTls | Kind::BadResponse => 502,
        Kind::NotReady
        | Kind::NoEndpoint
        | Kind::CircuitOpen
        | Kind::Overloaded
        | Kind::Maintenance
        | Kind::RouteFull => 503,
        Kind::Timeout | Kind::ResponseHeadTimeout | Kind::IdleBody | Kind::WholeTimeout => 504,
        Kind::VersionNotSupported => 505,
        Kind::SlowReader => return None,
        Kind::Closed => match fault.side {
            crate::fault::Side::Downstream => return None,
            crate::fault::Side::Upstream | crate::fault::Side::Internal => 502,
        },
    })
}

/// What tells faults with one status apart.
fn sentence(kind: Kind) -> Option<&'static str> {
    if let Kind::Ticket(refusal) = kind {
        return Some(refusal.sentence());
    }
    let own = [
        (Kind::ClientForbidden, "Your address may not see what is here."),
        (Kind::ClientCertificate, "A client certificate that is accepted here is required."),
        (Kind::TlsRequired, "This address is served over https only."),
        (Kind::Maintenance, "This address is closed for maintenance."),
        (Kind::RouteFull, "Too many requests are being answered here at once."),
        (Kind::RequestTimeout, "The request's head did not arrive in time."),
        (Kind::RequestBodyTimeout, "The request's body did not arrive in time."),
        (Kind::Timeout, "No connection to the service behind this address was made in time."),
        (Kind::ResponseHeadTimeout, "The service behind this address did not begin to answer in time."),
        (Kind::IdleBody, "The service behind this address stopped in the middle of its answer."),
        (Kind::WholeTimeout, "The request took longer in all than it may at this address."),
    ];
    own.into_iter().find(|(known, _)| *known == kind).map(|(_, sentence)| sentence)
}

/// A status in words. The phrases are RFC 9110's.
fn words(status: u16) -> (&'static str, &'static str) {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let sentence = match status {
        200..=299 => "This is all there is.",
        301 | 302 | 303 | 307 | 308 => "What is asked for is at another address.",
        400 => "The request is malformed or ambiguous.",
        401 => "A name and a password are required.",
        403 => "This may not be seen.",
        404 => "Nothing is published at this address.",
        408 => "The request did not arrive in time.",
        413 => "The request is larger than this address takes.",
        414 => "The address is too long.",
        421 => "This name is not served on this connection.",
        426 => "WebSocket is not enabled at this address.",
        429 => "There were too many requests of late.",
        431 => "The header section is too large.",
        501 => "The method or expectation is not supported.",
        502 => "The service behind this address did not answer properly.",
        503 => "The service behind this address is not available now.",
        504 => "The service behind this address took too long to answer.",
        505 => "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
        _ => "The request could not be served.",
    };
    (reason.unwrap_or("Error"), sentence)
}

/// Writes the answer. Writing to a `Vec` cannot fail, so the results are dropped.
pub(super) fn render(out: &mut Vec<u8>, answer: &Answer<'_>) {
    let Answer { what, request_id, policy, .. } = *answer;
    let status = what.status;
    let (reason, sentence) = words(status);
    let date = httpdate::HttpDate::from(SystemTime::now());
    let _ = write!(out, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nX-Request-Id: {request_id}\r\n");
    let edits = policy.own_edits(what.is_regular);
    let is_content = what.document.is_some() || (what.is_regular && what.content.is_some() && status < 400);
    if !is_content && edits.leaves(b"Cache-Control") {
        let _ = write!(out, "Cache-Control: no-store\r\n");
    }
    notes(out, &what);
    connection(out, answer);
    policy.write(out);
    edits.write(out);
    body(out, answer, reason, what.sentence.unwrap_or(sentence));
}

/// Fields that go with the status.
fn notes(out: &mut Vec<u8>, what: &What<'_>) {
    if let Some(location) = what.location {
        let _ = write!(out, "Location: ");
        out.extend_from_slice(location);
        let _ = write!(out, "\r\n");
    }
    if let Some(realm) = what.realm {
        out.extend_from_slice(b"WWW-Authenticate: Basic realm=\"");
        for byte in realm.bytes().filter(|byte| !byte.is_ascii_control()) {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.extend_from_slice(b"\", charset=\"UTF-8\"\r\n");
    }
    if let Some(challenge) = what.challenge {
        let _ = write!(out, "WWW-Authenticate: {challenge}\r\n");
    }
    let usual = (what.status == 503 && !what.is_regular).then_some(RETRY_AFTER_SECONDS);
    if let Some(seconds) = what.retry_after_seconds.or(usual).filter(|seconds| *seconds > 0) {
        let _ = write!(out, "Retry-After: {seconds}\r\n");
    }
}

fn connection(out: &mut Vec<u8>, answer: &Answer<'_>) {
    let asks_upgrade = answer.what.status == 426 && !answer.what.is_regular;
    out.extend_from_slice(match (asks_upgrade, answer.closes) {
        // What has to be switched to must be named, and not passed on (RFC 9110 § 15.5.22 and § 7.8).
        (true, true) => b"Upgrade: websocket\r\nConnection: upgrade, close\r\n",
        (true, false) => b"Upgrade: websocket\r\nConnection: upgrade\r\n",
        (false, true) => b"Connection: close\r\n",
        (false, false) if answer.says_keep_alive => b"Connection: keep-alive\r\n",
        (false, false) => b"",
    });
}

/// The fields of the body, the end of the head, and the body.
fn body(out: &mut Vec<u8>, answer: &Answer<'_>, reason: &str, sentence: &str) {
    let Answer { what, request_id, is_head, wants_html, policy, .. } = *answer;
    let status = what.status;
    if let Some(document) = what.document {
        out.extend_from_slice(document.fields.as_bytes());
    }
    // RFC 9110 § 6.4.1: these never have one, and what a 304 would have had is not known.
    if matches!(status, 204 | 304) {
        out.extend_from_slice(b"\r\n");
        return;
    }
    if let Some(Document { media_type, body, .. }) = what.document {
        let _ = write!(out, "Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n", body.len());
        if !is_head {
            out.extend_from_slice(body);
        }
        return;
    }
    if let Some(content) = what.content.or_else(|| policy.page(status)) {
        let len = if status == 205 { 0 } else { content.body.len() };
        let sort = content.media_type.bytes().filter(|byte| !byte.is_ascii_control());
        out.extend_from_slice(b"Content-Type: ");
        out.extend(sort);
        let _ = write!(out, "\r\nContent-Length: {len}\r\n\r\n");
        if !is_head {
            out.extend_from_slice(content.body.get(..len).unwrap_or_default());
        }
        return;
    }
    let (before, between, after, sort) = if wants_html {
        ("<!doctype html><title>", "</title><p>", "</p>\n", "html")
    } else {
        ("", "\n", "\n", "plain")
    };
    // status, blank, reason · sentence · " Request ", id, full stop.
    let len = before.len()
        + 4
        + reason.len()
        + between.len()
        + sentence.len()
        + 10
        + request_id.len()
        + after.len();
    let _ = write!(out, "Content-Type: text/{sort}; charset=utf-8\r\nContent-Length: {len}\r\n\r\n");
    if !is_head {
        let _ = write!(out, "{before}{status} {reason}{between}{sentence} Request {request_id}.{after}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Retry, Side};

    fn text(answer: &Answer<'_>) -> String {
        let mut out = Vec::new();
        render(&mut out, answer);
        String::from_utf8(out).unwrap()
    }

    const PLAIN: Answer<'static> = Answer {
        what: WHAT,
        request_id: "0123",
        is_head: false,
        wants_html: false,
        closes: true,
        says_keep_alive: false,
        policy: Policy::NONE,
    };
    const WHAT: What<'static> = What {
        status: 502,
        sentence: None,
        location: None,
        content: None,
        document: None,
        challenge: None,
        realm: None,
        retry_after_seconds: None,
        is_regular: false,
    };

    #[test]
    fn the_length_said_is_the_length_sent() {
        for wants_html in [false, true] {
            for status in
                [200, 301, 308, 400, 401, 403, 404, 408, 413, 414, 421, 426, 429, 431, 501, 502, 503, 504]
            {
                let text = text(&Answer { what: What::status(status), wants_html, ..PLAIN });
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
            }
        }
    }

    #[test]
    fn an_upgrade_that_is_required_is_named() {
        for (closes, connection) in
            [(true, "Connection: upgrade, close\r\n"), (false, "Connection: upgrade\r\n")]
        {
            let text = text(&Answer { what: What::status(426), closes, ..PLAIN });
            assert!(text.contains("Upgrade: websocket\r\n") && text.contains(connection), "{text}");
        }
    }

    #[test]
    fn the_answer_to_head_has_no_body_but_its_length() {
        let answered = text(&Answer { is_head: true, ..PLAIN });
        assert!(answered.ends_with("\r\n\r\n") && answered.contains("Content-Length: "));
    }

    #[test]
    fn a_page_of_the_route_keeps_the_status_and_says_its_own_length() {
        let content = Content { media_type: "text/html\r\nX: y".into(), body: (*b"<h1>oh").into() };
        let what = What { status: 503, content: Some(&content), retry_after_seconds: Some(77), ..WHAT };
        let answered = text(&Answer { what, ..PLAIN });
        assert!(answered.starts_with("HTTP/1.1 503 ") && answered.ends_with("\r\n\r\n<h1>oh"), "{answered}");
        assert!(answered.contains("Content-Length: 6\r\n") && answered.contains("Retry-After: 77\r\n"));
        assert!(answered.contains("Content-Type: text/htmlX: y\r\n"), "a type cannot begin a line");
        for status in [204, 304] {
            let answered = text(&Answer { what: What { status, is_regular: true, ..what }, ..PLAIN });
            assert!(answered.ends_with("\r\n\r\n") && !answered.contains("Content-"), "{answered}");
        }
    }

    #[test]
    fn a_realm_is_quoted() {
        let what = What { status: 401, realm: Some("a \"b\\ \r\nX: ä"), ..WHAT };
        let answered = text(&Answer { what, ..PLAIN });
        let challenge = "WWW-Authenticate: Basic realm=\"a \\\"b\\\\ X: ä\", charset=\"UTF-8\"\r\n";
        assert!(answered.contains(challenge), "{answered}");
    }

    #[test]
    fn each_wait_that_ends_has_a_sentence_of_its_own_that_names_no_address() {
        let mut said = std::collections::BTreeSet::new();
        for (kind, code) in [
            (Kind::RequestTimeout, 408),
            (Kind::RequestBodyTimeout, 408),
            (Kind::Timeout, 504),
            (Kind::ResponseHeadTimeout, 504),
            (Kind::IdleBody, 504),
            (Kind::WholeTimeout, 504),
        ] {
            let fault = Fault::upstream(kind, Retry::Never, std::io::Error::other("10.0.0.5:80 is silent"));
            let what = What::fault(&fault, Policy::NONE).unwrap();
            assert_eq!(what.status, code, "{kind:?}");
            let answered = text(&Answer { what, ..PLAIN });
            assert!(!answered.contains("10.0.0.5"), "{answered}");
            said.insert(answered.lines().last().unwrap().to_owned());
        }
        assert_eq!(said.len(), 6, "{said:#?}");
    }

    #[test]
    fn only_a_downstream_that_left_gets_no_status() {
        let mut fault = Fault::upstream(Kind::Closed, Retry::Never, std::io::Error::other("10.0.0.5 reset"));
        assert_eq!(status(&fault), Some(502));
        fault.side = Side::Downstream;
        assert_eq!(status(&fault), None);
    }
}

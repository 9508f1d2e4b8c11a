//! Fault to response: the one place that chooses status codes.
//!
//! What stands in an answer is for the public: never an internal address, a route's name or a cause. Those are in the
//! log under the request's id.

use std::io::Write as _;
use std::time::SystemTime;

use super::headers::Policy;
use crate::fault::{Fault, Kind};

/// A second try makes sense after this many seconds.
const RETRY_AFTER_SECONDS: u32 = 5;

/// An answer of our own.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) request_id: &'a str,
    pub(super) is_head: bool,
    pub(super) wants_html: bool,
    pub(super) closes: bool,
    pub(super) policy: Policy,
    /// Where else to go.
    pub(super) location: Option<&'a [u8]>,
}

/// The status that says what went wrong; `None` when nobody is left to read it.
pub fn status(fault: &Fault) -> Option<u16> {
    Some(match fault.kind {
        Kind::BadRequest => 400,
        Kind::TicketRequired => 403,
        Kind::NoRoute => 404,
        Kind::RequestTimeout | Kind::RequestBodyTimeout => 408,
        Kind::TargetTooLong => 414,
        Kind::Misdirected => 421,
        Kind::UpgradeRequired => 426,
        Kind::HeadTooLarge => 431,
        Kind::NotImplemented => 501,
        Kind::Refused | Kind::Unresolved | Kind::Forbidden | Kind::UpstreamTls | Kind::BadResponse => 502,
        Kind::NotReady | Kind::NoEndpoint | Kind::CircuitOpen | Kind::Overloaded => 503,
        Kind::Timeout | Kind::ResponseHeadTimeout | Kind::IdleBody | Kind::WholeTimeout => 504,
        Kind::VersionNotSupported => 505,
        Kind::SlowReader => return None,
        Kind::Closed => match fault.side {
            crate::fault::Side::Downstream => return None,
            crate::fault::Side::Upstream | crate::fault::Side::Internal => 502,
        },
    })
}

const fn words(status: u16) -> (&'static str, &'static str) {
    match status {
        301 => ("Moved Permanently", "This address is served over https."),
        308 => ("Permanent Redirect", "This address is served over https."),
        400 => ("Bad Request", "The request is malformed or ambiguous."),
        403 => ("Forbidden", "A console ticket is required."),
        404 => ("Not Found", "Nothing is published at this address."),
        408 => ("Request Timeout", "The request did not arrive in time."),
        414 => ("URI Too Long", "The address is too long."),
        421 => ("Misdirected Request", "This name is not served on this connection."),
        426 => ("Upgrade Required", "WebSocket is not enabled at this address."),
        431 => ("Request Header Fields Too Large", "The header section is too large."),
        501 => ("Not Implemented", "The method or expectation is not supported."),
        502 => ("Bad Gateway", "The service behind this address did not answer properly."),
        503 => ("Service Unavailable", "The service behind this address is not available now."),
        504 => ("Gateway Timeout", "The service behind this address took too long to answer."),
        505 => ("HTTP Version Not Supported", "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
        _ => ("Error", "The request could not be served."),
    }
}

/// Writes the answer. Writing to a `Vec` cannot fail, so the results are dropped.
pub(super) fn render(out: &mut Vec<u8>, answer: &Answer<'_>) {
    let Answer { status, request_id, .. } = *answer;
    let (reason, sentence) = words(status);
    let date = httpdate::HttpDate::from(SystemTime::now());
    let _ = write!(out, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nX-Request-Id: {request_id}\r\n");
    let _ = write!(out, "Cache-Control: no-store\r\n");
    if let Some(location) = answer.location {
        let _ = write!(out, "Location: ");
        out.extend_from_slice(location);
        let _ = write!(out, "\r\n");
    }
    if status == 503 {
        let _ = write!(out, "Retry-After: {RETRY_AFTER_SECONDS}\r\n");
    }
    match (status, answer.closes) {
        // What has to be switched to must be named, and not passed on (RFC 9110 § 15.5.22 and § 7.8).
        (426, true) => out.extend_from_slice(b"Upgrade: websocket\r\nConnection: upgrade, close\r\n"),
        (426, false) => out.extend_from_slice(b"Upgrade: websocket\r\nConnection: upgrade\r\n"),
        (_, true) => out.extend_from_slice(b"Connection: close\r\n"),
        (_, false) => {}
    }
    answer.policy.write(out);
    let (before, between, after, sort) = if answer.wants_html {
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
    if !answer.is_head {
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
        status: 502,
        request_id: "0123",
        is_head: false,
        wants_html: false,
        closes: true,
        policy: Policy::NONE,
        location: None,
    };

    #[test]
    fn the_length_said_is_the_length_sent() {
        for wants_html in [false, true] {
            for status in [301, 308, 400, 403, 404, 408, 414, 421, 426, 431, 501, 502, 503, 504, 505] {
                let text = text(&Answer { status, wants_html, ..PLAIN });
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
            let text = text(&Answer { status: 426, closes, ..PLAIN });
            assert!(text.contains("Upgrade: websocket\r\n") && text.contains(connection), "{text}");
        }
    }

    #[test]
    fn the_answer_to_head_has_no_body_but_its_length() {
        let answered = text(&Answer { is_head: true, ..PLAIN });
        assert!(answered.ends_with("\r\n\r\n") && answered.contains("Content-Length: "));
    }

    #[test]
    fn only_a_downstream_that_left_gets_no_status() {
        let mut fault = Fault::upstream(Kind::Closed, Retry::Never, std::io::Error::other("10.0.0.5 reset"));
        assert_eq!(status(&fault), Some(502));
        fault.side = Side::Downstream;
        assert_eq!(status(&fault), None);
    }
}

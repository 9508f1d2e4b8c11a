//! Which fields pass, and what the gateway adds: forwarding facts upstream (INVENTORY A-48), policy downstream.
//!
//! Lines that pass are copied as they came, in runs. The door has marked hop-by-hop fields already.

use std::io::Write as _;

use config::snapshot::{Content, Filters, Route};

use super::client::Client;
use super::codec::{Body, Dialect, Field, Head, Known, Version, list};
use super::door::Asked;
use super::filters::fields::{Edits, Scope};
use super::filters::path;
use super::trace::Trace;
use crate::plain;

/// What a request head is made of.
pub(super) struct Outbound<'a> {
    pub(super) head: &'a Head,
    pub(super) bytes: &'a [u8],
    pub(super) asked: &'a Asked,
    pub(super) client: &'a Client,
    pub(super) request_id: &'a str,
    pub(super) filters: Option<&'a Filters>,
    pub(super) trace: &'a Trace,
    /// Instead of its own target.
    pub(super) target: Option<&'a str>,
}

/// Writes the request head that goes upstream. Also decides which of the client's forwarding fields count.
pub(super) fn outbound(out: &mut Vec<u8>, parts: &Outbound<'_>) {
    let Outbound { head, bytes, asked, client, request_id, trace, filters, .. } = parts;
    out.extend_from_slice(head.method.of(bytes));
    out.push(b' ');
    target(out, parts);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let is_chunked = matches!(asked.body, Body::Chunked(_));
    let edits = filters.map_or(Edits::NONE, |filters| Edits::of(&filters.request_fields, Scope::Request));
    copy(out, head, bytes, |field| {
        (passes_upstream(field.known, client.is_trusted) || (field.known == Known::Trailer && is_chunked))
            && edits.leaves(field.name.of(bytes))
    });
    edits.write(out);
    if asked.upgrade.is_some() {
        for field in head.all(Known::Upgrade) {
            out.extend_from_slice(field.line.of(bytes));
        }
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if takes_trailers(head, bytes) {
        out.extend_from_slice(b"TE: trailers\r\nConnection: te\r\n");
    }
    if is_chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    forwarding(out, parts);
    trace.write(out);
    if trace.is_continued() {
        for field in head.all(Known::Tracestate).filter(|field| field.keep) {
            out.extend_from_slice(field.line.of(bytes));
        }
    }
    out.extend_from_slice(b"X-Request-Id: ");
    out.extend_from_slice(request_id.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Whether the client says that trailers are not lost on it. gRPC origins refuse requests that do not.
fn takes_trailers(head: &Head, bytes: &[u8]) -> bool {
    let mut codings = head.all(Known::Te).flat_map(|field| list(field.value.of(bytes)));
    codings.any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

fn target(out: &mut Vec<u8>, parts: &Outbound<'_>) {
    let Outbound { bytes, asked, filters, .. } = parts;
    if let Some(target) = parts.target {
        out.extend_from_slice(target.as_bytes());
        return;
    }
    let target = asked.path_and_query.of(bytes);
    if let Some(rewrite) = filters.and_then(|filters| filters.path.as_ref())
        && !asked.asterisk
    {
        let (path, query) = target.split_at_checked(asked.path.of(bytes).len()).unwrap_or((target, b""));
        path::write(out, rewrite, path);
        out.extend_from_slice(query);
        return;
    }
    if !asked.asterisk && !target.starts_with(b"/") {
        out.push(b'/');
    }
    out.extend_from_slice(target);
}

fn passes_upstream(known: Known, is_trusted: bool) -> bool {
    match known {
        // Written anew, from what is known.
        Known::XRealIp
        | Known::XForwardedFor
        | Known::XRequestId
        | Known::Traceparent
        | Known::Tracestate => false,
        Known::Forwarded
        | Known::XForwardedHost
        | Known::XForwardedProto
        | Known::XForwardedPort
        | Known::XForwardedOther => is_trusted,
        Known::Connection
        | Known::TransferEncoding
        | Known::Upgrade
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::ProxyAuthenticate
        | Known::ProxyAuthorization
        | Known::Proxy
        | Known::Te
        | Known::Trailer
        | Known::Http2Settings
        | Known::Disguised => false,
        Known::Host
        | Known::ContentLength
        | Known::Expect
        | Known::StrictTransportSecurity
        | Known::Accept
        | Known::UserAgent
        | Known::Referer
        | Known::Other => true,
    }
}

fn forwarding(out: &mut Vec<u8>, parts: &Outbound<'_>) {
    let Outbound { head, bytes, client, .. } = parts;
    out.extend_from_slice(b"X-Real-IP: ");
    plain::ip(client.address, out);
    out.extend_from_slice(b"\r\nX-Forwarded-For: ");
    if client.is_trusted {
        let mut said = head.all(Known::XForwardedFor).peekable();
        // It was told by `Forwarded` alone; readers of this field are to learn it too.
        if said.peek().is_none() && client.address != client.peer {
            plain::ip(client.address, out);
            out.extend_from_slice(b", ");
        }
        for field in said {
            out.extend_from_slice(field.value.of(bytes));
            out.extend_from_slice(b", ");
        }
    }
    plain::ip(client.peer, out);
    out.extend_from_slice(b"\r\n");
    let is_said = |known| client.is_trusted && head.all(known).next().is_some();
    if !is_said(Known::XForwardedProto) {
        let proto: &[u8] = if client.is_secured { b"https" } else { b"http" };
        out.extend_from_slice(b"X-Forwarded-Proto: ");
        out.extend_from_slice(proto);
        out.extend_from_slice(b"\r\n");
    }
    if !is_said(Known::XForwardedHost) {
        let host = head.all(Known::Host).next().map_or(&b""[..], |field| field.value.of(bytes));
        out.extend_from_slice(b"X-Forwarded-Host: ");
        out.extend_from_slice(host);
        out.extend_from_slice(b"\r\n");
    }
}

/// What a response head is made of.
pub(super) struct Inbound<'a> {
    pub(super) head: &'a Head,
    pub(super) bytes: &'a [u8],
    pub(super) body: &'a Body,
    /// The downstream's version.
    pub(super) version: Version,
    pub(super) connection: Connection,
    pub(super) policy: Policy<'a>,
    /// Lines that concern this request alone.
    pub(super) to_add: &'a [u8],
}

/// What is said about the downstream connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    KeepAlive,
    Close,
    /// Of a `101`.
    Upgrade,
    /// Of another interim response.
    Unsaid,
}

/// What a route adds to answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy<'a> {
    is_secured: bool,
    hsts_seconds: Option<u32>,
    filters: Option<&'a Filters>,
}

impl<'a> Policy<'a> {
    /// Nothing is added, on a plain connection.
    pub(super) const NONE: Self = Self { is_secured: false, hsts_seconds: None, filters: None };

    /// The policy of `route` on a connection that is TLS or not.
    pub(super) fn of(route: &'a Route, is_secured: bool) -> Self {
        let hsts_seconds = route.hsts_seconds.filter(|_| is_secured);
        Self { is_secured, hsts_seconds, filters: route.filters.as_deref() }
    }

    /// What the route does to requests and answers.
    pub(super) const fn filters(self) -> Option<&'a Filters> {
        self.filters
    }

    /// The route's changes to the origin's fields.
    fn edits(self) -> Edits<'a> {
        self.filters.map_or(Edits::NONE, |filters| {
            Edits::of(&filters.response_fields, Scope::Response { may_hsts: self.passes_hsts() })
        })
    }

    /// The route's changes to an answer of ours: all of them where the route is there to give that answer.
    pub(super) fn own_edits(self, is_regular: bool) -> Edits<'a> {
        self.filters.map_or(Edits::NONE, |filters| {
            Edits::of(&filters.response_fields, Scope::Own { may_hsts: self.passes_hsts(), is_regular })
        })
    }

    /// The route's page for a failure of ours.
    pub(super) fn page(self, status: u16) -> Option<&'a Content> {
        let pages = &self.filters?.error_pages;
        pages.iter().find(|page| status >= 400 && page.statuses.contains(&status)).map(|page| &page.content)
    }

    /// Writes its fields; on every answer, our own included.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        if let Some(seconds) = self.hsts_seconds {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "Strict-Transport-Security: max-age={seconds}\r\n");
        }
    }

    /// Whether the origin's own field passes: never over plain HTTP, and not beside ours.
    fn passes_hsts(self) -> bool {
        self.is_secured && self.hsts_seconds.is_none()
    }
}

/// Writes the response head that goes downstream.
pub(super) fn inbound(out: &mut Vec<u8>, parts: &Inbound<'_>) {
    let Inbound { head, bytes, body, version, connection, policy, to_add } = parts;
    out.extend_from_slice(b"HTTP/1.1 ");
    plain::three_digits(head.status, out);
    out.push(b' ');
    out.extend_from_slice(head.reason.of(bytes));
    out.extend_from_slice(b"\r\n");
    let has_length = head.status != 204 && head.status >= 200;
    let is_chunked = matches!(body, Body::Chunked(chunked) if chunked.dialect() == Dialect::Chunks);
    let edits = policy.edits();
    copy(out, head, bytes, |field| {
        !field.known.is_hop_by_hop()
            && (has_length || field.known != Known::ContentLength)
            && (is_chunked || field.known != Known::Trailer)
            && (policy.passes_hsts() || field.known != Known::StrictTransportSecurity)
            && edits.leaves(field.name.of(bytes))
    });
    edits.write(out);
    if is_chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    match (connection, version) {
        (Connection::Close, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (Connection::KeepAlive, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Connection::Upgrade, _) => {
            for field in head.all(Known::Upgrade) {
                out.extend_from_slice(field.line.of(bytes));
            }
            out.extend_from_slice(b"Connection: upgrade\r\n");
        }
        (Connection::KeepAlive, Version::Http11) | (Connection::Unsaid, _) => {}
    }
    policy.write(out);
    out.extend_from_slice(to_add);
    out.extend_from_slice(b"\r\n");
}

/// Copies the lines that are kept, neighbours together.
fn copy(out: &mut Vec<u8>, head: &Head, bytes: &[u8], passes: impl Fn(&Field) -> bool) {
    let mut run = 0..0;
    for field in head.fields() {
        if !field.keep || !passes(field) {
            continue;
        }
        if run.end != field.line.start() {
            out.extend_from_slice(bytes.get(run).unwrap_or_default());
            run = field.line.start()..field.line.end();
        } else {
            run.end = field.line.end();
        }
    }
    out.extend_from_slice(bytes.get(run).unwrap_or_default());
}

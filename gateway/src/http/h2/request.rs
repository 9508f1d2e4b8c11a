//! A request head of HTTP/2 as one of HTTP/1.1, so that the strict door judges both.
//!
//! The `h2` crate has refused what no HTTP/2 message may have: upper-case names, control characters, connection fields,
//! pseudo-fields twice or late. A fragment in `:path` it cuts off without a word (`http::uri::PathAndQuery`), so that it
//! is neither refused nor passed on: no origin ever sees one. Here stands what makes a request of HTTP/2 ambiguous as one of HTTP/1.1.

use std::io::Write as _;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, Method, header};

use crate::fault::{Fault, Kind};

/// The request as the crate has read it.
pub(super) struct Parts<'a> {
    pub(super) method: &'a Method,
    /// `:scheme`, where there was an `:authority` with it.
    pub(super) scheme: Option<&'a str>,
    pub(super) authority: Option<&'a Authority>,
    pub(super) path: Option<&'a PathAndQuery>,
    pub(super) fields: &'a HeaderMap,
    /// Whether the stream ended with the head.
    pub(super) has_ended: bool,
    /// The schemes that fit the connection.
    pub(super) fits: Schemes,
    /// `:protocol` of an extended CONNECT (RFC 8441), with the key for the handshake that it becomes.
    pub(super) tunnel: Option<(&'a str, &'a str)>,
}

/// Which `:scheme` a connection may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schemes {
    /// `https` alone: TLS ends here.
    Https,
    /// `http` alone.
    Http,
    /// Either: a trusted proxy tells how the person came.
    Both,
}

/// Writes the head; tells whether the body goes in chunks.
pub(super) fn render(out: &mut Vec<u8>, parts: &Parts<'_>) -> Result<bool, Fault> {
    let key = match parts.tunnel {
        // RFC 9220 § 3: 501 is for a protocol that is not known.
        Some((protocol, _)) if !protocol.eq_ignore_ascii_case("websocket") => {
            return Err(Fault::downstream(Kind::NotImplemented, "a :protocol other than websocket"));
        }
        Some((_, key)) => Some(key),
        None if parts.method == Method::CONNECT => {
            return Err(Fault::downstream(Kind::NotImplemented, "CONNECT is not served"));
        }
        None => None,
    };
    check_scheme(parts)?;
    let target = parts.path.ok_or(bad("there is no :path"))?.as_str();
    if !target.starts_with('/') && target != "*" {
        return Err(bad("the :path is neither a path nor *"));
    }
    let host = host(parts)?;
    let in_chunks = key.is_none() && goes_in_chunks(parts);
    if key.is_some() && parts.fields.contains_key(header::CONTENT_LENGTH) {
        return Err(bad("a CONNECT has a length"));
    }
    let method = if key.is_some() { &Method::GET } else { parts.method };
    // Writing to a Vec cannot fail, so the results below are dropped.
    let _ = write!(out, "{method} {target} HTTP/1.1\r\n");
    line(out, b"host", host);
    for (name, value) in parts.fields {
        if *name == header::HOST || *name == header::COOKIE || (in_chunks && *name == header::CONTENT_LENGTH)
        {
            continue;
        }
        // RFC 8441 § 5: HTTP/2 has no use for these. The key is ours.
        if key.is_some() && (*name == header::SEC_WEBSOCKET_KEY || *name == header::SEC_WEBSOCKET_ACCEPT) {
            continue;
        }
        let value = value.as_bytes();
        // RFC 9113 § 8.2.1. HTTP/1.1 would take the blanks for none.
        if matches!(value.first(), Some(b' ' | b'\t')) || matches!(value.last(), Some(b' ' | b'\t')) {
            return Err(bad("a field value begins or ends with a blank"));
        }
        line(out, name.as_str().as_bytes(), value);
    }
    cookies(out, parts.fields);
    if in_chunks {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if let Some(key) = key {
        line(out, b"connection", b"upgrade");
        line(out, b"upgrade", b"websocket");
        line(out, b"sec-websocket-key", key.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(in_chunks)
}

/// Whether the body goes in chunks: its length is not said, or there are trailers behind it, which HTTP/1.1 has no place
/// for behind a length. The crate has the length kept all the same. Trailers that no `Trailer` field announced behind
/// a length are dropped, as RFC 9110 § 6.5.1 allows.
fn goes_in_chunks(parts: &Parts<'_>) -> bool {
    let mut lengths = parts.fields.get_all(header::CONTENT_LENGTH).iter();
    let is_plain = match (lengths.next(), lengths.next()) {
        (None, _) => true,
        (Some(length), None) => {
            parts.fields.contains_key(header::TRAILER) && length.as_bytes().iter().all(u8::is_ascii_digit)
        }
        // The door refuses it.
        (Some(_), Some(_)) => false,
    };
    !parts.has_ended && is_plain
}

/// Appends one field line.
pub(crate) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// RFC 9113 § 8.2.3: the crumbs of a cookie are one field to who does not know crumbs.
fn cookies(out: &mut Vec<u8>, fields: &HeaderMap) {
    let mut crumbs = fields.get_all(header::COOKIE).iter();
    let Some(first) = crumbs.next() else { return };
    out.extend_from_slice(b"cookie: ");
    out.extend_from_slice(first.as_bytes());
    for crumb in crumbs {
        out.extend_from_slice(b"; ");
        out.extend_from_slice(crumb.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn check_scheme(parts: &Parts<'_>) -> Result<(), Fault> {
    let fits = match (parts.scheme, parts.fits) {
        // RFC 9113 § 8.3.1 allows a request with `Host` alone; its scheme is the connection's.
        (None, _) => true,
        (Some("https"), Schemes::Https | Schemes::Both) => true,
        (Some("http"), Schemes::Http | Schemes::Both) => true,
        (Some(_), _) => false,
    };
    if fits {
        return Ok(());
    }
    Err(Fault::downstream(Kind::Misdirected, "the :scheme does not fit the connection"))
}

/// The one name that the request is for.
fn host<'a>(parts: &Parts<'a>) -> Result<&'a [u8], Fault> {
    let mut hosts = parts.fields.get_all(HeaderName::from_static("host")).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(bad("there are several Hosts"));
    }
    let host = host.map(http::HeaderValue::as_bytes);
    match (parts.authority, host) {
        (Some(authority), Some(host)) if !authority.as_str().as_bytes().eq_ignore_ascii_case(host) => {
            Err(bad("the :authority is not the Host"))
        }
        (Some(authority), _) => Ok(authority.as_str().as_bytes()),
        (None, Some(host)) => Ok(host),
        (None, None) => Err(bad("there is no :authority")),
    }
}

const fn bad(rule: &'static str) -> Fault {
    Fault::downstream(Kind::BadRequest, rule)
}

#[cfg(test)]
mod tests;

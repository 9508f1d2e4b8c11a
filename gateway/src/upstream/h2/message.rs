//! Heads between the exchange and an endpoint of HTTP/2.

use std::io::{self, Write as _};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version, header};

use crate::http::h2::outgoing::Framing;
use crate::http::h2::request::line;
use crate::http::h2::response::{fields, framing_of, put};
use crate::http::h2::{bad, incoming::Delimiter};

/// Reads a complete request head that the exchange wrote.
pub(super) fn request(block: &Bytes, is_secured: bool) -> io::Result<(Request<()>, Framing)> {
    let end = memchr::memchr(b'\n', block).ok_or_else(|| bad("a head has no line"))?;
    let (first, rest) = block.split_at(end + 1);
    let mut words = first.trim_ascii_end().split(|byte| *byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(bad("a request line has no target"));
    };
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::from_bytes(method).map_err(io::Error::other)?;
    let mut framing = Framing::Empty;
    let mut host = None;
    for (name, value) in fields(rest) {
        if name.eq_ignore_ascii_case(b"host") {
            host = Some(value);
            continue;
        }
        framing_of(name, value, &mut framing)?;
        put(request.headers_mut(), block, name, value)?;
    }
    if matches!(framing, Framing::Length(0)) {
        framing = Framing::Empty;
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if is_secured { Scheme::HTTPS } else { Scheme::HTTP });
    let host = host.ok_or_else(|| bad("a request has no Host"))?;
    parts.authority = Some(Authority::from_maybe_shared(block.slice_ref(host)).map_err(io::Error::other)?);
    parts.path_and_query =
        Some(PathAndQuery::from_maybe_shared(block.slice_ref(target)).map_err(io::Error::other)?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(io::Error::other)?;
    Ok((request, framing))
}

/// What has to be known to say where a response ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// Whether it answers HEAD.
    pub(super) is_head: bool,
    /// Whether the stream ended with the head.
    pub(super) has_ended: bool,
}

/// Writes a response head for the exchange; says how its body goes.
pub(super) fn response(
    out: &mut Vec<u8>,
    status: StatusCode,
    headers: &HeaderMap,
    ending: Ending,
) -> Delimiter {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {} \r\n", status.as_u16());
    for (name, value) in headers {
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    let says = status.is_informational()
        || matches!(status.as_u16(), 204 | 304)
        || ending.is_head
        || headers.contains_key(header::CONTENT_LENGTH);
    let delimiter = match (says, ending.has_ended) {
        (true, _) => Delimiter::Head,
        // The end stands in the head, as a gRPC client wants it of an answer that is trailers alone.
        (false, true) => {
            out.extend_from_slice(b"content-length: 0\r\n");
            Delimiter::Head
        }
        (false, false) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Delimiter::Chunks
        }
    };
    out.extend_from_slice(b"\r\n");
    delimiter
}

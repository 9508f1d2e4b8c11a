//! A response head of HTTP/1.1, as the exchange writes it, as one of HTTP/2.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::bad;
use super::chunks::Chunks;
use super::outgoing::Framing;

/// Length of the head that `bytes` begin with, if it is complete.
pub(crate) fn head_len(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// Reads a complete head. `is_head` says that the answer has no body whatever it says.
pub(super) fn parse(block: &Bytes, is_head: bool) -> io::Result<(Response<()>, Framing)> {
    let end = memchr::memchr(b'\n', block).ok_or_else(|| bad("a head has no line"))?;
    let (first, rest) = block.split_at(end + 1);
    let status = first.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
    let status = status.ok_or_else(|| bad("a status line has no status"))?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    let mut framing = Framing::UntilShutdown;
    let map = response.headers_mut();
    map.reserve(FIELDS_EXPECTED);
    for (name, value) in fields(rest) {
        framing_of(name, value, &mut framing)?;
        put(map, block, name, value)?;
    }
    let has_none = is_head || status.is_informational() || matches!(status.as_u16(), 204 | 304);
    if has_none || matches!(framing, Framing::Length(0)) {
        framing = Framing::Empty;
    }
    Ok((response, framing))
}

/// Fields of a usual response: room for them is made at once.
const FIELDS_EXPECTED: usize = 12;

/// Lets a field of the head say where the body ends.
pub(crate) fn framing_of(name: &[u8], value: &[u8], framing: &mut Framing) -> io::Result<()> {
    if name.eq_ignore_ascii_case(b"transfer-encoding") {
        *framing = Framing::Chunked(Chunks::default());
    } else if name.eq_ignore_ascii_case(b"content-length") {
        let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        *framing = Framing::Length(length.ok_or_else(|| bad("a length is no number"))?);
    }
    Ok(())
}

/// The fields of a block of lines, as name and value.
pub(crate) fn fields(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    block.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = memchr::memchr(b':', line)?;
        Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
    })
}

/// Appends a field that may stand in HTTP/2 (RFC 9113 § 8.2.2); its value shares the memory of `block`.
pub(crate) fn put(map: &mut HeaderMap, block: &Bytes, name: &[u8], value: &[u8]) -> io::Result<()> {
    if is_of_the_connection(name) {
        return Ok(());
    }
    let name = HeaderName::from_bytes(name).map_err(io::Error::other)?;
    let value = HeaderValue::from_maybe_shared(block.slice_ref(value)).map_err(io::Error::other)?;
    map.try_append(name, value).map_err(io::Error::other)?;
    Ok(())
}

fn is_of_the_connection(name: &[u8]) -> bool {
    let names: &[&[u8]] = match name.len() {
        7 => &[b"upgrade"],
        10 => &[b"connection", b"keep-alive"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        _ => &[],
    };
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_loses_what_belongs_to_a_connection_and_tells_where_the_body_ends() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nConnection: close\r\nSet-Cookie: a\r\nset-cookie: b\r\n\
                    Transfer-Encoding: chunked\r\nKeep-Alive: x\r\n\r\n";
        let block = Bytes::from_static(text.as_bytes());
        assert_eq!(head_len(&block), Some(block.len()));

        let (response, framing) = parse(&block, false).unwrap();

        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "set-cookie"]);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert!(matches!(framing, Framing::Chunked(_)));
    }

    #[test]
    fn a_response_without_body_ends_with_its_head() {
        for (head, is_head) in [
            ("HTTP/1.1 200 \r\nContent-Length: 7\r\n\r\n", true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", false),
            ("HTTP/1.1 204 No Content\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        ] {
            let (_, framing) = parse(&Bytes::from_static(head.as_bytes()), is_head).unwrap();
            assert!(matches!(framing, Framing::Empty), "{head}");
        }
    }
}

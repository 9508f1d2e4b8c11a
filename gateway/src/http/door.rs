//! The strict door (DESIGN D10): each request passes here before anything is decided about it.
//!
//! What is ambiguous is refused and the connection closed, never repaired, so that the gateway and an origin cannot read
//! one request in two ways. The grammar of single lines is the codec's; here stands what concerns several of them.

pub mod host;
pub mod path;

use config::limits;

use super::codec::{Body, Broken, Dialect, Head, Known, Piece, Version, list};
use crate::fault::{Fault, Kind};

/// Most elements of all `Connection` fields together: each is compared with each field.
const CONNECTION_OPTIONS_MAX: usize = 16;

/// What a request asks for, as far as the gateway cares. Ranges are into the bytes of its head.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The path as it came, without query; empty where an absolute target has none, or for `*`.
    pub path: Piece,
    /// Path and query as they came: what goes upstream.
    pub path_and_query: Piece,
    /// The query without its `?`.
    pub query: Piece,
    /// Whether the target is `*`.
    pub asterisk: bool,
    /// Whether [`Names::path`] has to be looked up as well.
    pub has_other_path: bool,
    /// Where the body ends.
    pub body: Body,
    /// Whether the downstream wants to go on after this request.
    pub keep_alive: bool,
    /// What it wants to become.
    pub upgrade: Option<Upgrade>,
    /// Whether it waits for `100 Continue`.
    pub expects_continue: bool,
    /// Whether the answer has no body.
    pub is_head: bool,
    /// Whether sending it twice is like sending it once (RFC 9110 § 9.2.2).
    pub is_idempotent: bool,
}

/// Which protocol an upgrade names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// A WebSocket.
    WebSocket,
    /// Another one; HTTP/2 in clear and TLS are not taken as upgrades at all.
    Other,
}

/// Texts that are not in the head as they are needed. Reused.
#[derive(Debug, Default)]
pub struct Names {
    /// The host: lower-case, without port and trailing dot.
    pub host: String,
    /// The path as a lenient origin may read it; only where it differs from what came.
    pub path: String,
}

/// Lets a complete request head in, or says which rule it breaks. Marks the fields that do not pass on.
pub fn check(head: &mut Head, bytes: &[u8], names: &mut Names) -> Result<Asked, Fault> {
    let method = head.method.of(bytes);
    if method == b"CONNECT" {
        return Err(Fault::downstream(Kind::NotImplemented, "CONNECT is not served"));
    }
    let is_head = method == b"HEAD";
    let is_idempotent =
        matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE" | b"QUERY");
    let is_options = method == b"OPTIONS";

    let authority = single(head, Known::Host, bytes, "there is no Host, or several")?;
    host::parse(authority, &mut names.host)?;
    let target = target(head.target, bytes, authority, is_options)?;
    let has_other_path = path::check(target.path.of(bytes), &mut names.path)?;
    path::check_query(target.query.of(bytes))?;

    let body = framing(head, bytes)?;
    let options = connection(head, bytes)?;
    let expects_continue = expectation(head, bytes)?;
    let upgrade = if options.upgrade { upgrade(head, bytes) } else { None };
    if upgrade.is_some() && !body.is_done() {
        return Err(bad("an upgrade has a body"));
    }
    Ok(Asked {
        path: target.path,
        path_and_query: target.path_and_query,
        query: target.query,
        asterisk: target.asterisk,
        has_other_path,
        body,
        keep_alive: match head.version {
            Version::Http11 => !options.close,
            Version::Http10 => options.keep_alive && !options.close,
        },
        upgrade,
        expects_continue,
        is_head,
        is_idempotent,
    })
}

/// A broken rule of the codec as a fault of the downstream.
pub fn refused(broken: Broken) -> Fault {
    Fault::downstream(broken.kind, broken.rule)
}

fn bad(rule: &'static str) -> Fault {
    Fault::downstream(Kind::BadRequest, rule)
}

fn single<'a>(head: &Head, known: Known, bytes: &'a [u8], rule: &'static str) -> Result<&'a [u8], Fault> {
    let mut found = head.all(known);
    match (found.next(), found.next()) {
        (Some(field), None) => Ok(field.value.of(bytes)),
        _ => Err(bad(rule)),
    }
}

struct Target {
    path: Piece,
    path_and_query: Piece,
    query: Piece,
    asterisk: bool,
}

fn target(target: Piece, bytes: &[u8], host: &[u8], is_options: bool) -> Result<Target, Fault> {
    let text = target.of(bytes);
    let none = Piece::new(target.end(), target.end());
    if text == b"*" {
        if !is_options {
            return Err(bad("the target * belongs to OPTIONS"));
        }
        return Ok(Target { path: none, path_and_query: target, query: none, asterisk: true });
    }
    let origin_form = if text.starts_with(b"/") {
        target
    } else {
        let scheme = [&b"http://"[..], &b"https://"[..]]
            .into_iter()
            .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
            .ok_or(bad("the target is neither a path nor an http URL"))?;
        let rest = text.get(scheme.len()..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        if !rest.get(..end).unwrap_or_default().eq_ignore_ascii_case(host) {
            return Err(bad("the target's authority is not the Host"));
        }
        Piece::new(target.start() + scheme.len() + end, target.end())
    };
    let text = origin_form.of(bytes);
    let path_len = memchr::memchr(b'?', text).unwrap_or(text.len());
    let split = origin_form.start() + path_len;
    Ok(Target {
        path: Piece::new(origin_form.start(), split),
        path_and_query: origin_form,
        query: Piece::new((split + 1).min(origin_form.end()), origin_form.end()),
        asterisk: false,
    })
}

fn framing(head: &mut Head, bytes: &[u8]) -> Result<Body, Fault> {
    let has_coding = head.all(Known::TransferEncoding).next().is_some();
    let has_length = head.all(Known::ContentLength).next().is_some();
    if has_coding && has_length {
        return Err(bad("there are Content-Length and Transfer-Encoding"));
    }
    if has_coding {
        if head.version == Version::Http10 {
            return Err(bad("there is a Transfer-Encoding in HTTP/1.0"));
        }
        let coding = single(head, Known::TransferEncoding, bytes, "there are several Transfer-Encodings")?;
        if !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(bad("the transfer coding is not chunked alone"));
        }
        return Ok(Body::chunked(Dialect::Chunks));
    }
    if has_length {
        let length = single(head, Known::ContentLength, bytes, "there are several Content-Lengths")?;
        return parse_length(length).map(Body::of_length).ok_or(bad("the Content-Length is not a number"));
    }
    Ok(Body::Empty)
}

/// A `Content-Length`: digits alone (RFC 9110 § 8.6).
pub(super) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// What the `Connection` fields say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

/// Reads the `Connection` fields and marks what does not pass on: fields for one hop, and those named there.
pub(super) fn connection(head: &mut Head, bytes: &[u8]) -> Result<Options, Fault> {
    let mut options = Options::default();
    let mut count = 0;
    for at in 0..head.fields().len() {
        let Some(field) = head.fields().get(at).copied() else { break };
        if field.known != Known::Connection {
            continue;
        }
        for option in list(field.value.of(bytes)) {
            count += 1;
            if count > CONNECTION_OPTIONS_MAX {
                return Err(bad("there are too many connection options"));
            }
            if option.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else {
                drop_named(head, bytes, option)?;
            }
        }
    }
    for field in head.fields_mut() {
        field.keep &= !field.known.is_hop_by_hop();
    }
    Ok(options)
}

fn drop_named(head: &mut Head, bytes: &[u8], name: &[u8]) -> Result<(), Fault> {
    for field in head.fields_mut() {
        if !field.name.of(bytes).eq_ignore_ascii_case(name) {
            continue;
        }
        if matches!(field.known, Known::Host | Known::ContentLength | Known::TransferEncoding) {
            return Err(bad("a field that frames or addresses the request is named a connection option"));
        }
        field.keep = false;
    }
    Ok(())
}

fn expectation(head: &mut Head, bytes: &[u8]) -> Result<bool, Fault> {
    let is_old = head.version == Version::Http10;
    let mut expects = false;
    for field in head.fields_mut().iter_mut().filter(|field| field.known == Known::Expect) {
        if !field.value.of(bytes).eq_ignore_ascii_case(b"100-continue") {
            return Err(Fault::downstream(Kind::NotImplemented, "an expectation other than 100-continue"));
        }
        // RFC 9110 § 10.1.1: in HTTP/1.0 it is to be ignored.
        field.keep &= !is_old;
        expects = !is_old;
    }
    Ok(expects)
}

fn upgrade(head: &Head, bytes: &[u8]) -> Option<Upgrade> {
    if head.version == Version::Http10 {
        return None;
    }
    let mut protocols = head.all(Known::Upgrade).flat_map(|field| list(field.value.of(bytes)));
    // An upgrade is an offer, and the lines pass on whole: the origin may pick any of what is named. HTTP inside the
    // tunnel would go around the door, so an offer with it is not taken up: the request goes on without (RFC 9110 § 7.8).
    if protocols.clone().any(is_declined) {
        return None;
    }
    let first = protocols.next()?;
    let is_websocket = protocols.next().is_none() && first.eq_ignore_ascii_case(b"websocket");
    Some(if is_websocket { Upgrade::WebSocket } else { Upgrade::Other })
}

/// HTTP in clear by any of its names (`h2c`, `h2c-14`, `HTTP/2.0`), and TLS.
fn is_declined(protocol: &[u8]) -> bool {
    let names: [&[u8]; 3] = [b"h2", b"HTTP", b"TLS"];
    names.iter().any(|name| protocol.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

const _: () = assert!(limits::HEAD_BYTES_MAX <= u32::MAX as usize, "positions in a head are 32 bits wide");

#[cfg(test)]
mod tests;

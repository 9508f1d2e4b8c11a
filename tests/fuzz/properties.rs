//! What must hold for any bytes at all. Each function is a fuzz target, and `tests/tests/corpus.rs` replays the committed
//! corpus through the same functions.

use std::cell::RefCell;
use std::rc::Rc;

use gateway::http::codec::{Body, Dialect, Head, Progress, Span};
use gateway::http::door::{self, Names};
use gateway::listener::proxy_protocol;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;

/// Parsing a request head gives the same whether it comes whole or byte by byte, and what is accepted lies in the bytes.
pub(crate) fn request(bytes: &[u8]) {
    let whole = Head::default().parse_request(bytes);
    let mut head = Head::default();
    let mut cut = Ok(Progress::Partial);
    for end in 0..=bytes.len() {
        cut = head.parse_request(bytes.get(..end).unwrap_or_default());
        if !matches!(cut, Ok(Progress::Partial)) {
            break;
        }
    }
    assert_eq!(whole, cut, "cutting the stream changes the head");
    if let Ok(Progress::Complete(len)) = cut {
        assert!(len <= bytes.len());
        for field in head.fields() {
            assert!(!field.line.of(bytes).is_empty() && field.line.end() <= len);
            assert!(!field.value.of(bytes).iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
        let mut names = Names::default();
        if door::check(&mut head, bytes, &mut names).is_ok() {
            assert!(!names.host.is_empty() && names.host == names.host.to_ascii_lowercase());
        }
    }
}

/// The same for a response head.
pub(crate) fn response(bytes: &[u8]) {
    let whole = Head::default().parse_response(bytes);
    let mut head = Head::default();
    let mut cut = Ok(Progress::Partial);
    for end in 0..=bytes.len() {
        cut = head.parse_response(bytes.get(..end).unwrap_or_default());
        if !matches!(cut, Ok(Progress::Partial)) {
            break;
        }
    }
    assert_eq!(whole, cut, "cutting the stream changes the head");
}

/// A chunked body has the same data, end and verdict however the stream is cut, in both dialects.
pub(crate) fn chunks(bytes: &[u8]) {
    for dialect in [Dialect::Chunks, Dialect::Data] {
        let whole = decode(Body::chunked(dialect), bytes, bytes.len());
        let single = decode(Body::chunked(dialect), bytes, 1);
        assert_eq!(whole, single, "cutting the stream changes the body");
        // What passes as chunks is itself a chunked body with the same data, and nothing after it.
        if let (Dialect::Chunks, Decoded { passed, end: Some(true), .. }) = (dialect, &whole) {
            let again = decode(Body::chunked(Dialect::Data), passed, passed.len());
            let data = decode(Body::chunked(Dialect::Data), bytes, bytes.len());
            assert_eq!((again.passed, again.used), (data.passed, passed.len()));
        }
    }
}

/// A host that is accepted is one that is accepted again, unchanged.
pub(crate) fn host(bytes: &[u8]) {
    let mut out = String::new();
    if door::host::parse(bytes, &mut out).is_ok() {
        let mut again = String::new();
        assert!(door::host::parse(out.as_bytes(), &mut again).is_ok(), "{out:?} was made of {bytes:?}");
        assert_eq!(out, again);
    }
}

/// The other reading of a path has only one reading itself.
pub(crate) fn path(bytes: &[u8]) {
    // The codec lets nothing else come this far.
    if !bytes.starts_with(b"/") || !bytes.iter().all(u8::is_ascii_graphic) {
        return;
    }
    let mut other = String::new();
    if door::path::check(bytes, &mut other).unwrap_or(false) {
        let mut again = String::new();
        let differs = door::path::check(other.as_bytes(), &mut again);
        assert!(!matches!(differs, Ok(true)) || again == other, "{other:?} reads as {again:?}");
    }
}

/// A PROXY header is the same however the stream is cut, lies in the bytes, and does not depend on what follows it.
pub(crate) fn proxy(bytes: &[u8]) {
    let whole = proxy_protocol::parse(bytes);
    for end in 0..=bytes.len() {
        let cut = proxy_protocol::parse(bytes.get(..end).unwrap_or_default());
        match (cut, whole) {
            // What is told early stays; only more bytes can be asked for before.
            (Ok(proxy_protocol::Progress::Partial), _) => {}
            (cut, whole) => assert_eq!(cut, whole, "the verdict on {end} bytes changes with what follows"),
        }
    }
    if let Ok(proxy_protocol::Progress::Complete { len, .. }) = whole {
        assert!(len <= bytes.len());
        let alone = proxy_protocol::parse(bytes.get(..len).unwrap_or_default());
        assert_eq!(alone, whole, "the header alone is not the header");
    }
}

/// Whatever we accept, hyper reads as we do: the same requests with the same targets and bodies, as far as it accepts
/// them. It may refuse what we let in; it may not see something else in it.
pub(crate) fn differential(bytes: &[u8]) {
    let ours = ours(bytes);
    if ours.is_empty() {
        return;
    }
    let theirs = theirs(bytes);
    for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "request {place} is read in two ways");
    }
}

/// How many requests we and hyper see in a stream.
pub(crate) fn seen(bytes: &[u8]) -> (usize, usize) {
    (ours(bytes).len(), theirs(bytes).len())
}

/// Method, path and query, and the body if it is whole.
type Request = (String, String, Option<Vec<u8>>);

fn ours(mut bytes: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    loop {
        let mut head = Head::default();
        let Ok(Progress::Complete(len)) = head.parse_request(bytes) else { return requests };
        let text = |piece: &[u8]| String::from_utf8_lossy(piece).into_owned();
        let method = text(head.method.of(bytes));
        let Ok(asked) = door::check(&mut head, bytes, &mut Names::default()) else { return requests };
        // As it goes to an origin, whose readers differ in how they spell an absolute one.
        let mut target = text(asked.path_and_query.of(bytes));
        if !asked.asterisk && !target.starts_with('/') {
            target.insert(0, '/');
        }
        let rest = bytes.get(len..).unwrap_or_default();
        let body = match asked.body {
            Body::Chunked(_) => Body::chunked(Dialect::Data),
            other @ (Body::Empty | Body::Length(_) | Body::UntilClose) => other,
        };
        let decoded = decode(body, rest, rest.len());
        if decoded.end == Some(false) {
            return requests;
        }
        let is_whole = decoded.end == Some(true);
        requests.push((method, target, is_whole.then_some(decoded.passed)));
        if !is_whole || !asked.keep_alive || asked.upgrade.is_some() {
            return requests;
        }
        bytes = rest.get(decoded.used..).unwrap_or_default();
    }
}

fn theirs(bytes: &[u8]) -> Vec<Request> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            let target = format!("{}{query}", parts.uri.path());
            let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
            seen.borrow_mut().push((parts.method.to_string(), target, body));
            Ok::<_, std::convert::Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let io = tokio::io::join(bytes, tokio::io::sink());
    let serve = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(io), service);
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() {
        // What it refuses is not compared.
        let _ = runtime.block_on(serve);
    }
    let mut requests = seen.borrow_mut();
    std::mem::take(&mut *requests)
}

/// What a decoder made of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    passed: Vec<u8>,
    used: usize,
    /// `None` while more is wanted, then whether it ended well.
    end: Option<bool>,
}

/// Decodes `bytes`, of which `step` more become visible at a time.
fn decode(mut body: Body, bytes: &[u8], step: usize) -> Decoded {
    let mut decoded = Decoded { passed: Vec::new(), used: 0, end: None };
    let mut visible = step.min(bytes.len());
    loop {
        let input = bytes.get(decoded.used..visible).unwrap_or_default();
        match body.next(input) {
            Ok(Span::Pass(count)) => {
                decoded.passed.extend_from_slice(input.get(..count).unwrap_or_default());
                decoded.used += count;
            }
            Ok(Span::Drop(count)) => decoded.used += count,
            Ok(Span::Done) => return Decoded { end: Some(true), ..decoded },
            Ok(Span::More) if visible >= bytes.len() => return decoded,
            Ok(Span::More) => visible = (visible + step.max(1)).min(bytes.len()),
            // How much was passed before the break depends on the cut, and does not matter: the connection ends.
            Err(_) => return Decoded { passed: Vec::new(), used: 0, end: Some(false) },
        }
    }
}

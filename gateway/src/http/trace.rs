//! W3C trace context: the trace a request belongs to, taken over from `traceparent` or started.
//!
//! The gateway takes part (<https://www.w3.org/TR/trace-context/> § 3.4): the trace id and the flags stay, the parent is
//! a number of its own, which stands for its share of the work.

use std::cell::RefCell;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::codec::{Head, Known};
use crate::plain;

/// Bytes of a `traceparent` of version 00.
const LEN: usize = 55;
/// Flags that we know: sampled, and random trace id (level 2). Unknown ones are sent as zero (§ 3.2.2.5).
const FLAGS_KNOWN: u8 = 0b11;
/// Of a trace that starts here: sampled, with a random id. Without the first, origins whose samplers follow their parent
/// would stop tracing as soon as a gateway stood before them.
const FLAGS_STARTED: u8 = 0b11;

/// The trace of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) id: [u8; 16],
    /// Our own share of it: the parent of what the origin does.
    pub(super) span: [u8; 8],
    flags: u8,
    is_continued: bool,
}

impl Trace {
    /// The trace that `head` belongs to: the one it names, if it names one and correctly, else a new one.
    pub(super) fn of(head: &Head, bytes: &[u8], numbers: &Numbers) -> Self {
        let mut fields = head.all(Known::Traceparent);
        let named = match (fields.next(), fields.next()) {
            (Some(field), None) => parse(field.value.of(bytes)),
            (None, _) | (Some(_), Some(_)) => None,
        };
        let span = numbers.next().to_be_bytes();
        match named {
            Some((id, flags)) => Self { id, span, flags: flags & FLAGS_KNOWN, is_continued: true },
            None => Self { id: numbers.trace_id(), span, flags: FLAGS_STARTED, is_continued: false },
        }
    }

    /// Whether the client's `tracestate` belongs to it: it must not outlive the parent it came with (§ 3.4).
    pub(super) const fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// Writes the field that goes upstream.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"traceparent: 00-");
        plain::hex(self.id, out);
        out.push(b'-');
        pairs(out, &self.span);
        out.push(b'-');
        pairs(out, &[self.flags]);
        out.extend_from_slice(b"\r\n");
    }

    /// The trace id as text.
    pub(super) fn id_text(&self) -> TraceId {
        TraceId(self.id)
    }
}

/// A trace id as it is written.
pub(super) struct TraceId([u8; 16]);

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Trace id and flags of a `traceparent`; `None` for one that is not valid (§ 3.2.2).
fn parse(value: &[u8]) -> Option<([u8; 16], u8)> {
    let [version] = bytes::<1>(value.get(..2)?)?;
    match value.len() {
        LEN => {}
        // What later versions add follows a dash; what came before it stays as it is.
        more if more > LEN && version != 0 && value.get(LEN) == Some(&b'-') => {}
        _ => return None,
    }
    let dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
    if version == 0xff || !dashes {
        return None;
    }
    let id = bytes::<16>(value.get(3..35)?)?;
    let parent = bytes::<8>(value.get(36..52)?)?;
    let [flags] = bytes::<1>(value.get(53..55)?)?;
    (id != [0; 16] && parent != [0; 8]).then_some((id, flags))
}

/// Reads lower-case hex digits, two for each byte.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut read = [0; N];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (to, [high, low]) in read.iter_mut().zip(pairs) {
        *to = digit(*high)? << 4 | digit(*low)?;
    }
    Some(read)
}

/// Two digits of lower-case hex for each byte.
fn pairs(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    for byte in bytes {
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Where a worker's trace and span ids come from: random, but no secret, so that none costs a system call.
pub(super) struct Numbers(RefCell<SmallRng>);

impl Default for Numbers {
    fn default() -> Self {
        Self(RefCell::new(SmallRng::from_rng(&mut rand::rng())))
    }
}

impl Numbers {
    /// A number that is not zero.
    fn next(&self) -> u64 {
        self.0.borrow_mut().next_u64().max(1)
    }

    fn trace_id(&self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn trace(fields: &str) -> Trace {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = Head::default();
        head.parse_request(bytes.as_bytes()).unwrap();
        Trace::of(&head, bytes.as_bytes(), &Numbers::default())
    }

    fn written(trace: &Trace) -> String {
        let mut out = Vec::new();
        trace.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_valid_parent_keeps_its_trace_and_flags_and_gets_a_child() {
        for (flags, sent) in [("00", "00"), ("01", "01"), ("03", "03"), ("ff", "03"), ("08", "00")] {
            let trace = trace(&format!("traceparent: 00-{ID}-b7ad6b7169203331-{flags}\r\n"));
            let line = written(&trace);
            assert!(trace.is_continued());
            assert!(line.starts_with(&format!("traceparent: 00-{ID}-")), "{line}");
            assert!(line.ends_with(&format!("-{sent}\r\n")), "{line}");
            assert_ne!(line.get(49..65), Some("b7ad6b7169203331"), "our own span");
            assert_eq!(trace.id_text().to_string(), ID);
        }
    }

    // The cases of the validation suite at https://github.com/w3c/trace-context/tree/main/test.
    #[test]
    fn what_is_no_valid_parent_starts_a_trace() {
        for value in [
            format!("ff-{ID}-b7ad6b7169203331-01"),
            format!("00-{ID}-b7ad6b7169203331-01-what-the-future-holds"),
            format!("00-{ID}-b7ad6b7169203331-01."),
            format!("cc-{ID}-b7ad6b7169203331-01.what-the-future-holds"),
            format!("00-{}-b7ad6b7169203331-01", ID.to_uppercase()),
            format!("00-{ID}-B7AD6B7169203331-01"),
            format!("00-{ID}-b7ad6b7169203331-0X"),
            format!("0-{ID}-b7ad6b7169203331-01"),
            format!(".0-{ID}-b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{ID}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", &ID[1..]),
            format!("00-{ID}-b7ad6b716920333-01"),
            format!("00-{ID}-b7ad6b7169203331-1"),
            format!("00-{ID}-b7ad6b7169203331"),
            format!("00_{ID}_b7ad6b7169203331_01"),
            "00".into(),
            String::new(),
        ] {
            let trace = trace(&format!("traceparent: {value}\r\n"));
            assert!(!trace.is_continued(), "{value}");
            assert_ne!(trace.id_text().to_string(), ID);
            assert!(written(&trace).ends_with("-03\r\n"));
            assert_eq!(written(&trace).len(), "traceparent: \r\n".len() + LEN);
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known_and_answered_in_ours() {
        for value in [
            format!("cc-{ID}-b7ad6b7169203331-01"),
            format!("01-{ID}-b7ad6b7169203331-01-what-the-future-holds"),
        ] {
            let trace = trace(&format!("traceparent: {value}\r\n"));
            assert!(trace.is_continued(), "{value}");
            assert!(written(&trace).starts_with(&format!("traceparent: 00-{ID}-")));
        }
    }

    #[test]
    fn two_parents_are_none() {
        let one = format!("traceparent: 00-{ID}-b7ad6b7169203331-01\r\n");
        assert!(!trace(&format!("{one}{one}")).is_continued());
    }

    #[test]
    fn no_two_traces_that_start_here_are_alike() {
        let numbers = Numbers::default();
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| numbers.trace_id()).collect();
        assert_eq!(ids.len(), 1000);
    }
}

//! HTTP/1.1 on the wire, pure: bytes in, events out. No socket, no clock, no allocation after the first request.
//!
//! [`Head`] is a request or response head as one list of ranges into the bytes it came in; [`Body`] is a decoder that
//! says which of the bytes that follow are to be passed on. Both give the same answer however the stream is cut.
//! What is grammatical but ambiguous is refused by [`super::door`].

pub mod body;
pub mod head;
pub mod known;
pub mod trailer;

pub use body::{Body, Dialect, Span};
pub use head::{Field, Head, Piece, Progress, Version};
pub use known::Known;

use crate::fault::Kind;

/// A rule of the protocol that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// What it amounts to when a request breaks it.
    pub kind: Kind,
    /// The rule, for the log.
    pub rule: &'static str,
}

impl Broken {
    pub(crate) const fn bad(rule: &'static str) -> Self {
        Self { kind: Kind::BadRequest, rule }
    }
}

/// Whether a byte may stand in a token (RFC 9110 § 5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

/// [`is_token`] for each byte.
#[expect(clippy::indexing_slicing, reason = "evaluated while compiling; there is no `get_mut` in constants")]
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_token(byte as u8);
        byte += 1;
    }
    table
};

/// Whether every byte may stand in a token, and there is one.
pub(crate) fn all_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN.get(usize::from(*byte)).copied().unwrap_or(false))
}

/// Whether no byte is a control character other than a tab. Written without early exit, so that it is vectorised.
pub(crate) fn all_text(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |bad, byte| bad | ((*byte < 0x20) & (*byte != b'\t')) | (*byte == 0x7f))
}

/// The elements of a comma-separated list, without surrounding blanks; empty ones are left out (RFC 9110 § 5.6.1).
pub(crate) fn list(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests;

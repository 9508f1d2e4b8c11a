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

/// What a byte is in a name: 0 in a token, [`UNDERSCORE`] as well, [`NO_TOKEN`] otherwise.
#[expect(clippy::indexing_slicing, reason = "evaluated while compiling; there is no `get_mut` in constants")]
const CLASS: [u8; 256] = {
    let mut table = [NO_TOKEN; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_token(byte as u8) {
            table[byte] = if byte as u8 == b'_' { UNDERSCORE } else { 0 };
        }
        byte += 1;
    }
    table
};

/// A byte that may stand in a token and that CGI programs cannot tell from a dash.
const UNDERSCORE: u8 = 1;
/// A byte that may not stand in a token.
const NO_TOKEN: u8 = 2;

fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(NO_TOKEN)
}

/// Length of the token that `bytes` begins with, and whether it has an underscore.
pub(crate) fn token(bytes: &[u8]) -> (usize, bool) {
    let mut seen = 0;
    let len = bytes.iter().position(|byte| {
        seen |= class(*byte);
        class(*byte) == NO_TOKEN
    });
    (len.unwrap_or(bytes.len()), seen & UNDERSCORE != 0)
}

/// Whether every byte may stand in a token, and there is one.
pub(crate) fn all_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| class(*byte) != NO_TOKEN)
}

/// Whether no byte is a control character other than a tab.
pub(crate) fn all_text(bytes: &[u8]) -> bool {
    let is_text = |byte: &u8| !((*byte < 0x20 && *byte != b'\t') || *byte == 0x7f);
    // Tabs are rare: a word with one is looked at again, byte by byte.
    all_words(bytes, |word| (any_below(word, 0x20) | any_equal(word, 0x7f)) == 0, is_text)
}

/// Whether every byte is a printing one of ASCII, and no blank.
pub(crate) fn all_graphic(bytes: &[u8]) -> bool {
    let is_clean = |word| (any_below(word, 0x21) | any_equal(word, 0x7f) | (word & HIGH)) == 0;
    all_words(bytes, is_clean, u8::is_ascii_graphic)
}

/// Whether `is_good` holds for every byte. Eight at a time where `is_clean`, which may doubt but never lets through.
fn all_words(bytes: &[u8], is_clean: impl Fn(u64) -> bool, is_good: impl Fn(&u8) -> bool) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|word| is_clean(u64::from_le_bytes(*word)) || word.iter().all(&is_good))
        && rest.iter().all(is_good)
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// Not 0 if a byte of `word` is below `least`, which is at most 128.
const fn any_below(word: u64, least: u8) -> u64 {
    word.wrapping_sub(ONES * least as u64) & !word & HIGH
}

/// Not 0 if a byte of `word` is `byte`.
const fn any_equal(word: u64, byte: u8) -> u64 {
    any_below(word ^ (ONES * byte as u64), 1)
}

/// The elements of a comma-separated list, without surrounding blanks; empty ones are left out (RFC 9110 § 5.6.1).
pub(crate) fn list(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests;

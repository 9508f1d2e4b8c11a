//! The last of what a shell printed, for a page that comes back.

use std::collections::VecDeque;

/// A ring of the newest bytes.
pub(super) struct Scrollback {
    bytes: VecDeque<u8>,
    max: usize,
    /// Whether older bytes were let go.
    is_cut: bool,
}

impl Scrollback {
    /// Keeps at most `max` bytes; takes memory as they come.
    pub(super) const fn new(max: usize) -> Self {
        Self { bytes: VecDeque::new(), max, is_cut: false }
    }

    /// Notes what was printed.
    pub(super) fn push(&mut self, printed: &[u8]) {
        let newest = printed.len().min(self.max);
        let overflow = (self.bytes.len() + newest).saturating_sub(self.max);
        self.is_cut |= overflow > 0 || newest < printed.len();
        self.bytes.drain(..overflow);
        self.bytes.extend(printed.iter().skip(printed.len() - newest));
    }

    /// What a page prints to stand where it stood. Of what was cut it begins with a whole line, or with a whole
    /// character where there is no line: half an escape sequence would print as letters.
    pub(super) fn replay(&self) -> Vec<u8> {
        let start = if self.is_cut { self.whole() } else { 0 };
        self.bytes.iter().skip(start).copied().collect()
    }

    fn whole(&self) -> usize {
        if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            return end + 1;
        }
        self.bytes.iter().position(|byte| !is_continuation(*byte)).unwrap_or(self.bytes.len())
    }
}

/// Whether a byte stands inside a character of UTF-8 (RFC 3629 § 3).
const fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_replayed_whole() {
        let mut scrollback = Scrollback::new(16);
        scrollback.push("ä$ ls\r\n".as_bytes());
        assert_eq!(scrollback.replay(), "ä$ ls\r\n".as_bytes());
    }

    #[test]
    fn of_more_the_newest_is_kept_from_a_whole_line_on() {
        let mut scrollback = Scrollback::new(16);
        for line in 0..1_000 {
            scrollback.push(format!("line {line}\r\n").as_bytes());
            assert!(scrollback.bytes.len() <= 16);
        }
        assert_eq!(scrollback.replay(), b"line 999\r\n");
    }

    #[test]
    fn one_flood_larger_than_the_ring_leaves_its_end() {
        let mut scrollback = Scrollback::new(8);
        scrollback.push(b"before");
        scrollback.push("0123456789äöü".as_bytes());
        assert_eq!(scrollback.replay(), "89äöü".as_bytes());
        scrollback.push("é".repeat(20).as_bytes());
        assert_eq!(String::from_utf8(scrollback.replay()).unwrap(), "éééé");
    }
}

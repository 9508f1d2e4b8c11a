//! The last of what a shell printed, for a page that comes back.

use std::collections::VecDeque;

use config::limits;

use super::modes::Modes;

/// A ring of the newest bytes, and what the ones before them made of the terminal.
pub(super) struct Scrollback {
    bytes: VecDeque<u8>,
    max: usize,
    /// The terminal before the first byte that is kept.
    before: Modes,
    /// Whether older bytes were let go.
    is_cut: bool,
}

impl Scrollback {
    /// Keeps at most `max` bytes; takes memory as they come.
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: VecDeque::new(), max, before: Modes::default(), is_cut: false }
    }

    /// Notes what was printed.
    pub(super) fn push(&mut self, printed: &[u8]) {
        let overflow = (self.bytes.len() + printed.len()).saturating_sub(self.max);
        let old = overflow.min(self.bytes.len());
        let (passed, kept) = printed.split_at_checked(overflow - old).unwrap_or((printed, &[]));
        self.is_cut |= overflow > 0;
        let (front, back) = self.bytes.as_slices();
        let of_front = old.min(front.len());
        self.before.pass(front.get(..of_front).unwrap_or_default());
        self.before.pass(back.get(..old - of_front).unwrap_or_default());
        self.before.pass(passed);
        self.bytes.drain(..old);
        self.bytes.extend(kept);
    }

    /// What a page prints to stand where it stood, from an empty screen on: first the modes that older bytes had set.
    /// It begins with a whole line where one begins soon, and never inside a character or a sequence: half of one would
    /// print as letters.
    pub(super) fn replay(&self) -> Vec<u8> {
        let (start, before) = if self.is_cut { self.whole() } else { (0, self.before) };
        let mut out = before.set();
        out.extend(self.bytes.iter().skip(start));
        out
    }

    /// Where to begin, and the terminal there.
    fn whole(&self) -> (usize, Modes) {
        let mut modes = self.before;
        let mut first = None;
        let mut is_line = false;
        for (at, byte) in self.bytes.iter().enumerate() {
            if modes.is_between() && !is_continuation(*byte) {
                if is_line {
                    return (at, modes);
                }
                let first = *first.get_or_insert((at, modes));
                if at >= limits::TERMINAL_LINE_SOUGHT_BYTES {
                    return first;
                }
            }
            modes.byte(*byte);
            is_line = *byte == b'\n' && modes.is_between();
        }
        first.unwrap_or((self.bytes.len(), modes))
    }
}

/// Whether a byte stands inside a character of UTF-8 (RFC 3629 § 3).
const fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn modes_that_were_set_before_the_ring_are_set_first_and_no_sequence_is_begun_in_its_middle() {
        let mut scrollback = Scrollback::new(24);
        scrollback.push(b"$ editor\r\n\x1b[?1049h\x1b[?2004h");
        // The cut falls into the colour.
        scrollback.push(b"\x1b[38;5;11mmain.rs\x1b[0m 1,1");
        assert_eq!(scrollback.bytes.front(), Some(&b'['));
        assert_eq!(scrollback.replay(), b"\x1b[?1049h\x1b[?2004hmain.rs\x1b[0m 1,1");
        scrollback.push(b"\x1b[?2004l\x1b[?1049l$ ");
        assert_eq!(scrollback.replay(), b"\x1b[?1049h\x1b[?2004h 1,1\x1b[?2004l\x1b[?1049l$ ");
    }

    #[test]
    fn a_line_that_begins_far_away_is_not_waited_for() {
        let mut scrollback = Scrollback::new(4 * limits::TERMINAL_LINE_SOUGHT_BYTES);
        scrollback.push(&b"x".repeat(4 * limits::TERMINAL_LINE_SOUGHT_BYTES));
        scrollback.push(b"y\n");
        assert_eq!(scrollback.replay().len(), 4 * limits::TERMINAL_LINE_SOUGHT_BYTES);
    }

    #[test]
    fn a_string_longer_than_the_ring_does_not_print_its_rest() {
        let mut scrollback = Scrollback::new(16);
        scrollback.push(b"\x1bPq");
        scrollback.push(&b"#0;1;2".repeat(100));
        assert_eq!(scrollback.replay(), b"\x1bX");
    }

    proptest! {
        #[test]
        fn a_replay_is_bounded_and_leaves_the_terminal_as_all_of_it_would(
            pieces in proptest::collection::vec(
                prop_oneof![
                    "[a-z\u{e4}\u{6f22}\r\n]{0,30}".prop_map(String::into_bytes),
                    (any::<bool>(), 0_usize..5).prop_map(|(on, mode)| {
                        let mode = [1, 25, 1002, 1049, 2004][mode];
                        format!("\x1b[?{mode}{}", if on { 'h' } else { 'l' }).into_bytes()
                    }),
                    proptest::collection::vec(any::<u8>(), 0..6),
                ],
                0..60,
            ),
        ) {
            let mut scrollback = Scrollback::new(128);
            let mut all = Modes::default();
            for piece in &pieces {
                scrollback.push(piece);
                all.pass(piece);
                prop_assert!(scrollback.bytes.len() <= 128);
            }
            let replay = scrollback.replay();
            prop_assert!(replay.len() < 128 + 256);
            if all.is_between() {
                let mut again = Modes::default();
                again.pass(&replay);
                prop_assert_eq!(again, all);
            }
        }
    }
}

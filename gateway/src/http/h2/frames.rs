//! Frame heads as they pass (RFC 9113 § 4.1): nine bytes and, of two kinds, the first word of the payload. Nothing is
//! copied but these; payloads are skipped by their length.

/// Kinds of frames that are told apart.
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// END_STREAM of DATA, ACK of SETTINGS and PING.
pub(super) const FLAG_END_OR_ACK: u8 = 1;
/// END_HEADERS.
pub(super) const FLAG_END_HEADERS: u8 = 4;

const HEAD_LEN: usize = 9;
const WORD_LEN: usize = 4;

/// One frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Length of the payload in bytes.
    pub(super) len: usize,
    /// The error of a reset, the increment of a window; 0 for all others.
    pub(super) word: u32,
}

/// Where a reader of frames is.
#[derive(Debug)]
pub(super) struct Frames {
    seen: [u8; HEAD_LEN + WORD_LEN],
    len: usize,
    /// Bytes until the next frame begins.
    skip: usize,
}

impl Frames {
    /// Frames that begin after `preface` bytes.
    pub(super) const fn after(preface: usize) -> Self {
        Self { seen: [0; HEAD_LEN + WORD_LEN], len: 0, skip: preface }
    }

    /// Takes the next bytes; tells each frame whose head is complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let wanted = self.wanted();
            let count = (wanted - self.len).min(bytes.len());
            let room = self.seen.get_mut(self.len..self.len + count).unwrap_or_default();
            room.copy_from_slice(bytes.get(..count).unwrap_or_default());
            self.len += count;
            bytes = bytes.get(count..).unwrap_or_default();
            if self.len == self.wanted() {
                let frame = self.frame();
                self.skip = frame.len - (self.len - HEAD_LEN);
                self.len = 0;
                tell(frame);
            }
        }
    }

    /// Bytes that have to be seen of this frame.
    fn wanted(&self) -> usize {
        let [len_0, len_1, len_2, kind, ..] = self.seen;
        let has_word = matches!(kind, kind::RST_STREAM | kind::WINDOW_UPDATE)
            && usize::from(len_2) >= WORD_LEN
            && (len_0, len_1) == (0, 0);
        if self.len >= HEAD_LEN && has_word { HEAD_LEN + WORD_LEN } else { HEAD_LEN }
    }

    fn frame(&self) -> Frame {
        let [len_0, len_1, len_2, kind, flags, _, _, _, _, word @ ..] = self.seen;
        let word = if self.len > HEAD_LEN { u32::from_be_bytes(word) & 0x7fff_ffff } else { 0 };
        Frame { kind, flags, len: u32::from_be_bytes([0, len_0, len_1, len_2]) as usize, word }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(preface: usize, pieces: &[&[u8]]) -> Vec<Frame> {
        let (mut frames, mut told) = (Frames::after(preface), Vec::new());
        pieces.iter().for_each(|piece| frames.feed(piece, |frame| told.push(frame)));
        told
    }

    #[test]
    fn frames_are_the_same_however_the_bytes_are_cut() {
        let mut bytes = b"PREF".to_vec();
        bytes.extend_from_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6]);
        bytes.extend_from_slice(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
        bytes.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0, 3]);
        bytes.extend_from_slice(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x80, 0, 1, 1]);
        let frame = |kind, flags, len, word| Frame { kind, flags, len, word };
        let expected = [frame(4, 0, 6, 0), frame(3, 0, 4, 8), frame(0, 1, 0, 0), frame(8, 0, 4, 257)];
        assert_eq!(told(4, &[&bytes]), expected);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(told(4, &single), expected);
        for cut in 1..bytes.len() {
            assert_eq!(told(4, &[&bytes[..cut], &bytes[cut..]]), expected, "{cut}");
        }
    }

    #[test]
    fn a_window_update_of_a_wrong_length_does_not_lose_the_frame_after_it() {
        let bytes = [0, 0, 2, 8, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 6, 0, 0, 0, 0, 0];
        assert_eq!(told(0, &[&bytes]).iter().map(|frame| frame.kind).collect::<Vec<_>>(), [8, 6]);
    }
}

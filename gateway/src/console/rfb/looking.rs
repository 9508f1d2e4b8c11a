//! What a browser may say that only looks: every message is read to its end, and only what asks for pictures passes.

use std::ops::ControlFlow;

use config::limits;

const SET_PIXEL_FORMAT: u8 = 0;
const SET_ENCODINGS: u8 = 2;
const UPDATE_REQUEST: u8 = 3;
const KEY: u8 = 4;
const POINTER: u8 = 5;
const CUT_TEXT: u8 = 6;
const CONTINUOUS_UPDATES: u8 = 150;
const FENCE: u8 = 248;
const XVP: u8 = 250;
const SET_DESKTOP_SIZE: u8 = 251;

/// Encodings that would have the server wait for, or invite, messages that do not pass: fences, continuous updates,
/// extended clipboard, QEMU's keys and sound, xvp, GII.
const NOT_NAMED: [i32; 7] = [-312, -313, 0xC0A1_E5CE_u32.cast_signed(), -258, -259, -309, -305];

/// A message that is not in RFB, or is not taken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// The reader of one browser's messages. Holds at most the fixed part of one, or one list of encodings.
#[derive(Debug, Default)]
pub(crate) struct Looking {
    /// The beginning of a message that is not whole.
    begun: Vec<u8>,
    /// What is still to come of one that is read over.
    skip: u64,
}

impl Looking {
    /// Reads what came and writes what passes.
    ///
    /// Errors: a message that is not known, is out of bounds, or is QEMU's: where the next one begins is not known then.
    pub(crate) fn read(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), NotTaken> {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes = bytes.get(skipped..).unwrap_or_default();
            self.skip -= skipped as u64;
            if bytes.is_empty() {
                return Ok(());
            }
            let wanted = match need(&self.begun)? {
                ControlFlow::Continue(len) => len,
                ControlFlow::Break(message) => {
                    self.finish(message, out);
                    continue;
                }
            };
            let taken = wanted.saturating_sub(self.begun.len()).min(bytes.len());
            let (now, later) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            self.begun.extend_from_slice(now);
            bytes = later;
            if let ControlFlow::Break(message) = need(&self.begun)? {
                self.finish(message, out);
            }
        }
    }

    fn finish(&mut self, message: Message, out: &mut Vec<u8>) {
        match message {
            Message::Passes => out.extend_from_slice(&self.begun),
            Message::Encodings => encodings(&self.begun, out),
            Message::Dropped { rest } => self.skip = rest,
        }
        self.begun.clear();
    }
}

/// What becomes of a message, once enough of it has come.
enum Message {
    Passes,
    Encodings,
    /// So much of it follows.
    Dropped {
        rest: u64,
    },
}

/// Either how many bytes have to be there, or what becomes of the message.
fn need(begun: &[u8]) -> Result<ControlFlow<Message, usize>, NotTaken> {
    let Some(kind) = begun.first() else { return Ok(ControlFlow::Continue(1)) };
    let fixed = match *kind {
        SET_PIXEL_FORMAT => 20,
        SET_ENCODINGS | XVP => 4,
        UPDATE_REQUEST | CONTINUOUS_UPDATES => 10,
        KEY | CUT_TEXT | SET_DESKTOP_SIZE => 8,
        POINTER => 6,
        FENCE => 9,
        // QEMU's (255) have lengths of their own, and none is for looking.
        _ => return Err(NotTaken),
    };
    if begun.len() < fixed {
        return Ok(ControlFlow::Continue(fixed));
    }
    Ok(ControlFlow::Break(match *kind {
        SET_PIXEL_FORMAT | UPDATE_REQUEST => Message::Passes,
        SET_ENCODINGS => {
            let count = usize::from(u16::from_be_bytes(at(begun, 2)));
            if count > limits::RFB_ENCODINGS_MAX {
                return Err(NotTaken);
            }
            let len = fixed + 4 * count;
            if begun.len() < len {
                return Ok(ControlFlow::Continue(len));
            }
            Message::Encodings
        }
        CUT_TEXT => {
            // A negative length is the extended clipboard's.
            let len = i32::from_be_bytes(at(begun, 4)).unsigned_abs();
            if len > limits::RFB_CUT_TEXT_BYTES_MAX {
                return Err(NotTaken);
            }
            Message::Dropped { rest: len.into() }
        }
        FENCE => {
            let [len] = at(begun, 8);
            if len > 64 {
                return Err(NotTaken);
            }
            Message::Dropped { rest: len.into() }
        }
        SET_DESKTOP_SIZE => {
            let [screens] = at(begun, 6);
            Message::Dropped { rest: 16 * u64::from(screens) }
        }
        _ => Message::Dropped { rest: 0 },
    }))
}

fn at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    bytes.get(place..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

/// Writes the list without what is not to be named.
fn encodings(message: &[u8], out: &mut Vec<u8>) {
    let (named, _) = message.get(4..).unwrap_or_default().as_chunks::<4>();
    let kept: Vec<_> = named.iter().filter(|one| !NOT_NAMED.contains(&i32::from_be_bytes(**one))).collect();
    out.extend_from_slice(&[SET_ENCODINGS, 0]);
    out.extend_from_slice(&u16::try_from(kept.len()).unwrap_or_default().to_be_bytes());
    kept.into_iter().for_each(|one| out.extend_from_slice(one));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes[0] = kind;
        bytes
    }

    fn cut_text(len: i32) -> Vec<u8> {
        let mut bytes = message(CUT_TEXT, 8);
        bytes[4..].copy_from_slice(&len.to_be_bytes());
        bytes.resize(8 + usize::try_from(len.unsigned_abs()).unwrap(), UPDATE_REQUEST);
        bytes
    }

    fn set_encodings(list: &[i32]) -> Vec<u8> {
        let mut bytes = vec![SET_ENCODINGS, 0];
        bytes.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
        bytes.extend(list.iter().flat_map(|one| one.to_be_bytes()));
        bytes
    }

    /// What passes of a stream that comes in pieces of `step` bytes.
    fn passed(stream: &[u8], step: usize) -> Result<Vec<u8>, NotTaken> {
        let (mut looking, mut out) = (Looking::default(), Vec::new());
        for piece in stream.chunks(step) {
            looking.read(piece, &mut out)?;
        }
        Ok(out)
    }

    #[test]
    fn only_what_asks_for_pictures_passes_however_it_is_cut() {
        let screens = {
            let mut bytes = message(SET_DESKTOP_SIZE, 8 + 32);
            bytes[6] = 2;
            bytes
        };
        let fence = {
            let mut bytes = message(FENCE, 9 + 3);
            bytes[8] = 3;
            bytes
        };
        let stream = [
            message(SET_PIXEL_FORMAT, 20),
            cut_text(1000),
            set_encodings(&[0, 7, -312, -223, -258]),
            message(KEY, 8),
            message(POINTER, 6),
            message(UPDATE_REQUEST, 10),
            cut_text(-12),
            screens,
            fence,
            message(CONTINUOUS_UPDATES, 10),
            message(XVP, 4),
            message(UPDATE_REQUEST, 10),
        ]
        .concat();
        let wanted = [
            message(SET_PIXEL_FORMAT, 20),
            set_encodings(&[0, 7, -223]),
            message(UPDATE_REQUEST, 10),
            message(UPDATE_REQUEST, 10),
        ]
        .concat();
        for step in [1, 2, 3, 7, 64, stream.len()] {
            assert_eq!(passed(&stream, step).unwrap(), wanted, "in pieces of {step}");
        }
    }

    #[test]
    fn qemus_messages_and_garbage_end_it() {
        let mut long_list = message(SET_ENCODINGS, 4);
        long_list[2..].copy_from_slice(&u16::MAX.to_be_bytes());
        let mut long_text = message(CUT_TEXT, 8);
        long_text[4..].copy_from_slice(&i32::MAX.to_be_bytes());
        let mut least = message(CUT_TEXT, 8);
        least[4..].copy_from_slice(&i32::MIN.to_be_bytes());
        for bytes in [vec![255, 0, 0, 0], vec![1], vec![7], vec![0xff; 100], long_list, long_text, least] {
            assert_eq!(passed(&bytes, 3), Err(NotTaken), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_passes_a_key_or_more_memory(stream in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (mut looking, mut out) = (Looking::default(), Vec::new());
            for piece in stream.chunks(11) {
                if looking.read(piece, &mut out).is_err() {
                    break;
                }
                prop_assert!(looking.begun.len() <= 4 + 4 * limits::RFB_ENCODINGS_MAX);
            }
            // What passed is itself nothing but what may pass.
            prop_assert_eq!(passed(&out, 5), Ok(out.clone()));
        }
    }
}

//! What a terminal page and the gate say to each other: ttyd's protocol, version 1.7.
//!
//! Each message begins with a byte that says what it is. The first message of a page is JSON and begins with its brace.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::{BufMut as _, Bytes, BytesMut};
use config::limits;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

const INPUT: u8 = b'0';
const RESIZE: u8 = b'1';
const PAUSE: u8 = b'2';
const RESUME: u8 = b'3';

const OUTPUT: u8 = b'0';
const TITLE: u8 = b'1';
/// Not of ttyd, whose page ignores what it does not know.
const REPLAY: u8 = b'3';
/// Not of ttyd either.
const REASON: u8 = b'4';

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Size {
    pub(super) columns: u32,
    pub(super) rows: u32,
}

impl Default for Size {
    /// What a terminal has had since the punched card.
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

impl Size {
    /// The size, no smaller than a character and no larger than any screen: a page may say what it likes.
    fn bounded(self) -> Self {
        let bounded = |value: u32| value.clamp(1, limits::TERMINAL_SIDE_MAX);
        Self { columns: bounded(self.columns), rows: bounded(self.rows) }
    }

    /// Another size, nearly the same.
    pub(super) const fn nudged(self) -> Self {
        let rows = if self.rows > 1 { self.rows - 1 } else { 2 };
        Self { columns: self.columns, rows }
    }
}

/// What a page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Keys, or what was pasted.
    Input(Bytes),
    /// The window changed.
    Resize(Size),
    /// It cannot keep up: no more output for now.
    Pause,
    /// It can again.
    Resume,
}

/// What does not follow the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolError {
    #[error("the first message of a terminal is a JSON object with columns and rows")]
    Hello,
    #[error("the secret of a page has 22 to 128 characters")]
    Secret,
    #[error("a size of a terminal is a JSON object with columns and rows")]
    Size,
    #[error("a message of a terminal begins with 0, 1, 2 or 3")]
    Kind,
}

/// By what a page that comes back is known. A digest of what it said, so that all are of one length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSecret([u8; 32]);

impl PageSecret {
    fn of(text: &str) -> Result<Self, ProtocolError> {
        let (least, most) = limits::TERMINAL_SECRET_BYTES;
        if !(least..=most).contains(&text.len()) {
            return Err(ProtocolError::Secret);
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    /// Whether both are one, in a time that says nothing of where they differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// What a page says first.
#[derive(Clone, Copy)]
pub(super) struct Hello {
    pub(super) size: Size,
    /// `None` never comes back.
    pub(super) secret: Option<PageSecret>,
}

/// What the first message may say. The token in it is ttyd's own affair: here the ticket stood in the address.
#[derive(Deserialize)]
struct FirstMessage {
    columns: Option<u32>,
    rows: Option<u32>,
    secret: Option<String>,
}

/// Reads the first message. Who sends no size gets the usual one.
pub(super) fn hello(bytes: &[u8]) -> Result<Hello, ProtocolError> {
    let said: FirstMessage = serde_json::from_slice(bytes).map_err(|_| ProtocolError::Hello)?;
    let usual = Size::default();
    let size = Size { columns: said.columns.unwrap_or(usual.columns), rows: said.rows.unwrap_or(usual.rows) };
    let secret = said.secret.as_deref().map(PageSecret::of).transpose()?;
    Ok(Hello { size: size.bounded(), secret })
}

/// Reads any later message.
pub(super) fn read(mut message: Bytes) -> Result<Said, ProtocolError> {
    let Some(kind) = message.first().copied() else { return Err(ProtocolError::Kind) };
    let rest = message.split_off(1);
    match kind {
        INPUT => Ok(Said::Input(rest)),
        RESIZE => {
            let size: Size = serde_json::from_slice(&rest).map_err(|_| ProtocolError::Size)?;
            Ok(Said::Resize(size.bounded()))
        }
        PAUSE => Ok(Said::Pause),
        RESUME => Ok(Said::Resume),
        _ => Err(ProtocolError::Kind),
    }
}

/// A message that prints.
pub(super) fn output(bytes: &[u8]) -> Bytes {
    message(OUTPUT, bytes)
}

/// A message that prints what was printed before, to a page that comes back: whatever asks a terminal in it has been
/// answered, or is no longer waiting.
pub(super) fn replay(bytes: &[u8]) -> Bytes {
    message(REPLAY, bytes)
}

/// A message that says why the connection is about to close, longer than a closing frame can.
pub(super) fn reason(text: &str) -> Bytes {
    message(REASON, text.as_bytes())
}

/// A message that names the window.
pub(super) fn title(text: &str) -> Bytes {
    message(TITLE, text.as_bytes())
}

fn message(kind: u8, bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 1);
    out.put_u8(kind);
    out.extend_from_slice(bytes);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_ttyd_is_understood() {
        let asked = br#"{"AuthToken":"","columns":120,"rows":40}"#;
        assert_eq!(hello(asked).unwrap().size, Size { columns: 120, rows: 40 });
        let bare = hello(br#"{"AuthToken":"x"}"#).unwrap();
        assert_eq!((bare.size, bare.secret.is_none()), (Size::default(), true));
        assert_eq!(read(Bytes::from_static(b"0ls\r")), Ok(Said::Input(Bytes::from_static(b"ls\r"))));
        let resize = Bytes::from_static(br#"1{"columns":100,"rows":30}"#);
        assert_eq!(read(resize), Ok(Said::Resize(Size { columns: 100, rows: 30 })));
        assert_eq!(read(Bytes::from_static(b"2")), Ok(Said::Pause));
        assert_eq!(read(Bytes::from_static(b"3")), Ok(Said::Resume));
        assert_eq!(output(b"x\r\n"), Bytes::from_static(b"0x\r\n"));
        assert_eq!(title("web-01"), Bytes::from_static(b"1web-01"));
        assert_eq!(replay(b"x\r\n"), Bytes::from_static(b"3x\r\n"));
    }

    #[test]
    fn a_page_is_known_by_its_secret_alone_and_a_short_one_is_none() {
        let of = |secret: &str| hello(format!(r#"{{"columns":1,"rows":1,"secret":"{secret}"}}"#).as_bytes());
        let known = |length: usize| of(&"s".repeat(length)).map(|hello| hello.secret.unwrap());
        assert!(known(22).unwrap().is(&known(22).unwrap()));
        assert!(!known(22).unwrap().is(&known(23).unwrap()));
        assert!(known(128).is_ok());
        for length in [0, 21, 129] {
            assert_eq!(known(length).err(), Some(ProtocolError::Secret), "{length}");
        }
    }

    #[test]
    fn what_is_no_message_is_named_and_no_size_is_out_of_bounds() {
        for wrong in [&b""[..], b"hello", b"[]x", b"{\"columns\":-1}", b"{\"columns\":\"a\"}"] {
            assert_eq!(hello(wrong).err(), Some(ProtocolError::Hello), "{wrong:?}");
        }
        for (wrong, error) in [
            (&b""[..], ProtocolError::Kind),
            (b"9", ProtocolError::Kind),
            (b"{\"columns\":1}", ProtocolError::Kind),
            (b"1", ProtocolError::Size),
            (b"1{\"columns\":1}", ProtocolError::Size),
        ] {
            assert_eq!(read(Bytes::from_static(wrong)), Err(error), "{wrong:?}");
        }
        let huge = read(Bytes::from_static(b"1{\"columns\":4000000000,\"rows\":0}"));
        assert_eq!(huge, Ok(Said::Resize(Size { columns: limits::TERMINAL_SIDE_MAX, rows: 1 })));
    }
}

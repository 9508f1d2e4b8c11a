//! A serial line on a terminal page: bytes in the messages of `gateway/pages/terminal/PROTOCOL.md`.
//!
//! A line has no size and no title, and cannot be come back to: of what a page may say, input and its wish for a pause
//! are left. A client that asks for the sub-protocol `binary`, or for none, is no such page and gets bare bytes.

use std::cell::Cell;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::sync::Notify;

/// The sub-protocol of such a page.
pub(crate) const TTY: &str = "tty";

/// The command before bytes to be drawn.
const OUTPUT: u8 = b'0';

/// What a page said that is no message of a terminal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotTerminal;

/// What is known of a page.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Whether it cannot keep up with drawing.
    is_paused: Cell<bool>,
    resumed: Notify,
}

impl Page {
    /// Reads one message; what it has for the line, which may be nothing.
    pub(super) fn read(&self, mut message: Bytes) -> Result<Bytes, NotTerminal> {
        let command = message.first().copied().ok_or(NotTerminal)?;
        match command {
            b'0' => return Ok(message.split_off(1)),
            // A size, which a line does not have.
            b'1' => {}
            b'2' => self.is_paused.set(true),
            b'3' => {
                self.is_paused.set(false);
                self.resumed.notify_one();
            }
            _ => return Err(NotTerminal),
        }
        Ok(Bytes::new())
    }

    /// Whether it takes no output now.
    pub(super) const fn is_paused(&self) -> bool {
        self.is_paused.get()
    }

    /// Waits until the page takes output.
    pub(super) async fn takes_output(&self) {
        while self.is_paused() {
            self.resumed.notified().await;
        }
    }
}

/// Whether this is what a page says first: a JSON object.
pub(super) fn is_hello(message: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(message).is_ok()
}

/// Begins a message that prints what is appended.
pub(super) fn begin(message: &mut BytesMut) {
    message.put_u8(OUTPUT);
}

/// A message that prints nothing: by it a page learns that the line is open, for a line may stay silent.
pub(super) const fn opened() -> Bytes {
    Bytes::from_static(&[OUTPUT])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_for_the_line_and_what_is_no_message_is_told() {
        let page = Page::default();
        let read = |message: &'static [u8]| page.read(Bytes::from_static(message));
        assert_eq!(read(b"0root\r"), Ok(Bytes::from_static(b"root\r")));
        for nothing in [&b"0"[..], b"1{\"columns\":80,\"rows\":24}", b"1", b"2", b"3"] {
            assert_eq!(read(nothing), Ok(Bytes::new()), "{nothing:?}");
        }
        for wrong in [&b""[..], b"4", b"root\r", b"{}", b"\0"] {
            assert_eq!(read(wrong), Err(NotTerminal), "{wrong:?}");
        }
        assert!(is_hello(b"{\"AuthToken\":\"\",\"columns\":80,\"rows\":24}") && is_hello(b"{}"));
        for wrong in [&b""[..], b"0root\r", b"[]", b"{", b"1"] {
            assert!(!is_hello(wrong), "{wrong:?}");
        }
    }
}

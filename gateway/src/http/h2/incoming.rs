//! A message of HTTP/2 read as a message of HTTP/1.1: its head, then its data, raw or in chunks with trailers.

use std::fmt::Write as _;
use std::io;
use std::task::{Context, Poll};

use ::h2::RecvStream;
use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use tokio::io::ReadBuf;

use super::request::line;
use super::{bad, io_error};

/// Room below which a chunk is not framed in place.
const CHUNK_ROOM_MIN: usize = 64;
/// Most bytes of framing around a chunk: 16 digits and two line ends would be 20.
const CHUNK_FRAME_BYTES: usize = 20;

/// How the reader learns where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delimiter {
    /// By chunks.
    Chunks,
    /// By what the head says.
    Head,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Over,
}

/// What was read from a stream and not yet passed on. Data is acknowledged only as it is passed on.
pub(crate) struct Incoming {
    /// Bytes that go first: the head, or the end of a chunked body.
    front: Vec<u8>,
    at: usize,
    data: Bytes,
    body: RecvStream,
    delimiter: Delimiter,
    state: State,
    /// Whether nothing passes on before the stream's end was seen.
    is_held: bool,
    /// Bytes of raw data until the length that was said; without one, more than there will be.
    left: u64,
}

impl Incoming {
    pub(crate) fn new(head: Vec<u8>, body: RecvStream, delimiter: Delimiter) -> Self {
        let state = if body.is_end_stream() { State::Over } else { State::Data };
        Self {
            front: head,
            at: 0,
            data: Bytes::new(),
            body,
            delimiter,
            state,
            is_held: false,
            left: u64::MAX,
        }
    }

    /// Keeps the end of a message back until the stream ends: its last byte, or its head where it says that there is no
    /// body. If more comes after all, the crate refuses the stream (RFC 9113 § 8.1.1), and nobody has seen a valid
    /// message. Chunks need none of it, for their end is written last.
    pub(crate) fn of_length(mut self, length: Option<u64>) -> Self {
        match length {
            Some(0) => self.is_held = self.state != State::Over,
            Some(length) if self.delimiter == Delimiter::Head => self.left = length,
            Some(_) | None => {}
        }
        self
    }

    /// Whether everything was passed on.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over && self.at == self.front.len() && self.data.is_empty()
    }

    /// Fills `room`; ready without a byte once everything was passed on.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        loop {
            if !self.is_held {
                self.pass(room);
            }
            if room.remaining() == 0 || self.is_over() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_more(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending | Poll::Ready(Err(_)) if room.filled().len() > before => {
                    return Poll::Ready(Ok(()));
                }
                outcome @ (Poll::Pending | Poll::Ready(Err(_))) => return outcome,
            }
        }
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Data => match std::task::ready!(self.body.poll_data(context)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(_)) if self.is_held || !self.data.is_empty() => {
                    return Poll::Ready(Err(bad("there is more data than the message said")));
                }
                Some(Ok(data)) => self.data = data,
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => self.state = State::Trailers,
            },
            State::Trailers => {
                let trailers = std::task::ready!(self.body.poll_trailers(context)).map_err(io_error)?;
                self.state = State::Over;
                self.is_held = false;
                if self.delimiter == Delimiter::Chunks {
                    self.end(trailers.as_ref());
                }
            }
            State::Over => {}
        }
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) {
        self.front.clear();
        self.at = 0;
        self.front.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            line(&mut self.front, name.as_str().as_bytes(), value.as_bytes());
        }
        self.front.extend_from_slice(b"\r\n");
    }

    fn pass(&mut self, room: &mut ReadBuf<'_>) {
        while room.remaining() > 0 {
            let front = self.front.get(self.at..).unwrap_or_default();
            if !front.is_empty() {
                let count = front.len().min(room.remaining());
                room.put_slice(front.get(..count).unwrap_or_default());
                self.at += count;
            } else if self.data.is_empty() {
                return;
            } else if self.delimiter == Delimiter::Head {
                let count = self.passable().min(room.remaining());
                if count == 0 {
                    return;
                }
                self.left = self.left.saturating_sub(count as u64);
                self.take(count, |bytes| room.put_slice(bytes));
            } else if room.remaining() < CHUNK_ROOM_MIN {
                let mut front = std::mem::take(&mut self.front);
                front.clear();
                self.at = 0;
                let count = self.data.len().min(CHUNK_ROOM_MIN);
                self.take(count, |bytes| {
                    front.extend_from_slice(chunk_size(bytes.len()).as_bytes());
                    front.extend_from_slice(bytes);
                    front.extend_from_slice(b"\r\n");
                });
                self.front = front;
            } else {
                let count = self.data.len().min(room.remaining() - CHUNK_FRAME_BYTES);
                self.take(count, |bytes| {
                    room.put_slice(chunk_size(bytes.len()).as_bytes());
                    room.put_slice(bytes);
                    room.put_slice(b"\r\n");
                });
            }
        }
    }

    /// Bytes of raw data that may go on: not the last one of the message while more could come.
    fn passable(&self) -> usize {
        let len = self.data.len();
        if (len as u64) < self.left || self.state == State::Over || self.body.is_end_stream() {
            return len;
        }
        usize::try_from(self.left.saturating_sub(1)).unwrap_or(len)
    }

    fn take(&mut self, count: usize, put: impl FnOnce(&[u8])) {
        put(self.data.get(..count).unwrap_or_default());
        self.data.advance(count);
        // It fails only for a stream that is gone, which the next read tells.
        let _ = self.body.flow_control().release_capacity(count);
    }
}

/// The line before a chunk; on the stack.
fn chunk_size(count: usize) -> SizeLine {
    let mut line = SizeLine { bytes: [0; CHUNK_FRAME_BYTES], len: 0 };
    // It has room for any number.
    let _ = write!(line, "{count:x}\r\n");
    line
}

struct SizeLine {
    bytes: [u8; CHUNK_FRAME_BYTES],
    len: usize,
}

impl SizeLine {
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl std::fmt::Write for SizeLine {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

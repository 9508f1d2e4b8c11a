//! The body of a message of HTTP/1.1, sent as the body of a message of HTTP/2.
//!
//! Only as much is taken as the peer's windows and [`limits::H2_SEND_BUFFER_BYTES`] allow: who does not read makes the
//! writer wait, whose deadline then ends the stream.

use std::io;
use std::task::{Context, Poll, ready};

use ::h2::SendStream;
use bytes::Bytes;
use http::HeaderMap;

use super::chunks::{Chunks, PLAIN_END, Part};
use super::response::fields;
use super::{bad, io_error};

/// Where a body ends.
#[derive(Debug)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked(Chunks),
    /// When the writer shuts down.
    UntilShutdown,
}

/// The sending half of a stream after its head.
pub(crate) struct Outgoing {
    send: SendStream<Bytes>,
    framing: Framing,
    is_over: bool,
}

impl Outgoing {
    /// `is_over` where the head ended the stream.
    pub(crate) const fn new(send: SendStream<Bytes>, framing: Framing, is_over: bool) -> Self {
        Self { send, framing, is_over }
    }

    /// Whether the whole message was handed over.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// The half itself, to reset the stream or wait for its reset.
    pub(crate) const fn stream(&mut self) -> &mut SendStream<Bytes> {
        &mut self.send
    }

    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match self.poll_part(context, rest) {
                Poll::Ready(Ok(count)) => done += count,
                Poll::Pending if done > 0 => break,
                outcome @ (Poll::Pending | Poll::Ready(Err(_))) => return outcome,
            }
        }
        Poll::Ready(Ok(done))
    }

    fn poll_part(&mut self, context: &mut Context<'_>, rest: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_over {
            return Poll::Ready(Err(bad("bytes follow the message")));
        }
        match &mut self.framing {
            Framing::Empty => Poll::Ready(Err(bad("a message without body has one"))),
            Framing::UntilShutdown => self.poll_send(context, rest, false),
            Framing::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                let is_last = *left == count as u64;
                let sent = ready!(self.poll_send(context, rest.get(..count).unwrap_or_default(), is_last))?;
                if let Framing::Length(left) = &mut self.framing {
                    *left = left.saturating_sub(sent as u64);
                }
                Poll::Ready(Ok(sent))
            }
            Framing::Chunked(chunks) => match chunks.next(rest)? {
                Part::More => Poll::Ready(Ok(rest.len())),
                Part::Frame(count) => Poll::Ready(Ok(count)),
                Part::End(count) => {
                    let trailers = trailers(chunks.trailers())?;
                    Poll::Ready(self.end(trailers).map(|()| count))
                }
                Part::Data(count) => {
                    // The end is often there with the last data: one frame instead of two.
                    let is_last = chunks.is_rest(count) && rest.get(count..) == Some(PLAIN_END);
                    self.poll_chunk(context, rest.get(..count).unwrap_or_default(), is_last)
                }
            },
        }
    }

    fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
        is_last: bool,
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(self.poll_send(context, data, is_last))?;
        let Framing::Chunked(chunks) = &mut self.framing else { return Poll::Ready(Ok(sent)) };
        chunks.took(sent);
        if !self.is_over {
            return Poll::Ready(Ok(sent));
        }
        chunks.took_end();
        Poll::Ready(Ok(sent + PLAIN_END.len()))
    }

    /// Sends as much as there is room for; ends the stream with it if that is all of the last data.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
        is_last: bool,
    ) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(data.len());
        let mut room = self.send.capacity();
        while room == 0 {
            room = match ready!(self.send.poll_capacity(context)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        let count = room.min(data.len());
        let ends = is_last && count == data.len();
        let bytes = Bytes::copy_from_slice(data.get(..count).unwrap_or_default());
        self.send.send_data(bytes, ends).map_err(io_error)?;
        self.is_over = ends;
        Poll::Ready(Ok(count))
    }

    fn end(&mut self, trailers: HeaderMap) -> io::Result<()> {
        self.is_over = true;
        if trailers.is_empty() {
            return self.send.send_data(Bytes::new(), true).map_err(io_error);
        }
        self.send.send_trailers(trailers).map_err(io_error)
    }

    /// The writer is done: that is the end of a body that nothing else ends.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        if matches!(self.framing, Framing::UntilShutdown) && !self.is_over {
            return self.end(HeaderMap::new());
        }
        Ok(())
    }
}

fn trailers(block: &[u8]) -> io::Result<HeaderMap> {
    let mut map = HeaderMap::new();
    if !block.is_empty() {
        let block = Bytes::copy_from_slice(block);
        for (name, value) in fields(&block) {
            super::response::put(&mut map, &block, name, value)?;
        }
    }
    Ok(map)
}

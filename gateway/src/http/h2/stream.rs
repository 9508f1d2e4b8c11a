//! One stream of a downstream connection, shown to the exchange as an HTTP/1.1 connection with one request.
//!
//! The end of the client's sending is the end of the request's body and nothing else: a client that leaves resets the
//! stream. A response that the exchange does not finish ends with a reset, so that nobody takes a part for the whole.
//!
//! An extended CONNECT for a WebSocket (RFC 8441) is shown as the upgrade that HTTP/1.1 has for it: its `101` becomes a
//! `200`, and from there both directions are bytes, each with an end of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::h2::ext::Protocol;
use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::incoming::{Delimiter, Incoming};
use super::outgoing::{Framing, Outgoing};
use super::request::{self, Parts, Schemes};
use super::{bad, io_error, response};
use crate::fault::Fault;

enum Answer {
    /// What was written of a head so far.
    Head(Vec<u8>),
    Body(Outgoing),
}

/// One request and its response.
pub(crate) struct StreamIo {
    request: Incoming,
    respond: SendResponse<Bytes>,
    answer: Answer,
    is_head: bool,
    /// What an origin has to say that switches to the WebSocket which this stream asks for.
    accept: Option<Box<str>>,
}

impl StreamIo {
    /// Shows a request. The fault is what is wrong with its head: an answer can be written, nothing can be read.
    pub(super) fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        fits: Schemes,
    ) -> (Self, Option<Fault>) {
        let (parts, body) = request.into_parts();
        let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
        let key = protocol.map(|_| STANDARD.encode(rand::random::<[u8; 16]>()));
        let uri = parts.uri.into_parts();
        let mut head = Vec::with_capacity(HEAD_BYTES_EXPECTED);
        let rendered = request::render(
            &mut head,
            &Parts {
                method: &parts.method,
                scheme: uri.scheme.as_ref().map(http::uri::Scheme::as_str),
                authority: uri.authority.as_ref(),
                path: uri.path_and_query.as_ref(),
                fields: &parts.headers,
                has_ended: body.is_end_stream(),
                fits,
                tunnel: protocol.zip(key.as_deref()),
            },
        );
        let (delimiter, fault) = match rendered {
            Ok(true) => (Delimiter::Chunks, None),
            Ok(false) => (Delimiter::Head, None),
            Err(fault) => {
                head.clear();
                (Delimiter::Head, Some(fault))
            }
        };
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(length);
        let io = Self {
            request: Incoming::new(head, body, delimiter).of_length(length),
            respond,
            answer: Answer::Head(Vec::new()),
            is_head: parts.method == Method::HEAD,
            accept: key.map(|key| derive_accept_key(key.as_bytes()).into()),
        };
        (io, fault)
    }

    /// The `Sec-WebSocket-Accept` that fits the key of an extended CONNECT.
    pub(crate) fn accept(&self) -> Option<&str> {
        self.accept.as_deref()
    }

    /// Waits for the client to reset the stream, or for the connection's end.
    fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let reset = match &mut self.answer {
            Answer::Head(_) => self.respond.poll_reset(context),
            Answer::Body(body) => body.stream().poll_reset(context),
        };
        Poll::Ready(match ready!(reset) {
            Ok(reason) => io::Error::new(io::ErrorKind::ConnectionReset, ::h2::Error::from(reason)),
            Err(error) => io_error(error),
        })
    }

    fn send_head(&mut self, block: &Bytes) -> io::Result<()> {
        let (mut response, framing) = response::parse(block, self.is_head)?;
        if self.accept.is_some() {
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return self.switch(response);
            }
            if response.status().is_success() {
                // It would say that the tunnel is open. Origins are held to it before; this is an answer of ours.
                *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
            }
        }
        if response.status().is_informational() {
            return self.respond.send_informational(response).map_err(io_error);
        }
        let is_over = matches!(framing, Framing::Empty);
        let send = self.respond.send_response(response, is_over).map_err(io_error)?;
        self.answer = Answer::Body(Outgoing::new(send, framing, is_over));
        Ok(())
    }

    /// Opens the tunnel.
    fn switch(&mut self, mut response: Response<()>) -> io::Result<()> {
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
        let send = self.respond.send_response(response, false).map_err(io_error)?;
        self.answer = Answer::Body(Outgoing::new(send, Framing::UntilShutdown, false));
        Ok(())
    }

    /// Takes bytes of a head, or all of several; returns how many.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Answer::Head(begun) = &mut self.answer else { return Ok(0) };
        if begun.is_empty()
            && let Some(len) = response::head_len(bytes)
        {
            let block = Bytes::copy_from_slice(bytes.get(..len).unwrap_or_default());
            return self.send_head(&block).map(|()| len);
        }
        let before = begun.len();
        begun.extend_from_slice(bytes);
        if begun.len() > config::limits::HEAD_BYTES_MAX * 2 {
            return Err(bad("a response head has no end"));
        }
        let Some(len) = response::head_len(begun) else { return Ok(bytes.len()) };
        let mut block = std::mem::take(begun);
        block.truncate(len);
        self.send_head(&Bytes::from(block)).map(|()| len - before)
    }

    fn is_answered(&self) -> bool {
        matches!(&self.answer, Answer::Body(body) if body.is_over())
    }
}

/// The number that a length says, if it is one; the door judges the field.
fn length(said: &http::HeaderValue) -> Option<u64> {
    let said = said.to_str().ok()?;
    said.parse().ok().filter(|_| said.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Size of a usual request head in bytes: room for it is made at once.
const HEAD_BYTES_EXPECTED: usize = 1024;

impl AsyncRead for StreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.request.is_over() && self.accept.is_some() {
            return Poll::Ready(Ok(()));
        }
        if self.request.is_over() {
            return Poll::Ready(Err(ready!(self.poll_reset(context))));
        }
        let before = room.filled().len();
        ready!(self.request.poll_read(context, room))?;
        if room.filled().len() > before || room.remaining() == 0 || self.accept.is_some() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(ready!(self.poll_reset(context))))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut done = 0;
        while let (Answer::Head(_), Some(rest)) = (&self.answer, bytes.get(done..))
            && !rest.is_empty()
        {
            done += self.write_head(rest)?;
        }
        let rest = bytes.get(done..).unwrap_or_default();
        let Answer::Body(body) = &mut self.answer else { return Poll::Ready(Ok(done)) };
        if rest.is_empty() {
            return Poll::Ready(Ok(done));
        }
        match body.poll_write(context, rest) {
            Poll::Ready(Ok(count)) => Poll::Ready(Ok(done + count)),
            Poll::Pending if done > 0 => Poll::Ready(Ok(done)),
            outcome @ (Poll::Pending | Poll::Ready(Err(_))) => outcome,
        }
    }

    /// Nothing lies here: what was taken is with the connection, which writes as soon as it can.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match &mut self.answer {
            Answer::Head(_) => Ok(()),
            Answer::Body(body) => body.shutdown(),
        })
    }
}

impl Drop for StreamIo {
    fn drop(&mut self) {
        // Answered before the request was whole: the crate itself says NO_ERROR (RFC 9113 § 8.1).
        if self.is_answered() {
            return;
        }
        // RFC 8441 § 5: what a reset is to a WebSocket's connection.
        let reason = if self.accept.is_some() { Reason::CANCEL } else { Reason::INTERNAL_ERROR };
        match &mut self.answer {
            Answer::Head(_) => self.respond.send_reset(reason),
            Answer::Body(body) => body.stream().send_reset(reason),
        }
    }
}

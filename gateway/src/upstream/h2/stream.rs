//! One stream to an endpoint, shown to the exchange as an HTTP/1.1 connection that takes one request.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use ::h2::client::{ResponseFuture, SendRequest};
use ::h2::{Error, Reason};
use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Use;
use super::message::{self, Ending};
use crate::http::h2::incoming::Incoming;
use crate::http::h2::outgoing::{Framing, Outgoing};
use crate::http::h2::{bad, io_error, response};

enum Request {
    /// What was written of the head so far.
    Head(Vec<u8>),
    Body(Outgoing),
}

enum Response {
    /// Nobody was asked yet. Who reads already is told when there is something to wait for.
    Unasked(Option<Waker>),
    Awaited(ResponseFuture),
    Begun(Incoming),
}

/// A request and its response on a shared connection.
pub struct Http2Stream(Box<Inner>);

struct Inner {
    send: SendRequest<Bytes>,
    is_secured: bool,
    is_head: bool,
    request: Request,
    response: Response,
    /// Interim heads that were not read yet.
    early: Vec<u8>,
    /// Last, so that the connection is not idle before the stream is gone.
    _use: Use,
}

impl Http2Stream {
    pub(super) fn new(send: SendRequest<Bytes>, in_use: Use, is_secured: bool) -> Self {
        Self(Box::new(Inner {
            send,
            is_secured,
            is_head: false,
            request: Request::Head(Vec::new()),
            response: Response::Unasked(None),
            early: Vec::new(),
            _use: in_use,
        }))
    }
}

impl fmt::Debug for Http2Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http2Stream")
    }
}

impl Inner {
    fn send_head(&mut self, block: &Bytes) -> io::Result<()> {
        let (request, framing) = message::request(block, self.is_secured)?;
        self.is_head = request.method() == Method::HEAD;
        let is_over = matches!(framing, Framing::Empty);
        let (response, send) = self.send.send_request(request, is_over).map_err(unprocessed)?;
        self.request = Request::Body(Outgoing::new(send, framing, is_over));
        if let Response::Unasked(Some(waker)) =
            std::mem::replace(&mut self.response, Response::Awaited(response))
        {
            waker.wake();
        }
        Ok(())
    }

    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Request::Head(begun) = &mut self.request else { return Ok(0) };
        let before = begun.len();
        begun.extend_from_slice(bytes);
        if begun.len() > config::limits::HEAD_BYTES_MAX * 2 {
            return Err(bad("a request head has no end"));
        }
        let Some(len) = response::head_len(begun) else { return Ok(bytes.len()) };
        let mut block = std::mem::take(begun);
        block.truncate(len);
        self.send_head(&Bytes::from(block)).map(|()| len - before)
    }

    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Response::Awaited(response) = &mut self.response else { return Poll::Ready(Ok(())) };
        if let Poll::Ready(Some(interim)) = response.poll_informational(context) {
            let interim = interim.map_err(response_error)?;
            let ending = Ending { is_head: false, has_ended: false };
            message::response(&mut self.early, interim.status(), interim.headers(), ending);
            return Poll::Ready(Ok(()));
        }
        let response = ready!(Pin::new(response).poll(context)).map_err(response_error)?;
        let (head, body) = response.into_parts();
        let ending = Ending { is_head: self.is_head, has_ended: body.is_end_stream() };
        let mut bytes = Vec::with_capacity(HEAD_BYTES_EXPECTED);
        let delimiter = message::response(&mut bytes, head.status, &head.headers, ending);
        self.response = Response::Begun(Incoming::new(bytes, body, delimiter));
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        loop {
            if !self.early.is_empty() {
                let count = self.early.len().min(room.remaining());
                room.put_slice(self.early.get(..count).unwrap_or_default());
                self.early.drain(..count);
                return Poll::Ready(Ok(()));
            }
            match &mut self.response {
                Response::Unasked(waker) => {
                    *waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Response::Awaited(_) => ready!(self.poll_response(context))?,
                Response::Begun(body) => {
                    if !body.is_over() {
                        ready!(body.poll_read(context, room))?;
                    }
                    if room.filled().len() > before || room.remaining() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    return self.poll_refusal(context);
                }
            }
        }
    }

    /// After the response: the end, once the endpoint says that it takes no more of the request.
    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.request {
            Request::Body(body) if !body.is_over() => {
                let _ = ready!(body.stream().poll_reset(context));
                Poll::Ready(Ok(()))
            }
            Request::Head(_) | Request::Body(_) => Poll::Pending,
        }
    }
}

/// Size of a usual response head in bytes: room for it is made at once.
const HEAD_BYTES_EXPECTED: usize = 512;

/// A request that surely was not processed may be sent again, which the exchange knows by this kind.
fn unprocessed(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, error)
}

fn response_error(error: Error) -> io::Error {
    // RFC 9113 § 8.7: refused, or above the last stream that a GOAWAY names.
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (is_refused || error.is_go_away()) {
        return unprocessed(error);
    }
    io_error(error)
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(context, room)
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut self.0;
        let done = inner.write_head(bytes)?;
        let rest = bytes.get(done..).unwrap_or_default();
        let Request::Body(body) = &mut inner.request else { return Poll::Ready(Ok(done)) };
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

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

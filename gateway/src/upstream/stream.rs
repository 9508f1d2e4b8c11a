//! One connection to an endpoint, whatever it is made of.
//!
//! The exchange speaks HTTP/1.1 in bytes and does not know what lies beneath: a socket, TLS over one, or one stream of
//! an HTTP/2 connection that is shown as an HTTP/1.1 connection of its own.

use std::io::{ErrorKind, IoSlice, Result};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio_rustls::client::TlsStream;

use super::h2::Http2Stream;

/// A connection to an endpoint.
#[derive(Debug)]
pub enum Stream {
    /// A plain socket.
    Plain(TcpStream),
    /// TLS over a socket. Boxed: it is large, and most connections are plain.
    Tls(Box<TlsStream<TcpStream>>),
    /// One stream of an HTTP/2 connection; for one request.
    Http2(Http2Stream),
}

impl Stream {
    /// The socket, where nothing lies between: what splice(2) may work on.
    pub const fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(io) => Some(io),
            Self::Tls(_) | Self::Http2(_) => None,
        }
    }

    /// Whether an idle connection is still open and nothing was sent on it, as far as can be told without asking. Costs
    /// a system call only if something happened on the socket since it was read last.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        match self {
            Self::Plain(io) => {
                matches!(io.try_read(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock)
            }
            // Bytes on the socket may be session tickets, which come after the handshake (RFC 8446 § 4.6.1): reading
            // takes those in and yields nothing.
            Self::Tls(io) => {
                let mut into = ReadBuf::new(&mut byte);
                // A task whose turn is over would be told that nothing is there.
                let read = std::future::poll_fn(|context| Pin::new(&mut *io).poll_read(context, &mut into));
                pin!(unconstrained(read)).poll(&mut Context::from_waker(Waker::noop())).is_pending()
            }
            // It had its request; the connection below keeps itself.
            Self::Http2(_) => false,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_read(context, into),
            Self::Tls(io) => {
                // A write to TLS may be done while records still wait for the socket. Who writes no more waits for an
                // answer, so waiting is what sends them. If that fails, what can still be read says more.
                if io.get_ref().1.wants_write() {
                    let _ = Pin::new(&mut *io).poll_flush(context);
                }
                Pin::new(io).poll_read(context, into)
            }
            Self::Http2(io) => Pin::new(io).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_write(context, bytes),
            Self::Tls(io) => Pin::new(io).poll_write(context, bytes),
            Self::Http2(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(context, parts),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(context, parts),
            Self::Http2(io) => Pin::new(io).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
            Self::Http2(_) => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_flush(context),
            Self::Tls(io) => Pin::new(io).poll_flush(context),
            Self::Http2(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_shutdown(context),
            // Says close_notify, then closes this direction only.
            Self::Tls(io) => Pin::new(io).poll_shutdown(context),
            Self::Http2(io) => Pin::new(io).poll_shutdown(context),
        }
    }
}

//! A stream that can be cut from outside. russh runs a session in a task of its own that nobody can abort; cutting what
//! it stands on ends it wherever it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A stream whose operations fail once its token is cancelled.
pub(super) struct Cuttable<S> {
    inner: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S: Unpin> Cuttable<S> {
    pub(super) fn new(inner: S, token: CancellationToken) -> Self {
        Self { inner, cut: Box::pin(token.cancelled_owned()) }
    }

    /// The stream, while it is whole.
    fn whole(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut S>> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(Pin::new(&mut self.inner)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cuttable<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().whole(context)?.poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cuttable<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().whole(context)?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().whole(context)?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut().whole(context)?;
        ready!(stream.poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_waiting_read_fails_when_it_is_cut() {
        let (near, mut far) = duplex(8);
        let token = CancellationToken::new();
        let mut stream = Cuttable::new(near, token.clone());
        far.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');

        let (read, ()) = tokio::join!(stream.read_u8(), async { token.cancel() });

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(stream.write(b"y").await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}

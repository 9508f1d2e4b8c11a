//! A stream that can be cut from outside. russh runs a session in a task of its own that nobody can abort; cutting what
//! it stands on ends it wherever it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use config::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A stream whose operations fail once its token is cancelled, or when the other end takes nothing for too long.
pub(super) struct Cuttable<S> {
    inner: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// How long a write may wait.
    stall_max: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Cuttable<S> {
    pub(super) fn new(inner: S, token: CancellationToken) -> Self {
        Self::with(inner, token, Duration::from_millis(limits::SSH_WRITE_STALL_MS))
    }

    fn with(inner: S, token: CancellationToken, stall_max: Duration) -> Self {
        Self { inner, cut: Box::pin(token.cancelled_owned()), stall_max, stalled: None }
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
        let this = self.get_mut();
        let written = this.whole(context)?.poll_write(context, bytes);
        if written.is_ready() {
            this.stalled = None;
            return written;
        }
        let stalled = this.stalled.get_or_insert_with(|| Box::pin(sleep(this.stall_max)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_in_the_end() {
        let (near, mut far) = duplex(8);
        let mut stream = Cuttable::with(near, CancellationToken::new(), Duration::from_millis(5));
        stream.write_all(b"12345678").await.unwrap();

        let error = stream.write_all(b"9").await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        far.read_exact(&mut [0; 8]).await.unwrap();
        stream.write_all(b"9").await.unwrap();
    }
}

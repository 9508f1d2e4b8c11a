//! The downstream connection, watched while something else is waited for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::super::deadline::Deadline;
use super::super::intake::Intake;
use super::{clock, downstream_gone};
use crate::fault::Fault;

/// The downstream connection.
pub(in super::super) struct Link<IO> {
    pub(in super::super) io: IO,
    pub(in super::super) intake: Intake,
    pub(in super::super) deadline: Deadline,
    /// Whether the other end sends no more.
    pub(in super::super) is_eof: bool,
    /// Decides how the connection looks that is dropped now, by whatever: as cut, or as ended in order.
    pub(in super::super) looks_cut: fn(&IO, bool),
}

impl<IO: AsyncRead + Unpin> Link<IO> {
    /// Waits for `what`, a connection say, but not for somebody who has left, and not beyond `whole_at`.
    ///
    /// Errors: of `what`; or the downstream broke off, or the time is over, and no other try makes sense.
    pub(in super::super) async fn attend<T>(
        &mut self,
        whole_at: Option<Instant>,
        mut what: Pin<&mut impl Future<Output = Result<T, Fault>>>,
    ) -> Result<T, Fault> {
        std::future::poll_fn(|context| {
            if let Poll::Ready(result) = what.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            self.poll_early(context)?;
            let Some(at) = whole_at else { return Poll::Pending };
            self.deadline.set_at(at);
            match self.deadline.poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(clock::whole_is_over())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Watches the downstream while nothing of it is awaited: it may leave, or send early what comes next. Returns
    /// whether it ended its sending now.
    pub(super) fn poll_early(&mut self, context: &mut Context<'_>) -> Result<bool, Fault> {
        if self.is_eof {
            return Ok(false);
        }
        while let Some(Poll::Ready(read)) = self.intake.poll_early(context, &mut self.io) {
            let count: usize = read.map_err(|cause: io::Error| downstream_gone(cause))?;
            if count == 0 {
                self.is_eof = true;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use tokio::io::ReadBuf;

    use super::*;
    use crate::buffers::Buffers;
    use crate::fault::Kind;

    /// Sends a head, then breaks off.
    struct Breaks {
        head: &'static [u8],
    }

    impl AsyncRead for Breaks {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let head = std::mem::take(&mut self.head);
            if head.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            into.put_slice(head);
            Poll::Ready(Ok(()))
        }
    }

    async fn link<IO: AsyncRead + Unpin>(mut io: IO) -> Link<IO> {
        let mut intake = Intake::default();
        let store = Buffers::default();
        std::future::poll_fn(|context| intake.poll_head(context, &mut io, &store)).await.unwrap();
        intake.end_head(4);
        Link { io, intake, deadline: Deadline::in_ms(60_000), is_eof: false, looks_cut: |_, _| {} }
    }

    #[tokio::test]
    async fn a_client_that_breaks_off_is_noticed_while_something_else_is_waited_for() {
        let mut link = link(Breaks { head: b"head" }).await;
        let connection = pin!(std::future::pending::<Result<(), Fault>>());

        let fault = link.attend(None, connection).await.unwrap_err();

        assert_eq!((fault.side, fault.kind), (crate::fault::Side::Downstream, Kind::Closed));
    }

    #[tokio::test]
    async fn a_client_that_ends_its_sending_is_still_served() {
        let mut link = link(&b"head"[..]).await;
        let connection = pin!(async {
            tokio::task::yield_now().await;
            Ok(7)
        });

        assert_eq!(link.attend(None, connection).await.unwrap(), 7);
        assert!(link.is_eof);
    }

    #[tokio::test]
    async fn a_connection_is_not_waited_for_beyond_the_time_of_the_whole() {
        let (_client, io) = tokio::io::duplex(64);
        let mut link = Link {
            io,
            intake: Intake::default(),
            deadline: Deadline::in_ms(60_000),
            is_eof: false,
            looks_cut: |_, _| {},
        };
        let connection = pin!(std::future::pending::<Result<(), Fault>>());

        let whole_at = Instant::now() + Duration::from_millis(5);
        let fault = link.attend(Some(whole_at), connection).await.unwrap_err();

        assert_eq!(fault.kind, Kind::WholeTimeout);
    }
}

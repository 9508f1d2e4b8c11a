//! Sources that hand over what they received as it lies in memory: it is written from there, several pieces by one call.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use config::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that hands over pieces.
pub(crate) trait Pieces: AsyncRead + AsyncWrite + Send + Unpin {
    /// The next piece, which is not empty; `None` at the end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

/// Such a stream, as a relay knows it.
pub(crate) struct InPieces(pub(crate) Box<dyn Pieces>);

impl AsyncRead for InPieces {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for InPieces {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().0).poll_shutdown(context)
    }
}

/// Pieces that were read and not yet written.
#[derive(Default)]
pub(super) struct Gathered(VecDeque<Bytes>);

impl Gathered {
    /// Takes what is there, up to a bound. Nothing: the source has ended.
    pub(super) fn poll_from(context: &mut Context<'_>, from: &mut InPieces) -> Poll<(Self, usize)> {
        let (mut pieces, mut bytes) = (VecDeque::new(), 0);
        while bytes < limits::RELAY_BUFFER_BYTES && pieces.len() < limits::RELAY_PIECES_MAX {
            match from.0.poll_piece(context) {
                Poll::Ready(Some(piece)) => {
                    bytes += piece.len();
                    pieces.push_back(piece);
                }
                Poll::Pending if bytes == 0 => return Poll::Pending,
                // Whoever asks again finds the end again.
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready((Self(pieces), bytes))
    }

    /// Writes as much as is taken.
    pub(super) fn poll_write<W>(&mut self, context: &mut Context<'_>, to: &mut W) -> Poll<io::Result<usize>>
    where
        W: AsyncWrite + Unpin,
    {
        let mut slices = [IoSlice::new(&[]); limits::RELAY_PIECES_MAX];
        for (slice, piece) in slices.iter_mut().zip(&self.0) {
            *slice = IoSlice::new(piece);
        }
        let count = self.0.len().min(slices.len());
        let written =
            ready!(Pin::new(to).poll_write_vectored(context, slices.get(..count).unwrap_or_default()))?;
        let mut rest = written;
        while let Some(piece) = self.0.front_mut().filter(|_| rest > 0) {
            let taken = rest.min(piece.len());
            piece.advance(taken);
            rest -= taken;
            if piece.is_empty() {
                self.0.pop_front();
            }
        }
        Poll::Ready(Ok(written))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::super::RelayLimits;
    use super::*;
    use crate::session::EndReason;

    /// Hands over its pieces and ends; what is written to it goes to the other end of a pipe.
    struct Source(VecDeque<Bytes>, DuplexStream);

    impl Pieces for Source {
        fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<Bytes>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    impl AsyncRead for Source {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            unreachable!("it is asked for pieces")
        }
    }

    impl AsyncWrite for Source {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.get_mut().1).poll_write(context, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().1).poll_flush(context)
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().1).poll_shutdown(context)
        }
    }

    #[tokio::test]
    async fn pieces_of_any_size_arrive_in_order_where_little_is_taken_at_once() {
        // Fewer and more than one call takes, smaller and larger than what fits.
        let sizes = [1, 7, 8, 9, 100_000, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 70_000, 3];
        let mut next = 0_u8;
        let mut piece = |size| {
            let bytes: Bytes =
                (0..size).map(|nth| next.wrapping_add(u8::try_from(nth % 251).unwrap())).collect();
            next = next.wrapping_add(17);
            bytes
        };
        let pieces: VecDeque<Bytes> = sizes.iter().map(|size| piece(*size)).collect();
        let whole: Vec<u8> = pieces.iter().flatten().copied().collect();
        let (near, _far) = duplex(8);
        let mut downstream = InPieces(Box::new(Source(pieces, near)));
        let (mut upstream, mut machine) = duplex(8);
        let limits = RelayLimits { idle: std::time::Duration::from_secs(60) };
        let reading = async {
            let mut arrived = Vec::new();
            machine.read_to_end(&mut arrived).await.unwrap();
            drop(machine);
            arrived
        };

        let (totals, arrived) = tokio::join!(
            super::super::run(&mut downstream, &mut upstream, limits, std::future::pending()),
            reading
        );

        assert!(arrived == whole, "{} of {} bytes", arrived.len(), whole.len());
        assert_eq!((totals.up, totals.reason), (whole.len() as u64, EndReason::Finished));
    }
}

//! The socket below TLS, read ahead of it while a large body comes.
//!
//! The TLS library asks for a record's bytes at a time, and mostly for less. While it gets all it asks for, more is
//! waiting: then one read fetches what is there into a lent buffer, and the next ones are taken from that.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::buffers::Buffer;
use crate::worker::Worker;

/// What one who asks for no less is reading in bulk: the library's least read.
const BULK_ROOM: usize = 4096;

/// A socket that is read ahead.
pub struct Ahead {
    tcp: TcpStream,
    worker: Rc<Worker>,
    /// Held while more comes than was asked for.
    buffer: Option<Buffer>,
}

impl Ahead {
    pub(super) const fn new(tcp: TcpStream, worker: Rc<Worker>) -> Self {
        Self { tcp, worker, buffer: None }
    }

    fn give_back(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.worker.buffers.put(buffer);
        }
    }
}

impl AsyncRead for Ahead {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(buffer) = &mut this.buffer else {
            let is_bulk = room.remaining() >= BULK_ROOM;
            ready!(Pin::new(&mut this.tcp).poll_read(context, room))?;
            if is_bulk && room.remaining() == 0 {
                this.buffer = Some(this.worker.buffers.take_bulk());
            }
            return Poll::Ready(Ok(()));
        };
        if buffer.is_empty() {
            buffer.clear();
            match buffer.poll_fill(context, &mut this.tcp) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                // Who waits holds nothing.
                nothing @ (Poll::Ready(_) | Poll::Pending) => {
                    this.give_back();
                    return nothing.map_ok(|_| ());
                }
            }
        }
        let count = room.remaining().min(buffer.unread().len());
        room.put_slice(buffer.unread().get(..count).unwrap_or_default());
        buffer.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ahead({:?})", self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::runtime::{Builder, LocalOptions};

    async fn pair(worker: &Rc<Worker>) -> (TcpStream, Ahead) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, Ahead::new(listener.accept().await.unwrap().0, Rc::clone(worker)))
    }

    fn run(test: impl AsyncFnOnce(Rc<Worker>)) {
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        let shared = crate::worker::Shared::new(crate::worker::testing::settings(dir.path()), 1);
        runtime.block_on(async { test(Worker::new(shared, 0)).await });
    }

    #[test]
    fn what_comes_in_bulk_is_whole_and_who_waits_holds_no_buffer() {
        run(async |worker| {
            let (mut near, mut far) = pair(&worker).await;
            let sent: Vec<u8> = (0..300_000_u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
            let mut got = vec![0; sent.len()];
            let mut has_held = false;
            let reading = async {
                let mut at = 0;
                // Pieces of a size that fits no buffer.
                while at < got.len() {
                    let end = got.len().min(at + 5_003);
                    at += far.read(&mut got[at..end]).await.unwrap();
                    has_held |= far.buffer.is_some();
                }
                far
            };
            let (mut far, written) = tokio::join!(reading, near.write_all(&sent));
            written.unwrap();
            assert!(has_held && got == sent);

            let mut more = [0; 1];
            let waits = std::future::poll_fn(|context| {
                let mut room = ReadBuf::new(&mut more);
                Poll::Ready(Pin::new(&mut far).poll_read(context, &mut room).is_pending())
            });
            assert!(waits.await && far.buffer.is_none());
            near.shutdown().await.unwrap();
            assert_eq!(far.read(&mut more).await.unwrap(), 0);
        });
    }

    #[test]
    fn small_messages_take_no_buffer() {
        run(async |worker| {
            let (mut near, mut far) = pair(&worker).await;
            let mut room = [0; BULK_ROOM];
            for _ in 0..10 {
                near.write_all(&[7; 100]).await.unwrap();
                far.read_exact(&mut room[..100]).await.unwrap();
                assert!(far.buffer.is_none());
            }
        });
    }
}

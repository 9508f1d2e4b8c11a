//! The socket below TLS, read ahead of it while a large body comes.
//!
//! The TLS library asks for a record's bytes at a time, and mostly for less. While it gets all it asks for, more is
//! waiting: then one read fetches what is there into a lent buffer, and the next ones are taken from that.
//!
//! What ends a handshake is held back until something follows it or the other side is waited for: a session ticket
//! mostly travels with the first response, in one write.

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

/// Most that is held back; a client's authorities and a chain of certificates are none of it.
const HELD_BYTES_MAX: usize = 8 * 1024;
/// Parts of one write, what is held included.
const PARTS_MAX: usize = 16;

/// A socket that is read ahead.
pub struct Ahead {
    tcp: TcpStream,
    worker: Rc<Worker>,
    /// Held while more comes than was asked for.
    buffer: Option<Buffer>,
    /// Written by the library, and not yet to the socket.
    held: Vec<u8>,
    stage: Stage,
}

/// How far the handshake is, by what went through here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was written.
    First,
    /// Something was, and nothing was read since.
    Answered,
    /// The other side answered to that: what is written now is the end, or will be waited upon.
    Last,
    /// Over.
    Open,
}

impl Ahead {
    pub(super) const fn new(tcp: TcpStream, worker: Rc<Worker>) -> Self {
        Self { tcp, worker, buffer: None, held: Vec::new(), stage: Stage::First }
    }

    /// The handshake is over. What is held goes with what follows.
    pub(super) fn has_shaken_hands(&mut self) {
        self.stage = Stage::Open;
    }

    /// Writes what is held.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let count = ready!(Pin::new(&mut self.tcp).poll_write(context, &self.held))?;
            self.written(count)?;
        }
        Poll::Ready(Ok(()))
    }

    /// So much of what is held was written.
    fn written(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.held.drain(..count.min(self.held.len()));
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Ok(())
    }

    /// Reads as the stage of the handshake has it; who waits has said all.
    fn poll_tcp(&mut self, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(read) = Pin::new(&mut self.tcp).poll_read(context, room) else {
            if let Poll::Ready(Err(error)) = self.poll_held(context) {
                return Poll::Ready(Err(error));
            }
            return Poll::Pending;
        };
        if self.stage == Stage::Answered {
            self.stage = Stage::Last;
        }
        Poll::Ready(read)
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
            ready!(this.poll_tcp(context, room))?;
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
                    if nothing.is_pending()
                        && let Poll::Ready(Err(error)) = this.poll_held(context)
                    {
                        return Poll::Ready(Err(error));
                    }
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
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        match this.stage {
            Stage::Last if this.held.len() + length <= HELD_BYTES_MAX => {
                parts.iter().for_each(|part| this.held.extend_from_slice(part));
                return Poll::Ready(Ok(length));
            }
            Stage::First => this.stage = Stage::Answered,
            Stage::Answered | Stage::Last | Stage::Open => {}
        }
        loop {
            if this.held.is_empty() {
                return Pin::new(&mut this.tcp).poll_write_vectored(context, parts);
            }
            let mut all = [IoSlice::new(&[]); PARTS_MAX];
            let before = std::iter::once(IoSlice::new(&this.held));
            let mut used = 0;
            for (place, part) in all.iter_mut().zip(before.chain(parts.iter().map(|part| IoSlice::new(part))))
            {
                *place = part;
                used += 1;
            }
            let all = all.get(..used).unwrap_or_default();
            let count = ready!(Pin::new(&mut this.tcp).poll_write_vectored(context, all))?;
            let held = this.held.len();
            this.written(count)?;
            if count > held {
                return Poll::Ready(Ok(count - held));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The library flushes at the end of a handshake; whoever comes then reads, and what is held goes at the latest then.
        if this.stage == Stage::Open {
            ready!(this.poll_held(context))?;
        }
        Pin::new(&mut this.tcp).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_held(context))?;
        Pin::new(&mut this.tcp).poll_shutdown(context)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // An alert that ends a handshake; one that the socket does not take at once has nobody to read it. A ticket for
        // who went away again is nobody's.
        if self.stage != Stage::Open && !self.held.is_empty() {
            let _ = self.tcp.try_write(&self.held);
        }
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

    /// A socket at which a handshake has written its end, and the other side of it.
    async fn at_the_end(worker: &Rc<Worker>) -> (TcpStream, Ahead) {
        let (mut near, mut far) = pair(worker).await;
        let mut got = [0; 5];
        far.write_all(b"hello").await.unwrap();
        near.read_exact(&mut got).await.unwrap();
        near.write_all(b"ended").await.unwrap();
        far.read_exact(&mut got).await.unwrap();
        far.write_all(b"ticket").await.unwrap();
        far.flush().await.unwrap();
        assert_eq!(far.held, b"ticket");
        (near, far)
    }

    #[test]
    fn what_ends_a_handshake_travels_with_what_follows() {
        run(async |worker| {
            let (mut near, mut far) = at_the_end(&worker).await;
            far.has_shaken_hands();
            assert_eq!(far.write(b"response").await.unwrap(), 8);
            assert_eq!(far.held.capacity(), 0);
            let mut got = [0; 100];
            assert_eq!(near.read(&mut got).await.unwrap(), 14, "in one piece");
            assert_eq!(&got[..14], b"ticketresponse");
        });
    }

    #[test]
    fn who_waits_or_flushes_or_closes_has_said_all() {
        run(async |worker| {
            for step in ["wait", "flush", "close"] {
                let (mut near, mut far) = at_the_end(&worker).await;
                far.has_shaken_hands();
                let mut got = [0; 6];
                match step {
                    "wait" => {
                        let mut nothing = [0; 1];
                        tokio::select! {
                            biased;
                            _ = far.read(&mut nothing) => panic!("nothing was sent"),
                            read = near.read_exact(&mut got) => assert_eq!(read.unwrap(), 6),
                        }
                    }
                    "flush" => far.flush().await.unwrap(),
                    _ => far.shutdown().await.unwrap(),
                }
                if step != "wait" {
                    near.read_exact(&mut got).await.unwrap();
                }
                assert_eq!((&got, far.held.len()), (b"ticket", 0), "{step}");
            }
        });
    }

    #[test]
    fn an_alert_is_sent_when_a_handshake_fails_and_no_ticket_to_who_went_away() {
        run(async |worker| {
            let (mut near, far) = at_the_end(&worker).await;
            drop(far);
            let mut got = Vec::new();
            near.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"ticket");

            let (mut near, mut far) = at_the_end(&worker).await;
            far.has_shaken_hands();
            drop(far);
            got.clear();
            near.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"");
        });
    }
}

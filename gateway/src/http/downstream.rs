//! One downstream connection between requests: waiting for a head, writing an answer of our own, closing.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::ConnMeta;
use super::codec::Progress;
use super::deadline::Deadline;
use super::door;
use super::exchange::Link;
use super::intake::Intake;
use super::scratch::Scratch;
use crate::fault::{Fault, Kind};
use crate::guard::Permit;
use crate::worker::Worker;

/// A downstream connection.
pub(super) struct Connection<IO> {
    pub(super) worker: Rc<Worker>,
    pub(super) meta: ConnMeta,
    pub(super) link: Link<IO>,
    /// First half of its requests' ids.
    pub(super) id: u64,
    /// Requests so far.
    pub(super) requests: u64,
    /// What it was admitted by; a stream of HTTP/2 has none of its own.
    pub(super) permit: Option<Permit>,
}

/// What came of waiting for a request.
pub(super) enum Arrival {
    /// A complete head of this many bytes.
    Head(usize),
    /// A head that is refused before it is complete or understood.
    Refused(Box<Fault>),
    /// Nothing has come for a while, and may still.
    Quiet,
    /// Nothing more will come.
    Over,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    pub(super) fn new(worker: Rc<Worker>, io: IO, meta: ConnMeta) -> Self {
        let deadline = Deadline::in_ms(worker.http.deadlines().keep_alive_ms);
        // What is no socket says by itself that it was cut: a TLS layer, a stream of HTTP/2.
        let looks_cut = |_: &IO, _| {};
        let link = Link { io, intake: Intake::default(), deadline, is_eof: false, looks_cut };
        Self { worker, meta, link, id: rand::random(), requests: 0, permit: None }
    }

    /// Waits for the next request. Takes a scratch only when its first byte is there. Between two requests the
    /// connection ends when `stopping` resolves. Where `tires`, it waits for the beginning a short time only.
    pub(super) async fn arrival(
        &mut self,
        scratch: &mut Option<Box<Scratch>>,
        tires: bool,
        mut stopping: Pin<&mut impl Future<Output = ()>>,
    ) -> Arrival {
        let deadlines = self.worker.http.deadlines();
        let tires = tires && deadlines.quiet_ms < deadlines.keep_alive_ms;
        self.link.deadline.set_ms(if tires { deadlines.quiet_ms } else { deadlines.keep_alive_ms });
        let mut has_begun = false;
        let arrival = std::future::poll_fn(|context| {
            self.poll_arrival(context, scratch, &mut has_begun, stopping.as_mut())
        });
        match arrival.await {
            Arrival::Quiet if !tires => Arrival::Over,
            arrival @ (Arrival::Head(_) | Arrival::Refused(_) | Arrival::Quiet | Arrival::Over) => arrival,
        }
    }

    fn poll_arrival(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Option<Box<Scratch>>,
        has_begun: &mut bool,
        stopping: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Arrival> {
        loop {
            let head = self.link.intake.head();
            if !head.is_empty() {
                let scratch = scratch.get_or_insert_with(|| self.worker.http.take());
                match scratch.request.parse_request(head) {
                    Ok(Progress::Complete(len)) => return Poll::Ready(Arrival::Head(len)),
                    Ok(Progress::Partial) => {}
                    Err(broken) => return Poll::Ready(Arrival::Refused(Box::new(door::refused(broken)))),
                }
            }
            match self.link.intake.poll_head(context, &mut self.link.io, &self.worker.buffers) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Arrival::Over),
                Poll::Pending => break,
            }
        }
        let is_idle = self.link.intake.head().is_empty();
        if is_idle && stopping.poll(context).is_ready() {
            return Poll::Ready(Arrival::Over);
        }
        if !is_idle && !std::mem::replace(has_begun, true) {
            self.link.deadline.set_ms(self.worker.http.deadlines().request_head_ms);
        }
        if self.link.deadline.poll(context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(if is_idle {
            Arrival::Quiet
        } else {
            let late = Fault::downstream(Kind::RequestTimeout, "the head did not arrive in time");
            Arrival::Refused(Box::new(late))
        })
    }

    /// Writes all of `bytes`, or as much as the other end takes in time.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let deadline = Duration::from_millis(self.worker.http.deadlines().send_ms);
        let all = async {
            self.link.io.write_all(bytes).await?;
            self.link.io.flush().await
        };
        tokio::time::timeout(deadline, all).await.map_err(|_| std::io::ErrorKind::TimedOut)?
    }

    /// Ends the connection so that what was written arrives: with bytes unread, a plain close would reset it.
    pub(super) async fn close(&mut self) {
        let (link, buffers) = (&mut self.link, &self.worker.buffers);
        let until_end = async {
            link.io.shutdown().await?;
            while !link.is_eof {
                link.intake.release(buffers);
                let read =
                    std::future::poll_fn(|context| link.intake.poll_head(context, &mut link.io, buffers));
                link.is_eof = read.await? == 0;
            }
            std::io::Result::Ok(())
        };
        // An end that is not reached in time, or not cleanly, is an end all the same.
        let _ =
            tokio::time::timeout(Duration::from_millis(self.worker.http.deadlines().linger_ms), until_end)
                .await;
        self.link.intake.release(&self.worker.buffers);
    }
}

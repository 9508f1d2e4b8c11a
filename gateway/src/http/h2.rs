//! HTTP/2 downstream, on the `h2` crate: frames, windows and HPACK are its, everything about requests is ours.
//!
//! Each stream is shown to the exchange as an HTTP/1.1 connection with one request ([`stream`]), so the door, the routes
//! and the filters exist once. Read [`serve`] first, then `stream.rs` with `incoming.rs` and `outgoing.rs`, which serve
//! the upstream side as well. `watched.rs` sees every frame pass and `floods.rs` counts those that only make work.

pub(crate) mod chunks;
mod floods;
mod frames;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod request;
pub(crate) mod response;
mod stream;
mod watched;
mod wire;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::h2::server::{Builder, Connection as Frames, SendResponse};
use ::h2::{Error, Reason, RecvStream};
use bytes::Bytes;
use config::limits;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::ConnMeta;
use super::deadline::Deadline;
use super::downstream::Connection;
use super::serve::{follow, serve_one};
use crate::guard::Permit;
use crate::listener::accept::PanicCount;
use crate::worker::Worker;
use request::Schemes;
use watched::{Seen, Watched};
use wire::Wire;

pub(crate) use stream::StreamIo;
pub(crate) use watched::PREFACE;

/// Serves a connection that speaks HTTP/2, to its end. `early` is what was read of it already.
pub(crate) async fn serve<IO>(worker: Rc<Worker>, io: IO, early: Vec<u8>, meta: ConnMeta, permit: Permit)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (io, seen, wire) = Watched::new(io, early);
    let time = Duration::from_millis(worker.http.deadlines().request_head_ms);
    let Ok(Ok(frames)) = tokio::time::timeout(time, settings().handshake(io)).await else { return };
    let shared = Arc::clone(&worker.shared);
    let mut draining = pin!(shared.drain.begun());
    let open =
        Rc::new(Open { streams: Cell::new(0), idle_since: Cell::new(Instant::now()), _permit: permit });
    let deadline = Deadline::in_ms(worker.http.deadlines().tick_ms());
    let fits = schemes(&worker, &meta);
    let id = rand::random();
    wire.borrow_mut().is_pushed = true;
    let mut session =
        Session { worker, meta, frames, seen, wire, open, deadline, fits, id, requests: 0, leaving: None };
    std::future::poll_fn(|context| session.poll(context, draining.as_mut())).await;
}

fn settings() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(limits::H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
        .data_frame_budget(limits::H2_SMALL_DATA_BUDGET_BYTES)
        .max_concurrent_streams(limits::H2_STREAMS_MAX)
        .max_header_list_size(limits::HEAD_BYTES_MAX as u32)
        .max_concurrent_reset_streams(limits::H2_RESET_STREAMS_KEPT)
        .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(limits::H2_FORCED_RESETS_IN_ALL_MAX))
        .max_send_buffer_size(limits::H2_SEND_BUFFER_BYTES)
        .enable_connect_protocol();
    builder
}

/// A trusted proxy that ended TLS says `https` on a plain connection.
fn schemes(worker: &Worker, meta: &ConnMeta) -> Schemes {
    let peer = meta.peer.ip().to_canonical();
    if worker.shared.settings.trusted_proxies.iter().any(|net| net.contains(&peer)) {
        return Schemes::Both;
    }
    if meta.secured.is_some() { Schemes::Https } else { Schemes::Http }
}

/// The streams that are served, of one connection. Those that outlive it hold its permit.
struct Open {
    streams: Cell<u32>,
    idle_since: Cell<Instant>,
    _permit: Permit,
}

struct OpenStream(Rc<Open>);

impl OpenStream {
    fn of(open: &Rc<Open>) -> Self {
        open.streams.set(open.streams.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let streams = self.0.streams.get() - 1;
        self.0.streams.set(streams);
        if streams == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// Why a connection takes no more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// The requests under way are served.
    Gracefully,
    /// The client is told why, and that is all.
    AtOnce,
}

struct Session<IO> {
    worker: Rc<Worker>,
    meta: ConnMeta,
    frames: Frames<Watched<IO>, Bytes>,
    seen: Rc<Seen>,
    wire: Rc<RefCell<Wire<IO>>>,
    open: Rc<Open>,
    deadline: Deadline,
    fits: Schemes,
    /// First half of its requests' ids.
    id: u64,
    requests: u64,
    leaving: Option<Leaving>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Session<IO> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<()> {
        loop {
            match self.frames.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.log(&error);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if let Some(flood) = self.seen.floods.found()
                && self.leaving != Some(Leaving::AtOnce)
            {
                self.worker.counters.h2_flood();
                tracing::debug!(peer = %self.meta.peer, ?flood, "an HTTP/2 connection is ended as a flood");
                self.leave(Leaving::AtOnce);
                continue;
            }
            if self.leaving.is_none() && draining.as_mut().poll(context).is_ready() {
                self.leave(Leaving::Gracefully);
                continue;
            }
            if self.push(context).is_err() {
                return Poll::Ready(());
            }
            std::task::ready!(self.deadline.poll(context));
            if self.is_over_time() {
                return Poll::Ready(());
            }
        }
    }

    /// Sends what the streams that were ready together have left.
    fn push(&self, context: &mut Context<'_>) -> io::Result<()> {
        let pushed = self.wire.borrow_mut().poll_push(context);
        match pushed {
            Poll::Ready(pushed) => {
                self.seen.stalled_since.set(None);
                pushed
            }
            Poll::Pending => {
                self.seen.stalled();
                Ok(())
            }
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        // Streams that the client reset are not the crate's any more, but may still be under way here.
        if self.open.streams.get() >= 2 * limits::H2_STREAMS_MAX {
            respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        self.requests += 1;
        if self.requests >= limits::H2_REQUESTS_MAX && self.leaving.is_none() {
            self.leave(Leaving::Gracefully);
        }
        let (io, fault) = StreamIo::new(request, respond, self.fits);
        let mut connection = Connection::new(Rc::clone(&self.worker), io, self.meta.clone());
        (connection.id, connection.requests) = (self.id, self.requests);
        let open = OpenStream::of(&self.open);
        tokio::task::spawn_local(async move {
            let worker = Rc::clone(&connection.worker);
            let _panic = PanicCount::on(&worker.counters);
            let left = serve_one(connection, fault).await;
            if let Some((connection, next)) = left {
                // A task of its own: this one has room for all that a request may do.
                let worker = Rc::clone(&worker);
                tokio::task::spawn_local(async move {
                    let _panic = PanicCount::on(&worker.counters);
                    follow(connection, next).await;
                    drop(open);
                });
            }
        });
    }

    fn leave(&mut self, how: Leaving) {
        self.leaving = Some(how);
        match how {
            Leaving::Gracefully => self.frames.graceful_shutdown(),
            Leaving::AtOnce => self.frames.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
        }
        self.deadline.set_ms(self.worker.http.deadlines().linger_ms);
    }

    /// Looks what has taken too long; sets the time of the next look.
    fn is_over_time(&mut self) -> bool {
        let deadlines = self.worker.http.deadlines();
        let now = Instant::now();
        let has_lasted = |since: Option<Instant>, ms| {
            since.is_some_and(|since| now.duration_since(since) >= Duration::from_millis(ms))
        };
        let is_idle = self.open.streams.get() == 0;
        if self.leaving == Some(Leaving::AtOnce)
            || (self.leaving.is_some() && is_idle)
            || has_lasted(self.seen.stalled_since.get(), deadlines.send_ms)
            || has_lasted(self.seen.floods.block_since(), deadlines.request_head_ms)
        {
            return true;
        }
        let idle_since = is_idle.then(|| self.open.idle_since.get());
        if has_lasted(idle_since, deadlines.keep_alive_ms) {
            self.leave(Leaving::Gracefully);
        } else if self.leaving.is_some() {
            self.deadline.set_ms(deadlines.linger_ms);
        } else {
            self.deadline.set_ms(deadlines.tick_ms());
        }
        false
    }

    fn log(&self, error: &Error) {
        // The crate's own bounds on work.
        if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
            self.worker.counters.h2_flood();
        }
        tracing::debug!(peer = %self.meta.peer, %error, "an HTTP/2 connection ended");
    }
}

/// What went wrong on a stream, for who knows streams of bytes.
pub(crate) fn io_error(error: Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

/// A rule of our own that was broken.
pub(crate) fn bad(rule: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rule)
}

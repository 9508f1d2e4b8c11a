//! HTTP/2 towards endpoints: connections that one worker shares among its requests, one stream for each.
//!
//! A connection takes [`limits::H2_UPSTREAM_STREAMS_MAX`] requests at once, or what the endpoint allows; then there is
//! another. It takes no more after an error, a GOAWAY, or once its endpoint left, and closes when its last stream ended
//! or it was idle for too long. [`stream`] shows a stream as an HTTP/1.1 connection.

mod message;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use ::h2::client::{Builder, SendRequest};
use bytes::Bytes;
use config::id::EndpointId;
use config::limits;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::pool::{Key, Lease};
use super::resolve::Place;
use super::way::Way;
use super::{Call, Stream, open, resolve};
use crate::fault::{Cause, Fault, Kind, Retry};
use crate::worker::Worker;

pub use stream::Http2Stream;

/// One connection.
struct Session {
    key: Key,
    place: Option<Box<Place>>,
    is_secured: bool,
    /// `None` once nothing new may go over it.
    send: RefCell<Option<SendRequest<Bytes>>>,
    streams: Cell<usize>,
    idle_since: Cell<Instant>,
}

impl Session {
    fn has_room(&self, key: &Key) -> bool {
        if self.key != *key || self.place.as_ref().is_some_and(|place| !place.is_current()) {
            return false;
        }
        let send = self.send.borrow();
        let most = send.as_ref().map_or(0, SendRequest::current_max_send_streams);
        self.streams.get() < most.min(limits::H2_UPSTREAM_STREAMS_MAX)
    }

    /// A stream of it; `None` if the connection turns out to be over.
    fn stream(self: &Rc<Self>) -> Option<Http2Stream> {
        let mut place = self.send.borrow_mut();
        let send = place.as_mut()?;
        // Ready at once, or an error: there is room.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if let Poll::Ready(Ok(())) = send.poll_ready(&mut context) {
            return Some(Http2Stream::new(send.clone(), Use::of(self), self.is_secured));
        }
        *place = None;
        None
    }

    fn is_over_time(&self, now: Instant) -> bool {
        self.streams.get() == 0
            && now.duration_since(self.idle_since.get()) >= Duration::from_millis(limits::UPSTREAM_IDLE_MS)
    }
}

/// Counts a stream of a session as open.
struct Use(Rc<Session>);

impl Use {
    fn of(session: &Rc<Session>) -> Self {
        session.streams.set(session.streams.get() + 1);
        Self(Rc::clone(session))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

#[derive(Default)]
struct Endpoint {
    sessions: Vec<Weak<Session>>,
    /// Held while a connection is made, so that a burst of requests makes one.
    dialling: Rc<Mutex<()>>,
}

/// One worker's connections.
#[derive(Default)]
pub(super) struct Sessions {
    endpoints: RefCell<HashMap<EndpointId, Endpoint>>,
}

impl Sessions {
    fn stream(&self, key: &Key) -> Option<(Http2Stream, Option<Box<Place>>)> {
        let mut endpoints = self.endpoints.borrow_mut();
        let endpoint = endpoints.get_mut(&key.endpoint)?;
        endpoint.sessions.retain(|session| session.strong_count() > 0);
        let mut sessions = endpoint.sessions.iter().filter_map(Weak::upgrade);
        sessions.find_map(|session| {
            let stream = if session.has_room(key) { session.stream() } else { None };
            Some((stream?, session.place.clone()))
        })
    }

    fn dialling(&self, id: EndpointId) -> Rc<Mutex<()>> {
        Rc::clone(&self.endpoints.borrow_mut().entry(id).or_default().dialling)
    }

    /// Lets connections to endpoints that left the table end with their last stream.
    pub(super) fn retire(&self, ids: &HashSet<EndpointId>) {
        self.endpoints.borrow_mut().retain(|id, endpoint| {
            let leaves = ids.contains(id);
            if leaves {
                for session in endpoint.sessions.iter().filter_map(Weak::upgrade) {
                    session.send.replace(None);
                }
            }
            !leaves
        });
    }
}

/// Lends a stream of a connection that stands, or of a new one.
///
/// Errors: as for any connection.
pub(super) async fn lease(worker: &Rc<Worker>, call: &Call<'_>, way: &Way, key: Key) -> Result<Lease, Fault> {
    let sessions = &worker.upstream.sessions;
    if call.takes_idle
        && let Some((stream, place)) = sessions.stream(&key)
    {
        if let Some(place) = &place {
            resolve::touch(worker, place);
        }
        return Ok(lent(stream, true, key));
    }
    let late = || Fault::upstream(Kind::Timeout, Retry::Safe, Cause::Rule("the connection took too long"));
    let opened = async {
        let dialling = sessions.dialling(key.endpoint);
        let waited = dialling.try_lock().is_err();
        let _dialling = dialling.lock().await;
        if waited && let Some((stream, _)) = sessions.stream(&key) {
            return Ok(lent(stream, false, key));
        }
        let lease = open::open(worker, call, Some(way), key).await?;
        begin(worker, lease).await
    };
    timeout(call.deadline, opened).await.map_err(|_| late())?
}

const fn lent(stream: Http2Stream, is_reused: bool, key: Key) -> Lease {
    Lease { stream: Stream::Http2(stream), is_reused, key, place: None }
}

/// Begins to speak HTTP/2 on a new connection.
async fn begin(worker: &Rc<Worker>, lease: Lease) -> Result<Lease, Fault> {
    let Lease { stream, key, place, .. } = lease;
    let is_secured = matches!(stream, Stream::Tls(_));
    let refused = |error| Fault::upstream(Kind::Refused, Retry::Safe, crate::http::h2::io_error(error));
    let (send, connection) = settings().handshake(stream).await.map_err(refused)?;
    let session = Rc::new(Session {
        key: key.clone(),
        place,
        is_secured,
        send: RefCell::new(Some(send)),
        streams: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
    });
    let mut endpoints = worker.upstream.sessions.endpoints.borrow_mut();
    endpoints.entry(key.endpoint).or_default().sessions.push(Rc::downgrade(&session));
    drop(endpoints);
    let stream = session.stream();
    tokio::task::spawn_local(drive(session, connection));
    let stream = stream.ok_or_else(|| {
        Fault::upstream(Kind::Refused, Retry::Safe, Cause::Rule("the endpoint closed its connection at once"))
    })?;
    Ok(lent(stream, false, key))
}

fn settings() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(limits::H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::H2_UPSTREAM_WINDOW_BYTES)
        .data_frame_budget(limits::H2_UPSTREAM_WINDOW_BYTES as usize)
        .max_header_list_size(limits::HEAD_BYTES_MAX as u32)
        .max_send_buffer_size(limits::H2_SEND_BUFFER_BYTES);
    builder
}

/// Moves the bytes of a connection until it ends. Holds the session, which is over with it.
async fn drive(session: Rc<Session>, connection: impl Future<Output = Result<(), ::h2::Error>>) {
    let mut connection = pin!(connection);
    let look = Duration::from_millis(limits::UPSTREAM_IDLE_MS / 10);
    loop {
        match timeout(look, connection.as_mut()).await {
            Ok(ended) => {
                session.send.replace(None);
                if let Err(error) = ended {
                    tracing::debug!(endpoint = %session.key.endpoint, %error, "an HTTP/2 connection ended");
                }
                return;
            }
            // Without anybody who could send, the connection says goodbye and ends.
            Err(_) if session.is_over_time(Instant::now()) => drop(session.send.replace(None)),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;

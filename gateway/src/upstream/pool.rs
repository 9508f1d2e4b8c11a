//! Idle connections of one worker, by endpoint and the way they were made.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use config::id::EndpointId;
use config::limits;
use tokio::time::Instant;

use super::resolve::Place;
use super::way::Way;
use super::{Call, Ends, Stream};
use crate::worker::Worker;

/// What a connection is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) endpoint: EndpointId,
    /// Number of the way it was made; 0 is the plain one.
    way: u64,
    /// Whose it is, where a PROXY header told the endpoint.
    ends: Option<Box<Ends>>,
}

impl Key {
    /// That of a connection made the plain way.
    #[cfg(test)]
    pub(super) const fn plain(endpoint: EndpointId) -> Self {
        Self { endpoint, way: 0, ends: None }
    }

    pub(super) fn new(call: &Call<'_>, way: Option<&Way>) -> Self {
        let told = way.and_then(|way| way.proxy).and(call.ends);
        Self {
            endpoint: call.endpoint.id,
            way: way.map_or(0, |way| way.number),
            ends: told.copied().map(Box::new),
        }
    }
}

/// A connection that is lent.
#[derive(Debug)]
pub struct Lease {
    /// The connection.
    pub stream: Stream,
    /// Whether it carried an earlier request.
    pub is_reused: bool,
    pub(super) key: Key,
    /// Where the name led that it was made for; `None` where the target is an address.
    // Boxed: rare, and its size would be every connection's.
    pub(super) place: Option<Box<Place>>,
}

impl Lease {
    /// The address that a name led to; `None` where the target is an address.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.place.as_ref().map(|place| place.ip)
    }
}

struct Idle {
    lease: Lease,
    since: Instant,
}

impl Idle {
    fn is_good(&mut self, now: Instant) -> bool {
        now.duration_since(self.since) < Duration::from_millis(limits::UPSTREAM_IDLE_MS)
            && self.lease.place.as_ref().is_none_or(|place| place.is_current())
            && self.lease.stream.is_quiet()
    }
}

/// Idle connections, the one used last on top: those below expire first.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<EndpointId, Vec<Idle>>>,
    len: Cell<usize>,
    is_swept: Cell<bool>,
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    pub(super) fn checkout(&self, key: &Key, now: Instant) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&key.endpoint)?;
        while let Some(at) = stack.iter().rposition(|idle| idle.lease.key == *key) {
            let mut found = stack.remove(at);
            self.len.set(self.len.get() - 1);
            if found.is_good(now) {
                found.lease.is_reused = true;
                return Some(found.lease);
            }
        }
        None
    }

    /// Keeps a connection, or closes it where there are enough. Returns whether a sweeper is wanted.
    pub(super) fn checkin(&self, lease: Lease, now: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.entry(lease.key.endpoint).or_default();
        // One that belongs to a single client waits in vain once that one left: the oldest of those makes room.
        if stack.len() >= limits::IDLE_PER_ENDPOINT_MAX
            && let Some(at) = stack.iter().position(|idle| idle.lease.key.ends.is_some())
        {
            stack.remove(at);
            self.len.set(self.len.get() - 1);
        }
        if stack.len() < limits::IDLE_PER_ENDPOINT_MAX && self.len.get() < limits::IDLE_PER_WORKER_MAX {
            stack.push(Idle { lease, since: now });
            self.len.set(self.len.get() + 1);
        }
        !self.is_swept.replace(true)
    }

    /// Closes what leads to these.
    pub(super) fn retire(&self, ids: &HashSet<EndpointId>) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|id, _| !ids.contains(id));
        self.len.set(idle.values().map(Vec::len).sum());
    }

    /// Closes what leads where its name does not lead any more (DESIGN D5).
    pub(super) fn leave_moved(&self) {
        let mut idle = self.idle.borrow_mut();
        for stack in idle.values_mut() {
            stack.retain(|idle| idle.lease.place.as_ref().is_none_or(|place| place.is_current()));
        }
        self.len.set(idle.values().map(Vec::len).sum());
    }

    /// Closes what is too old or was closed by the other end. Returns whether anything is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, stack| {
            stack.retain_mut(|idle| idle.is_good(now));
            !stack.is_empty()
        });
        self.len.set(idle.values().map(Vec::len).sum());
        self.is_swept.set(self.len.get() > 0);
        self.is_swept.get()
    }
}

/// Sweeps the pool of `worker` from time to time, until nothing is in it.
pub(super) fn sweep(worker: &Rc<Worker>) {
    let worker = Rc::downgrade(worker);
    let pause = Duration::from_millis(limits::UPSTREAM_IDLE_MS / 10);
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(pause).await;
            let Some(worker) = worker.upgrade() else { return };
            if !worker.upstream.pool.sweep(Instant::now()) {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const ONE: Key = Key { endpoint: EndpointId::from_bytes([1; 16]), way: 0, ends: None };
    const TWO: Key = Key { endpoint: EndpointId::from_bytes([2; 16]), way: 0, ends: None };

    async fn pair(key: Key) -> (Lease, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let lease = Lease { stream: Stream::Plain(near), is_reused: false, key, place: None };
        (lease, listener.accept().await.unwrap().0)
    }

    fn near(lease: &Lease) -> std::net::SocketAddr {
        lease.stream.plain().unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn the_connection_used_last_comes_first_and_only_for_its_endpoint() {
        let (pool, now) = (Pool::default(), Instant::now());
        let ((first, _far_1), (second, _far_2)) = (pair(ONE).await, pair(ONE).await);
        let last = near(&second);
        pool.checkin(first, now);
        pool.checkin(second, now);

        assert!(pool.checkout(&TWO, now).is_none());
        assert_eq!(near(&pool.checkout(&ONE, now).unwrap()), last);
        assert_eq!(pool.len(), 1);
    }

    #[tokio::test]
    async fn a_connection_is_lent_only_for_the_way_and_the_client_it_was_made_for() {
        let (pool, now) = (Pool::default(), Instant::now());
        let ends = |port| {
            Some(Box::new(Ends {
                client: ([192, 0, 2, 1], port).into(),
                local: ([192, 0, 2, 9], 443).into(),
            }))
        };
        let proxied = Key { way: 1, ends: ends(5), ..ONE };
        let (lease, _far) = pair(proxied.clone()).await;
        pool.checkin(lease, now);

        for other in [ONE, Key { way: 2, ..proxied.clone() }, Key { ends: ends(6), ..proxied.clone() }] {
            assert!(pool.checkout(&other, now).is_none());
        }
        assert!(pool.checkout(&proxied, now).is_some());
    }

    #[tokio::test]
    async fn a_connection_that_the_origin_closed_or_wrote_on_is_not_lent() {
        let (pool, now) = (Pool::default(), Instant::now());
        let ((closed, far_1), (talked, mut far_2)) = (pair(ONE).await, pair(ONE).await);
        drop(far_1);
        far_2.write_all(b"HTTP/1.1 408 Request Timeout\r\n").await.unwrap();
        closed.stream.plain().unwrap().readable().await.unwrap();
        talked.stream.plain().unwrap().readable().await.unwrap();
        pool.checkin(closed, now);
        pool.checkin(talked, now);

        assert!(pool.checkout(&ONE, now).is_none());
        assert_eq!(pool.len(), 0);
    }

    #[tokio::test]
    async fn connections_to_an_endpoint_that_left_are_closed() {
        use tokio::io::AsyncReadExt as _;
        let (pool, now) = (Pool::default(), Instant::now());
        let ((left, mut far_1), (stays, _far_2)) = (pair(ONE).await, pair(TWO).await);
        pool.checkin(left, now);
        pool.checkin(stays, now);

        pool.retire(&[ONE.endpoint].into());

        assert_eq!(far_1.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(pool.len(), 1);
        assert!(pool.checkout(&TWO, now).is_some());
    }

    #[tokio::test]
    async fn an_old_connection_is_neither_lent_nor_kept() {
        let (pool, now) = (Pool::default(), Instant::now());
        let (near, _far) = pair(ONE).await;
        pool.checkin(near, now);
        let later = now + Duration::from_millis(limits::UPSTREAM_IDLE_MS);

        assert!(!pool.sweep(later));
        assert!(pool.checkout(&ONE, later).is_none());
    }
}

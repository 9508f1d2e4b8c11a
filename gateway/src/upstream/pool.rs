//! Idle connections of one worker, by endpoint.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use config::id::EndpointId;
use config::limits;
use tokio::time::Instant;

use super::Stream;
use crate::worker::Worker;

struct Idle {
    io: Stream,
    since: Instant,
}

impl Idle {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.since) < Duration::from_millis(limits::UPSTREAM_IDLE_MS)
    }

    // Costs a system call only if something happened on the socket since it was read last.
    fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let Some(io) = self.io.plain() else { return true };
        matches!(io.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
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

    pub(super) fn checkout(&self, id: EndpointId, now: Instant) -> Option<Stream> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&id)?;
        while let Some(top) = stack.pop() {
            self.len.set(self.len.get() - 1);
            if top.is_fresh(now) && top.is_quiet() {
                return Some(top.io);
            }
        }
        None
    }

    /// Keeps a connection, or closes it where there are enough. Returns whether a sweeper is wanted.
    pub(super) fn checkin(&self, id: EndpointId, io: Stream, now: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.entry(id).or_default();
        if stack.len() < limits::IDLE_PER_ENDPOINT_MAX && self.len.get() < limits::IDLE_PER_WORKER_MAX {
            stack.push(Idle { io, since: now });
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

    /// Closes what is too old or was closed by the other end. Returns whether anything is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, stack| {
            stack.retain(|idle| idle.is_fresh(now) && idle.is_quiet());
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

    const ONE: EndpointId = EndpointId::from_bytes([1; 16]);
    const TWO: EndpointId = EndpointId::from_bytes([2; 16]);

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Stream::Plain(near), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn the_connection_used_last_comes_first_and_only_for_its_endpoint() {
        let (pool, now) = (Pool::default(), Instant::now());
        let ((first, _far_1), (second, _far_2)) = (pair().await, pair().await);
        let last = second.plain().unwrap().local_addr().unwrap();
        pool.checkin(ONE, first, now);
        pool.checkin(ONE, second, now);

        assert!(pool.checkout(TWO, now).is_none());
        assert_eq!(pool.checkout(ONE, now).unwrap().plain().unwrap().local_addr().unwrap(), last);
        assert_eq!(pool.len(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_the_origin_closed_or_wrote_on_is_not_lent() {
        let (pool, now) = (Pool::default(), Instant::now());
        let ((closed, far_1), (talked, mut far_2)) = (pair().await, pair().await);
        drop(far_1);
        far_2.write_all(b"HTTP/1.1 408 Request Timeout\r\n").await.unwrap();
        closed.plain().unwrap().readable().await.unwrap();
        talked.plain().unwrap().readable().await.unwrap();
        pool.checkin(ONE, closed, now);
        pool.checkin(ONE, talked, now);

        assert!(pool.checkout(ONE, now).is_none());
        assert_eq!(pool.len(), 0);
    }

    #[tokio::test]
    async fn connections_to_an_endpoint_that_left_are_closed() {
        use tokio::io::AsyncReadExt as _;
        let (pool, now) = (Pool::default(), Instant::now());
        let ((left, mut far_1), (stays, _far_2)) = (pair().await, pair().await);
        pool.checkin(ONE, left, now);
        pool.checkin(TWO, stays, now);

        pool.retire(&[ONE].into());

        assert_eq!(far_1.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(pool.len(), 1);
        assert!(pool.checkout(TWO, now).is_some());
    }

    #[tokio::test]
    async fn an_old_connection_is_neither_lent_nor_kept() {
        let (pool, now) = (Pool::default(), Instant::now());
        let (near, _far) = pair().await;
        pool.checkin(ONE, near, now);
        let later = now + Duration::from_millis(limits::UPSTREAM_IDLE_MS);

        assert!(!pool.sweep(later));
        assert!(pool.checkout(ONE, later).is_none());
    }
}

//! The accept loop of one socket in one worker, and where each kind of connection goes.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use config::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Kind;
use crate::guard::Permit;
use crate::http::{self, ConnMeta, Protocol};
use crate::telemetry::{Counters, OpenConnection};
use crate::worker::Worker;
use crate::{ssh, tls};

/// One socket to accept on.
pub(crate) struct Loop {
    /// What is spoken there.
    pub(crate) kind: Kind,
    /// The socket.
    pub(crate) listener: TcpListener,
    /// Ends the loop.
    pub(crate) close: CancellationToken,
    /// Held until the last queued connection was taken.
    pub(crate) alive: TaskTrackerToken,
}

/// Accepts until told to close; then takes what the kernel has queued, for closing the socket would reset it.
pub(crate) async fn run(worker: Rc<Worker>, accept: Loop) {
    let Loop { kind, listener, close, alive: _alive } = accept;
    let mut closing = std::pin::pin!(close.cancelled());
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = &mut closing => break,
        };
        match accepted {
            Ok((tcp, peer)) => admit(&worker, kind, tcp, peer),
            Err(cause) => pause_after(&worker, kind, &cause).await,
        }
    }
    let Ok(listener) = listener.into_std() else { return };
    // As many as the kernel can have queued: who knocks faster than that must not hold up the end.
    for _ in 0..=limits::LISTEN_BACKLOG {
        let Ok((tcp, peer)) = listener.accept() else { break };
        if tcp.set_nonblocking(true).is_ok()
            && let Ok(tcp) = TcpStream::from_std(tcp)
        {
            admit(&worker, kind, tcp, peer);
        }
    }
}

/// A connection that ended before it was taken is nobody's concern; without descriptors or memory, trying again at
/// once would only spin.
async fn pause_after(worker: &Worker, kind: Kind, cause: &io::Error) {
    worker.counters.accept_error();
    if matches!(cause.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%kind, %cause, "accepting pauses");
    tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
}

fn admit(worker: &Rc<Worker>, kind: Kind, tcp: TcpStream, peer: SocketAddr) {
    match worker.shared.guard.admit_connection(peer.ip()) {
        Ok(permit) => {
            let open = worker.counters.connection(kind);
            let admitted = Admitted { kind, tcp, peer, permit, _open: open };
            tokio::task::spawn_local(connection(Rc::clone(worker), admitted));
        }
        Err(full) => worker.counters.full(full),
    }
}

struct Admitted {
    kind: Kind,
    tcp: TcpStream,
    peer: SocketAddr,
    permit: Permit,
    _open: OpenConnection,
}

async fn connection(worker: Rc<Worker>, admitted: Admitted) {
    let Admitted { kind, tcp, peer, permit, _open } = admitted;
    let _panic = PanicCount::on(&worker.counters);
    // Failing means that the peer is gone already; what serves it finds out.
    let _ = tcp.set_nodelay(true);
    let Ok(local) = tcp.local_addr() else { return };
    let meta = ConnMeta { peer, local, kind, secured: None, protocol: Protocol::Http1 };
    match kind {
        Kind::Http | Kind::Novnc | Kind::Ttyd => http::serve(Rc::clone(&worker), tcp, meta, permit).await,
        Kind::Https => match tls::accept(&worker, tcp).await {
            Ok((io, secured)) => {
                worker.counters.handshake(true);
                let meta = ConnMeta { secured: Some(secured), protocol: tls::protocol(&io), ..meta };
                http::serve(Rc::clone(&worker), io, meta, permit).await;
            }
            Err(error) => {
                worker.counters.handshake(false);
                tracing::debug!(%peer, %error, "no handshake");
            }
        },
        Kind::Ssh => ssh::serve(Rc::clone(&worker), tcp, peer, permit).await,
    }
}

/// Counts when a panic passes through the task that holds it. The runtime ends that task and nothing else.
pub(crate) struct PanicCount<'a>(&'a Counters);

impl<'a> PanicCount<'a> {
    /// Counts there.
    pub(crate) const fn on(counters: &'a Counters) -> Self {
        Self(counters)
    }
}

impl Drop for PanicCount<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panic();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;
    use tokio::runtime::{Builder, LocalOptions};

    #[test]
    fn a_connection_task_that_panics_is_counted_and_ends_alone() {
        let counters = Arc::new(Counters::default());
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default()).unwrap();
        let panicking = Arc::clone(&counters);

        let (ended, next) = runtime.block_on(async move {
            let task = async move {
                let _panic = PanicCount::on(&panicking);
                tokio::task::yield_now().await;
                panic!("a bug");
            };
            let ended = tokio::task::spawn_local(task).await;
            (ended.is_err(), tokio::task::spawn_local(async { 7 }).await.unwrap())
        });

        assert!(ended);
        assert_eq!(next, 7);
        assert_eq!(counters.panics.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn connections_that_the_kernel_queued_are_taken_before_the_socket_closes() {
        let dir = tempfile::tempdir().unwrap();
        let shared = crate::worker::Shared::new(crate::worker::testing::settings(dir.path()), 1);
        let bound = super::super::bind::bind(([127, 0, 0, 1], 0).into(), 1).unwrap();
        let clients: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(bound.address).unwrap()).collect();
        let (handle, _thread) = crate::worker::spawn(Arc::clone(&shared), 0).unwrap();
        let (close, tracker) = (CancellationToken::new(), tokio_util::task::TaskTracker::new());
        close.cancel();

        for socket in bound.sockets {
            let listen = crate::worker::Listen {
                kind: Kind::Http,
                socket,
                close: close.clone(),
                alive: tracker.token(),
            };
            handle.send(crate::worker::Command::Listen(listen)).await;
        }
        tracker.close();
        tracker.wait().await;

        // The stand-in for a service ends at once, or keeps them: either way they were counted when they began.
        handle.send(crate::worker::Command::Stop).await;
        handle.ended().await;
        let accepted = shared.metrics.sum(|shard| shard.accepted.iter().map(|n| n.load(Relaxed)).sum());
        assert_eq!(accepted, clients.len() as u64);
    }
}

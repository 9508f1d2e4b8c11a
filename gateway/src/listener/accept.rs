//! The accept loop of one socket in one worker, and where each kind of connection goes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Kind, introduced};
use crate::guard::Permit;
use crate::http::{self, ConnMeta, Opened, Protocol};
use crate::telemetry::{Counters, OpenConnection};
use crate::tls::Accepted;
use crate::worker::Worker;
use crate::{ssh, tls};

/// One socket to accept on.
pub(crate) struct Loop {
    /// What is spoken there.
    pub(crate) kind: Kind,
    /// The socket; lent to a successor while it is open.
    pub(crate) listener: Rc<TcpListener>,
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
    let Some(Ok(listener)) = Rc::into_inner(listener).map(TcpListener::into_std) else { return };
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

/// Admits one connection, and serves it in a task of its own.
pub(crate) fn admit(worker: &Rc<Worker>, kind: Kind, tcp: TcpStream, peer: SocketAddr) {
    let guard = &worker.shared.guard;
    let is_proxy = introduced::is_expected(&worker.shared.settings.proxy_protocol, peer);
    let permit = if is_proxy { guard.admit_proxy() } else { guard.admit_connection(peer.ip()) };
    match permit {
        Ok(permit) => {
            let open = worker.counters.connection(kind);
            let admitted = Admitted { kind, tcp, peer, is_proxy, permit, open: Some(open) };
            if is_proxy || kind != Kind::Http {
                tokio::task::spawn_local(connection(Rc::clone(worker), admitted));
            } else {
                plain(worker, admitted);
            }
        }
        Err(full) => worker.counters.full(full),
    }
}

struct Admitted {
    kind: Kind,
    tcp: TcpStream,
    peer: SocketAddr,
    /// Whether it has to say first who asks.
    is_proxy: bool,
    permit: Permit,
    open: Option<OpenConnection>,
}

/// Who asks through a proxy: from here on it is their connection, for admission, logs and forwarding fields.
async fn introduced(
    counters: &Counters,
    tcp: &mut TcpStream,
    proxy: SocketAddr,
    permit: Permit,
) -> Option<(SocketAddr, Permit)> {
    match introduced::source(tcp).await {
        Ok(None) => Some((proxy, permit)),
        Ok(Some(source)) => match permit.of(source.ip()) {
            Ok(permit) => Some((source, permit)),
            Err(full) => {
                counters.full(full);
                None
            }
        },
        Err(error) => {
            counters.proxy_refused();
            tracing::debug!(%proxy, %error, "no PROXY protocol header");
            None
        }
    }
}

/// A plain connection has a task of its own kind: a task keeps room for all it may ever do, and handshakes take much.
fn plain(worker: &Rc<Worker>, admitted: Admitted) {
    let Admitted { kind, tcp, peer, permit, open, .. } = admitted;
    // Failing means that the peer is gone already.
    let Ok(local) = tcp.local_addr() else { return };
    let meta = ConnMeta { peer, local, kind, secured: None, protocol: Protocol::Http1 };
    let opened = http::open(Rc::clone(worker), tcp, meta, permit);
    tokio::task::spawn_local(async move {
        let _panic = open.as_ref().map(|open| PanicCount::on(open.counters()));
        http::run(opened).await;
    });
}

/// A connection whose kind is known, ready to be served.
enum Begun {
    Plain(Opened<TcpStream>),
    Secured(Opened<tls::TlsStream>),
    /// The rest of it, in a box of its own: what most connections do not need would be every idle one's size.
    Other(Pin<Box<dyn Future<Output = ()>>>),
    /// Nobody is there, or may come in.
    Ended,
}

async fn connection(worker: Rc<Worker>, mut admitted: Admitted) {
    let counters = Arc::clone(&worker.counters);
    let _open = admitted.open.take();
    let _panic = PanicCount::on(&counters);
    // Boxed: what a beginning needs is given back before the wait for requests.
    match Box::pin(begin(worker, admitted)).await {
        Begun::Plain(opened) => http::run(opened).await,
        Begun::Secured(opened) => http::run(opened).await,
        Begun::Other(rest) => rest.await,
        Begun::Ended => {}
    }
}

async fn begin(worker: Rc<Worker>, admitted: Admitted) -> Begun {
    let Admitted { kind, mut tcp, peer, is_proxy, permit, .. } = admitted;
    // Failing means that the peer is gone already.
    let Ok(local) = tcp.local_addr() else { return Begun::Ended };
    let (peer, permit) = if is_proxy {
        match introduced(&worker.counters, &mut tcp, peer, permit).await {
            Some(named) => named,
            None => return Begun::Ended,
        }
    } else {
        (peer, permit)
    };
    let meta = ConnMeta { peer, local, kind, secured: None, protocol: Protocol::Http1 };
    match kind {
        Kind::Http => Begun::Plain(http::open(worker, tcp, meta, permit)),
        Kind::Novnc | Kind::Ttyd => console(worker, tcp, meta, permit).await,
        Kind::Https => secured(worker, tcp, meta, permit).await,
        Kind::Ssh => Begun::Other(Box::pin(ssh::serve(worker, tcp, peer, permit))),
    }
}

/// A connection that begins with a handshake.
async fn secured(worker: Rc<Worker>, tcp: TcpStream, meta: ConnMeta, permit: Permit) -> Begun {
    match tls::accept(&worker, tcp).await {
        Ok(Accepted::Http(io, secured)) => {
            worker.counters.handshake(true);
            let meta = ConnMeta { secured: Some(secured), protocol: tls::protocol(&io), ..meta };
            Begun::Secured(http::open(worker, io, meta, permit))
        }
        Ok(Accepted::Answered) => {
            worker.counters.handshake(true);
            Begun::Ended
        }
        // What is passed through belongs to the port that the name's owner asked for.
        Ok(Accepted::Passing(_)) if meta.kind != Kind::Https => {
            worker.counters.handshake(false);
            Begun::Ended
        }
        Ok(Accepted::Passing(passing)) => Begun::Other(Box::pin(tls::pass(worker, passing, meta, permit))),
        Err(error) => {
            worker.counters.handshake(false);
            tracing::debug!(peer = %meta.peer, %error, "no handshake");
            Begun::Ended
        }
    }
}

/// The first byte of a handshake's record (RFC 8446 § 5.1); no method begins with it.
const HANDSHAKE: u8 = 22;

/// A port of consoles speaks both: which one, the client says with its first byte.
async fn console(worker: Rc<Worker>, tcp: TcpStream, meta: ConnMeta, permit: Permit) -> Begun {
    let mut first = [0];
    let time = Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS);
    match tokio::time::timeout(time, tcp.peek(&mut first)).await {
        Ok(Ok(1)) if first == [HANDSHAKE] => secured(worker, tcp, meta, permit).await,
        Ok(Ok(1)) => Begun::Plain(http::open(worker, tcp, meta, permit)),
        // Nobody said anything.
        Ok(_) | Err(_) => Begun::Ended,
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

    /// What comes back on a connection that `peer` opened and said `bytes` on, up to its end.
    async fn answered(worker: &Rc<Worker>, peer: &str, bytes: &[u8]) -> (TcpStream, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        near.write_all(bytes).await.unwrap();
        admit(worker, Kind::Http, far, peer.parse().unwrap());
        let mut read = vec![0; 12];
        let reading = near.read_exact(&mut read);
        // One that was closed sent nothing, or a reset.
        let count = tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap_or_default();
        (near, String::from_utf8_lossy(&read[..count]).into_owned())
    }

    #[test]
    fn a_proxy_says_who_asks_and_is_closed_if_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = crate::worker::testing::settings(dir.path());
        settings.proxy_protocol = vec!["10.0.0.0/8".parse().unwrap()];
        let bounds = crate::guard::Bounds { connections_per_source_max: 1, ..Default::default() };
        let access = crate::telemetry::Access::default();
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let worker =
                Worker::new(crate::worker::Shared::with(settings, 1, access, bounds, Default::default()), 0);
            let get = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
            let line = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 4711 80\r\n{get}");
            // Nothing is in force: who is served gets a 503.
            let served = "HTTP/1.1 503";

            let (_one, answer) = answered(&worker, "10.0.0.5:1", line("192.0.2.1").as_bytes()).await;
            assert_eq!(answer, served);
            let (_two, answer) = answered(&worker, "10.0.0.5:2", line("192.0.2.2").as_bytes()).await;
            assert_eq!(answer, served, "another client of the same proxy");
            let (_, answer) = answered(&worker, "10.0.0.5:3", line("192.0.2.1").as_bytes()).await;
            assert_eq!(answer, "", "one more of a client that has as many as it may");
            assert_eq!(worker.counters.full[crate::guard::Full::Source as usize].load(Relaxed), 1);

            let (_, answer) = answered(&worker, "10.0.0.5:4", get.as_bytes()).await;
            assert_eq!((answer.as_str(), worker.counters.proxy_refused.load(Relaxed)), ("", 1));
            let (_, answer) = answered(&worker, "198.51.100.1:5", get.as_bytes()).await;
            assert_eq!(answer, served, "who is no proxy is served as before");
            let (_, answer) = answered(&worker, "198.51.100.2:5", line("192.0.2.9").as_bytes()).await;
            assert_eq!(answer, "HTTP/1.1 400", "and may not say who asks");
        });
    }
}

//! Serves the admin API on accepted connections: own loop, so that a slow head ends and a stop is orderly.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use config::limits;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::secured::{Greeting, Secured, plain_refused};
use super::socket;
use crate::auth::{Actor, ClientCertificate, Origin};

/// What the listeners of the admin API share.
#[derive(Debug, Clone)]
pub struct Shared {
    router: Router,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    /// Serves `router` until `stop`; `tasks` ends when the last connection has.
    pub fn new(router: Router, stop: CancellationToken, tasks: TaskTracker) -> Self {
        Self { router, connections: Arc::new(Semaphore::new(limits::API_CONNECTIONS_MAX)), stop, tasks }
    }

    /// Accepts on a TCP listener. Peers are nobody until a token says who they are.
    pub async fn tcp(self, listener: TcpListener) {
        loop {
            let Some(permit) = self.admit().await else { return };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    drop(stream.set_nodelay(true));
                    self.spawn(stream, From::peer(peer), permit);
                }
                Err(error) => pause(&error).await,
            }
        }
    }

    /// Accepts on a TCP listener that speaks TLS. Peers are nobody there too, whatever certificate they show.
    pub async fn tls(self, listener: TcpListener, secured: Secured) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Closed and not left waiting: silent peers would otherwise fill the queue of the system as well.
                    let Ok(handshake) = Arc::clone(&secured.handshakes).try_acquire_owned() else {
                        tracing::warn!(%peer, "too many TLS handshakes of the admin API; one was closed");
                        continue;
                    };
                    drop(stream.set_nodelay(true));
                    let (shared, secured) = (self.clone(), secured.clone());
                    self.tasks.spawn(async move {
                        if let Err(error) = shared.greet(&secured, stream, peer, handshake).await {
                            tracing::debug!(%peer, %error, "an admin connection ended in its handshake");
                        }
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
    }

    async fn greet(
        self,
        secured: &Secured,
        stream: TcpStream,
        peer: SocketAddr,
        handshake: OwnedSemaphorePermit,
    ) -> io::Result<()> {
        let greeting = tokio::select! {
            () = self.stop.cancelled() => return Ok(()),
            greeting = secured.greet(stream) => greeting?,
        };
        let deadline = Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS);
        let Some(permit) = tokio::time::timeout(deadline, self.admit()).await? else { return Ok(()) };
        drop(handshake);
        let from = From::peer(peer);
        match greeting {
            Greeting::Tls(stream, client) => {
                serve(*stream, From { client, ..from }, self.router, self.stop).await;
            }
            Greeting::Plain(stream) => serve(stream, from, plain_refused(), self.stop).await,
        }
        drop(permit);
        Ok(())
    }

    /// Accepts on the unix socket. Root and the own user are root; others are hung up on.
    pub async fn unix(self, listener: UnixListener, router: Router) {
        // A quota of its own: whoever holds all connections of the network must not keep the machine's owner out.
        let connections = Arc::new(Semaphore::new(limits::API_CONNECTIONS_MAX));
        let local = Self { router, connections, ..self };
        loop {
            let Some(permit) = local.admit().await else { return };
            let accepted = tokio::select! {
                () = local.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if socket::is_trusted(&stream) => {
                    local.spawn(stream, From { peer: None, is_local: true, client: None }, permit);
                }
                Ok((stream, _)) => {
                    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                    tracing::warn!(?uid, "a user without the right to it tried the control socket");
                }
                Err(error) => pause(&error).await,
            }
        }
    }

    /// Waits for room; `None` when stopping.
    async fn admit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            permit = Arc::clone(&self.connections).acquire_owned() => permit.ok(),
        }
    }

    fn spawn<S>(&self, stream: S, from: From, permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, stop) = (self.router.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            serve(stream, from, router, stop).await;
            drop(permit);
        });
    }
}

#[derive(Debug, Clone)]
struct From {
    peer: Option<SocketAddr>,
    is_local: bool,
    client: Option<Arc<ClientCertificate>>,
}

impl From {
    const fn peer(peer: SocketAddr) -> Self {
        Self { peer: Some(peer), is_local: false, client: None }
    }
}

async fn serve<S>(stream: S, from: From, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = from.peer;
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (router, from) = (router.clone(), from.clone());
        async move {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(from.peer.map_or(Origin::Socket, Origin::Peer));
            if from.is_local {
                request.extensions_mut().insert(Actor::Local);
            }
            if let Some(client) = from.client {
                request.extensions_mut().insert(client);
            }
            let answered = router.oneshot(request);
            Ok::<_, Infallible>(answered.await.unwrap_or_else(|never| match never {}))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::REQUEST_HEAD_DEADLINE_MS))
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .max_headers(limits::FIELDS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(?peer, %error, "an admin connection ended early");
    }
}

/// Out of descriptors or memory: trying again at once would spin.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "accepting a connection failed");
    tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    async fn who(actor: Option<Extension<Actor>>, Extension(origin): Extension<Origin>) -> String {
        format!(
            "{:?} from {}",
            actor.map(|actor| actor.0),
            if origin == Origin::Socket { "socket" } else { "peer" }
        )
    }

    async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    fn shared() -> Shared {
        Shared::new(Router::new().route("/", get(who)), CancellationToken::new(), TaskTracker::new())
    }

    #[tokio::test]
    async fn the_socket_is_root_and_tcp_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared();
        let unix = socket::bind(dir.path()).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        tokio::spawn(shared.clone().unix(unix, shared.router.clone()));
        tokio::spawn(shared.tcp(tcp));

        let local = ask(UnixStream::connect(socket::path(dir.path())).await.unwrap()).await;
        assert!(local.ends_with("Some(Local) from socket"), "{local}");
        let remote = ask(TcpStream::connect(address).await.unwrap()).await;
        assert!(remote.ends_with("None from peer"), "{remote}");
    }

    #[tokio::test]
    async fn the_socket_answers_while_tcp_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared();
        let all = u32::try_from(limits::API_CONNECTIONS_MAX).unwrap();
        let held = Arc::clone(&shared.connections).acquire_many_owned(all).await.unwrap();
        tokio::spawn(shared.clone().unix(socket::bind(dir.path()).unwrap(), shared.router.clone()));
        let asked = ask(UnixStream::connect(socket::path(dir.path())).await.unwrap());
        let local = tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap();
        assert!(local.ends_with("Some(Local) from socket"), "{local}");
        drop(held);
    }

    #[tokio::test]
    async fn a_stop_ends_idle_connections() {
        let shared = shared();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut idle = TcpStream::connect(tcp.local_addr().unwrap()).await.unwrap();
        let (stop, tasks) = (shared.stop.clone(), shared.tasks.clone());
        let accepting = tokio::spawn(shared.tcp(tcp));
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 16];
        idle.read_exact(&mut first).await.unwrap();
        stop.cancel();
        accepting.await.unwrap();
        tasks.close();
        tasks.wait().await;
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).await.unwrap();
    }
}

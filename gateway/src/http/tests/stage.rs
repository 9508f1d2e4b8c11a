//! A worker with routes, a gate in front of it and an origin behind it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::id::{EndpointId, RouteId};
use config::name::{HostPattern, Namespace, PathPrefix};
use config::snapshot::{
    Action, Endpoint, FlowPolicy, Generation, Lineage, Object, Route, Snapshot, TlsMode, Upstream, Value,
};
use config::target::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};

use crate::http::scratch::Deadlines;
use crate::http::{ConnMeta, Protocol, SecuredMeta, serve};
use crate::listener::Kind;
use crate::live::Live;
use crate::upstream::health::watch::{self, Watch};
use crate::upstream::{Upstreams, retired};
use crate::worker::{Shared, Worker, testing};

/// Longest wait for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

/// Runs a test on a runtime like a worker's.
pub(super) fn on_a_worker(test: impl AsyncFnOnce(Stage)) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async { test(Stage::new().await).await });
}

pub(super) struct Stage {
    pub(super) worker: Rc<Worker>,
    pub(super) origin: TcpListener,
    _dir: tempfile::TempDir,
}

/// How a connection comes in.
#[derive(Clone, Copy)]
pub(super) struct Door {
    pub(super) kind: Kind,
    pub(super) sni: Option<&'static str>,
    pub(super) is_tls: bool,
}

pub(super) const HTTP: Door = Door { kind: Kind::Http, sni: None, is_tls: false };

impl Stage {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = testing::settings(dir.path());
        settings.trusted_proxies = vec!["127.0.0.9/32".parse().unwrap()];
        let worker = Worker::new(Shared::new(settings, 1), 0);
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stage = Self { worker, origin, _dir: dir };
        stage.routes([stage.route("app.example", "/")]);
        stage
    }

    /// The same origin behind another worker.
    pub(super) fn with(self, worker: Rc<Worker>) -> Self {
        Self { worker, ..self }
    }

    /// A route to the origin.
    pub(super) fn route(&self, host: &str, path: &str) -> Route {
        self.route_to(host, path, &[self.origin.local_addr().unwrap()])
    }

    pub(super) fn route_to(&self, host: &str, path: &str, addresses: &[SocketAddr]) -> Route {
        let mut id = [0_u8; 16];
        for (at, byte) in host.bytes().chain(path.bytes()).enumerate() {
            id[at % 16] = byte ^ id[at % 16].rotate_left(3);
        }
        let endpoint = |address: &SocketAddr| Endpoint {
            id: endpoint_id(address),
            target: Target::Address(*address),
            loopback_ok: true,
            vm: None,
            weight: 1,
            draining: false,
        };
        Route {
            id: RouteId::from_bytes(id),
            namespace: Namespace::parse("default").unwrap(),
            host: HostPattern::parse(host).unwrap(),
            path: PathPrefix::parse(path).unwrap(),
            tls: TlsMode::Off,
            redirect_https: false,
            hsts_seconds: None,
            websocket: false,
            action: Action::Forward(Upstream {
                endpoints: addresses.iter().map(endpoint).collect(),
                policy: None,
            }),
            on_change: FlowPolicy::Keep,
            matchers: None,
            filters: None,
            timeouts: None,
            tls_policy: None,
            on_delete: FlowPolicy::Drain { ms: 30_000 },
        }
    }

    /// Puts these routes in force.
    pub(super) fn routes(&self, routes: impl IntoIterator<Item = Route>) {
        self.values(routes.into_iter().map(Value::Route));
    }

    /// Puts these objects in force.
    pub(super) fn values(&self, values: impl IntoIterator<Item = Value>) {
        self.generation(7, values);
    }

    /// Puts these objects in force as this generation, and does what goes with a swap.
    pub(super) fn generation(&self, number: u64, values: impl IntoIterator<Item = Value>) {
        let objects = values.into_iter().map(|value| Object::encode(&value).unwrap());
        let snapshot = Arc::new(Snapshot::of(Lineage::default(), Generation(number), objects));
        let (live, degraded) = Live::compile(snapshot).unwrap();
        assert!(degraded.is_empty(), "{degraded:?}");
        let live = Arc::new(live);
        if let Some(before) = self.worker.shared.current.replace(Arc::clone(&live)) {
            let (old, new) = (&before.snapshot, &live.snapshot);
            self.worker.shared.sessions.reconcile(old, new);
            let step = config::delta::diff(old, new);
            let left = retired::of_step(old, new, &step);
            self.worker.shared.health.retire(&left, &retired::routes(&step));
            self.worker.upstream.retire(&left);
            Watch::apply(&self.worker, watch::of_step(old, new, &step));
        }
    }

    pub(super) fn deadlines(&self, change: impl FnOnce(&mut Deadlines)) {
        let mut deadlines = Deadlines::default();
        change(&mut deadlines);
        self.worker.http.set_deadlines(deadlines);
    }

    /// A connection to the gate.
    pub(super) async fn connect(&self) -> Peer {
        self.connect_by(HTTP, "127.0.0.1").await
    }

    pub(super) async fn connect_by(&self, door: Door, from: &str) -> Peer {
        self.connect_as(door, from, Protocol::Http1).await
    }

    /// A connection with the task that serves it.
    pub(super) async fn connect_and_hold(&self) -> (Peer, tokio::task::JoinHandle<()>) {
        self.connect_with(HTTP, "127.0.0.1", Protocol::Http1).await
    }

    /// The same after a handshake that agreed on a protocol.
    pub(super) async fn connect_as(&self, door: Door, from: &str, protocol: Protocol) -> Peer {
        self.connect_with(door, from, protocol).await.0
    }

    async fn connect_with(
        &self,
        door: Door,
        from: &str,
        protocol: Protocol,
    ) -> (Peer, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        let near = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, peer) = listener.accept().await.unwrap();
        let secured =
            door.is_tls.then(|| SecuredMeta { sni: door.sni.map(Arc::from), ..SecuredMeta::default() });
        let meta = ConnMeta { peer, local: far.local_addr().unwrap(), kind: door.kind, secured, protocol };
        let permit = self.worker.shared.guard.admit_connection(peer.ip()).unwrap();
        let serving = tokio::task::spawn_local(serve(Rc::clone(&self.worker), far, meta, permit));
        (Peer::new(near), serving)
    }

    /// Waits until the runtime has heard that the origin closed its idle connection; what is kept stays kept.
    pub(super) async fn close_is_heard(&self) {
        let id = endpoint_id(&self.origin.local_addr().unwrap());
        if let Some(lease) = self.worker.upstream.take_idle(id) {
            within(lease.stream.plain().unwrap().readable()).await.unwrap();
            Upstreams::checkin(&self.worker, lease, tokio::time::Instant::now());
        }
    }

    /// The next connection that the gate makes to the origin.
    pub(super) async fn accept(&self) -> Peer {
        Peer::new(within(self.origin.accept()).await.unwrap().0)
    }

    /// Whether nobody has connected to the origin.
    pub(super) async fn origin_is_untouched(&self) -> bool {
        let none_yet = tokio::time::timeout(Duration::from_millis(1), self.origin.accept());
        none_yet.await.is_err()
    }
}

fn endpoint_id(address: &SocketAddr) -> EndpointId {
    EndpointId::from_bytes([u8::try_from(address.port() % 251).unwrap(); 16])
}

/// One end of a connection.
pub(super) struct Peer {
    pub(super) io: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    pub(super) fn new(io: TcpStream) -> Self {
        Self { io, read: Vec::new() }
    }

    /// Reads a head without a body; `None` is the end of the stream.
    pub(super) async fn head_or_end(&mut self) -> Option<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                let rest = self.read.split_off(at + 4);
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).ok();
            }
            if !matches!(self.io.read_buf(&mut self.read).await, Ok(1..)) {
                return None;
            }
        }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.io.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads until `end` has come; returns everything up to its end.
    pub(super) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            let count = within(self.io.read_buf(&mut self.read)).await.unwrap();
            assert!(count > 0, "closed before {end:?}: {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// Reads a head, and the body that its `Content-Length` says.
    pub(super) async fn message(&mut self) -> (String, String) {
        let head = self.until("\r\n\r\n").await;
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ").map(|n| n.parse().unwrap())
        });
        (head, self.exactly(length.unwrap_or(0)).await)
    }

    pub(super) async fn exactly(&mut self, count: usize) -> String {
        while self.read.len() < count {
            assert!(within(self.io.read_buf(&mut self.read)).await.unwrap() > 0, "closed early");
        }
        let rest = self.read.split_off(count);
        String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap()
    }

    /// Reads until `end` has come and forgets it all; for what is no text.
    pub(super) async fn until_bytes(&mut self, end: &[u8]) {
        while memchr::memmem::find(&self.read, end).is_none() {
            assert!(within(self.io.read_buf(&mut self.read)).await.unwrap() > 0, "closed early");
        }
        self.read.clear();
    }

    pub(super) async fn byte(&mut self) -> u8 {
        while self.read.is_empty() {
            assert!(within(self.io.read_buf(&mut self.read)).await.unwrap() > 0, "closed early");
        }
        self.read.remove(0)
    }

    /// Reads to the end of the stream, in order or by a reset.
    pub(super) async fn rest(&mut self) -> String {
        self.rest_and_end().await.0
    }

    /// The same, and how the stream ended.
    pub(super) async fn rest_and_end(&mut self) -> (String, std::io::Result<()>) {
        let end = loop {
            match within(self.io.read_buf(&mut self.read)).await {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(cause) if cause.kind() == std::io::ErrorKind::ConnectionReset => break Err(cause),
                Err(cause) => panic!("no end: {cause}"),
            }
        };
        (String::from_utf8(std::mem::take(&mut self.read)).unwrap(), end)
    }

    /// Whether the other end is gone, cleanly or not.
    pub(super) async fn is_closed(&mut self) -> bool {
        let mut more = [0; 1024];
        loop {
            match within(self.io.read(&mut more)).await {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            }
        }
    }

    /// Sends a request and returns the answer with its body.
    pub(super) async fn ask(&mut self, request: &str) -> (String, String) {
        self.send(request).await;
        self.message().await
    }
}

/// The status of a response head.
pub(super) fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status: {head:?}"))
}

pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

pub(super) const GET: &str = "GET / HTTP/1.1\r\nHost: app.example\r\n\r\n";
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

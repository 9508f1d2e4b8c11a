//! A request that a warm worker forwards allocates nothing: plain, with a body, in chunks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use config::id::{EndpointId, RouteId};
use config::limits;
use config::name::{GatewayName, HostPattern, Namespace, PathPrefix};
use config::settings::{AccessTarget, Gateway, Level, Log, LogFormat, Mode, Retention, Rotation};
use config::snapshot::{
    Action, Endpoint, FlowPolicy, Generation, Lineage, Object, Route, Snapshot, TlsMode, Upstream, Value,
};
use config::target::Target;
use gateway::http::{ConnMeta, Protocol, serve};
use gateway::listener::Kind;
use gateway::live::Live;
use gateway::worker::{Shared, Worker};
use tokio::runtime::{Builder, LocalOptions};

const REQUESTS: &[&str] = &[
    "GET /a/b?c=d&token=e HTTP/1.1\r\nHost: app.example\r\nUser-Agent: test\r\nAccept: */*\r\nReferer: /x\r\n\
     traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    "POST /form HTTP/1.1\r\nHost: app.example\r\nContent-Length: 5\r\n\r\nhello",
    "POST /stream HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
];
const ROUNDS: usize = 50;
/// Rounds at most, the one that warms up included.
const MADE_MAX: usize = 6;

#[test]
fn a_request_forwarded_by_a_warm_worker_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    forwards_without_allocating(Shared::new(settings(dir.path()), 1));
}

#[test]
fn nor_does_one_that_the_access_log_tells_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let mut settings = settings(dir.path());
    settings.access_log.to = AccessTarget::File(file.clone());
    let shared = Shared::with_access_log(settings, 1).unwrap();

    let made = forwards_without_allocating(Arc::clone(&shared));

    shared.access.flush();
    assert_eq!(shared.access.dropped(), 0);
    let lines = std::fs::read_to_string(file).unwrap();
    assert_eq!(lines.lines().count(), made * ROUNDS * REQUESTS.len());
    assert!(lines.lines().all(|line| line.contains("\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"")
        || line.contains("\"method\":\"POST\"")));
}

/// Gives the rounds that were made.
fn forwards_without_allocating(shared: Arc<Shared>) -> usize {
    let worker = Worker::new(shared, 0);
    worker.shared.current.replace(Arc::new(live(origin())));
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let (done, mut rounds) = tokio::sync::mpsc::channel(1);
    let (go, begin) = mpsc::sync_channel(1);
    let address = gate.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let mut gate = TcpStream::connect(address).unwrap();
        for () in begin {
            let mut longest = Duration::ZERO;
            for request in REQUESTS.iter().cycle().take(ROUNDS * REQUESTS.len()) {
                let begun = Instant::now();
                gate.write_all(request.as_bytes()).unwrap();
                read_message(&mut gate);
                longest = longest.max(begun.elapsed());
            }
            done.blocking_send(longest).unwrap();
        }
    });
    let (near, peer) = gate.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    runtime.block_on(async {
        let io = tokio::net::TcpStream::from_std(near).unwrap();
        let meta =
            ConnMeta { peer, local: address, kind: Kind::Http, secured: None, protocol: Protocol::Http1 };
        let permit = worker.shared.guard.admit_connection(peer.ip()).unwrap();
        tokio::task::spawn_local(serve(Rc::clone(&worker), io, meta, permit));
    });

    go.send(()).unwrap();
    runtime.block_on(rounds.recv()).unwrap();
    // A connection that was silent for a while gives its future back, and the next request takes a new one. On a machine
    // that stands still for so long a round shows nothing and is made again.
    let mut made = 1;
    let allocations = loop {
        go.send(()).unwrap();
        let mut longest = Duration::ZERO;
        let allocations = allocation_counter::measure(|| longest = runtime.block_on(rounds.recv()).unwrap());
        made += 1;
        if longest < Duration::from_millis(limits::QUIET_MS / 2) || made == MADE_MAX {
            break allocations;
        }
    };

    assert_eq!(allocations.count_total, 0, "{} requests: {allocations:?}", ROUNDS * REQUESTS.len());
    let answered = worker.counters.responses[1].load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        answered,
        (made * ROUNDS * REQUESTS.len()) as u64,
        "on this thread, where allocations are counted"
    );
    drop(go);
    client.join().unwrap();
    made
}

/// Reads one message with a `Content-Length`, and nothing after it.
fn read_message(io: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    loop {
        let count = io.read(&mut block).unwrap();
        assert!(count > 0, "closed early: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&block[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let is_whole = match head.split("Content-Length: ").nth(1) {
            Some(rest) => body.len() == rest.split("\r\n").next().unwrap().parse::<usize>().unwrap(),
            None => !head.contains("Transfer-Encoding") || body.ends_with("0\r\n\r\n"),
        };
        if is_whole {
            return text.into_owned();
        }
    }
}

/// An origin on threads of its own, which are not counted.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for io in listener.incoming() {
            let mut io = io.unwrap();
            std::thread::spawn(move || {
                io.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                loop {
                    let request = read_message(&mut io);
                    let body = "x".repeat(1024);
                    let end = if request.starts_with("GET") { "Server: o\r\n" } else { "" };
                    let head = format!("HTTP/1.1 200 OK\r\n{end}Content-Length: {}\r\n\r\n", body.len());
                    io.write_all((head + &body).as_bytes()).unwrap();
                }
            });
        }
    });
    address
}

fn live(origin: SocketAddr) -> Live {
    let endpoint = Endpoint {
        id: EndpointId::from_bytes([1; 16]),
        target: Target::Address(origin),
        loopback_ok: true,
        vm: None,
        weight: 1,
        draining: false,
    };
    let route = Route {
        id: RouteId::from_bytes([1; 16]),
        namespace: Namespace::parse("default").unwrap(),
        host: HostPattern::parse("app.example").unwrap(),
        path: PathPrefix::root(),
        tls: TlsMode::Off,
        redirect_https: false,
        hsts_seconds: None,
        websocket: false,
        action: Action::Forward(Upstream { endpoints: [endpoint].into(), policy: None }),
        on_change: FlowPolicy::Keep,
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: None,
        on_delete: FlowPolicy::Keep,
    };
    let object = Object::encode(&Value::Route(route)).unwrap();
    Live::compile(Arc::new(Snapshot::of(Lineage::default(), Generation(1), [object]))).unwrap().0
}

fn settings(dir: &Path) -> Gateway {
    Gateway {
        data: dir.to_path_buf(),
        http: Vec::new(),
        https: Vec::new(),
        ssh: Vec::new(),
        novnc: Vec::new(),
        ttyd: Vec::new(),
        admin: None,
        control: Vec::new(),
        name: GatewayName::parse("test").unwrap(),
        join_token: None,
        workers: 1,
        access_log: config::settings::AccessLog::off(),
        trusted_proxies: Vec::new(),
        proxy_protocol: Vec::new(),
        unknown_sni: config::settings::UnknownSni::Fallback,
        drain: Duration::from_secs(5),
        log: Log {
            level: Level::Info,
            file: None,
            rotation: Rotation::Off,
            retention: Retention::Files(1),
            format: LogFormat::Text,
        },
        mode: Mode::Development,
    }
}

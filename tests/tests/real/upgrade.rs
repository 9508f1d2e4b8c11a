//! The gateway is replaced under traffic: nothing is refused, nothing closes, and everybody knows who serves.

mod held;

use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tests::binaries::{Up, signal};
use tests::client::{self, Connection};
use tests::origin::Origin;
use tests::sshd::{KeyPair, client_config};
use tests::wait::{DEADLINE, wait_for, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::program::free_port;

const HOST: &str = "steady.example.com";
const TUNNELS: usize = 1_100;
const SECURED: &str = "secured.example.com";
const KINDS: usize = 9;

/// What the traffic did; nothing in it may be a failure.
#[derive(Default)]
struct Traffic {
    done: AtomicBool,
    /// Kept connections, new ones, WebSockets, a TCP forward, a UDP forward, a jump; and anew each time: connections by TLS,
    /// connections of the TCP forward, clients of the UDP forward.
    moved: [AtomicU64; KINDS],
}

impl Traffic {
    fn goes_on(&self) -> bool {
        !self.done.load(Relaxed)
    }

    fn moved(&self, kind: usize) {
        self.moved[kind].fetch_add(1, Relaxed);
    }

    fn counts(&self) -> [u64; KINDS] {
        self.moved.each_ref().map(|count| count.load(Relaxed))
    }

    /// Waits until every kind has moved since.
    async fn flows(&self) {
        let before = self.counts();
        wait_for("all kinds of traffic flow", || async {
            self.counts().iter().zip(before).all(|(now, before)| *now > before + 3).then_some(())
        })
        .await;
    }
}

fn upgrade(up: &Up) -> Value {
    serde_json::from_str(&up.cli(&["upgrade", "-o", "json"])).unwrap()
}

/// Who has the gateway's directory.
fn gateway_pid(up: &Up) -> u32 {
    std::fs::read_to_string(up.data().join("gateway/lock")).unwrap().trim().parse().unwrap_or(0)
}

fn lives(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

fn gateways(up: &Up) -> Vec<Value> {
    let listed: Value = serde_json::from_str(&up.cli(&["gateway", "list", "-o", "json"])).unwrap();
    listed.get("items").unwrap_or(&listed).as_array().unwrap().clone()
}

async fn route(up: &Up) -> Origin {
    let origin = Origin::start("steady").await;
    up.cli(&["route", "add", HOST, &origin.url(), "--websocket", "on"]);
    up.cli(&["route", "add", SECURED, &origin.url(), "--tls", "self-signed"]);
    let http = up.address("http");
    wait_for("the route serves", || async {
        client::get(http, HOST, "/").await.ok().filter(|answer| answer.status == 200)
    })
    .await;
    origin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_upgrades_fail_no_request_and_close_no_stream() {
    let up = Up::start();
    let _origin = route(&up).await;
    let (http, echo) = (up.address("http"), echo_server().await);
    let [tcp, udp] = [free_port().to_string(), free_port().to_string()];
    up.cli(&["forward", "add", "tcp", &tcp, &echo.to_string()]);
    up.cli(&["forward", "add", "udp", &udp, &who_asks().to_string()]);
    let at = |port: &str| SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    wait_for("the forward listens", || async { TcpStream::connect(at(&tcp)).await.ok() }).await;
    let key = KeyPair::make("usr1");
    up.cli(&["vm", "add", "echo", "127.0.0.1", "--ssh-port", &echo.port().to_string()]);
    up.cli(&["user", "create", "usr1", "--grant", "operator:default"]);
    up.cli(&["user", "key", "add", "usr1", key.public_file().to_str().unwrap()]);

    let traffic = Arc::new(Traffic::default());
    let with = || Arc::clone(&traffic);
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for _ in 0..4 {
        tasks.push(tokio::spawn(kept(http, with())));
        tasks.push(tokio::spawn(anew(http, with())));
        tasks.push(tokio::spawn(websocket(http, with())));
    }
    tasks.push(tokio::spawn(secured(up.address("https"), up.cli(&["ca", "show"]), with())));
    tasks.push(tokio::spawn(stream(at(&tcp), with())));
    tasks.push(tokio::spawn(streams(at(&tcp), with())));
    for ask in [datagrams, strangers] {
        let (to, traffic) = (at(&udp), with());
        tasks.push(tokio::task::spawn_blocking(move || ask(to, &traffic)));
    }
    tasks.push(tokio::spawn(jump(up.address("ssh"), key.file.clone(), with())));
    traffic.flows().await;

    let first = gateway_pid(&up);
    assert_eq!(first, up.pid("gateway"));
    for _ in 0..3 {
        let before = gateway_pid(&up);
        let upgraded = upgrade(&up);
        assert_eq!((&upgraded["was_pid"], &upgraded["pid"]), (&before.into(), &gateway_pid(&up).into()));
        let said = gateways(&up);
        assert_eq!((said.len(), &said[0]["connected"]), (1, &true.into()), "{said:?}");
        traffic.flows().await;
    }
    // A change reaches the new one and what the old ones still carry.
    up.cli(&["route", "add", "late.example.com", "http://127.0.0.1:1"]);
    assert_eq!(client::get(http, "late.example.com", "/").await.unwrap().status, 502);
    assert!(lives(first), "the first has streams that are open");

    traffic.done.store(true, Relaxed);
    for task in tasks {
        within("the traffic ends by itself", task).await.expect("nothing failed");
    }
    eprintln!("kept, new, websocket, tcp, udp, jump; new by tls, tcp, udp: {:?}", traffic.counts());
    let serving = gateway_pid(&up);
    wait_for("those before end", || async { (!lives(first)).then_some(()) }).await;
    assert_eq!(gateway_pid(&up), serving, "`up` left it alone");
    assert_eq!(gateways(&up)[0]["draining"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_thousand_tunnels_outlive_an_upgrade() {
    let up = Up::start();
    let echo = echo_server().await;
    let port = free_port();
    up.cli(&["forward", "add", "tcp", &port.to_string(), &echo.to_string()]);
    let mut open = Vec::new();
    for _ in 0..TUNNELS {
        let stream =
            wait_for("a tunnel opens", || async { TcpStream::connect(("127.0.0.1", port)).await.ok() }).await;
        open.push(stream);
    }
    for stream in &mut open {
        through(stream, b"before").await;
    }

    let upgraded = upgrade(&up);

    assert!(upgraded["connections"].as_u64().unwrap() >= TUNNELS as u64, "{upgraded}");
    for stream in &mut open {
        through(stream, b"after it").await;
    }
    let first = up.pid("gateway");
    assert!(lives(first));
    drop(open);
    wait_for("the old process ends with the last of them", || async { (!lives(first)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_program_changes_nothing_and_up_follows_the_one_that_serves() {
    let mut up = Up::start();
    let _origin = route(&up).await;
    let http = up.address("http");
    let refused = up.try_cli(&["upgrade", "--binary", "/bin/true"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("serves as before") && said.contains("/bin/true"), "{said}");
    assert_eq!(gateway_pid(&up), up.pid("gateway"));
    assert_eq!(client::get(http, HOST, "/").await.unwrap().status, 200);

    let heir = upgrade(&up)["pid"].as_u64().unwrap() as u32;
    wait_for("the old process ends", || async { (!lives(up.pid("gateway"))).then_some(()) }).await;
    assert_eq!(client::get(http, HOST, "/").await.unwrap().status, 200);
    signal(heir, "KILL");

    wait_for("`up` starts another", || async {
        let answer = client::get_if_open(http, HOST, "/").await?;
        (answer.status == 200 && gateway_pid(&up) != heir).then_some(())
    })
    .await;
    upgrade(&up);
    let last = gateway_pid(&up);
    assert_eq!(up.stop(), Some(0));
    assert!(!lives(last), "`up` ended and left process {last}");
}

async fn kept(http: SocketAddr, traffic: Arc<Traffic>) {
    while traffic.goes_on() {
        let mut connection = Connection::open(http).await;
        while traffic.goes_on() {
            let answer =
                connection.get(HOST, "/").await.expect("a kept connection is not closed before an answer");
            assert_eq!((answer.status, answer.text().as_str()), (200, "steady"));
            traffic.moved(0);
            if answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                break;
            }
        }
    }
}

async fn anew(http: SocketAddr, traffic: Arc<Traffic>) {
    while traffic.goes_on() {
        let answer = client::get(http, HOST, "/").await.expect("a new connection is taken");
        assert_eq!(answer.status, 200);
        traffic.moved(1);
    }
}

async fn websocket(http: SocketAddr, traffic: Arc<Traffic>) {
    let mut socket = client::websocket(http, HOST, "/ws").await;
    let mut number = 0_u64;
    while traffic.goes_on() {
        number += 1;
        let sent = Message::text(number.to_string());
        socket.send(sent.clone()).await.expect("the websocket stays open");
        assert_eq!(within("an echo", socket.next()).await.unwrap().expect("stays open"), sent);
        traffic.moved(2);
    }
}

async fn stream(to: SocketAddr, traffic: Arc<Traffic>) {
    let mut tcp = TcpStream::connect(to).await.unwrap();
    while traffic.goes_on() {
        through(&mut tcp, b"over the forward").await;
        traffic.moved(3);
    }
}

async fn secured(https: SocketAddr, authority: String, traffic: Arc<Traffic>) {
    while traffic.goes_on() {
        let mut connection =
            Connection::open_tls(https, SECURED, &authority).await.expect("a handshake ends");
        assert_eq!(connection.get(SECURED, "/").await.expect("and is answered").status, 200);
        traffic.moved(6);
    }
}

/// Each connection is taken, and carries to its end.
async fn streams(to: SocketAddr, traffic: Arc<Traffic>) {
    while traffic.goes_on() {
        let mut tcp = TcpStream::connect(to).await.expect("the port of the forward is open");
        through(&mut tcp, b"a new one").await;
        tcp.shutdown().await.unwrap();
        let rest = within("its end", tcp.read(&mut [0; 1])).await;
        assert_eq!(rest.expect("no reset"), 0);
        traffic.moved(7);
    }
}

/// Each datagram is of a client that was never heard of.
fn strangers(to: SocketAddr, traffic: &Traffic) {
    while traffic.goes_on() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.send(b"who am I?").unwrap();
        socket.recv(&mut [0; 64]).expect("no first datagram is lost");
        traffic.moved(8);
    }
}

/// Each datagram is answered, and the machine sees one client all the time.
fn datagrams(to: SocketAddr, traffic: &Traffic) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut seen = None;
    while traffic.goes_on() {
        socket.send(b"who am I?").unwrap();
        let mut answer = [0; 64];
        let count = socket.recv(&mut answer).expect("no datagram is lost");
        let me = answer[..count].to_vec();
        assert_eq!(*seen.get_or_insert(me.clone()), me, "the machine sees another client now");
        traffic.moved(4);
    }
}

/// `ssh -W echo:22 openidcs@gate`, echoing until the end.
async fn jump(gate: SocketAddr, key: std::path::PathBuf, traffic: Arc<Traffic>) {
    let folder = tempfile::tempdir().unwrap();
    let config = client_config(folder.path(), &KeyPair::at(key));
    let mut command = Command::new("ssh");
    command.arg("-F").arg(config).args(["-W", "echo:22", "-p", &gate.port().to_string()]);
    command.arg(format!("openidcs@{}", gate.ip())).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let (mut write, mut read) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    while traffic.goes_on() {
        write.write_all(b"over the jump").await.unwrap();
        let mut back = [0; 13];
        within("an echo", read.read_exact(&mut back)).await.expect("the jump stays open");
        assert_eq!(&back, b"over the jump");
        traffic.moved(5);
    }
}

async fn through(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    within("an echo", stream.read_exact(&mut back)).await.expect("the stream stays open");
    assert_eq!(back, bytes);
}

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// A machine that answers each datagram with the address it came from.
fn who_asks() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut datagram = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(from.to_string().as_bytes(), from);
        }
    });
    address
}

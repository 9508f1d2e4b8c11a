//! Floods of HTTP/2 frames and of connections against the real gateway: whoever else asks is answered all the while, and
//! the process stays small. What each flood is ended by is tested beside the counters (`gateway::http::h2`).

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tests::api::Api;
use tests::binaries::{Running, Up};
use tests::canary::Canary;
use tests::client::{self, Connection};
use tests::frames::{END_HEADERS, END_STREAM, Frames, block, frame, get, headers, kind};
use tests::origin::Origin;
use tests::wait::{wait_for, within};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

const HOST: &str = "app.example.com";
/// Connections of one attack at once.
const ATTACKERS: usize = 8;
/// How often an attacker comes again after it was thrown out.
const RETURNS: usize = 3;
/// Growth of the gateway that a flood may cause at its worst, in bytes: what eight connections may have us hold by their
/// windows (`limits::H2_CONNECTION_WINDOW_BYTES`), and as much again.
const GROWTH_MAX: u64 = 64 * 1024 * 1024;

/// A gateway with one route, and its origin.
struct Town {
    up: Up,
    _origin: Origin,
}

impl Town {
    async fn start() -> Self {
        let up = Up::start();
        let origin = Origin::start("home").await;
        Api::of(up.data()).route(HOST, &origin.url()).await;
        let town = Self { up, _origin: origin };
        serves(town.http()).await;
        town
    }

    fn http(&self) -> SocketAddr {
        self.up.address("http")
    }

    /// Others are answered while `rounds` of the flood come in on each of several connections, again and again.
    async fn endures(&self, settings: &[u8], rounds: usize, bytes: fn(usize) -> Vec<u8>) {
        let canary = Canary::start(self.http(), HOST, "home");
        canary.sings_on().await;
        let before = self.up.resident_bytes("gateway");
        let mut attackers = tokio::task::JoinSet::new();
        for _ in 0..ATTACKERS {
            let (http, settings) = (self.http(), settings.to_vec());
            attackers.spawn(async move {
                for _ in 0..RETURNS {
                    Frames::open_with(http, &settings).await.flood(rounds, bytes).await;
                }
            });
        }
        canary.sings_on().await;
        while let Some(attacker) = within("the flood ends", attackers.join_next()).await {
            attacker.unwrap();
        }
        let most = self.up.resident_bytes_most("gateway");
        assert!(most < before + GROWTH_MAX, "the gateway grew from {before} to {most} bytes");
        canary.sings_on().await;
        canary.end().await;
    }
}

async fn serves(http: SocketAddr) {
    wait_for("the route serves", || async {
        client::get_if_open(http, HOST, "/").await.filter(|answer| answer.status == 200)
    })
    .await;
}

fn stream(round: usize) -> u32 {
    u32::try_from(round).unwrap() * 2 + 1
}

fn post(stream: u32) -> Vec<u8> {
    let fields: [(&[u8], &[u8]); 4] =
        [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", HOST.as_bytes()), (b":path", b"/")];
    headers(0, stream, &fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rapid_reset_leaves_others_served() {
    let reset = |round| {
        let mut bytes = get(stream(round), HOST, "/");
        bytes.extend(frame(kind::RST_STREAM, 0, stream(round), &[0, 0, 0, 8]));
        bytes
    };
    Town::start().await.endures(&[], 20_000, reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_you_reset_leaves_others_served() {
    // CVE-2025-8671: a window that grows by nothing has us reset the stream.
    let made = |round| {
        let mut bytes = get(stream(round), HOST, "/");
        bytes.extend(frame(kind::WINDOW_UPDATE, 0, stream(round), &[0; 4]));
        bytes
    };
    Town::start().await.endures(&[], 20_000, made).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_goes_on_for_ever_leaves_others_served() {
    // CVE-2024-27316 with frames of any size: none, a field, as much as fits.
    let town = Town::start().await;
    town.endures(&[], 100_000, |round| endless(round, &[])).await;
    town.endures(&[], 100_000, |round| endless(round, &block(&[(b"x", b"y")]))).await;
    town.endures(&[], 10_000, |round| endless(round, &block(&[(b"x", &[b'y'; 16_000])]))).await;
}

/// A head that never ends, in pieces like this one.
fn endless(round: usize, piece: &[u8]) -> Vec<u8> {
    match round {
        0 => frame(kind::HEADERS, END_STREAM, 1, &block(&[(b":method", b"GET")])),
        _ => frame(kind::CONTINUATION, 0, 1, piece),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_frames_leave_others_served() {
    let empty = |round| match round {
        0 => post(1),
        _ => frame(kind::DATA, 0, 1, &[]).repeat(100),
    };
    Town::start().await.endures(&[], 10_000, empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_unpack_to_much_leave_others_served() {
    // A field of 4 000 bytes goes to the table, and is then named by one byte each (RFC 7541 § 6.1, § 6.2.1).
    let bomb = |round: usize| {
        let stream = stream(round);
        let fields: [(&[u8], &[u8]); 4] =
            [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", HOST.as_bytes()), (b":path", b"/")];
        let mut bomb = block(&fields);
        bomb.push(0x40);
        bomb.extend_from_slice(&block(&[(b"x", &[b'y'; 4_000])])[1..]);
        bomb.extend(std::iter::repeat_n(0xbe, 12_000));
        frame(kind::HEADERS, END_STREAM | END_HEADERS, stream, &bomb)
    };
    Town::start().await.endures(&[], 2_000, bomb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_the_connection_leave_others_served() {
    let town = Town::start().await;
    town.endures(&[], 10_000, |_| frame(kind::PING, 0, 0, &[0; 8]).repeat(50)).await;
    town.endures(&[], 10_000, |_| frame(kind::SETTINGS, 0, 0, &[]).repeat(50)).await;
    town.endures(&[], 10_000, |_| frame(kind::PRIORITY, 0, 3, &[0, 0, 0, 1, 1]).repeat(50)).await;
    town.endures(&[], 10_000, |_| frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(50)).await;
    town.endures(&[], 10_000, |_| frame(200, 0, 0, &[]).repeat(50)).await;
}

/// `up` that may open so few files that its gateway takes `connections` connections.
fn up_with_room_for(directory: &std::path::Path, connections: usize) -> Running {
    let files = connections * 2 + config::limits::OPEN_FILES_RESERVED;
    let up = Up::command(directory);
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={files}:{files}")).arg(up.get_program()).args(up.get_args());
    Running::start(command.stdout(Stdio::piped()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_gateway_serves_who_is_in_counts_who_is_not_and_frees_every_place() {
    const ROOM: usize = 300;
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let up = up_with_room_for(directory.path(), ROOM);
    let (http, admin) = (up.address("http"), up.address("gateway_admin"));
    let origin = Origin::start("home").await;
    Api::of(directory.path()).route(HOST, &origin.url()).await;
    serves(http).await;
    let canary = Canary::start_on_one_connection(http, HOST, "home");
    canary.sings_on().await;

    // Half of them say nothing, the others half a head.
    let mut crowd = Vec::new();
    for number in 0..ROOM + 50 {
        let mut socket = TcpStream::connect(http).await.unwrap();
        if number % 2 == 0 {
            // Who was turned away already cannot be written to.
            socket.write_all(b"GET / HTTP/1.1\r\nHost: ").await.ok();
        }
        crowd.push(socket);
    }
    canary.sings_on().await;
    wait_for("those without a place are counted", || async {
        (figure(admin, "gatehouse_admission_refused_total{bound=\"connections\"}").await >= 50.0)
            .then_some(())
    })
    .await;
    assert_eq!(client::get_if_open(http, HOST, "/").await.map(|answer| answer.status), None, "it is full");

    drop(crowd);
    wait_for("a place is free", || async {
        client::get_if_open(http, HOST, "/").await.filter(|answer| answer.status == 200)
    })
    .await;
    wait_for("every place is free", || async {
        (figure(admin, "gatehouse_open_connections").await <= 2.0).then_some(())
    })
    .await;
    canary.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_takes_its_share_and_no_more() {
    let town = Town::start().await;
    let (http, admin) = (town.http(), town.up.address("gateway_admin"));
    let before = town.up.resident_bytes("gateway");
    let mut crowd = Vec::new();
    for _ in 0..config::limits::CONNECTIONS_PER_SOURCE_MAX + 20 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
        crowd.push(socket.connect(http).await.unwrap());
    }
    wait_for("those above the share are counted", || async {
        (figure(admin, "gatehouse_admission_refused_total{bound=\"source\"}").await >= 20.0).then_some(())
    })
    .await;
    let canary = Canary::start(http, HOST, "home");
    canary.sings_on().await;
    canary.end().await;
    let each = (town.up.resident_bytes("gateway").saturating_sub(before)) / crowd.len() as u64;
    assert!(each < 16 * 1024, "a connection that says nothing takes {each} bytes");
}

/// A figure of the gateway's own page.
async fn figure(admin: SocketAddr, name: &str) -> f64 {
    let page = Connection::open(admin).await.get("localhost", "/metrics").await.unwrap().text();
    let values = page.lines().filter(|line| line.starts_with(name));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

//! Clients that ask for much and never read it: the origin is held up, the gateway stays small, others are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::json;
use tests::api::Api;
use tests::binaries::Up;
use tests::canary::Canary;
use tests::client::{self, Connection};
use tests::firehose::Firehose;
use tests::frames::{Frames, frame, get, kind};
use tests::origin::Origin;
use tests::wait::wait_for;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const HOST: &str = "app.example.com";
const FLOOD: &str = "flood.example.com";
const READERS: usize = 32;

struct Town {
    up: Up,
    _origin: Origin,
    firehose: Firehose,
}

impl Town {
    async fn start() -> Self {
        let up = Up::start();
        let (origin, firehose) = (Origin::start("home").await, Firehose::start().await);
        let api = Api::of(up.data());
        let secured =
            json!({ "host": FLOOD, "target": firehose.url(), "tls": "self-signed", "redirect_https": false });
        api.post("/api/v1/routes", secured).await;
        api.route(HOST, &origin.url()).await;
        let http = up.address("http");
        wait_for("the route serves", || async {
            client::get_if_open(http, HOST, "/").await.filter(|answer| answer.status == 200)
        })
        .await;
        Self { up, _origin: origin, firehose }
    }

    /// So many answers are held up, at most so many bytes of each are with the gateway, and others are served.
    async fn holds(&self, before: u64, answers: usize, each_max: u64) {
        self.firehose.is_held_up(answers as u64).await;
        let canary = Canary::start(self.up.address("http"), HOST, "home");
        canary.sings_on().await;
        canary.end().await;
        let most = self.up.resident_bytes_most("gateway");
        let each = most.saturating_sub(before) / answers as u64;
        assert!(each <= each_max, "{each} bytes for each of {answers} answers that nobody reads");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_holds_little_over_a_plain_connection() {
    let town = Town::start().await;
    let before = town.up.resident_bytes("gateway");
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = Connection::open(town.up.address("http")).await;
        reader.send(format!("GET / HTTP/1.1\r\nHost: {FLOOD}\r\n\r\n").as_bytes()).await.unwrap();
        readers.push(reader);
    }
    town.holds(before, READERS, 1024 * 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_holds_little_over_tls() {
    let town = Town::start().await;
    let authority = town.up.cli(&["ca", "show"]);
    let before = town.up.resident_bytes("gateway");
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = Connection::open_tls(town.up.address("https"), FLOOD, &authority).await.unwrap();
        reader.send(format!("GET / HTTP/1.1\r\nHost: {FLOOD}\r\n\r\n").as_bytes()).await.unwrap();
        readers.push(reader);
    }
    town.holds(before, READERS, 1024 * 1024).await;
}

/// An origin that agrees to any upgrade and then floods it; counts what it could say.
async fn flooding() -> (std::net::SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let said = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&said);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tcp.read_u8().await.unwrap());
                }
                let agreed =
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                tcp.write_all(agreed.as_bytes()).await.unwrap();
                let flood = vec![7; 64 * 1024];
                while let Ok(some) = tcp.write(&flood).await {
                    count.fetch_add(some as u64, Relaxed);
                }
            });
        }
    });
    (address, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_nobody_reads_holds_little_plain_and_over_tls() {
    const TUNNELS: usize = 64;
    for is_tls in [false, true] {
        let town = Town::start().await;
        let (origin, said) = flooding().await;
        let route = json!({ "host": "ws.example.com", "target": format!("http://{origin}"), "websocket": true,
                            "tls": if is_tls { "self-signed" } else { "off" } });
        Api::of(town.up.data()).post("/api/v1/routes", route).await;
        let authority = town.up.cli(&["ca", "show"]);
        let handshake = "GET / HTTP/1.1\r\nHost: ws.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        town.up.cli(&["gateway", "ls"]);
        wait_for("the route serves", || async {
            let at = town.up.address("http");
            client::get_if_open(at, "ws.example.com", "/").await.filter(|answer| answer.status != 404)
        })
        .await;
        let before = town.up.resident_bytes("gateway");
        let (mut plain, mut secured) = (Vec::new(), Vec::new());
        for _ in 0..TUNNELS {
            let answer = if is_tls {
                let at = town.up.address("https");
                let mut tunnel = Connection::open_tls(at, "ws.example.com", &authority).await.unwrap();
                tunnel.send(handshake.as_bytes()).await.unwrap();
                let answer = tunnel.answer(true).await.unwrap();
                secured.push(tunnel);
                answer
            } else {
                let mut tunnel = Connection::open(town.up.address("http")).await;
                tunnel.send(handshake.as_bytes()).await.unwrap();
                let answer = tunnel.answer(true).await.unwrap();
                plain.push(tunnel);
                answer
            };
            assert_eq!(answer.status, 101, "{}", answer.head);
        }
        let (mut last, mut quiet) = (0, 0);
        wait_for("the origin is held up", || {
            let now = said.load(Relaxed);
            quiet = if now == last && now > 0 { quiet + 1 } else { 0 };
            last = now;
            std::future::ready((quiet >= 30).then_some(()))
        })
        .await;
        let canary = Canary::start(town.up.address("http"), HOST, "home");
        canary.sings_on().await;
        canary.end().await;
        let each = town.up.resident_bytes_most("gateway").saturating_sub(before) / TUNNELS as u64;
        eprintln!("{each} bytes for each of {TUNNELS} tunnels that nobody reads, TLS {is_tls}");
        assert!(each <= 512 * 1024, "{each} bytes for each of {TUNNELS} tunnels that nobody reads");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_opens_no_window_holds_little_however_many_streams_it_has() {
    const STREAMS: u32 = 100;
    for window in [[0; 4], [0x7f, 0xff, 0xff, 0xff]] {
        let town = Town::start().await;
        let before = town.up.resident_bytes("gateway");
        let mut readers = Vec::new();
        for _ in 0..4 {
            let settings = [&[0, 4][..], &window].concat();
            let mut reader = Frames::open_with(town.up.address("http"), &settings).await;
            // Windows wide open, and nobody who reads the socket.
            reader.send(&frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0])).await;
            for at in 0..STREAMS {
                reader.send(&get(at * 2 + 1, FLOOD, "/")).await;
            }
            readers.push(reader);
        }
        town.holds(before, 4 * STREAMS as usize, 512 * 1024).await;
    }
}

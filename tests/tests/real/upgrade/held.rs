//! Many tunnels at once, through changes of routes and an upgrade.

use std::net::SocketAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tests::api::Api;
use tests::binaries::Up;
use tests::client;
use tests::frames::{END_HEADERS, END_STREAM, Frames, frame, headers, kind};
use tests::wait::{wait_for, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::upgrade;

const HOST: &str = "many.example.com";
/// WebSockets of HTTP/1.1, each of which takes two files of the gateway.
const PLAIN: usize = 3_000;
/// WebSockets that are streams of HTTP/2, which take one, and how many of them one connection has.
const MULTIPLEXED: usize = 7_000;
const STREAMS: usize = 100;
const CHANGES: usize = 1_000;
/// What this process needs: both ends of the plain ones, the far end of the others; and other tests run beside.
const FILES: u64 = 16_384;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tunnels_outlive_a_thousand_changes_and_an_upgrade() {
    let most = getrlimit(Resource::Nofile).maximum;
    if most.is_some_and(|most| most < FILES) {
        eprintln!("skipped: a process may have {most:?} files open here, and {FILES} are needed");
        return;
    }
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let up = Up::start();
    let api = Api::of(up.data());
    let target = format!("http://{}", echo().await);
    api.post("/api/v1/routes", json!({ "host": HOST, "target": target, "websocket": true })).await;
    let http = up.address("http");
    wait_for("the route is known", || async {
        (client::get(http, HOST, "/").await.ok()?.status != 404).then_some(())
    })
    .await;
    let mut plain = Vec::with_capacity(PLAIN);
    for _ in 0..PLAIN {
        plain.push(tunnel(http).await);
    }
    let mut multiplexed = Vec::new();
    for _ in 0..MULTIPLEXED / STREAMS {
        multiplexed.push(streams(http).await);
    }

    change(&api, 0..CHANGES / 2).await;
    let upgraded = upgrade(&up);
    change(&api, CHANGES / 2..CHANGES).await;

    assert!(upgraded["connections"].as_u64().unwrap() >= PLAIN as u64, "{upgraded}");
    let mut closed = 0;
    for tunnel in &mut plain {
        closed += usize::from(!echoes(tunnel).await);
    }
    for connection in &mut multiplexed {
        for nth in 0..STREAMS {
            closed += usize::from(!speaks(connection, stream(nth)).await);
        }
    }
    assert_eq!(closed, 0, "of {} tunnels", PLAIN + MULTIPLEXED);
    let late = format!("h{}.example.com", CHANGES - 1);
    assert_eq!(client::get(http, &late, "/").await.unwrap().status, 502, "the last change is in force");
}

/// Makes routes, changes them and takes them away, in turn; the last one stays.
async fn change(api: &Api, numbers: std::ops::Range<usize>) {
    let mut last = None;
    for number in numbers {
        let any: &[(&str, &str)] = &[("If-Match", "*")];
        let (answer, wanted) = match (number % 3, last.take()) {
            (1, Some(id)) => {
                let path = format!("/api/v1/routes/{id}");
                last = Some(id);
                (api.call_with("PATCH", &path, any, Some(&json!({ "websocket": true }))).await, 200)
            }
            (2, Some(id)) => (api.call_with("DELETE", &format!("/api/v1/routes/{id}"), any, None).await, 204),
            _ => {
                let host = format!("h{number}.example.com");
                let body = json!({ "host": host, "target": "http://127.0.0.1:1" });
                let answer = api.call("POST", "/api/v1/routes", Some(&body)).await;
                last = answer_id(&answer.body);
                (answer, 201)
            }
        };
        assert_eq!(answer.status, wanted, "change {number}: {}", answer.text());
    }
}

fn answer_id(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Value>(body).ok()?["id"].as_str().map(str::to_owned)
}

async fn tunnel(http: SocketAddr) -> TcpStream {
    let mut tcp = within("connect", TcpStream::connect(http)).await.unwrap();
    let asked = format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    tcp.write_all(asked.as_bytes()).await.unwrap();
    let head = within("the upgrade", head_of(&mut tcp)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(echoes(&mut tcp).await);
    tcp
}

async fn echoes(tunnel: &mut TcpStream) -> bool {
    let mut heard = [0; 6];
    tunnel.write_all(b"hello!").await.is_ok()
        && within("an echo", tunnel.read_exact(&mut heard)).await.is_ok()
        && &heard == b"hello!"
}

const fn stream(nth: usize) -> u32 {
    2 * nth as u32 + 1
}

/// A connection of HTTP/2 with WebSockets on it (RFC 8441).
async fn streams(http: SocketAddr) -> Frames {
    let mut connection = Frames::open(http).await;
    for nth in 0..STREAMS {
        let asked = headers(
            END_HEADERS,
            stream(nth),
            &[
                (b":method", b"CONNECT"),
                (b":protocol", b"websocket"),
                (b":scheme", b"http"),
                (b":path", b"/ws"),
                (b":authority", HOST.as_bytes()),
                (b"sec-websocket-version", b"13"),
            ],
        );
        assert!(connection.send(&asked).await);
        let answer = connection.next_of(stream(nth)).await.expect("an answer");
        // 200 of the static table.
        assert_eq!((answer.kind, answer.payload.first()), (kind::HEADERS, Some(&0x88)));
        assert!(speaks(&mut connection, stream(nth)).await);
    }
    connection
}

async fn speaks(connection: &mut Frames, stream: u32) -> bool {
    if !connection.send(&frame(kind::DATA, 0, stream, b"hello!")).await {
        return false;
    }
    let mut heard = Vec::new();
    while heard.len() < 6 {
        match connection.next_of(stream).await {
            Some(came) if came.kind == kind::DATA && came.flags & END_STREAM == 0 => {
                heard.extend(came.payload);
            }
            _ => return false,
        }
    }
    heard == b"hello!"
}

/// Takes every upgrade, and says back what it hears then.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = head_of(&mut tcp).await?;
                let mut fields = head.lines().filter_map(|line| line.split_once(": "));
                let key = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
                let Some((_, key)) = key else {
                    return tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                };
                let accept = derive_accept_key(key.as_bytes());
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                tcp.write_all(answer.as_bytes()).await?;
                let (mut from, mut to) = tcp.split();
                tokio::io::copy(&mut from, &mut to).await.map(drop)
            });
        }
    });
    address
}

/// The head of a message, and nothing after it.
async fn head_of(tcp: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

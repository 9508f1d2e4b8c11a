//! A thousand changes under traffic: nothing fails, nothing closes.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::{SinkExt, StreamExt};
use tests::api::Api;
use tests::binaries::Up;
use tests::client::{self, Connection};
use tests::origin::Origin;
use tests::sshd::{KeyPair, client_config};
use tests::wait::{wait_for, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

const CHANGES: usize = 1_000;
const CONNECTIONS: usize = 64;
const WEBSOCKETS: usize = 20;
const JUMPS: usize = 5;

/// What the traffic did; nothing in it may be a failure.
#[derive(Default)]
struct Traffic {
    done: AtomicBool,
    requests: AtomicU64,
    echoes: AtomicU64,
    copied: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_fail_no_request_and_close_no_stream() {
    let up = Up::start();
    let origin = Origin::start("steady").await;
    let api = Api::of(up.data());
    api.post(
        "/api/v1/routes",
        serde_json::json!({"host": "steady.example.com", "target": origin.url(), "websocket": true}),
    )
    .await;
    let key = KeyPair::make("usr1");
    let echo = echo_server().await;
    up.cli(&["vm", "add", "echo", "127.0.0.1", "--ssh-port", &echo.port().to_string()]);
    up.cli(&["user", "create", "usr1", "--grant", "operator:default"]);
    up.cli(&["user", "key", "add", "usr1", key.public_file().to_str().unwrap()]);
    let http = up.address("http");
    wait_for("the route serves", || async {
        client::get(http, "steady.example.com", "/").await.ok().filter(|answer| answer.status == 200)
    })
    .await;

    let traffic = Arc::new(Traffic::default());
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        tasks.push(tokio::spawn(requests(http, Arc::clone(&traffic))));
    }
    for _ in 0..WEBSOCKETS {
        tasks.push(tokio::spawn(echoes(http, Arc::clone(&traffic))));
    }
    for _ in 0..JUMPS {
        tasks.push(tokio::spawn(jump(up.address("ssh"), key.file.clone(), Arc::clone(&traffic))));
    }
    wait_for("all kinds of traffic flow", || async {
        let flows = [&traffic.requests, &traffic.echoes, &traffic.copied];
        flows.iter().all(|flow| flow.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;

    for number in 0..CHANGES / 2 {
        let id = api.route(&format!("h{number}.example.com"), "http://10.0.0.5:80").await;
        api.delete(&format!("/api/v1/routes/{id}")).await;
    }
    api.route("last.example.com", &origin.url()).await;
    wait_for("the last change serves", || async {
        client::get(http, "last.example.com", "/").await.ok().filter(|answer| answer.status == 200)
    })
    .await;

    traffic.done.store(true, Ordering::Relaxed);
    for task in tasks {
        within("the traffic ends by itself", task).await.expect("no stream failed");
    }
    eprintln!(
        "{CHANGES} changes: {} requests, {} echoes, {} bytes through jumps, 0 failed",
        traffic.requests.load(Ordering::Relaxed),
        traffic.echoes.load(Ordering::Relaxed),
        traffic.copied.load(Ordering::Relaxed)
    );
}

async fn requests(http: SocketAddr, traffic: Arc<Traffic>) {
    let mut connection = Connection::open(http).await;
    while !traffic.done.load(Ordering::Relaxed) {
        let answer = connection.get("steady.example.com", "/").await.expect("the connection stays open");
        assert_eq!((answer.status, answer.text().as_str()), (200, "steady"));
        traffic.requests.fetch_add(1, Ordering::Relaxed);
    }
}

async fn echoes(http: SocketAddr, traffic: Arc<Traffic>) {
    let mut socket = client::websocket(http, "steady.example.com", "/ws").await;
    let mut number = 0u64;
    while !traffic.done.load(Ordering::Relaxed) {
        number += 1;
        let sent = Message::text(number.to_string());
        socket.send(sent.clone()).await.expect("the websocket stays open");
        assert_eq!(within("an echo", socket.next()).await.unwrap().expect("stays open"), sent);
        traffic.echoes.fetch_add(1, Ordering::Relaxed);
    }
}

/// `ssh -W echo:22 openidcs@gate`, echoing until the end.
async fn jump(gate: SocketAddr, key: std::path::PathBuf, traffic: Arc<Traffic>) {
    let folder = tempfile::tempdir().unwrap();
    let config = client_config(folder.path(), &KeyPair::at(key));
    let mut child = tokio::process::Command::from({
        let mut command = Command::new("ssh");
        command.arg("-F").arg(config).args(["-W", "echo:22", "-p", &gate.port().to_string()]);
        command.arg(format!("openidcs@{}", gate.ip())).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    })
    .kill_on_drop(true)
    .spawn()
    .unwrap();
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let block = [42u8; 8192];
    let mut back = [0u8; 8192];
    while !traffic.done.load(Ordering::Relaxed) {
        to.write_all(&block).await.expect("the jump stays open");
        to.flush().await.unwrap();
        within("bytes back through the jump", from.read_exact(&mut back)).await.expect("the jump stays open");
        assert_eq!(back, block);
        traffic.copied.fetch_add(block.len() as u64, Ordering::Relaxed);
    }
}

async fn echo_server() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.ok();
            });
        }
    });
    address
}

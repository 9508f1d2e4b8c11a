//! What the process before still carries after an upgrade: changes reach it as they reach the new one (DESIGN D5), it is
//! listed and can be ended, and tickets of before the upgrade open consoles after it.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use tests::binaries::{Up, signal};
use tests::client;
use tests::frames::{Frames, frame, headers, kind};
use tests::origin::Origin;
use tests::wait::{wait_for, within};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;

use crate::flows::{
    Datagrams, closed, connected, console, echo, echoes, forward, is_alive, screen, sessions, show, shows,
    ticket, udp_echo,
};

fn upgrade(up: &Up) {
    up.cli(&["upgrade"]);
}

async fn websocket(up: &Up, host: &str) -> crate::flows::Socket {
    let mut socket = client::websocket(up.address("http"), host, "/ws").await;
    assert!(echoes(&mut socket).await);
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_reach_what_the_elder_carries_and_nothing_that_they_do_not_concern() {
    let up = Up::start();
    let origin = Origin::start("app").await;
    for host in ["gone.example.com", "stays.example.com"] {
        up.cli(&["route", "add", host, &origin.url(), "--websocket", "on", "--on-delete", "cut"]);
    }
    let machine = echo().await;
    let (cut, cut_port) = forward(&up, "tcp", machine, &["--on-delete", "cut"]);
    let (_, other_port) = forward(&up, "tcp", machine, &["--on-delete", "cut"]);
    screen(&up, "web01").await;
    let token = |name: &str| {
        up.cli(&["user", "create", name, "--grant", "operator:default"]);
        up.cli(&["token", "create", "--subject", name, "--duration", "10m"])
    };
    let (ann, bob) = (token("ann"), token("bob"));
    let mut gone = websocket(&up, "gone.example.com").await;
    let mut stays = websocket(&up, "stays.example.com").await;
    let (mut by_cut, mut by_other) = (connected(cut_port).await, connected(other_port).await);
    let mut killed = connected(other_port).await;
    let gate = up.address("novnc");
    let mut hers = console(gate, &ticket(&up, "web01", Some(&ann))).await;
    let mut his = console(gate, &ticket(&up, "web01", Some(&bob))).await;
    let before = up.pid("gateway");

    upgrade(&up);

    assert!(echoes(&mut gone).await && echoes(&mut stays).await && is_alive(&mut by_cut).await);
    let listed = wait_for("the elder's flows are listed, once it follows control again", || async {
        Some(sessions(&up, &[])).filter(|listed| listed.len() == 7)
    })
    .await;
    up.cli(&["forward", "rm", &cut]);
    // A draining process follows control by a stream of its own, which it may just be opening.
    wait_for_end("the forward's", async || is_alive(&mut by_cut).await).await;
    up.cli(&["route", "rm", "gone.example.com"]);
    wait_for_end("the route's", async || echoes(&mut gone).await).await;
    up.cli(&["user", "update", "ann", "--enabled", "off"]);
    assert_eq!(closed(&mut hers).await, 1008);

    let from = killed.local_addr().unwrap().to_string();
    let one = listed.iter().find(|one| one["from"] == from.as_str()).unwrap();
    let id = one["id"].as_str().unwrap();
    assert!(up.cli(&["session", "show", id]).contains(&from));
    up.cli(&["session", "kill", id]);
    assert!(!is_alive(&mut killed).await);

    assert!(echoes(&mut stays).await && is_alive(&mut by_other).await && shows(&mut his).await);
    assert!(std::path::Path::new(&format!("/proc/{before}")).exists(), "the elder carries them");
    wait_for("the others are listed", || async { (sessions(&up, &[]).len() == 3).then_some(()) }).await;
}

/// Waits until a flow carries nothing any more.
async fn wait_for_end(whose: &str, mut carries: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + tests::wait::DEADLINE;
    while carries().await {
        assert!(tokio::time::Instant::now() < deadline, "{whose} flow does not end");
    }
}

fn refused(answer: &str, why: &str) {
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(why), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_outlive_an_upgrade_with_what_is_known_of_them_and_no_restart() {
    let mut up = Up::start();
    screen(&up, "web01").await;
    let gate: SocketAddr = up.address("novnc");
    let (used, unused) = (ticket(&up, "web01", None), ticket(&up, "web01", None));
    let mut first = console(gate, &used).await;

    upgrade(&up);

    assert!(shows(&mut first).await, "it goes on in the process before");
    // The same browser comes again: at the new process, which ends the console that the old one has.
    let mut second = console(gate, &used).await;
    assert_eq!(closed(&mut first).await, 1008);
    assert!(shows(&mut second).await);
    assert_eq!(sessions(&up, &["--kind", "console"]).len(), 1);
    let mut third = console(gate, &unused).await;
    assert!(shows(&mut third).await);

    let late = ticket(&up, "web01", None);
    drop((second, third));
    let serving: u32 =
        std::fs::read_to_string(up.data().join("gateway/lock")).unwrap().trim().parse().unwrap();
    signal(serving, "KILL");
    wait_for("another gateway serves", || async {
        let text = std::fs::read_to_string(up.data().join("gateway/lock")).unwrap_or_default();
        let is_another = text.trim().parse::<u32>().is_ok_and(|pid| pid != serving && pid != 0);
        let listed: Value = serde_json::from_str(&up.cli(&["gateway", "ls", "-o", "json"])).ok()?;
        let connected = listed[0]["connected"] == true && TcpStream::connect(gate).await.is_ok();
        (is_another && connected).then_some(())
    })
    .await;
    let (_, answer) = show(gate, &late).await;
    refused(&answer, "The gate was started again after the ticket was made. Ask for a new one.");
    let mut fresh = console(gate, &ticket(&up, "web01", None)).await;
    assert!(shows(&mut fresh).await);
    drop(fresh);
    assert_eq!(up.stop(), Some(0));
}

/// A client's TLS that remembers sessions.
fn tls(authority: &str) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

async fn secured(up: &Up, connector: &TlsConnector) -> tokio_rustls::client::TlsStream<TcpStream> {
    let tcp = TcpStream::connect(up.address("https")).await.unwrap();
    connector.connect(ServerName::try_from("app.example.com").unwrap(), tcp).await.unwrap()
}

/// The payload of the next frame of data on a stream.
async fn data(frames: &mut Frames, stream: u32) -> Vec<u8> {
    loop {
        let came = frames.next().await.expect("the connection stays open");
        assert!(came.kind != kind::RST_STREAM, "{came:?}");
        if came.kind == kind::DATA && came.stream == stream && !came.payload.is_empty() {
            return came.payload;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_over_tls_and_http2_go_on_and_sessions_of_tls_resume() {
    let up = Up::start();
    let origin = Origin::start("app").await;
    let secured_route = ["--websocket", "on", "--tls", "self-signed", "--redirect-https", "off"];
    up.cli(&[&["route", "add", "app.example.com", &origin.url()], &secured_route[..]].concat());
    let connector = tls(&up.cli(&["ca", "show"]));
    let stream = secured(&up, &connector).await;
    let (mut wss, _) = tokio_tungstenite::client_async("ws://app.example.com/ws", stream).await.unwrap();
    let says = async |wss: &mut tokio_tungstenite::WebSocketStream<_>, text: &str| {
        wss.send(Message::text(text)).await.unwrap();
        assert_eq!(within("an echo", wss.next()).await.unwrap().unwrap(), Message::text(text));
    };
    says(&mut wss, "before").await;
    let mut h2 = Frames::open(up.address("http")).await;
    let asked: [(&[u8], &[u8]); 6] = [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"http"),
        (b":path", b"/ws"),
        (b":authority", b"app.example.com"),
        (b"sec-websocket-version", b"13"),
    ];
    h2.send(&headers(0, 1, &asked)).await;
    let text = |text: &[u8]| [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text].concat();
    h2.send(&frame(kind::DATA, 0, 1, &text(b"before"))).await;
    assert_eq!(data(&mut h2, 1).await, [&[0x81, 6][..], b"before"].concat());

    upgrade(&up);

    says(&mut wss, "after").await;
    h2.send(&frame(kind::DATA, 0, 1, &text(b"after"))).await;
    assert_eq!(data(&mut h2, 1).await, [&[0x81, 5][..], b"after"].concat());
    let resumed = secured(&up, &connector).await;
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    let (mut again, _) = tokio_tungstenite::client_async("ws://app.example.com/ws", resumed).await.unwrap();
    says(&mut again, "anew").await;
    let elder = up.pid("gateway");
    assert!(std::path::Path::new(&format!("/proc/{elder}")).exists(), "it carries both");
    drop((wss, h2));
    wait_for("it ends with them", || async {
        let status = std::fs::read_to_string(format!("/proc/{elder}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    })
    .await;
    says(&mut again, "still").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_many_clients_and_a_wide_row_of_ports_are_handed_over() {
    let up = Up::start();
    let machine = udp_echo();
    let (_, port) = forward(&up, "udp", machine, &[]);
    // Each port is a descriptor, and the kernel takes 253 in one message.
    let first = 21_000 + u16::try_from(std::process::id() % 20).unwrap() * 400;
    let row = format!("{first}-{}", first + 299);
    up.cli(&["forward", "add", "udp", &row, "127.0.0.1:5000", "--bind", "127.0.0.1"]);
    let clients: Vec<(Datagrams, String)> = (0..50)
        .map(|_| {
            let client = Datagrams::to(port);
            let seen = client.ask("who").unwrap();
            (client, seen)
        })
        .collect();

    let upgraded: Value = serde_json::from_str(&up.cli(&["upgrade", "-o", "json"])).unwrap();

    assert!(upgraded["sockets"].as_u64().unwrap() > 300, "{upgraded}");
    assert_eq!(upgraded["flows"], 50);
    for (client, seen) in &clients {
        assert_eq!(&client.ask("who").unwrap(), seen, "the machine sees another client now");
    }
    let at = |port: u16| std::net::UdpSocket::bind(("127.0.0.1", port)).map_err(|error| error.kind());
    assert_eq!(
        at(first + 299).err(),
        Some(std::io::ErrorKind::AddrInUse),
        "the last of the row is the gate's"
    );
    up.cli(&["forward", "rm", &format!("udp/{first}")]);
    assert!(at(first).is_ok() && at(first + 299).is_ok(), "closed when the command says so");
}

//! What a tunnel costs while nothing flows in it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::runtime::{Builder, LocalOptions};

use super::idle::believing;
use super::stage::Stage;
use crate::listener::{Kind, accept};

/// Tunnels that are counted, after as many that warm the worker up.
const TUNNELS: usize = 128;

/// Heap bytes of an idle tunnel between two plain sockets: its task, its session, two socket registrations and timers.
/// The aim for all of it is 5.9 KiB.
const BYTES_MAX: i64 = 2_700;

/// The same where the client speaks TLS: measured 9 325, of which the library keeps the better part. The aim for all of it
/// is 20 KiB.
const SECURED_BYTES_MAX: i64 = 9_800;

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn an_idle_tunnel_holds_less_than_three_kib_of_heap() {
    let each = heap_of_one(Kind::Http, |address| tunnel(TcpStream::connect(address).unwrap()));
    assert!(each > 0 && each <= BYTES_MAX, "{each} bytes each");
}

#[test]
fn an_idle_tunnel_over_tls_holds_little_more_than_the_library_keeps() {
    let config = believing();
    let each = heap_of_one(Kind::Https, move |address| {
        let name = ServerName::try_from("app.example").unwrap();
        let session = ClientConnection::new(Arc::clone(&config), name).unwrap();
        tunnel(StreamOwned::new(session, TcpStream::connect(address).unwrap()))
    });
    assert!(each > 0 && each <= SECURED_BYTES_MAX, "{each} bytes each");
}

/// Heap bytes of one of many tunnels in which nothing flows any more.
fn heap_of_one<T: 'static>(kind: Kind, open: impl Fn(SocketAddr) -> T + Send + 'static) -> i64 {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let stage = runtime.block_on(Stage::new());
    let mut route = stage.route_to("app.example", "/", &[origin()]);
    route.websocket = true;
    stage.routes([route]);
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gate.local_addr().unwrap();
    let worker = Rc::clone(&stage.worker);
    runtime.block_on(async move {
        gate.set_nonblocking(true).unwrap();
        let gate = tokio::net::TcpListener::from_std(gate).unwrap();
        tokio::task::spawn_local(async move {
            while let Ok((tcp, peer)) = gate.accept().await {
                accept::admit(&worker, kind, tcp, peer);
            }
        });
    });
    let (done, mut rounds) = tokio::sync::mpsc::channel(1);
    let (go, begin) = mpsc::sync_channel(1);
    let client = std::thread::spawn(move || {
        let mut held = Vec::new();
        for () in begin {
            held.extend((0..TUNNELS).map(|_| open(address)));
            done.blocking_send(()).unwrap();
        }
    });
    let mut round = || {
        go.send(()).unwrap();
        runtime.block_on(async {
            rounds.recv().await.unwrap();
            tokio::task::yield_now().await;
        });
    };

    round();
    let allocations = allocation_counter::measure(round);

    assert_eq!(stage.worker.shared.sessions.len(), 2 * TUNNELS);
    drop(go);
    client.join().unwrap();
    allocations.bytes_current / i64::try_from(TUNNELS).unwrap()
}

/// A tunnel through which something large and something small were echoed.
fn tunnel<S: Read + Write>(mut client: S) -> S {
    client.write_all(HANDSHAKE.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    for len in [70_000, 5] {
        let said = vec![7; len];
        client.write_all(&said).unwrap();
        let mut heard = vec![0; len];
        client.read_exact(&mut heard).unwrap();
        assert!(said == heard);
    }
    client
}

/// An origin on threads of its own, which are not counted.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for io in listener.incoming() {
            let mut io = io.unwrap();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    io.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                io.write_all(SWITCHING.as_bytes()).unwrap();
                let mut block = vec![0; 65_536];
                while let Ok(count @ 1..) = io.read(&mut block) {
                    io.write_all(&block[..count]).unwrap();
                }
            });
        }
    });
    address
}

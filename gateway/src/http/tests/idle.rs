//! What a connection costs while nothing is asked on it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;

use tokio::runtime::{Builder, LocalOptions};

use super::stage::{GET, OK, Stage};
use crate::http::scratch::Deadlines;
use crate::listener::{Kind, accept};

/// Connections that are counted, after as many that warm the worker up.
const CONNECTIONS: usize = 128;

/// Heap bytes of an idle plain connection: its task, socket registration and timer. The aim for all of it is 2 KiB, of
/// which the allocator's rounding takes a part.
const BYTES_MAX: i64 = 1_200;

#[test]
fn an_idle_connection_holds_less_than_two_kib_of_heap() {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let stage = runtime.block_on(Stage::new());
    stage.routes([stage.route_to("app.example", "/", &[origin()])]);
    stage.worker.http.set_deadlines(Deadlines { quiet_ms: 1, ..Deadlines::default() });
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gate.local_addr().unwrap();
    let worker = Rc::clone(&stage.worker);
    runtime.block_on(async move {
        gate.set_nonblocking(true).unwrap();
        let gate = tokio::net::TcpListener::from_std(gate).unwrap();
        tokio::task::spawn_local(async move {
            while let Ok((tcp, peer)) = gate.accept().await {
                accept::admit(&worker, Kind::Http, tcp, peer);
            }
        });
    });
    let (done, mut rounds) = tokio::sync::mpsc::channel(1);
    let (go, begin) = mpsc::sync_channel(1);
    let client = std::thread::spawn(move || {
        let mut held = Vec::new();
        for () in begin {
            held.extend((0..CONNECTIONS).map(|_| asked(address)));
            done.blocking_send(()).unwrap();
        }
    });
    let mut round = || {
        go.send(()).unwrap();
        runtime.block_on(async {
            rounds.recv().await.unwrap();
            // A timer set later than those of the connections: when it fires they have given back what they can.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            tokio::task::yield_now().await;
        });
    };

    round();
    let allocations = allocation_counter::measure(round);

    let each = allocations.bytes_current / i64::try_from(CONNECTIONS).unwrap();
    assert!(each > 0 && each <= BYTES_MAX, "{each} bytes each: {allocations:?}");
    drop(go);
    client.join().unwrap();
}

/// A connection on which one request was answered.
fn asked(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(GET.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        let mut block = [0; 1024];
        let count = client.read(&mut block).unwrap();
        assert!(count > 0, "closed early");
        answer.extend_from_slice(&block[..count]);
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
                let mut block = [0; 4096];
                // A request of this test is one write, and so one read.
                while matches!(io.read(&mut block), Ok(1..)) {
                    io.write_all(OK.as_bytes()).unwrap();
                }
            });
        }
    });
    address
}

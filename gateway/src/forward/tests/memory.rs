//! What forwards cost: a datagram that passes, and a flow in which nothing does.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use allocation_counter::AllocationInfo;
use config::snapshot::{Forward, Generation, Lineage, Object, Snapshot, Value};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stage::{LOCAL, free_port, tcp, udp};
use crate::forward::doors::Door;
use crate::forward::{Spot, bind, serve};
use crate::live::Live;
use crate::worker::{Worker, testing};

/// Flows that are counted, after as many that warm the worker up.
const FLOWS: usize = 128;
/// Datagrams that each client has echoed, and how many clients.
const DATAGRAMS: usize = 200;
const CLIENTS: usize = 8;

/// Heap bytes of a silent UDP session: its task, its state, one socket registration, its places in the tables. Measured
/// 1 634.
const UDP_BYTES_MAX: i64 = 1_800;
/// Heap bytes of a silent forwarded connection: its task, its session, two socket registrations and timers. Measured
/// 2 634.
const TCP_BYTES_MAX: i64 = 2_800;

#[test]
fn a_datagram_forwarded_by_a_warm_worker_allocates_nothing() {
    // At a port of every address the answer has to say which one it comes from.
    for listen in [LOCAL, Ipv4Addr::UNSPECIFIED.into()] {
        let allocations = datagrams_of(listen);
        let count = DATAGRAMS * CLIENTS;
        assert_eq!(allocations.count_total, 0, "{count} there and back at {listen}: {allocations:?}");
    }
}

#[test]
fn a_silent_udp_session_holds_less_than_two_kib_of_heap() {
    let port = free_port();
    let scene = Scene::of(udp(1, port, datagram_echo()), LOCAL);
    let each = scene.heap_of_one(move || {
        let client = client_of(port);
        exchange(&client);
        client
    });
    assert!(each > 0 && each <= UDP_BYTES_MAX, "{each} bytes each");
}

#[test]
fn a_silent_forwarded_connection_holds_less_than_three_kib_of_heap() {
    let port = free_port();
    let scene = Scene::of(tcp(1, port, stream_echo()), LOCAL);
    let each = scene.heap_of_one(move || {
        let mut client = TcpStream::connect((LOCAL, port)).unwrap();
        for len in [70_000, 5] {
            let said = vec![7; len];
            client.write_all(&said).unwrap();
            let mut heard = vec![0; len];
            client.read_exact(&mut heard).unwrap();
            assert!(said == heard);
        }
        client
    });
    assert!(each > 0 && each <= TCP_BYTES_MAX, "{each} bytes each");
}

/// What it allocates to carry datagrams there and back that clients send to loopback, once their sessions are open.
fn datagrams_of(listen: IpAddr) -> AllocationInfo {
    let port = free_port();
    let scene = Scene::of(Forward { listen: Some(listen), ..udp(1, port, datagram_echo()) }, listen);
    let clients: Vec<UdpSocket> = (0..CLIENTS).map(|_| client_of(port)).collect();
    let mut rounds = scene.rounds(move || {
        for _ in 0..DATAGRAMS {
            clients.iter().for_each(exchange);
        }
    });
    rounds.measured();
    rounds.measured()
}

/// A worker on this thread, where allocations are counted, with one forward in force.
struct Scene {
    runtime: LocalRuntime,
    worker: Rc<Worker>,
    close: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn of(forward: Forward, ip: IpAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let worker = testing::worker(dir.path());
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        let spot = Spot { transport: forward.transport, ip, port: forward.ports.first };
        let object = Object::encode(&Value::Forward(forward)).unwrap();
        let snapshot = Snapshot::of(Lineage([1; 16]), Generation(1), [object]);
        worker.shared.current.replace(Arc::new(Live::compile(Arc::new(snapshot)).unwrap().0));
        let socket = bind::bind(spot, 1, false).unwrap().remove(0);
        let (close, alive) = (CancellationToken::new(), TaskTracker::new().token());
        let door =
            Door { spot, socket, close: close.clone(), alive, flows: Vec::new(), turned: Arc::default() };
        runtime.block_on(async { serve(&worker, door) });
        Self { runtime, worker, close, _dir: dir }
    }

    /// Has `act` done again and again on a thread of its own, and the worker meanwhile what comes of it.
    fn rounds(&self, mut act: impl FnMut() + Send + 'static) -> Rounds<'_> {
        let (done, ended) = tokio::sync::mpsc::channel(1);
        let (go, begin) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for () in begin {
                act();
                done.blocking_send(()).unwrap();
            }
        });
        Rounds { runtime: &self.runtime, go, ended }
    }

    /// Heap bytes of one of many flows that `open` opens and in which nothing moves any more.
    fn heap_of_one<T: Send + 'static>(&self, open: impl Fn() -> T + Send + 'static) -> i64 {
        let mut held = Vec::new();
        let mut rounds = self.rounds(move || held.extend((0..FLOWS).map(|_| open())));
        rounds.measured();
        let allocations = rounds.measured();
        assert_eq!(self.worker.shared.sessions.len(), 2 * FLOWS);
        allocations.bytes_current / i64::try_from(FLOWS).unwrap()
    }
}

struct Rounds<'a> {
    runtime: &'a LocalRuntime,
    go: mpsc::SyncSender<()>,
    ended: tokio::sync::mpsc::Receiver<()>,
}

impl Rounds<'_> {
    /// One of them, and what the worker allocated in it.
    fn measured(&mut self) -> AllocationInfo {
        self.go.send(()).unwrap();
        allocation_counter::measure(|| self.runtime.block_on(self.ended.recv()).unwrap())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.close.cancel();
    }
}

fn client_of(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
    socket.connect((LOCAL, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn exchange(client: &UdpSocket) {
    client.send(&[7; 512]).unwrap();
    let mut heard = [0; 513];
    assert_eq!((client.recv(&mut heard).unwrap(), heard[511]), (512, 7));
}

/// A machine on a thread of its own, which is not counted.
fn datagram_echo() -> SocketAddr {
    let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..count], from).unwrap();
        }
    });
    address
}

fn stream_echo() -> SocketAddr {
    let listener = TcpListener::bind((LOCAL, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for io in listener.incoming() {
            let mut io = io.unwrap();
            std::thread::spawn(move || {
                let mut block = vec![0; 65_536];
                while let Ok(count @ 1..) = io.read(&mut block) {
                    io.write_all(&block[..count]).unwrap();
                }
            });
        }
    });
    address
}

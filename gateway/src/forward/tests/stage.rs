//! A gateway's workers and its doors, without control and without listeners of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener, UdpSocket as StdUdp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;

use config::delta::diff;
use config::id::{EndpointId, ForwardId, VmId};
use config::name::Namespace;
use config::snapshot::{
    Endpoint, FlowPolicy, Forward, Generation, Lineage, Object, Ports, Snapshot, Transport, Value,
};
use config::target::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Mutex;

use crate::forward::{Doors, Flows};
use crate::guard::Bounds;
use crate::listener::ports::Ports as KnownPorts;
use crate::listener::supervisor::Supervisor;
use crate::start::install::Install;
use crate::telemetry::Access;
use crate::worker::{self, Handle, Shared, testing};

/// Longest wait for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(10);
pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(super) const VM: VmId = VmId::from_bytes([9; 16]);

pub(super) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

/// Waits until it is so.
pub(super) async fn until(what: impl Fn() -> bool) {
    within(async {
        while !what() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// So many ports in a row that nobody has. Below those that the system gives out by itself.
pub(super) fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = 10_000 + u16::try_from(std::process::id() % 180).unwrap() * 100;
    loop {
        let first = begin + NEXT.fetch_add(count, Relaxed) % 4_000;
        let is_free = |port: u16| {
            let any = (Ipv4Addr::UNSPECIFIED, port);
            StdListener::bind(any).is_ok() && StdUdp::bind(any).is_ok()
        };
        if (first..first + count).all(is_free) {
            return first;
        }
    }
}

pub(super) fn free_port() -> u16 {
    free_ports(1)
}

/// A forward of one port on loopback to a target.
pub(super) fn forward(id: u8, transport: Transport, port: u16, target: SocketAddr) -> Forward {
    Forward {
        id: ForwardId::from_bytes([id; 16]),
        namespace: Namespace::parse("ns1").unwrap(),
        transport,
        listen: Some(LOCAL),
        ports: Ports { first: port, last: port },
        endpoint: Endpoint {
            id: EndpointId::from_bytes([id; 16]),
            target: Target::Address(target),
            loopback_ok: true,
            vm: None,
            weight: 1,
            draining: false,
        },
        sources: Box::default(),
        proxy_protocol: None,
        flows_max: None,
        flows_per_second: None,
        idle_ms: None,
        on_change: FlowPolicy::Keep,
        on_delete: FlowPolicy::Drain { ms: 30_000 },
    }
}

pub(super) fn tcp(id: u8, port: u16, target: SocketAddr) -> Forward {
    forward(id, Transport::Tcp, port, target)
}

pub(super) fn udp(id: u8, port: u16, target: SocketAddr) -> Forward {
    forward(id, Transport::Udp, port, target)
}

pub(super) struct Stage {
    pub(super) shared: Arc<Shared>,
    pub(super) install: Install,
    workers: Arc<[Handle]>,
    in_force: std::cell::RefCell<Arc<Snapshot>>,
    _dir: tempfile::TempDir,
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(2, Bounds::default()).await
    }

    pub(super) async fn with(workers: usize, bounds: Bounds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared =
            Shared::with(testing::settings(dir.path()), workers, Access::default(), bounds, Arc::default());
        let handles: Vec<Handle> =
            (0..workers).map(|index| worker::spawn(Arc::clone(&shared), index).unwrap().0).collect();
        let workers: Arc<[Handle]> = handles.into();
        let supervisor = Supervisor::new(Arc::clone(&workers), KnownPorts::load(dir.path()));
        let mut doors = Doors::new(Arc::clone(&shared), Arc::clone(&workers));
        doors.start().await;
        let install = Install {
            shared: Arc::clone(&shared),
            listeners: Arc::new(Mutex::new(supervisor)),
            doors: Arc::new(Mutex::new(doors)),
            boot: 7,
        };
        let nothing = Arc::new(Snapshot::empty(Lineage([1; 16]), Generation(0)));
        let stage = Self { shared, install, workers, in_force: std::cell::RefCell::new(nothing), _dir: dir };
        stage.values([]).await;
        stage
    }

    /// Puts these forwards in force, and returns what is paused.
    pub(super) async fn forwards(&self, forwards: impl IntoIterator<Item = Forward>) -> Vec<String> {
        self.values(forwards.into_iter().map(Value::Forward)).await
    }

    pub(super) async fn values(&self, values: impl IntoIterator<Item = Value>) -> Vec<String> {
        let before = Arc::clone(&self.in_force.borrow());
        let objects = values.into_iter().map(|value| Object::encode(&value).unwrap());
        let generation = Generation(before.generation().0 + 1);
        let snapshot = Arc::new(Snapshot::of(before.lineage(), generation, objects));
        let delta = diff(&before, &snapshot);
        *self.in_force.borrow_mut() = Arc::clone(&snapshot);
        within(self.install.put_in_force(snapshot, Some(&delta))).await.unwrap()
    }

    pub(super) fn flows(&self, id: u8) -> Arc<Flows> {
        self.shared.forwards.of(ForwardId::from_bytes([id; 16]))
    }

    /// Ends the workers, and waits for them.
    pub(super) async fn stop(self) {
        for worker in self.workers.iter() {
            worker.send(worker::Command::Stop).await;
            worker.ended().await;
        }
    }
}

/// A machine that says back what it hears, until told otherwise by closing.
pub(super) async fn echo(ip: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = tcp.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

/// A machine that says back each datagram, behind a mark of its own.
pub(super) async fn udp_echo(ip: IpAddr, mark: &'static [u8]) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 70_000];
        while let Ok((count, peer)) = socket.recv_from(&mut buffer).await {
            let answer = [mark, &buffer[..count]].concat();
            let _ = socket.send_to(&answer, peer).await;
        }
    });
    address
}

pub(super) async fn connect(port: u16) -> TcpStream {
    within(TcpStream::connect((LOCAL, port))).await.unwrap()
}

/// Asserts that a connection is reset without a word; that can be so quick that there seems to have been none.
pub(super) async fn turned_away(port: u16) {
    match within(TcpStream::connect((LOCAL, port))).await {
        Ok(mut client) => assert_eq!(end_of(&mut client).await, (Vec::new(), true)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

/// What comes back for these bytes.
pub(super) async fn say(tcp: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    tcp.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    within(tcp.read_exact(&mut back)).await?;
    Ok(back)
}

/// How a connection ended: what was still read, and whether by a reset.
pub(super) async fn end_of(tcp: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut rest = Vec::new();
    let was_reset = within(tcp.read_to_end(&mut rest)).await.is_err();
    (rest, was_reset)
}

/// A client with a socket of its own.
pub(super) struct Client(pub(super) UdpSocket);

impl Client {
    pub(super) async fn of(to: impl Into<SocketAddr>) -> Self {
        let to = to.into();
        let any: IpAddr = if to.is_ipv4() { LOCAL } else { std::net::Ipv6Addr::LOCALHOST.into() };
        let socket = UdpSocket::bind((any, 0)).await.unwrap();
        // Connected: it takes answers from there alone.
        socket.connect(to).await.unwrap();
        Self(socket)
    }

    pub(super) async fn ask(&self, datagram: &[u8]) -> std::io::Result<Vec<u8>> {
        self.0.send(datagram).await?;
        self.hear().await
    }

    pub(super) async fn hear(&self) -> std::io::Result<Vec<u8>> {
        let mut buffer = vec![0; 70_000];
        let count = within(self.0.recv(&mut buffer)).await?;
        buffer.truncate(count);
        Ok(buffer)
    }
}

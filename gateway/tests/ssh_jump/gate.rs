//! A gate on a thread of its own, fake VMs, and generations to put in force.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use config::grant::Grants;
use config::id::{KeyId, UserId, VmId};
use config::name::{GatewayName, Namespace, NetworkName, UserName, VmName};
use config::secret::Secret;
use config::settings::{self, AccessLog, Level, Log, LogFormat, Mode, Retention, Rotation};
use config::snapshot::{Generation, Lineage, Object, Principal, Snapshot, SshHostKey, SshKey, Value, Vm};
use gateway::live::Live;
use gateway::worker::{Shared, Worker};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use socket2::SockRef;
use tokio_util::sync::CancellationToken;

pub(crate) const ALICE: UserId = UserId::from_bytes([1; 16]);

/// A jump host that listens on a free port until it is dropped.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    host_key: PrivateKey,
    generation: AtomicU64,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Gate {
    /// A gate with nothing in force.
    pub(crate) fn start() -> Self {
        Self::start_with_buffers(None)
    }

    /// The same whose connections have buffers of so many bytes in the kernel.
    pub(crate) fn start_with_buffers(bytes: Option<usize>) -> Self {
        let shared = Shared::new(settings(), 1);
        let stop = CancellationToken::new();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn({
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            move || accept(&shared, bytes, &stop, &tell)
        });
        let address = told.recv().unwrap();
        let (generation, thread) = (AtomicU64::new(0), Some(thread));
        Self { address, shared, host_key: new_key(), generation, stop, thread }
    }

    /// Puts these objects and the host key in force, as the sync task does.
    pub(crate) fn put(&self, values: impl IntoIterator<Item = Value>) {
        self.put_with_keys(values, [host_key(7, &self.host_key, false, None)]);
    }

    /// The same with host keys of the test's own.
    pub(crate) fn put_with_keys(
        &self,
        values: impl IntoIterator<Item = Value>,
        keys: impl IntoIterator<Item = Value>,
    ) {
        let objects = values.into_iter().chain(keys).map(|value| Object::encode(&value).unwrap());
        let number = Generation(self.generation.fetch_add(1, Ordering::Relaxed) + 1);
        let snapshot = Arc::new(Snapshot::of(Lineage([5; 16]), number, objects));
        let (live, degraded) = Live::compile(Arc::clone(&snapshot)).unwrap();
        assert!(degraded.is_empty(), "{degraded:?}");
        if let Some(old) = self.shared.current.replace(Arc::new(live)) {
            self.shared.sessions.reconcile(&old.snapshot, &snapshot);
        }
    }

    /// Waits until this many sessions are open.
    pub(crate) fn wait_for_sessions(&self, count: usize) {
        wait_for(|| self.shared.sessions.len() == count);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Waits for a condition, and not for ever.
pub(crate) fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition did not come true in time");
        std::thread::yield_now();
    }
}

fn accept(
    shared: &Arc<Shared>,
    buffers: Option<usize>,
    stop: &CancellationToken,
    tell: &mpsc::Sender<SocketAddr>,
) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async {
        let worker = Worker::new(Arc::clone(shared), 0);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Some(bytes) = buffers {
            shrink(&listener, bytes);
        }
        tell.send(listener.local_addr().unwrap()).unwrap();
        let serving = async {
            loop {
                let (tcp, peer) = listener.accept().await.unwrap();
                let permit = shared.guard.admit_connection(peer.ip()).ok().unwrap();
                drop(tokio::task::spawn_local(gateway::ssh::serve(Rc::clone(&worker), tcp, peer, permit)));
            }
        };
        tokio::select! {
            () = serving => {}
            () = stop.cancelled() => {}
        }
    });
}

/// Gives a socket, or those that a listener accepts, buffers of so many bytes in the kernel.
pub(crate) fn shrink<'a>(socket: impl Into<SockRef<'a>>, bytes: usize) {
    let socket = socket.into();
    socket.set_send_buffer_size(bytes).unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
}

pub(crate) fn new_key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

/// A host key as control publishes it.
pub(crate) fn host_key(id: u8, key: &PrivateKey, is_next: bool, certificate: Option<&str>) -> Value {
    Value::SshHostKey(SshHostKey {
        id: KeyId::from_bytes([id; 16]),
        private_pem: Secret::new(key.to_openssh(LineEnding::LF).unwrap().to_string()),
        is_next,
        certificate: certificate.map(Into::into),
    })
}

pub(crate) fn principal(id: UserId, grants: &str, keys: &[&PrivateKey]) -> Value {
    let keys = keys.iter().map(|key| SshKey { blob: key.public_key().to_bytes().unwrap().into() });
    Value::Principal(Principal {
        id,
        name: UserName::parse("alice").unwrap(),
        keys: keys.collect(),
        grants: grants.parse::<Grants>().unwrap(),
        ssh: Default::default(),
    })
}

/// The same person with keys in wire form, and with limits.
pub(crate) fn person(grants: &str, keys: &[Vec<u8>], ssh: config::snapshot::SshAccess) -> Value {
    Value::Principal(Principal {
        id: ALICE,
        name: UserName::parse("alice").unwrap(),
        keys: keys.iter().map(|blob| SshKey { blob: blob.as_slice().into() }).collect(),
        grants: grants.parse::<Grants>().unwrap(),
        ssh,
    })
}

/// A VM whose sshd is at `at`; loopback is allowed, as root does for a VM on the gateway's own machine.
pub(crate) fn vm(id: u8, name: &str, namespace: &str, at: SocketAddr) -> Vm {
    Vm {
        id: VmId::from_bytes([id; 16]),
        name: VmName::parse(name).unwrap(),
        namespace: Namespace::parse(namespace).unwrap(),
        // Each in a network of its own: they share the one address of loopback.
        network: NetworkName::parse(&format!("net{id}")).unwrap(),
        address: at.ip(),
        ssh_port: at.port(),
        loopback_ok: true,
    }
}

/// In the kernel, each way, of a VM: so that no test depends on how many megabytes buffers grow to.
const VM_BUFFERS: usize = 64 * 1024;

/// A VM that says back what it hears, and ends when the other end does.
pub(crate) fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    shrink(&listener, VM_BUFFERS);
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn settings() -> settings::Gateway {
    settings::Gateway {
        data: std::env::temp_dir(),
        http: Vec::new(),
        https: Vec::new(),
        ssh: Vec::new(),
        novnc: Vec::new(),
        ttyd: Vec::new(),
        admin: None,
        control: Vec::new(),
        name: GatewayName::parse("test").unwrap(),
        join_token: None,
        workers: 1,
        access_log: AccessLog::off(),
        trusted_proxies: Vec::new(),
        proxy_protocol: Vec::new(),
        unknown_sni: settings::UnknownSni::Fallback,
        drain: Duration::from_secs(5),
        log: Log {
            level: Level::Info,
            file: None,
            rotation: Rotation::Off,
            retention: Retention::Files(1),
            format: LogFormat::Text,
        },
        mode: Mode::Development,
    }
}

use std::ops::Range;
use std::time::Duration;

use config::id::{KeyId, UserId, VmId};
use config::name::{Namespace, NetworkName, UserName, VmName};
use config::secret::Secret;
use config::snapshot::{
    Generation, Lineage, Object, Principal, Snapshot, SshHostKey, SshKey, SshUserCa, Value, Vm,
};
use config::sync::asking::{Answer, Ask, Question, Told};
use config::sync::audit::AuditEvent;
use config::sync::message::Message;
use russh::ChannelOpenFailure;
use russh::client;
use russh::keys::ssh_key::certificate::Builder;
use russh::keys::ssh_key::{Certificate, LineEnding};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::listener::Kind;
use crate::listener::accept::admit;
use crate::live::Live;
use crate::worker::{Shared, testing};

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A worker whose jump host serves `web-01` to the holder of `key`, and to whom `authority` certifies as alice.
struct Gate {
    worker: Rc<Worker>,
    address: SocketAddr,
    key: PrivateKey,
    authority: PrivateKey,
    _data: tempfile::TempDir,
}

impl Gate {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let settings = testing::settings(data.path());
        Self::with(data, settings).await
    }

    async fn with(data: tempfile::TempDir, settings: config::settings::Gateway) -> Self {
        Self::of(data, Shared::new(settings, 1)).await
    }

    /// A gate at which nobody may stay longer than this without authenticating.
    async fn where_one_may_stay(stay: Stay) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut shared = Shared::new(testing::settings(data.path()), 1);
        let room = &mut Arc::get_mut(&mut shared).unwrap().ssh_room;
        Arc::get_mut(room).unwrap().stay = stay;
        Self::of(data, shared).await
    }

    async fn of(data: tempfile::TempDir, shared: Arc<Shared>) -> Self {
        let (worker, key, authority) = (Worker::new(shared, 0), new_key(), new_key());
        let snapshot = Arc::new(generation(&key, &authority, echo().await));
        worker.shared.current.replace(Arc::new(Live::compile(snapshot).unwrap().0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Rc::clone(&worker);
        tokio::task::spawn_local(async move {
            while let Ok((tcp, peer)) = listener.accept().await {
                admit(&serving, Kind::Ssh, tcp, peer);
            }
        });
        Self { worker, address, key, authority, _data: data }
    }

    async fn log_in(&self) -> client::Handle<Trusting> {
        self.log_in_behind(b"").await
    }

    /// What the audit has to hear, which control then says it has written.
    async fn audited(&self) -> Vec<AuditEvent> {
        let audit = &self.worker.shared.audit;
        let Message::Ask(Ask { number, question: Question::Audit(events) }) = audit.next().await else {
            panic!("the audit asks nothing else")
        };
        assert!(audit.told(&Told { number, answer: Answer::Noted }));
        events
    }

    /// Logs in on a connection on which somebody said `first` before.
    async fn log_in_behind(&self, first: &[u8]) -> client::Handle<Trusting> {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(first).await.unwrap();
        let mut session = client::connect_stream(Arc::default(), tcp, Trusting).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(self.key.clone()), None);
        assert!(session.authenticate_publickey("openidcs", key).await.unwrap().success());
        session
    }
}

fn new_key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

fn generation(key: &PrivateKey, authority: &PrivateKey, vm: SocketAddr) -> Snapshot {
    let private_pem = Secret::new(new_key().to_openssh(LineEnding::LF).unwrap().to_string());
    let values = [
        Value::SshHostKey(SshHostKey {
            id: KeyId::from_bytes([1; 16]),
            private_pem,
            is_next: false,
            certificate: None,
        }),
        Value::Principal(Principal {
            id: UserId::from_bytes([2; 16]),
            name: UserName::parse("alice").unwrap(),
            keys: Box::new([SshKey { blob: key.public_key().to_bytes().unwrap().into() }]),
            grants: "operator:ns1".parse().unwrap(),
            ssh: Default::default(),
        }),
        Value::SshUserCa(SshUserCa {
            id: KeyId::from_bytes([5; 16]),
            name: "people".into(),
            key: SshKey { blob: authority.public_key().to_bytes().unwrap().into() },
            revoked_serials: Box::default(),
            revoked_key_ids: Box::default(),
            revoked_keys: Box::default(),
        }),
        Value::Vm(Vm {
            id: VmId::from_bytes([3; 16]),
            name: VmName::parse("web-01").unwrap(),
            namespace: Namespace::parse("ns1").unwrap(),
            network: NetworkName::parse("default").unwrap(),
            address: vm.ip(),
            ssh_port: vm.port(),
            loopback_ok: true,
        }),
    ];
    let objects = values.iter().map(|value| Object::encode(value).unwrap());
    Snapshot::of(Lineage([4; 16]), Generation(1), objects)
}

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    address
}

/// Runs a test as a worker runs: on one thread, with local tasks, and not for ever.
fn on_a_worker(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(Default::default()).unwrap();
    let deadline = Duration::from_secs(20);
    runtime.block_on(async { tokio::time::timeout(deadline, test).await.expect("it took too long") });
}

async fn closed(session: &client::Handle<Trusting>) {
    while !session.is_closed() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn on_the_way_out_a_jump_may_finish_and_an_idle_connection_is_closed() {
    on_a_worker(async {
        let gate = Gate::start().await;
        let (idle, busy) = (gate.log_in().await, gate.log_in().await);
        let channel = busy.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap();
        let mut jump = channel.into_stream();

        gate.worker.shared.drain.begin();

        closed(&idle).await;
        let refused = busy.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap_err();
        let russh::Error::ChannelOpenFailure(refused) = refused else { panic!("{refused}") };
        assert_eq!(refused.code(), ChannelOpenFailure::ResourceShortage.code());
        jump.write_all(b"last words").await.unwrap();
        let mut heard = [0; 10];
        jump.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"last words");
        drop(jump);
        closed(&busy).await;
        gate.worker.shared.guard.idle().await;
    });
}

#[test]
fn on_the_way_out_nobody_is_waited_for_who_has_not_authenticated() {
    on_a_worker(async {
        let gate = Gate::start().await;
        let mut silent = TcpStream::connect(gate.address).await.unwrap();
        assert_eq!(silent.read_u8().await.unwrap(), b'S');
        let unproved = client::connect(Arc::default(), gate.address, Trusting).await.unwrap();

        gate.worker.shared.drain.begin();

        gate.worker.shared.guard.idle().await;
        closed(&unproved).await;
    });
}

#[test]
fn who_authenticated_takes_no_room_of_those_who_have_not() {
    on_a_worker(async {
        let gate = Gate::start().await;
        let session = gate.log_in().await;
        assert!(gate.worker.shared.ssh_room.is_empty());
        assert!(!session.is_closed());
    });
}

#[test]
fn who_exchanges_no_keys_or_does_not_authenticate_is_closed_at_a_deadline_of_each() {
    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(3_600);
    on_a_worker(async {
        let gate = Gate::where_one_may_stay(Stay { kex: SHORT, auth: LONG }).await;
        // Nothing at all; an introduction; and half a packet after it.
        let mut all = Vec::new();
        for words in [&b""[..], b"SSH-2.0-x\r\n", b"SSH-2.0-x\r\n\0\0\x04\0"] {
            let mut slow = TcpStream::connect(gate.address).await.unwrap();
            slow.write_all(words).await.unwrap();
            all.push(slow);
        }
        for slow in &mut all {
            slow.read_to_end(&mut Vec::new()).await.unwrap();
        }
        gate.worker.shared.guard.idle().await;
        assert!(gate.worker.shared.ssh_room.is_empty());
        assert_eq!(gate.worker.shared.ssh_sources.strikes(), 3, "each is a strike");

        let gate = Gate::where_one_may_stay(Stay { kex: LONG, auth: SHORT }).await;
        // On a machine that is slow enough it is closed before it asks.
        if let Ok(mut unproved) = client::connect(Arc::default(), gate.address, Trusting).await {
            let _ = unproved.authenticate_none("openidcs").await;
            closed(&unproved).await;
        }
        gate.worker.shared.guard.idle().await;
        assert!(gate.worker.shared.ssh_room.is_empty());
        assert_eq!(gate.worker.shared.ssh_sources.strikes(), 1);
    });
}

/// Alice's certificate by `authority`, good for this time in seconds since 1970.
fn certificate(authority: &PrivateKey, key: &PrivateKey, time: Range<u64>) -> Certificate {
    let key = key.public_key().key_data().clone();
    let mut builder = Builder::new(vec![0; 16], key, time.start, time.end).unwrap();
    builder.valid_principal("alice").unwrap().extension("permit-port-forwarding", "").unwrap();
    builder.sign(authority).unwrap()
}

#[test]
fn why_a_certificate_is_refused_is_told_to_the_audit() {
    on_a_worker(async {
        let gate = Gate::start().await;
        let now = crate::clock::now_ms() / 1_000;
        let of = |authority, time| certificate(authority, &gate.key, time);
        let good = of(&gate.authority, now - 60..now + 60);
        let mut forged = good.to_bytes().unwrap();
        // One bit of the signature.
        *forged.last_mut().unwrap() ^= 1;
        let forged = Certificate::from_bytes(&forged).unwrap();
        for (certificate, why) in [
            (
                of(&gate.authority, now - 60..now - 1),
                "certificate refused: the certificate is not valid at this time",
            ),
            (
                of(&gate.authority, now + 60..now + 120),
                "certificate refused: the certificate is not valid at this time",
            ),
            (
                of(&new_key(), now - 60..now + 60),
                "certificate refused: the certificate's authority is not one of ours",
            ),
            (forged, "the certificate's signature is wrong"),
        ] {
            let mut session = client::connect(Arc::default(), gate.address, Trusting).await.unwrap();
            let key = Arc::new(gate.key.clone());
            assert!(!session.authenticate_openssh_cert("alice", key, certificate).await.unwrap().success());
            drop(session);
            let events = gate.audited().await;
            let whys: Vec<&str> = events.iter().map(|event| event.why.as_str()).collect();
            assert_eq!(whys, [why]);
        }
        let mut session = client::connect(Arc::default(), gate.address, Trusting).await.unwrap();
        let key = Arc::new(gate.key.clone());
        assert!(session.authenticate_openssh_cert("alice", key, good).await.unwrap().success());
    });
}

#[test]
fn a_proxy_says_who_jumps_and_is_closed_if_it_does_not() {
    on_a_worker(async {
        let data = tempfile::tempdir().unwrap();
        let mut settings = testing::settings(data.path());
        settings.proxy_protocol = vec!["127.0.0.0/8".parse().unwrap()];
        let gate = Gate::with(data, settings).await;
        let long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\x12\x67\0\x16";
        for header in [&b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 22\r\n"[..], long] {
            let session = gate.log_in_behind(header).await;
            let channel = session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap();
            let open = gate.worker.shared.sessions.list();
            assert_eq!(open.iter().map(|one| one.peer.as_str()).collect::<Vec<_>>(), ["192.0.2.1:4711"]);
            drop((channel, session));
            gate.worker.shared.guard.idle().await;
        }

        let mut silent = TcpStream::connect(gate.address).await.unwrap();
        silent.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        assert_eq!(silent.read(&mut [0; 64]).await.unwrap_or_default(), 0, "no greeting for it");
    });
}

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use certs::self_signed::{Authority, ClientName, SubjectName};
use config::delta::diff;
use config::id::GatewayId;
use config::limits;
use config::name::HostPattern;
use config::snapshot::{Generation, Kind, Lineage, Object, ObjectKey};
use config::sync::join::JoinToken;
use config::sync::message::{
    Ack, CONTROL_SERVER_NAME, Enrol, Enrolled, FORMATS, Have, Message, Renewed, gateway_uri,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::stream::{Framed, decode};
use super::*;

const SECRET: &str = "once";
const GATEWAY: [u8; 16] = [7; 16];

/// Generation `number` holds objects 1 to `number`.
pub(super) fn snapshot(number: u8) -> Snapshot {
    let object = |number| Object::new(ObjectKey { kind: Kind(200), id: [number; 16] }, vec![number]);
    Snapshot::of(Lineage([1; 16]), Generation(number.into()), (1..=number).map(object))
}

/// An installer that keeps what it was asked for and refuses what it is told to.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) installed: Mutex<Vec<(u64, bool)>>,
    pub(super) refuses: Option<u64>,
    link: watch::Sender<Option<Link>>,
}

impl Fake {
    pub(super) fn new(refuses: Option<u64>) -> Arc<Self> {
        Arc::new(Self { installed: Mutex::default(), refuses, link: watch::Sender::new(None) })
    }

    async fn wait_down(&self, part: &str) {
        let is_it = |link: &Option<Link>| matches!(link, Some(Link::Down { why }) if why.contains(part));
        let mut link = self.link.subscribe();
        if timeout(WAIT, link.wait_for(is_it)).await.is_err() {
            panic!("not down because of {part:?}, but {:?}", self.link.borrow());
        }
    }

    async fn wait_up(&self) {
        timeout(WAIT, self.link.subscribe().wait_for(|link| *link == Some(Link::Up))).await.unwrap().unwrap();
    }
}

impl Installer for Fake {
    async fn install(&self, snapshot: Arc<Snapshot>, delta: Option<Delta>) -> Result<Vec<String>, String> {
        let generation = snapshot.generation().0;
        if self.refuses == Some(generation) {
            return Err("a conflict".to_owned());
        }
        self.installed.lock().unwrap().push((generation, delta.is_some()));
        Ok(vec![format!("paused in {generation}")])
    }

    fn hello(&self) -> Hello {
        Hello { boot: 5, version: "test".to_owned(), ..Hello::default() }
    }

    fn report(&self) -> Report {
        Report { connections: 3, ..Report::default() }
    }

    fn link(&self, link: Link) {
        self.link.send_replace(Some(link));
    }
}

const WAIT: Duration = Duration::from_secs(20);

/// A control that says what the test makes it say.
struct Control {
    authority: Authority,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    /// The leaf that the last gateway showed.
    shown: Mutex<Option<Vec<u8>>>,
}

type Stream = Framed<TlsStream<TcpStream>>;

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

impl Control {
    async fn start() -> Self {
        let authority = Authority::create("test authority", now()).unwrap();
        let name = SubjectName::Host(HostPattern::parse(CONTROL_SERVER_NAME).unwrap());
        let leaf = authority.issue_server(&[name], now(), 30).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.certificate_der().to_vec())).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf.key.expose().clone()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
            .with_single_cert(leaf.chain.into_iter().map(CertificateDer::from).collect(), key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { authority, listener, acceptor: TlsAcceptor::from(Arc::new(config)), shown: Mutex::default() }
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    fn token(&self) -> Secret<String> {
        let authority = self.authority.certificate_der().to_vec();
        JoinToken { secret: Secret::new(SECRET.to_owned()), authority, addresses: vec![self.address()] }
            .format()
    }

    /// The next stream, and whether the gateway showed a certificate on it.
    async fn accept(&self) -> std::io::Result<(Stream, bool)> {
        let (tcp, _) = timeout(WAIT, self.listener.accept()).await.expect("nobody dials")?;
        let tls = self.acceptor.accept(tcp).await?;
        let leaf = tls.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
        let is_known = leaf.is_some();
        *self.shown.lock().unwrap() = leaf;
        Ok((Framed::new(tls, limits::MESSAGE_BYTES_MAX), is_known))
    }

    /// The next stream, of a gateway that wants to enrol.
    async fn asked(&self) -> (Stream, Enrol) {
        let (mut stream, is_known) = self.accept().await.unwrap();
        assert!(!is_known);
        let Message::Enrol(enrol) = hear(&mut stream).await else { panic!("not an enrolment") };
        (stream, enrol)
    }

    /// A chain of `days` for the key of `csr`.
    fn sign(&self, csr: &[u8], gateway: [u8; 16], days: u64) -> Vec<Vec<u8>> {
        let uri = gateway_uri(GatewayId::from_bytes(gateway));
        let name = ClientName { common_name: &uri, uri: &uri };
        self.authority.sign_gateway_csr(csr, name, now(), days).unwrap()
    }

    /// Enrols the gateway that dials next.
    async fn enrol(&self) {
        let (stream, enrol) = self.asked().await;
        self.answer(stream, &enrol).await;
    }

    async fn answer(&self, mut stream: Stream, enrol: &Enrol) {
        assert_eq!(enrol.token.expose(), SECRET);
        assert_eq!(enrol.name.as_str(), "edge-1");
        let chain = self.sign(&enrol.csr, GATEWAY, 90);
        let authority = self.authority.certificate_der().to_vec();
        stream.send(&Message::Enrolled(Enrolled { gateway: GATEWAY, chain, authority })).await.unwrap();
    }

    /// The next stream of an enrolled gateway, greeted.
    async fn greet(&self) -> (Stream, Hello) {
        let (mut stream, is_known) = self.accept().await.unwrap();
        assert!(is_known, "the gateway shows no certificate");
        let Message::Hello(hello) = hear(&mut stream).await else { panic!("not a greeting") };
        (stream, hello)
    }
}

/// The next message that is not a ping or report; pings are answered.
async fn hear(stream: &mut Stream) -> Message {
    loop {
        let frame = timeout(WAIT, stream.receive()).await.expect("the gateway says nothing").unwrap();
        let message = decode(frame).await.unwrap();
        if let Message::Ping(number) = message {
            stream.send(&Message::Pong(number)).await.unwrap();
        } else if !matches!(message, Message::Report(_)) {
            return message;
        }
    }
}

/// A gateway's stream, running; ends when dropped.
struct Running {
    fake: Arc<Fake>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start(
    dir: &TempDir,
    control: Vec<String>,
    join_token: Option<Secret<String>>,
    fake: Arc<Fake>,
) -> Running {
    start_at(dir, control, join_token, fake, renewal::system_clock())
}

fn start_at(
    dir: &TempDir,
    control: Vec<String>,
    join_token: Option<Secret<String>>,
    fake: Arc<Fake>,
    clock: renewal::Clock,
) -> Running {
    let (checkpoint, have, _) = Checkpoint::open(dir.path()).unwrap();
    let start = Start {
        data: dir.path().to_owned(),
        control,
        name: GatewayName::parse("edge-1").unwrap(),
        join_token,
        checkpoint,
        have: have.map(Arc::new),
        degraded: Vec::new(),
    };
    let installer = Arc::clone(&fake);
    Running { fake, task: tokio::spawn(async move { run_at(start, &*installer, clock).await }) }
}

fn durable(dir: &TempDir) -> Option<u64> {
    Checkpoint::open(dir.path()).unwrap().1.map(|snapshot| snapshot.generation().0)
}

fn ack(number: u64) -> Message {
    Message::Ack(Ack { generation: Generation(number), degraded: vec![format!("paused in {number}")] })
}

#[tokio::test]
async fn a_gateway_enrols_once_follows_and_comes_back_with_what_it_has() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    control.enrol().await;
    let (mut stream, hello) = control.greet().await;
    assert_eq!((hello.boot, hello.have, hello.formats.as_slice()), (5, None, FORMATS));

    stream.send(&Message::Snapshot(snapshot(1))).await.unwrap();
    assert_eq!(hear(&mut stream).await, ack(1));
    assert_eq!(durable(&dir), Some(1), "acknowledged before it was durable");
    stream.send(&Message::Delta(diff(&snapshot(1), &snapshot(2)))).await.unwrap();
    assert_eq!(hear(&mut stream).await, ack(2));
    assert_eq!(durable(&dir), Some(2));
    assert_eq!(*running.fake.installed.lock().unwrap(), [(1, false), (2, true)]);
    running.fake.wait_up().await;
    drop((running, stream));

    // Neither the token nor an address of control is needed again.
    let _again = start(&dir, Vec::new(), None, Fake::new(None));
    let (_stream, hello) = control.greet().await;
    assert_eq!(hello.have, Some(Have::of(&snapshot(2))));
}

#[tokio::test]
async fn the_files_of_an_identity_are_for_their_owner_alone() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let _running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    control.enrol().await;
    let _greeted = control.greet().await;
    for name in ["identity.pem", "authority.pem"] {
        let mode = std::fs::metadata(dir.path().join("gateway").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!dir.path().join("gateway/request.pem").exists(), "the request outlives the enrolment");
}

#[tokio::test]
async fn a_control_of_another_authority_gets_no_token() {
    let (dir, control, other) =
        (tempfile::tempdir().unwrap(), Control::start().await, Control::start().await);
    let running = start(&dir, vec![other.address()], Some(control.token()), Fake::new(None));
    // It hangs up in the handshake, before anything is said.
    assert!(other.accept().await.is_err());
    running.fake.wait_down("no secure stream").await;
}

#[tokio::test]
async fn a_refused_token_is_named_and_tried_again_with_the_same_key() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    let mut requests = Vec::new();
    for _ in 0..2 {
        let (mut stream, _) = control.accept().await.unwrap();
        let Message::Enrol(enrol) = hear(&mut stream).await else { panic!("not an enrolment") };
        requests.push(enrol.csr);
        stream.send(&Message::Refused("the token was used".to_owned())).await.unwrap();
        running.fake.wait_down("the token was used").await;
    }
    assert_eq!(requests[0], requests[1]);
}

#[tokio::test]
async fn without_identity_and_token_the_way_out_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir, vec!["127.0.0.1:1".to_owned()], None, Fake::new(None));
    running.fake.wait_down("no join token").await;
    let running = start(&dir, Vec::new(), Some(Secret::new("hunter2".to_owned())), Fake::new(None));
    running.fake.wait_down("begins with gh1.").await;
    assert!(!format!("{:?}", running.fake.link.borrow()).contains("hunter2"));
}

#[tokio::test]
async fn a_stream_that_breaks_is_dialled_again_at_the_next_address_that_works() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    // Bound and not listening any more: refuses at once.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let addresses = vec![dead, control.address()];
    let running = start(&dir, addresses, Some(control.token()), Fake::new(None));
    control.enrol().await;
    let (mut stream, _) = control.greet().await;
    stream.send(&Message::Snapshot(snapshot(3))).await.unwrap();
    assert_eq!(hear(&mut stream).await, ack(3));
    drop(stream);
    running.fake.wait_down("").await;
    let (_stream, hello) = control.greet().await;
    assert_eq!(hello.have, Some(Have::of(&snapshot(3))));
    assert_eq!(hello.degraded, ["paused in 3"]);
}

#[tokio::test]
async fn a_refused_generation_is_answered_and_never_durable() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let _running = start(&dir, Vec::new(), Some(control.token()), Fake::new(Some(2)));
    control.enrol().await;
    let (mut stream, _) = control.greet().await;
    stream.send(&Message::Snapshot(snapshot(1))).await.unwrap();
    assert_eq!(hear(&mut stream).await, ack(1));
    stream.send(&Message::Delta(diff(&snapshot(1), &snapshot(2)))).await.unwrap();
    let Message::Nack(nack) = hear(&mut stream).await else { panic!("not refused") };
    assert_eq!((nack.generation, nack.reason.as_str()), (Generation(2), "a conflict"));
    assert_eq!(durable(&dir), Some(1));
    stream.send(&Message::Delta(diff(&snapshot(1), &snapshot(3)))).await.unwrap();
    assert_eq!(hear(&mut stream).await, ack(3));
    assert_eq!(durable(&dir), Some(3));
}

#[tokio::test]
async fn a_snapshot_of_megabytes_passes_in_frames() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let _running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    control.enrol().await;
    let (mut stream, _) = control.greet().await;
    let object = |number: u8| {
        Object::new(ObjectKey { kind: Kind(200), id: [number; 16] }, vec![number; limits::OBJECT_BYTES_MAX])
    };
    let large = Snapshot::of(Lineage([1; 16]), Generation(1), (1..=6).map(object));
    stream.send(&Message::Snapshot(large.clone())).await.unwrap();
    assert_eq!(hear(&mut stream).await, ack(1));
    assert_eq!(Checkpoint::open(dir.path()).unwrap().1, Some(large));
}

#[tokio::test]
async fn a_disk_that_takes_nothing_delays_the_acknowledgement_and_not_the_change() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    control.enrol().await;
    let (mut stream, _) = control.greet().await;
    let checkpoint = dir.path().join("gateway/checkpoint");
    std::fs::remove_dir(&checkpoint).unwrap();
    for number in 1..=2 {
        stream.send(&Message::Snapshot(snapshot(number))).await.unwrap();
        let Message::Nack(nack) = hear(&mut stream).await else { panic!("acknowledged and not durable") };
        assert!(nack.reason.contains("is in force"), "{}", nack.reason);
    }
    assert_eq!(*running.fake.installed.lock().unwrap(), [(1, false), (2, false)]);
    std::fs::create_dir(&checkpoint).unwrap();
    assert_eq!(hear(&mut stream).await, ack(2));
    assert_eq!(durable(&dir), Some(2));
}

/// A renewal that is never due, for drivers that are not dialled.
pub(super) fn never_due() -> renewal::Renewal {
    let authority = Authority::create("test authority", now()).unwrap();
    let uri = gateway_uri(GatewayId::from_bytes(GATEWAY));
    let leaf = authority.issue_client(ClientName { common_name: &uri, uri: &uri }, now(), 90).unwrap();
    let identity = identity::of_parts(authority.certificate_der(), &leaf.chain, &leaf.key).unwrap();
    renewal::Renewal::new(identity, identity::Files(PathBuf::new()), renewal::system_clock())
}

const DAY: i64 = 86_400;

/// A clock that tests move, and how far it was moved.
fn moving_clock() -> (renewal::Clock, Arc<AtomicI64>) {
    let moved = Arc::new(AtomicI64::new(0));
    let (system, by) = (renewal::system_clock(), Arc::clone(&moved));
    (Arc::new(move || system() + by.load(Ordering::Relaxed)), moved)
}

/// Whether the gateway handled all that was said to it: messages are handled in order.
async fn settle(stream: &mut Stream) {
    stream.send(&Message::Ping(77)).await.unwrap();
    loop {
        let message = hear(stream).await;
        assert!(matches!(message, Message::Pong(_)), "{message:?}");
        if message == Message::Pong(77) {
            return;
        }
    }
}

#[tokio::test]
async fn a_certificate_past_two_thirds_of_its_life_is_renewed_and_shown_at_the_next_dial() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let (clock, moved) = moving_clock();
    let _running = start_at(&dir, Vec::new(), Some(control.token()), Fake::new(None), clock);
    control.enrol().await;
    moved.store(59 * DAY, Ordering::Relaxed);
    let (mut stream, _) = control.greet().await;
    // A renewal would come before the answer.
    settle(&mut stream).await;
    let first = control.shown.lock().unwrap().clone();

    moved.store(61 * DAY, Ordering::Relaxed);
    stream.send(&Message::Ping(1)).await.unwrap();
    let Message::Renew(renew) = hear_past_pongs(&mut stream).await else { panic!("not asked") };
    let chain = control.sign(&renew.csr, GATEWAY, 120);
    stream.send(&Message::Renewed(Renewed { chain: chain.clone() })).await.unwrap();
    settle(&mut stream).await;
    drop(stream);
    let (mut stream, _) = control.greet().await;
    assert_ne!(first, Some(chain[0].clone()));
    assert_eq!(*control.shown.lock().unwrap(), Some(chain[0].clone()));
    settle(&mut stream).await;
    drop((stream, _running));

    // It is on the disk, and the file is its owner's alone.
    let _again = start(&dir, Vec::new(), None, Fake::new(None));
    let _greeted = control.greet().await;
    assert_eq!(*control.shown.lock().unwrap(), Some(chain[0].clone()));
    let mode = std::fs::metadata(dir.path().join("gateway/identity.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

async fn hear_past_pongs(stream: &mut Stream) -> Message {
    loop {
        let message = hear(stream).await;
        if !matches!(message, Message::Pong(_)) {
            return message;
        }
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_is_not_used_and_asked_for_again_after_a_pause() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let (clock, moved) = moving_clock();
    let _running = start_at(&dir, Vec::new(), Some(control.token()), Fake::new(None), clock);
    control.enrol().await;
    let file = dir.path().join("gateway/identity.pem");
    let (mut stream, _) = control.greet().await;
    let before = std::fs::read(&file).unwrap();
    let other_key = certs::self_signed::Request::create("other").unwrap().csr_der;
    for attempt in 0..3 {
        moved.store(61 * DAY + attempt * (limits::RENEWAL_PAUSE_SECONDS + 1), Ordering::Relaxed);
        stream.send(&Message::Ping(1)).await.unwrap();
        let Message::Renew(renew) = hear_past_pongs(&mut stream).await else { panic!("not asked") };
        let chain = match attempt {
            0 => control.sign(&renew.csr, [8; 16], 120),
            1 => control.sign(&other_key, GATEWAY, 120),
            _ => Vec::new(),
        };
        stream.send(&Message::Renewed(Renewed { chain })).await.unwrap();
        settle(&mut stream).await;
        assert!(std::fs::read(&file).unwrap() == before, "attempt {attempt}");
    }
}

#[tokio::test]
async fn a_withdrawn_gateway_with_a_new_token_joins_again_and_keeps_the_old_identity_until_then() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    control.enrol().await;
    drop((control.greet().await, running));
    let file = dir.path().join("gateway/identity.pem");
    let old = std::fs::read(&file).unwrap();

    // Without a token it says what it needs, and changes nothing.
    let running = start(&dir, Vec::new(), None, Fake::new(None));
    let (mut stream, _) = control.greet().await;
    stream.send(&Message::Withdrawn).await.unwrap();
    running.fake.wait_down("withdrew").await;
    drop((stream, running));

    let running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    let (mut stream, _) = control.greet().await;
    stream.send(&Message::Withdrawn).await.unwrap();
    let (stream, enrol) = control.asked().await;
    assert!(std::fs::read(&file).unwrap() == old, "the old identity is gone before the new one is there");
    // The crash: what control answers is never written, and the same request comes again.
    drop((stream, running));
    let running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    let (stream, again) = control.asked().await;
    assert_eq!(enrol.csr, again.csr);
    control.answer(stream, &again).await;
    let _greeted = control.greet().await;
    assert!(std::fs::read(&file).unwrap() != old);
    drop(running);
}

#[tokio::test]
async fn a_token_that_is_refused_leaves_the_identity_that_works() {
    let (dir, control) = (tempfile::tempdir().unwrap(), Control::start().await);
    let running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    control.enrol().await;
    drop((control.greet().await, running));
    // An enrolment that began and came to nothing.
    identity::Files(dir.path().join("gateway")).request("edge-1").unwrap();
    let _running = start(&dir, Vec::new(), Some(control.token()), Fake::new(None));
    let (mut stream, _) = control.asked().await;
    stream.send(&Message::Refused("the token was used".to_owned())).await.unwrap();
    let _greeted = control.greet().await;
}

mod challenges;
mod clients;
mod consoles;
mod flood;
mod logs;
mod names;
mod passed;
mod resumption;
mod site;
mod tunnels;

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::self_signed::{Authority, SubjectName};
use config::id::IdentityId;
use config::name::HostPattern;
use config::snapshot::{Generation, Identity, Lineage, Object, Snapshot, Value};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::accept::accept_within;
use super::*;
use crate::live::Live;
use crate::worker::Worker;
use crate::worker::testing::worker;

/// A worker, an authority whose leaves it serves, and a loopback listener.
struct Gate {
    worker: Rc<Worker>,
    authority: Authority,
    listener: TcpListener,
    _dir: tempfile::TempDir,
}

type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

impl Gate {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            worker: worker(dir.path()),
            authority: Authority::create("Test CA", now()).unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            _dir: dir,
        }
    }

    /// Puts a generation in force that serves one new identity for each set of names.
    fn serve(&self, generation: u64, identities: &[&[&str]]) {
        let objects = identities.iter().zip(1..).map(|(names, id)| {
            let names: Vec<_> = names.iter().map(|name| HostPattern::parse(name).unwrap()).collect();
            let subjects: Vec<_> = names.iter().cloned().map(SubjectName::Host).collect();
            let leaf = self.authority.issue_server(&subjects, now(), 30).unwrap();
            let id = IdentityId::from_bytes([id; 16]);
            let identity = Identity {
                id,
                names: names.into(),
                preferred: false,
                chain: leaf.chain.into(),
                key: leaf.key,
            };
            Object::encode(&Value::Identity(identity)).unwrap()
        });
        let snapshot = Snapshot::of(Lineage::default(), Generation(generation), objects);
        let (live, degraded) = Live::compile(Arc::new(snapshot)).unwrap();
        assert_eq!(degraded, Vec::<String>::new());
        self.worker.shared.current.replace(Arc::new(live));
    }

    async fn dial(&self) -> (TcpStream, TcpStream) {
        let address = self.listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), self.listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    async fn handshake(
        &self,
        client: Arc<ClientConfig>,
        name: &'static str,
    ) -> (io::Result<ClientStream>, Result<(TlsStream, SecuredMeta), AcceptError>) {
        let (near, far) = self.dial().await;
        let name = ServerName::try_from(name).unwrap();
        let (client, server) =
            tokio::join!(TlsConnector::from(client).connect(name, near), accept(&self.worker, far));
        (client, server.map(http))
    }

    /// The SNI the gateway saw and the leaf the client saw; the leaf is trusted for the name.
    async fn shown(&self, name: &'static str) -> (Option<String>, CertificateDer<'static>) {
        let (client, server) = self.handshake(self.client(&[&TLS13, &TLS12]), name).await;
        (server.unwrap().1.sni.as_deref().map(str::to_owned), leaf(&client.unwrap()))
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.authority.certificate_der()).into_owned()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }
}

/// What came of a handshake that was no authority's and not to be passed on.
fn http(accepted: Accepted) -> (TlsStream, SecuredMeta) {
    match accepted {
        Accepted::Http(stream, meta) => (stream, meta),
        Accepted::Answered | Accepted::Passing(_) => panic!("no connection for HTTP"),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn leaf(stream: &ClientStream) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn the_server_name_picks_exact_then_wildcard_then_default() {
    let gate = Gate::new().await;
    gate.serve(1, &[&["app.example"], &["*.dev.example"], &["*", "default.test"]]);

    let (sni, exact) = gate.shown("APP.example").await;
    assert_eq!(sni.as_deref(), Some("app.example"));
    let (_, wildcard) = gate.shown("other.dev.example").await;
    let (_, default) = gate.shown("default.test").await;
    assert!(exact != wildcard && wildcard != default && exact != default);

    let (client, server) = gate.handshake(gate.client(&[&TLS13]), "unknown.test").await;
    assert!(client.is_err(), "no client trusts the default for another name");
    assert!(matches!(server, Err(AcceptError::Handshake(_))));
    let (client, server) = gate.handshake(gate.client(&[&TLS12]), "app.example").await;
    assert_eq!(leaf(&client.unwrap()), exact);
    assert_eq!(server.unwrap().0.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
}

#[tokio::test]
async fn http_2_is_agreed_on_with_every_client_that_knows_it() {
    let gate = Gate::new().await;
    gate.serve(1, &[&["*", "default.test"]]);
    for (offer, spoken) in [
        (&["http/1.1", "h2"][..], Protocol::Http2),
        (&["h2"], Protocol::Http2),
        (&["http/1.1"], Protocol::Http1),
        (&[], Protocol::Http1),
    ] {
        let mut client = ClientConfig::clone(&gate.client(&[&TLS13]));
        client.alpn_protocols = offer.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (_client, server) = gate.handshake(Arc::new(client), "default.test").await;
        assert_eq!(protocol(&server.unwrap().0), spoken, "{offer:?}");
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_after_a_handshake_without_a_server_name() {
    let gate = Gate::new().await;
    gate.serve(1, &[&["*", "default.test"]]);
    let mut client = ClientConfig::clone(&gate.client(&[&TLS13]));
    client.enable_sni = false;
    let (client, server) = gate.handshake(Arc::new(client), "default.test").await;
    let (mut client, (mut server, meta)) = (client.unwrap(), server.unwrap());
    assert_eq!(meta.sni, None);
    assert_eq!(meta.agreed.version(), "TLSv1.3");
    assert!(meta.agreed.cipher().starts_with("TLS13_"), "{:?}", meta.agreed);

    client.write_all(b"ping").await.unwrap();
    client.flush().await.unwrap();
    let mut got = [0; 4];
    server.read_exact(&mut got).await.unwrap();
    server.write_all(&got).await.unwrap();
    server.flush().await.unwrap();
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"ping");
}

#[tokio::test]
async fn a_client_that_wants_another_protocol_than_http_is_refused() {
    let gate = Gate::new().await;
    gate.serve(1, &[&["app.example"]]);
    let mut client = ClientConfig::clone(&gate.client(&[&TLS13]));
    client.alpn_protocols = vec![b"imap".to_vec()];
    let (client, server) = gate.handshake(Arc::new(client), "app.example").await;
    assert!(client.unwrap_err().to_string().contains("NoApplicationProtocol"));
    assert!(matches!(server, Err(AcceptError::Handshake(_))));
}

#[tokio::test]
async fn a_swap_changes_the_certificate_of_new_handshakes_only() {
    let gate = Gate::new().await;
    gate.serve(1, &[&["app.example"]]);
    let (client, server) = gate.handshake(gate.client(&[&TLS13]), "app.example").await;
    let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
    let first = leaf(&client);

    gate.serve(2, &[&["app.example"]]);
    let (_, second) = gate.shown("app.example").await;
    assert_ne!(first, second);

    assert_eq!(leaf(&client), first);
    client.write_all(b"still here").await.unwrap();
    client.flush().await.unwrap();
    let mut got = [0; 10];
    server.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"still here");
}

#[tokio::test]
async fn without_ticket_keys_nothing_is_resumed() {
    let gate = Gate::new().await;
    gate.serve(1, &[&["app.example"]]);
    let client = gate.client(&[&TLS13, &TLS12]);
    for _ in 0..2 {
        let (stream, server) = gate.handshake(Arc::clone(&client), "app.example").await;
        server.unwrap();
        assert_eq!(stream.unwrap().get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn before_the_first_generation_a_client_sees_an_identity_that_nobody_trusts() {
    let gate = Gate::new().await;
    let (client, server) = gate.handshake(gate.client(&[&TLS13]), "app.example").await;
    let error = client.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(matches!(server, Err(AcceptError::Handshake(_))));
}

/// A ClientHello of TLS 1.1: no extension, one cipher suite of its time.
fn hello_of_tls_1_1() -> Vec<u8> {
    old_hello(2)
}

/// A ClientHello of an old version: SSL 3.0 is 0, TLS 1.0 is 1.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut handshake = vec![1, 0, 0, body.len() as u8];
    handshake.extend(body);
    let mut record = vec![22, 3, 1, 0, handshake.len() as u8];
    record.extend(handshake);
    record
}

#[tokio::test]
async fn ssl_3_and_tls_1_0_and_1_1_are_refused_with_an_alert() {
    let gate = Gate::new().await;
    gate.serve(1, &[&["*"]]);
    for minor in [0, 1, 2] {
        let (mut near, far) = gate.dial().await;
        near.write_all(&old_hello(minor)).await.unwrap();
        let refused = accept(&gate.worker, far).await;
        assert!(matches!(refused, Err(AcceptError::Handshake(_))), "3.{minor}");
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        // A fatal alert (RFC 8446 § 6): protocol_version is 70; rustls misses the signature algorithms of a TLS 1.2 hello
        // first and says handshake_failure, 40.
        assert!(matches!(answer[..], [21, _, _, 0, 2, 2, 40 | 70]), "3.{minor}: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_tls_is_refused() {
    let gate = Gate::new().await;
    let (mut near, far) = gate.dial().await;
    near.write_all(b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n").await.unwrap();
    assert!(matches!(accept(&gate.worker, far).await, Err(AcceptError::Handshake(_))));
}

#[tokio::test]
async fn a_stalled_hello_is_cut_by_the_deadline_and_holds_no_place() {
    let gate = Gate::new().await;
    let (mut near, far) = gate.dial().await;
    near.write_all(&hello_of_tls_1_1()[..20]).await.unwrap();
    let places = gate.worker.handshakes.available_permits();
    let waiting = accept_within(&gate.worker, far, Duration::from_millis(20));
    let (refused, free) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        gate.worker.handshakes.available_permits()
    });
    assert!(matches!(refused, Err(AcceptError::Deadline)));
    assert_eq!(free, places);
}

#[tokio::test]
async fn a_hello_that_finds_no_place_within_the_deadline_is_turned_away() {
    let gate = Gate::new().await;
    gate.serve(1, &[&["app.example"]]);
    let all = gate.worker.handshakes.available_permits();
    let taken = gate.worker.handshakes.acquire_many(all as u32).await.unwrap();
    let (near, far) = gate.dial().await;
    let name = ServerName::try_from("app.example").unwrap();
    let (_, refused) = tokio::join!(
        TlsConnector::from(gate.client(&[&TLS13])).connect(name, near),
        accept_within(&gate.worker, far, Duration::from_millis(50)),
    );
    assert!(matches!(refused, Err(AcceptError::Busy)));

    drop(taken);
    gate.shown("app.example").await;
    assert_eq!(gate.worker.handshakes.available_permits(), all);
}

use std::sync::atomic::{AtomicI64, Ordering};

use axum::Extension;
use axum::routing::get;
use certs::self_signed::Request;
use config::id::GatewayId;
use rustls::ClientConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::{TlsConnector, client};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::app::testing::TestClock;
use crate::auth::{Actor, Origin};
use crate::listen::serve::Shared;

/// A listener of the admin API with TLS, whose only page says who asks.
struct Door {
    address: SocketAddr,
    authority: Arc<Internal>,
    clock: Arc<TestClock>,
    secured: Secured,
    stop: CancellationToken,
    tasks: TaskTracker,
}

type Shown = Option<Extension<Arc<ClientCertificate>>>;

async fn who(actor: Option<Extension<Actor>>, Extension(origin): Extension<Origin>, shown: Shown) -> String {
    let shown = shown.map_or_else(|| "nobody".to_owned(), |shown| shown.0.subject.clone());
    format!("{shown} {} {}", actor.is_some(), matches!(origin, Origin::Peer(_)))
}

impl Door {
    async fn open() -> Self {
        Self::open_at(crate::app::SystemClock.now()).await
    }

    /// With a clock of its own; the clients' is the machine's.
    async fn open_at(now: i64) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(now)));
        let as_clock = || Arc::clone(&clock) as Arc<dyn Clock>;
        let authority = Arc::new(Internal::create(as_clock()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let secured = Secured::new(Arc::clone(&authority), as_clock(), &[address]).unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Shared::new(Router::new().route("/", get(who)), stop.clone(), tasks.clone());
        tokio::spawn(shared.tls(listener, secured.clone()));
        Self { address, authority, clock, secured, stop, tasks }
    }

    fn client(&self, version: &'static rustls::SupportedProtocolVersion, identity: Identity) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.authority.certificate_der().to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    async fn dial(&self, name: &str, config: ClientConfig) -> io::Result<client::TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }
}

type Identity = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

fn identity(authority: &Internal) -> Identity {
    let request = Request::create("x").unwrap();
    let (chain, _) = authority.sign_gateway(&request.csr_der, GatewayId::from_bytes([7; 16])).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(request.key.expose().clone()));
    Some((chain.into_iter().map(CertificateDer::from).collect(), key))
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await?;
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn both_versions_reach_the_api_by_every_name_of_this_machine() {
    let door = Door::open().await;
    let host = host_name().filter(|name| HostPattern::parse(name).is_ok());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for name in ["127.0.0.1", "localhost", "::1"].into_iter().chain(host.as_deref()) {
            let stream = door.dial(name, door.client(version, None)).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "{name}");
            let answer = ask(stream).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("nobody false true"), "{answer}");
        }
    }
    let error = door.dial("other.example", door.client(&rustls::version::TLS13, None)).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_told_to_the_request_and_signs_nobody_in() {
    let door = Door::open().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = door.client(version, identity(&door.authority));
        let answer = ask(door.dial("localhost", client).await.unwrap()).await.unwrap();
        assert!(answer.ends_with(" false true") && answer.contains("CN=gatehouse-gateway:"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_certificate_of_another_authority_does_not_get_in() {
    let door = Door::open().await;
    let other = Internal::create(Arc::clone(&door.clock) as Arc<dyn Clock>).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let answer = match door.dial("localhost", door.client(version, identity(&other))).await {
            Ok(stream) => ask(stream).await,
            Err(error) => Err(error),
        };
        assert!(answer.is_err(), "{answer:?}");
    }
}

#[tokio::test]
async fn no_session_is_resumed() {
    let door = Door::open().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // The clone shares the store of sessions.
        let client = door.client(version, None);
        for _ in 0..2 {
            let mut stream = door.dial("localhost", client.clone()).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn plain_http_is_told_to_write_https() {
    let door = Door::open().await;
    let answer = ask(TcpStream::connect(door.address).await.unwrap()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("https://"), "{answer}");
}

#[tokio::test]
async fn a_silent_handshake_keeps_nobody_out_and_a_stop_does_not_wait_for_it() {
    let door = Door::open().await;
    let mut silent = Vec::new();
    for _ in 0..limits::API_HANDSHAKES_MAX / 2 {
        silent.push(TcpStream::connect(door.address).await.unwrap());
        let mut begun = TcpStream::connect(door.address).await.unwrap();
        begun.write_all(&[HANDSHAKE_RECORD, 3]).await.unwrap();
        silent.push(begun);
    }
    // One of them gives up: its room is the next one's.
    drop(silent.pop());
    let client = door.client(&rustls::version::TLS13, None);
    let answered = async {
        loop {
            if let Ok(stream) = door.dial("localhost", client.clone()).await {
                return ask(stream).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), answered).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    door.stop.cancel();
    door.tasks.close();
    tokio::time::timeout(Duration::from_secs(30), door.tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_at_its_deadline() {
    let door = Door::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for said in [&[][..], &[HANDSHAKE_RECORD, 3, 1]] {
        let mut slow = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        slow.write_all(said).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let greeted = door.secured.greet_within(Duration::from_millis(1), stream).await;
        assert_eq!(greeted.err().map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
        assert_eq!(slow.read(&mut [0]).await.unwrap_or(0), 0, "the connection is closed");
    }
}

#[tokio::test]
async fn the_certificate_is_renewed_without_a_restart() {
    let now = crate::app::SystemClock.now();
    let life = i64::try_from(certs::self_signed::LEAF_DAYS_MAX).unwrap() * 86_400 * 1_000_000;
    let door = Door::open_at(now - life / 10 * 7).await;
    let shown = |stream: &client::TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap().first().unwrap().to_vec()
    };
    let client = door.client(&rustls::version::TLS13, None);
    let before = door.dial("localhost", client.clone()).await.unwrap();
    assert_eq!(shown(&before), shown(&door.dial("localhost", client.clone()).await.unwrap()));
    // More than two thirds of its life have passed.
    door.clock.0.store(now, Ordering::Relaxed);
    let after = door.dial("localhost", client).await.unwrap();
    assert_ne!(shown(&before), shown(&after));
    for stream in [before, after] {
        assert!(ask(stream).await.unwrap().starts_with("HTTP/1.1 200 "), "what is open goes on");
    }
}

#[test]
fn a_host_name_that_no_certificate_carries_is_left_out() {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let all = names(Some("bad_name!"), &[at("0.0.0.0:1"), at("[::]:1"), at("10.0.0.5:1"), at("127.0.0.1:2")]);
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all.contains(&SubjectName::Address([10, 0, 0, 5].into())));
    assert_eq!(names(Some("localhost"), &[]).len(), 3);
}

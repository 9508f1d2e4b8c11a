use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use config::id::EndpointId;
use config::name::HostName;
use config::secret::Secret;
use config::snapshot::{Endpoint, UpstreamPolicy};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::super::tests::{call, endpoint, on_a_worker, within};
use super::super::{Lease, Stream, Upstreams, way};
use super::*;
use crate::worker::Worker;

type Far = tokio_rustls::server::TlsStream<TcpStream>;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

#[derive(Clone)]
struct Leaf {
    der: Vec<u8>,
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two with one name would be told apart by their signatures only.
        let name = format!("authority {:x}", rand::random::<u64>());
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn leaf(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params =
            CertificateParams::new(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Leaf { der, key: key.serialize_der() }
    }

    fn trusted(&self) -> Verify {
        Verify::Authorities([self.der.clone()].into())
    }
}

/// An origin that speaks TLS, one connection at a time.
struct Origin {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl Origin {
    async fn new(leaf: &Leaf) -> Self {
        Self::with(leaf, None, |_| {}).await
    }

    async fn with(leaf: &Leaf, clients: Option<&Authority>, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from(authority.der.clone())).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivatePkcs8KeyDer::from(leaf.key.clone());
        let mut config = builder.with_single_cert(vec![leaf.der.clone().into()], key.into()).unwrap();
        change(&mut config);
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), config: Arc::new(config) }
    }

    fn endpoint(&self) -> Endpoint {
        endpoint(Target::Address(self.listener.local_addr().unwrap()))
    }

    async fn accept(&self) -> io::Result<Far> {
        let (tcp, _) = within(self.listener.accept()).await?;
        within(TlsAcceptor::from(Arc::clone(&self.config)).accept(tcp)).await
    }

    async fn connect(
        &self,
        worker: &Rc<Worker>,
        policy: &UpstreamPolicy,
    ) -> (Result<Lease, Fault>, io::Result<Far>) {
        let endpoint = self.endpoint();
        let call = call(&endpoint, policy);
        tokio::join!(Upstreams::connect(worker, &call), self.accept())
    }
}

fn policy(verify: Verify, server_name: Option<&str>) -> UpstreamPolicy {
    let server_name = server_name.map(|name| HostName::parse(name).unwrap());
    UpstreamPolicy {
        tls: Some(UpstreamTls { verify, server_name, client: None }),
        ..UpstreamPolicy::default()
    }
}

fn pin(leaf: &Leaf) -> Verify {
    Verify::Fingerprint(Sha256::digest(&leaf.der).into())
}

/// What the log says of it.
fn because(fault: &Fault) -> String {
    assert_eq!((fault.kind, fault.retry), (Kind::UpstreamTls, Retry::Safe));
    fault.cause.as_ref().unwrap().to_string()
}

/// Connects and returns why it was refused; nothing if it was not.
fn refused(leaf: &Leaf, policy: &UpstreamPolicy) -> Option<String> {
    let mut said = None;
    on_a_worker(async |worker| {
        let origin = Origin::new(leaf).await;
        let (near, _far) = origin.connect(&worker, policy).await;
        said = near.err().map(|fault| because(&fault));
    });
    said
}

#[test]
fn an_origin_proves_itself_by_a_chain_for_the_name_or_address_that_is_asked_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let leaf = authority.leaf(&["app.example", "127.0.0.1"], |_| {});
    let other = authority.leaf(&["other.example"], |_| {});

    assert_eq!(refused(&leaf, &policy(authority.trusted(), Some("app.example"))), None);
    assert_eq!(refused(&leaf, &policy(authority.trusted(), None)), None);

    let why = refused(&leaf, &policy(stranger.trusted(), None)).unwrap();
    assert!(why.contains("UnknownIssuer"), "{why}");
    let why = refused(&other, &policy(authority.trusted(), Some("app.example"))).unwrap();
    assert!(why.contains("not valid for name \"app.example\""), "{why}");
    let why = refused(&other, &policy(authority.trusted(), None)).unwrap();
    assert!(why.contains("not valid for name \"127.0.0.1\""), "{why}");
    let why = refused(&leaf, &policy(Verify::System, None)).unwrap();
    assert!(why.contains("UnknownIssuer") || why.contains("ca-certificates"), "{why}");
}

/// The system's authorities are read once for a process: the test asks in one of its own, whose system has ours.
#[test]
fn an_origin_proves_itself_to_the_systems_authorities() {
    const LEAF: &str = "GATEHOUSE_TEST_LEAF";
    if let Some(dir) = std::env::var_os(LEAF) {
        let read = |name| std::fs::read(std::path::Path::new(&dir).join(name)).unwrap();
        let leaf = Leaf { der: read("leaf"), key: read("key") };
        assert_eq!(refused(&leaf, &policy(Verify::System, Some("app.example"))), None);
        let stranger = Authority::new().leaf(&["app.example"], |_| {});
        let why = refused(&stranger, &policy(Verify::System, Some("app.example"))).unwrap();
        assert!(why.contains("UnknownIssuer"), "{why}");
        return;
    }
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let leaf = authority.leaf(&["app.example"], |_| {});
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &authority.der);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
    for (name, bytes) in [("leaf", &leaf.der[..]), ("key", &leaf.key), ("roots.pem", pem.as_bytes())] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }

    let (_, module) = module_path!().split_once("::").unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::an_origin_proves_itself_to_the_systems_authorities")])
        .env("SSL_CERT_FILE", dir.path().join("roots.pem"))
        .env_remove("SSL_CERT_DIR")
        .env(LEAF, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::new();
    let expired = authority.leaf(&["app.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let why = refused(&expired, &policy(authority.trusted(), Some("app.example"))).unwrap();
    assert!(why.contains("certificate expired"), "{why}");
    assert_eq!(refused(&expired, &policy(pin(&expired), None)), None, "a pinned leaf has no time");
}

#[test]
fn a_pinned_leaf_is_accepted_whatever_its_name_and_another_is_named() {
    let authority = Authority::new();
    let (leaf, other) = (authority.leaf(&["x.example"], |_| {}), authority.leaf(&["x.example"], |_| {}));

    assert_eq!(refused(&leaf, &policy(pin(&leaf), Some("app.example"))), None);

    let why = refused(&other, &policy(pin(&leaf), None)).unwrap();
    assert!(why.contains(&data_encoding::HEXLOWER.encode(&Sha256::digest(&other.der))), "{why}");
}

#[test]
fn with_nothing_to_verify_any_leaf_is_accepted() {
    let leaf = Authority::new().leaf(&["x.example"], |_| {});
    assert_eq!(refused(&leaf, &policy(Verify::Nothing, Some("app.example"))), None);
}

#[test]
fn a_leaf_is_proved_by_its_key_even_where_nothing_else_is_verified() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["x.example"], |_| {});
    let made = authority.leaf(&["x.example"], |_| {});
    on_a_worker(async |worker| {
        let origin = Origin::with(&made, None, |config| {
            // It shows a leaf whose key it does not hold.
            let key = PrivatePkcs8KeyDer::from(made.key.clone());
            let key = aws_lc_rs::sign::any_supported_type(&key.into()).unwrap();
            let certified = rustls::sign::CertifiedKey::new(vec![leaf.der.clone().into()], key);
            config.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        })
        .await;
        for verify in [Verify::Nothing, pin(&leaf)] {
            let (near, _far) = origin.connect(&worker, &policy(verify, None)).await;
            let why = because(&near.unwrap_err());
            assert!(why.contains("BadSignature"), "{why}");
        }
    });
}

#[test]
fn the_name_is_the_policys_then_the_targets_and_none_for_an_address() {
    on_a_worker(async |worker| {
        let leaf = Authority::new().leaf(&["x.example"], |_| {});
        let origin = Origin::new(&leaf).await;
        let sni = |far: io::Result<Far>| far.unwrap().get_ref().1.server_name().map(str::to_owned);

        let (_near, far) = origin.connect(&worker, &policy(Verify::Nothing, Some("App.Example"))).await;
        assert_eq!(sni(far).as_deref(), Some("app.example"));
        let (_near, far) = origin.connect(&worker, &policy(Verify::Nothing, None)).await;
        assert_eq!(sni(far), None);

        let port = origin.listener.local_addr().unwrap().port();
        let named = endpoint(Target::Name { host: HostName::parse("localhost").unwrap(), port });
        let policy = policy(Verify::Nothing, None);
        let call = call(&named, &policy);
        let (near, far) = tokio::join!(Upstreams::connect(&worker, &call), origin.accept());
        near.unwrap();
        assert_eq!(sni(far).as_deref(), Some("localhost"));
    });
}

#[test]
fn a_client_certificate_is_shown_to_an_origin_that_asks() {
    let authority = Authority::new();
    let (leaf, ours) = (authority.leaf(&["app.example"], |_| {}), authority.leaf(&["gate.example"], |_| {}));
    let shown = |leaf: &Leaf, key: &[u8]| {
        let mut policy = policy(authority.trusted(), Some("app.example"));
        let identity = ClientIdentity { chain: [leaf.der.clone()].into(), key: Secret::new(key.to_vec()) };
        policy.tls.as_mut().unwrap().client = Some(identity);
        policy
    };
    on_a_worker(async |worker| {
        let origin = Origin::with(&leaf, Some(&authority), |_| {}).await;

        let (near, far) = origin.connect(&worker, &shown(&ours, &ours.key)).await;
        near.unwrap();
        assert_eq!(far.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec(), ours.der);

        let (_near, far) = origin.connect(&worker, &policy(authority.trusted(), Some("app.example"))).await;
        assert!(far.is_err(), "who shows none is refused by the origin");

        let endpoint = origin.endpoint();
        for key in [&leaf.key[..], b"no key"] {
            let broken = shown(&ours, key);
            let fault = within(Upstreams::connect(&worker, &call(&endpoint, &broken))).await.unwrap_err();
            let why = because(&fault);
            assert!(why.contains("client certificate cannot be used"), "{why}");
        }
    });
}

#[test]
fn an_authority_that_cannot_be_read_fails_its_own_upstream_alone() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["app.example"], |_| {});
    on_a_worker(async |worker| {
        let origin = Origin::new(&leaf).await;
        let broken = Verify::Authorities([authority.der.clone(), b"no certificate".to_vec()].into());
        let endpoint = origin.endpoint();
        for (verify, said) in
            [(broken, "authority 1"), (Verify::Authorities([].into()), "names no authority")]
        {
            let broken = policy(verify, Some("app.example"));
            for _ in 0..2 {
                let fault = within(Upstreams::connect(&worker, &call(&endpoint, &broken))).await.unwrap_err();
                let why = because(&fault);
                assert!(why.contains(said), "{why}");
            }
        }

        let (near, _far) = origin.connect(&worker, &policy(authority.trusted(), Some("app.example"))).await;
        near.unwrap();
    });
}

async fn talk(near: &mut Lease, far: &mut Far) {
    let mut byte = [0];
    near.stream.write_all(b"?").await.unwrap();
    within(far.read_exact(&mut byte)).await.unwrap();
    far.write_all(b"!").await.unwrap();
    far.flush().await.unwrap();
    within(near.stream.read_exact(&mut byte)).await.unwrap();
    assert_eq!(&byte, b"!");
}

#[test]
fn an_idle_connection_is_reused_without_another_handshake() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["app.example"], |_| {});
    on_a_worker(async |worker| {
        let origin = Origin::new(&leaf).await;
        let policy = policy(authority.trusted(), Some("app.example"));
        let (near, far) = origin.connect(&worker, &policy).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        let endpoint = origin.endpoint();
        for _ in 0..3 {
            talk(&mut near, &mut far).await;
            Upstreams::checkin(&worker, near, Instant::now());
            near = Upstreams::connect(&worker, &call(&endpoint, &policy)).await.unwrap();
            assert!(near.is_reused);
        }

        // Checked in before the tickets that follow the handshake were read: they are no answer to anything.
        let fresh = super::super::Call { takes_idle: false, ..call(&endpoint, &policy) };
        let (near, far) = tokio::join!(Upstreams::connect(&worker, &fresh), origin.accept());
        let (near, _far) = (near.unwrap(), far.unwrap());
        let Stream::Tls(io) = &near.stream else { panic!("{near:?}") };
        within(io.get_ref().0.readable()).await.unwrap();
        Upstreams::checkin(&worker, near, Instant::now());
        assert!(Upstreams::connect(&worker, &call(&endpoint, &policy)).await.unwrap().is_reused);
    });
}

#[test]
fn an_idle_connection_that_was_closed_or_written_on_is_not_lent() {
    let leaf = Authority::new().leaf(&["app.example"], |_| {});
    on_a_worker(async |worker| {
        let origin = Origin::with(&leaf, None, |config| config.send_tls13_tickets = 0).await;
        let policy = policy(Verify::Nothing, None);
        for says_something in [false, true] {
            let (near, far) = origin.connect(&worker, &policy).await;
            let (near, mut far) = (near.unwrap(), far.unwrap());
            assert!(!near.is_reused);
            if says_something {
                far.write_all(b"HTTP/1.1 408 Request Timeout\r\n").await.unwrap();
                far.flush().await.unwrap();
            } else {
                far.shutdown().await.unwrap();
            }
            let Stream::Tls(io) = &near.stream else { panic!("{near:?}") };
            within(io.get_ref().0.readable()).await.unwrap();
            Upstreams::checkin(&worker, near, Instant::now());
        }
        let (near, far) = origin.connect(&worker, &policy).await;
        assert!(!near.unwrap().is_reused);
        far.unwrap();
    });
}

#[test]
fn another_policy_gets_a_connection_and_sessions_of_its_own() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["app.example"], |_| {});
    on_a_worker(async |worker| {
        let origin = Origin::new(&leaf).await;
        let trusting = policy(Verify::Nothing, Some("app.example"));
        let (near, far) = origin.connect(&worker, &trusting).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        talk(&mut near, &mut far).await;
        drop(near);
        let (again, _far) = origin.connect(&worker, &trusting).await;
        let again = again.unwrap();
        assert_eq!(how(&again), Some(rustls::HandshakeKind::Resumed));
        Upstreams::checkin(&worker, again, Instant::now());

        let strict = policy(Authority::new().trusted(), Some("app.example"));
        let (near, _far) = origin.connect(&worker, &strict).await;
        assert!(because(&near.unwrap_err()).contains("UnknownIssuer"));
    });
}

fn how(lease: &Lease) -> Option<rustls::HandshakeKind> {
    let Stream::Tls(io) = &lease.stream else { return None };
    io.get_ref().1.handshake_kind()
}

#[test]
fn an_origin_that_does_not_agree_to_http2_is_refused_where_that_is_spoken() {
    let leaf = Authority::new().leaf(&["app.example"], |_| {});
    for (offers, is_ok) in [(&b"h2"[..], true), (b"http/1.1", false), (b"", false)] {
        on_a_worker(async |_| {
            let origin = Origin::with(&leaf, None, |config| {
                config.alpn_protocols =
                    Some(offers.to_vec()).filter(|offer| !offer.is_empty()).into_iter().collect();
            })
            .await;
            let policy = UpstreamPolicy { protocol: Protocol::Http2, ..policy(Verify::Nothing, None) };
            let way = way::Ways::default().of(EndpointId::from_bytes([1; 16]), Some(&policy)).unwrap();
            let config = config(&way, way.tls.as_ref().unwrap()).await.unwrap();
            let tcp = TcpStream::connect(origin.listener.local_addr().unwrap()).await.unwrap();
            let name = ServerName::try_from("app.example").unwrap();
            let (near, _far) = tokio::join!(shake_hands(config, name, tcp, true), origin.accept());
            assert_eq!(near.is_ok(), is_ok);
        });
    }
}

#[test]
fn half_a_connection_closes_and_the_other_half_goes_on() {
    let leaf = Authority::new().leaf(&["app.example"], |_| {});
    on_a_worker(async |worker| {
        let origin = Origin::new(&leaf).await;
        let (near, far) = origin.connect(&worker, &policy(Verify::Nothing, None)).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());

        near.stream.shutdown().await.unwrap();
        assert_eq!(within(far.read(&mut [0])).await.unwrap(), 0, "close_notify");
        far.write_all(b"the rest").await.unwrap();
        far.shutdown().await.unwrap();

        let mut rest = String::new();
        within(near.stream.read_to_string(&mut rest)).await.unwrap();
        assert_eq!(rest, "the rest");
    });
}

#[test]
fn what_waits_for_the_socket_goes_out_while_the_answer_is_awaited() {
    let leaf = Authority::new().leaf(&["app.example"], |_| {});
    on_a_worker(async |worker| {
        let origin = Origin::new(&leaf).await;
        let (near, far) = origin.connect(&worker, &policy(Verify::Nothing, None)).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        // More than sockets hold, so that the last write ends in the layer between.
        let mut sent = 0;
        let piece = [7; 16 * 1024];
        loop {
            let write = std::future::poll_fn(|context| {
                Poll::Ready(Pin::new(&mut near.stream).poll_write(context, &piece))
            });
            match write.await {
                Poll::Ready(count) => sent += count.unwrap(),
                Poll::Pending => break,
            }
        }
        let origin = async {
            let mut read = vec![0; sent];
            within(far.read_exact(&mut read)).await.unwrap();
            far.write_all(b"!").await.unwrap();
            far.flush().await.unwrap();
        };
        let mut byte = [0];
        let (_, read) = tokio::join!(origin, within(near.stream.read_exact(&mut byte)));
        assert_eq!((read.unwrap(), &byte), (1, b"!"));
    });
}

//! A gateway's https listener with routes behind it, and clients with certificates.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use certs::self_signed::{Authority, SubjectName};
use config::id::{IdentityId, KeyId, RouteId};
use config::name::{HostPattern, Namespace, PathPrefix};
use config::secret::Secret;
use config::settings::Gateway;
use config::snapshot::{
    Action, ClientCertificates, Content, FlowPolicy, Generation, Identity, Lineage, Object, Respond, Route,
    Snapshot, TicketKey, TlsMode, TlsPolicy, Value,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio_rustls::TlsConnector;

use super::now;
use crate::listener::Kind;
use crate::listener::accept::admit;
use crate::live::Live;
use crate::worker::{Shared, Worker, testing};

pub(super) const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

pub(super) type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Runs a test on a runtime like a worker's.
pub(super) fn on_a_worker(test: impl AsyncFnOnce()) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test()).await.expect("it happens in time");
    });
}

pub(super) struct Site {
    pub(super) worker: Rc<Worker>,
    pub(super) authority: Rc<Authority>,
    generation: Cell<u64>,
    _dir: tempfile::TempDir,
}

impl Site {
    pub(super) fn new() -> Self {
        Self::with(|_| {}, Rc::new(Authority::create("Test CA", now()).unwrap()))
    }

    pub(super) fn with(change: impl FnOnce(&mut Gateway), authority: Rc<Authority>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = testing::settings(dir.path());
        change(&mut settings);
        let worker = Worker::new(Shared::new(settings, 2), 0);
        Self { worker, authority, generation: Cell::new(0), _dir: dir }
    }

    /// Another worker of the same process.
    pub(super) fn sibling(&self) -> Self {
        let worker = Worker::new(Arc::clone(&self.worker.shared), 1);
        let dir = tempfile::tempdir().unwrap();
        Self { worker, authority: Rc::clone(&self.authority), generation: self.generation.clone(), _dir: dir }
    }

    /// Puts these objects in force; returns what is degraded.
    pub(super) fn put(&self, values: impl IntoIterator<Item = Value>) -> Vec<String> {
        self.generation.set(self.generation.get() + 1);
        let objects = values.into_iter().map(|value| Object::encode(&value).unwrap());
        let next = Snapshot::of(Lineage::default(), Generation(self.generation.get()), objects);
        let next = Arc::new(next);
        // By the way that a gateway goes: the first whole, the others as deltas.
        let (live, degraded) = match self.worker.shared.current.pin() {
            None => Live::compile(next).unwrap(),
            Some(live) => {
                let delta = config::delta::diff(&live.snapshot, &next);
                live.recompile(next, &delta).unwrap()
            }
        };
        let live = Arc::new(live);
        if let Some(before) = self.worker.shared.current.replace(Arc::clone(&live)) {
            self.worker.shared.sessions.reconcile(&before.snapshot, &live.snapshot);
        }
        degraded
    }

    /// An identity for these names.
    pub(super) fn identity(&self, id: u8, names: &[&str]) -> Value {
        let names: Vec<_> = names.iter().map(|name| HostPattern::parse(name).unwrap()).collect();
        let subjects: Vec<_> = names.iter().cloned().map(SubjectName::Host).collect();
        let leaf = self.authority.issue_server(&subjects, now(), 30).unwrap();
        Value::Identity(Identity {
            id: IdentityId::from_bytes([id; 16]),
            names: names.into(),
            preferred: false,
            chain: leaf.chain.into(),
            key: leaf.key,
        })
    }

    /// A connection to a listener of this kind, with the other end.
    pub(super) async fn dial(&self, kind: Kind) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, peer) = listener.accept().await.unwrap();
        admit(&self.worker, kind, far, peer);
        near
    }

    pub(super) async fn connect(
        &self,
        client: &Arc<ClientConfig>,
        sni: &'static str,
    ) -> std::io::Result<ClientStream> {
        let near = self.dial(Kind::Https).await;
        TlsConnector::from(Arc::clone(client)).connect(ServerName::try_from(sni).unwrap(), near).await
    }

    /// The status of a request by a new connection, and how its handshake was; `None` where there was no answer.
    pub(super) async fn asked(
        &self,
        client: &Arc<ClientConfig>,
        sni: &'static str,
        path: &str,
    ) -> Option<(u16, HandshakeKind)> {
        let mut stream = self.connect(client, sni).await.ok()?;
        let status = get(&mut stream, sni, path).await?.0;
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        Some((status, kind))
    }

    pub(super) fn client(&self) -> ClientConfig {
        self.client_with(BOTH, None)
    }

    pub(super) fn client_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Person>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.authority.certificate_der()).into_owned()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots);
        match identity {
            None => config.with_no_client_auth(),
            Some(Person { chain, key }) => {
                config.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap()
            }
        }
    }
}

/// Asks for a path; the status and the whole answer.
pub(super) async fn get(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    path: &str,
) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some((head.split(' ').nth(1)?.parse().ok()?, text));
            }
        }
        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            return None;
        }
    }
}

/// A route that answers `ok` itself.
pub(super) fn route(id: u8, host: &str, path: &str) -> Route {
    Route {
        id: RouteId::from_bytes([id; 16]),
        namespace: Namespace::parse("default").unwrap(),
        host: HostPattern::parse(host).unwrap(),
        path: PathPrefix::parse(path).unwrap(),
        tls: TlsMode::SelfSigned,
        redirect_https: false,
        hsts_seconds: None,
        websocket: false,
        action: Action::Respond(Respond {
            status: 200,
            content: Content { media_type: "text/plain".into(), body: (*b"ok").into() },
        }),
        on_change: FlowPolicy::Keep,
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: None,
        on_delete: FlowPolicy::Cut,
    }
}

/// The same for those who show a certificate of `authorities` that is in no list.
pub(super) fn guarded(id: u8, host: &str, path: &str, authorities: &[&Company], lists: &[Vec<u8>]) -> Route {
    let clients = ClientCertificates {
        authorities: authorities.iter().map(|company| company.der.clone()).collect(),
        revoked: lists.into(),
    };
    let policy = TlsPolicy { clients: Some(clients), ..TlsPolicy::default() };
    Route { tls_policy: Some(Box::new(policy)), ..route(id, host, path) }
}

pub(super) fn ticket_key(id: u8, seals: bool) -> Value {
    Value::TicketKey(TicketKey { id: KeyId::from_bytes([id; 16]), seals, secret: Secret::new(vec![id; 32]) })
}

/// An authority of client certificates.
pub(super) struct Company {
    issuer: Issuer<'static, KeyPair>,
    pub(super) der: Vec<u8>,
}

/// A client certificate with its key.
pub(super) struct Person {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Company {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    pub(super) fn person(&self, serial: u64) -> Person {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["person.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Person { chain: vec![leaf.der().clone()], key }
    }

    /// A list of these serial numbers, good until the first day of that year.
    pub(super) fn list(&self, revoked: &[u64], until: i32) -> Vec<u8> {
        self.signed(CertificateRevocationListParams {
            next_update: rcgen::date_time_ymd(until, 1, 1),
            ..Self::unsigned(revoked)
        })
    }

    /// A list of these serial numbers, good for so many seconds from now.
    pub(super) fn list_for(&self, revoked: &[u64], seconds: u64) -> Vec<u8> {
        let until = std::time::SystemTime::now() + Duration::from_secs(seconds);
        self.signed(CertificateRevocationListParams { next_update: until.into(), ..Self::unsigned(revoked) })
    }

    fn signed(&self, params: CertificateRevocationListParams) -> Vec<u8> {
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    fn unsigned(revoked: &[u64]) -> CertificateRevocationListParams {
        let day = |year| rcgen::date_time_ymd(year, 1, 1);
        CertificateRevocationListParams {
            this_update: day(2020),
            next_update: day(2020),
            crl_number: SerialNumber::from(revoked.len() as u64 + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(*serial),
                    revocation_time: day(2021),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        }
    }
}

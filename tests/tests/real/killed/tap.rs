//! A way to the authority that a test can hold at any request: before it arrives, or when it was answered.
//!
//! It ends TLS with an authority of its own, whose root the account trusts. The authority behind makes its URLs from the name it is
//! asked by, so every request comes this way.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use certs::self_signed::{Authority, SubjectName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// When a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The authority has not seen it.
    Before,
    /// The authority did what it asks for, and its answer is held.
    Answered,
}

/// A request that is held. It breaks when this is dropped.
pub(crate) struct Held {
    pub(crate) what: String,
    _let_go: oneshot::Sender<()>,
}

/// What is still to be held: a part of the path, and when.
type Plan = Arc<Mutex<Vec<(&'static str, Moment)>>>;

pub(crate) struct Tap {
    pub(crate) url: String,
    pub(crate) root_pem: String,
    plan: Plan,
    held: mpsc::Receiver<Held>,
}

impl Tap {
    pub(crate) async fn start(pebble: &str, pebble_root: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let authority = Authority::create("the way to pebble", now).unwrap();
        let leaf = authority.issue_server(&[SubjectName::Address([127, 0, 0, 1].into())], now, 30).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let accepts = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                leaf.chain.into_iter().map(CertificateDer::from).collect(),
                PrivateKeyDer::Pkcs8(leaf.key.expose().clone().into()),
            )
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pebble_root.as_bytes()).unwrap()).unwrap();
        let connects = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let behind: SocketAddr =
            pebble.trim_start_matches("https://").split_once('/').unwrap().0.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/dir", listener.local_addr().unwrap());
        let (say, held) = mpsc::channel(16);
        let plan = Plan::default();
        let way = Way {
            accepts: TlsAcceptor::from(Arc::new(accepts)),
            connects: TlsConnector::from(Arc::new(connects)),
            behind,
            plan: Arc::clone(&plan),
            say,
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let way = way.clone();
                tokio::spawn(async move { way.carry(stream).await });
            }
        });
        Self { url, root_pem: authority.certificate_pem(), plan, held }
    }

    /// Holds the next request whose method and path hold this.
    pub(crate) fn hold(&self, what: &'static str, moment: Moment) {
        self.plan.lock().unwrap().push((what, moment));
    }

    /// Waits until one is held.
    pub(crate) async fn next(&mut self) -> Held {
        self.held.recv().await.unwrap()
    }
}

#[derive(Clone)]
struct Way {
    accepts: TlsAcceptor,
    connects: TlsConnector,
    behind: SocketAddr,
    plan: Plan,
    say: mpsc::Sender<Held>,
}

impl Way {
    /// Carries one request and its answer; one connection has no more. What breaks is the other side's to notice.
    async fn carry(&self, stream: TcpStream) -> Option<()> {
        let mut client = self.accepts.accept(stream).await.ok()?;
        let request = message(&mut client).await?;
        let line = String::from_utf8_lossy(&request).lines().next()?.to_owned();
        self.hold(&line, Moment::Before).await?;
        let stream = TcpStream::connect(self.behind).await.ok()?;
        let name = ServerName::from(self.behind.ip());
        let mut server = self.connects.connect(name, stream).await.ok()?;
        server.write_all(&request).await.ok()?;
        let mut answer = Vec::new();
        // An end without a close-notify is an end.
        let _ = server.read_to_end(&mut answer).await;
        self.hold(&line, Moment::Answered).await?;
        client.write_all(&answer).await.ok()?;
        client.shutdown().await.ok()
    }

    /// Goes on at once unless this is to be held; then never.
    async fn hold(&self, line: &str, moment: Moment) -> Option<()> {
        let is_planned = {
            let mut plan = self.plan.lock().unwrap();
            let place = plan.iter().position(|(what, when)| line.contains(what) && *when == moment);
            place.map(|place| plan.remove(place)).is_some()
        };
        if !is_planned {
            return Some(());
        }
        let (let_go, broken) = oneshot::channel();
        let what = format!("{line} {moment:?}");
        self.say.send(Held { what, _let_go: let_go }).await.ok()?;
        broken.await.ok()
    }
}

/// Head and body of a request as they came.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if read.len() >= end + 4 + length {
                return Some(read);
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

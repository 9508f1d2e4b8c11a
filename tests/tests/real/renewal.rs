//! Certificates that live for a minute, renewed by control's own planner while clients never stop coming.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tests::binaries::Up;
use tests::client::Connection;
use tests::wait::{DEADLINE, wait_at_most, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsConnector;

use crate::pebble::{Options, Pebble};

const NAME: &str = "app.minute.test";
/// What the authority gives.
const LIFE_SECONDS: u64 = 60;
/// How often an old certificate is replaced by a new one.
const RENEWALS: usize = 3;
/// Three times the forty seconds after which a third of a minute is left, the orders, and as much again for a busy machine.
const ALL: Duration = Duration::from_secs(170);
/// Between two handshakes: other tests share the machine.
const PACE: Duration = Duration::from_millis(20);

/// Issue 4's last line: three generations under load without one failed handshake.
#[tokio::test(flavor = "multi_thread")]
async fn three_generations_of_a_minute_are_renewed_under_load_without_a_failed_handshake() {
    let options = Options { validity_seconds: Some(LIFE_SECONDS), ..Options::default() };
    let Some(pebble) = Pebble::start(&options).await else { return };
    let private = std::fs::Permissions::from_mode(0o700);
    let directory = tempfile::Builder::new().prefix("gh").permissions(private).tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &pebble.root_pem).unwrap();
    // The authority looks at a port of its own: the gateway listens there as well.
    let up = Up::start_in(directory.path(), &["--http", &format!("127.0.0.1:{}", pebble.http_port)]);
    let (origin, drips) = dripping().await;
    let account = ["acme", "account", "add", "--directory", &pebble.url, "--contact", "mailto:a@minute.test"];
    let resolver = format!("127.0.0.1:{}", pebble.dns_port);
    let trust = ["--agree-tos", "--roots", roots.to_str().unwrap(), "--resolver", &resolver, "short"];
    up.cli(&[&account[..], &trust[..]].concat());
    up.cli(&["route", "add", NAME, &format!("http://{origin}"), "--tls", "acme"]);
    let visitor = Visitor::new(up.address("https"), &issuing_root(&pebble));
    let first = wait_at_most(2 * DEADLINE, "the first certificate is served", async || {
        visitor.visit(&TLS13).await.ok()
    })
    .await;

    // Opened with the first certificate, and carried on long after it has expired.
    let stream = visitor.open(&TLS13).await.unwrap();
    let download = tokio::spawn(tokio::time::timeout(2 * ALL, download(stream)));

    let (seen, count, least) = load(&visitor, &drips, first).await;
    drips.send(None).await.unwrap();
    let (whole, mut kept) = within("the download", download).await.unwrap().unwrap();
    let wanted: String = (0..count).map(|number| format!("{number}\n")).collect();
    assert!(whole == wanted, "the download lost something: {} of {} bytes", whole.len(), wanted.len());
    assert_eq!(kept.get(NAME, "/").await.unwrap().text(), "here", "the connection was kept");
    eprintln!("{count} handshakes, {} certificates, {least} s left at the least", seen.len());
    let orders = pebble.orders();
    assert!(orders == seen.len(), "{orders} orders for {} certificates", seen.len());
}

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// One body that lasts as long as the test, and the connection after it.
async fn download(mut stream: Stream) -> (String, Connection<Stream>) {
    stream.write_all(format!("GET /drip HTTP/1.1\r\nHost: {NAME}\r\n\r\n").as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n0\r\n\r\n") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the download was cut");
    }
    let read = String::from_utf8(read).unwrap();
    let (head, body) = read.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut whole = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n").filter(|(size, _)| *size != "0") {
        let (piece, next) = after.split_at(usize::from_str_radix(size, 16).unwrap());
        whole.push_str(piece);
        rest = next.trim_start_matches("\r\n");
    }
    (whole, Connection::over(stream))
}

/// Full handshakes one after the other until the certificate was renewed often enough; each is judged by the real clock.
/// Returns the serials in the order they came, how many handshakes there were, and the fewest seconds that one had left.
async fn load(
    visitor: &Visitor,
    drips: &mpsc::Sender<Option<usize>>,
    first: Leaf,
) -> (Vec<String>, usize, i64) {
    let (mut seen, mut count, mut least) = (vec![first.serial], 0, i64::MAX);
    let started = Instant::now();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while seen.len() <= RENEWALS {
        assert!(started.elapsed() < ALL, "only {seen:?} in {ALL:?}, {count} handshakes");
        pace.tick().await;
        let version = if count % 2 == 0 { &TLS13 } else { &TLS12 };
        let leaf = visitor.visit(version).await.unwrap_or_else(|error| {
            panic!("handshake {count}, {:?} after the first: {error}", started.elapsed())
        });
        least = least.min(leaf.left);
        if seen.last() != Some(&leaf.serial) {
            assert!(!seen.contains(&leaf.serial), "{} came back after {seen:?}", leaf.serial);
            seen.push(leaf.serial);
        }
        drips.send(Some(count)).await.unwrap();
        count += 1;
    }
    (seen, count, least)
}

/// Makes full handshakes and asks for one thing after each.
struct Visitor {
    https: SocketAddr,
    roots: Arc<RootCertStore>,
}

/// What a handshake showed.
struct Leaf {
    serial: String,
    /// Seconds until it expires.
    left: i64,
}

impl Visitor {
    fn new(https: SocketAddr, root_pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap()).unwrap();
        Self { https, roots: Arc::new(roots) }
    }

    async fn open(&self, version: &'static rustls::SupportedProtocolVersion) -> std::io::Result<Stream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let mut config = builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        config.resumption = Resumption::disabled();
        let tcp = TcpStream::connect(self.https).await?;
        let name = ServerName::try_from(NAME).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        let kind = stream.get_ref().1.handshake_kind();
        assert!(kind != Some(HandshakeKind::Resumed), "{kind:?}");
        Ok(stream)
    }

    /// One full handshake, in which the library judged chain, name and validity by the clock, and one request.
    async fn visit(&self, version: &'static rustls::SupportedProtocolVersion) -> std::io::Result<Leaf> {
        let mut connection = Connection::over(within("a handshake", self.open(version)).await?);
        let leaf = connection.peer_leaf();
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        assert!(to - from <= LIFE_SECONDS as i64 && from <= now && now <= to, "{from} {now} {to}");
        let answer = connection.get(NAME, "/").await?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "here"));
        Ok(Leaf { serial: leaf.raw_serial_as_string(), left: to - now })
    }
}

/// The root that pebble signs with, which it makes anew at each start.
fn issuing_root(pebble: &Pebble) -> String {
    let url = format!("https://127.0.0.1:{}/roots/0", pebble.management_port);
    let output = Command::new("curl").args(["-sSk", "--max-time", "20", &url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An origin that says "here", and at `/drip` each number that it is told, until it is told to end.
async fn dripping() -> (SocketAddr, mpsc::Sender<Option<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel(64);
    let told = Arc::new(Mutex::new(Some(told)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&told)));
        }
    });
    (address, tell)
}

type Told = Arc<Mutex<Option<mpsc::Receiver<Option<usize>>>>>;

async fn answer(mut stream: TcpStream, told: Told) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    if head.starts_with(b"GET /drip ") {
        let told = told.lock().unwrap().take().unwrap();
        return drip(stream, told).await;
    }
    let here = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere";
    stream.write_all(here).await.ok();
}

async fn drip(mut stream: TcpStream, mut told: mpsc::Receiver<Option<usize>>) {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    while let Some(Some(number)) = told.recv().await {
        let drop = format!("{number}\n");
        stream.write_all(format!("{:x}\r\n{drop}\r\n", drop.len()).as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
}

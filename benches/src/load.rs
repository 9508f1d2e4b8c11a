//! Load of several kinds, all from this process's core: wrk and h2load for requests, our own for what they cannot do.

pub mod bulk;
pub mod datagrams;
pub mod handshake;
pub mod held;
pub mod idle;
pub mod jumps;
pub mod open_loop;
pub mod screen;
pub mod ssh;
pub mod terminal;
pub mod tunnel;
pub mod websocket;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::peers::HOST;

/// Connections that are held from one address: the gateway takes 4 096.
const PER_SOURCE: usize = 2_000;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of many connections, each so many of them from an address of loopback of their own.
fn connect_nth(address: SocketAddr, nth: usize) -> Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let last = u8::try_from(2 + nth / PER_SOURCE).context("too many connections")?;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    connect(&socket, &address)?;
    let tcp = TcpStream::from(socket);
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    Ok(tcp)
}

/// Requests that wrk had answered in `seconds`, by HTTP/1.1 over `connections`.
pub fn wrk(address: SocketAddr, is_tls: bool, connections: u32, seconds: u32) -> Result<f64> {
    let url =
        if is_tls { format!("https://{HOST}:{}/", address.port()) } else { format!("http://{address}/") };
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-H", &format!("Host: {HOST}")])
        .arg(url)
        .output()
        .context("wrk is needed")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk said {text}");
    }
    let count = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    count.with_context(|| format!("wrk said {text}"))
}

/// Requests that h2load had answered in `seconds`, by HTTP/2 over TLS, 16 streams on each connection.
pub fn h2load(address: SocketAddr, connections: u32, seconds: u32) -> Result<f64> {
    let output = Command::new("h2load")
        .args(["-t1", &format!("-c{connections}"), "-m16", "-D", &seconds.to_string(), "--warm-up-time=0"])
        .arg(format!("--connect-to={address}"))
        .arg(format!("https://{HOST}/"))
        .output()
        .context("h2load is needed (package nghttp2-client)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout
    let line = text
        .lines()
        .find(|line| line.starts_with("requests:"))
        .with_context(|| format!("h2load said {text}"))?;
    let field = |name: &str| {
        let part = line.split([',', ':']).map(str::trim).find_map(|part| part.strip_suffix(name));
        part.and_then(|number| number.trim().parse::<f64>().ok())
    };
    let (done, failed) = (field("succeeded").unwrap_or(0.0), field("failed").unwrap_or(0.0));
    if failed > 0.0 || done == 0.0 {
        bail!("h2load said {text}");
    }
    Ok(done)
}

/// A client's side of TLS that believes every certificate: what is measured is the proxy. HTTP/1.1 alone.
pub fn tls() -> Result<Arc<ClientConfig>> {
    Ok(Arc::new(tls_with(rustls::crypto::aws_lc_rs::default_provider())?))
}

/// The same with ciphers and key exchanges of one's own.
fn tls_with(provider: CryptoProvider) -> Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believing))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The name that handshakes ask for.
pub fn server_name() -> Result<ServerName<'static>> {
    Ok(ServerName::try_from(HOST)?)
}

#[derive(Debug)]
struct Believing;

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}

//! TLS handshakes and nothing after them.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion};

/// Which key exchange is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// X25519 and nothing else: every proxy has it.
    X25519,
    /// X25519MLKEM768 before it, as browsers do. A proxy without it does less work.
    Hybrid,
}

/// What a handshake is to be.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Whether it takes up the session of the one before.
    pub resumes: bool,
    /// Its key exchange.
    pub exchange: Exchange,
}

/// Makes handshakes one after the other for `seconds`; gives how many. Every one is full, or, if it is to resume, each
/// but the first takes up the session of the one before.
///
/// Errors: a handshake fails, or was of the other sort.
pub fn run(address: SocketAddr, wish: Wish, seconds: u32) -> Result<f64> {
    run_for(address, wish, seconds, |_| super::server_name())
}

/// [`run`], where each handshake asks for the name of its number.
pub fn run_for(
    address: SocketAddr,
    wish: Wish,
    seconds: u32,
    name: impl Fn(u64) -> Result<ServerName<'static>>,
) -> Result<f64> {
    let config = config(wish)?;
    if wish.resumes {
        ticketed(address, &config)?;
    }
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut count = 0;
    while Instant::now() < end {
        let client = one(address, &config, (name(count)?, wish.resumes))?;
        let kind = client.handshake_kind();
        let is_resumed = kind == Some(HandshakeKind::Resumed);
        if is_resumed != wish.resumes {
            bail!("handshake {count} was {kind:?}");
        }
        if wish.resumes {
            // Else the next one is full, and the proxy is blamed for what the machine did.
            has_ticket(&client).with_context(|| format!("after handshake {count}"))?;
        }
        count += 1;
    }
    Ok(count as f64)
}

/// The certificate that is shown for a name, in DER.
pub fn shown(address: SocketAddr, name: ServerName<'static>) -> Result<Vec<u8>> {
    let client = one(address, &config(Wish { resumes: false, exchange: Exchange::X25519 })?, (name, false))?;
    let leaf = client.peer_certificates().unwrap_or_default().first().context("no certificate was shown")?;
    Ok(leaf.to_vec())
}

fn ticketed(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<()> {
    has_ticket(&one(address, config, (super::server_name()?, true))?)
}

fn has_ticket(client: &ClientConnection) -> Result<()> {
    if client.protocol_version() == Some(ProtocolVersion::TLSv1_3) && client.tls13_tickets_received() == 0 {
        bail!("no ticket came within {TICKET_WAIT:?}");
    }
    Ok(())
}

/// Whether a session is taken up at all.
pub fn is_resumed(address: SocketAddr) -> Result<bool> {
    let config = config(Wish { resumes: true, exchange: Exchange::X25519 })?;
    one(address, &config, (super::server_name()?, true))?;
    let again = one(address, &config, (super::server_name()?, true))?;
    Ok(again.handshake_kind() == Some(HandshakeKind::Resumed))
}

/// Version, key exchange, cipher and the sort of certificate that a proxy agrees on: figures of different ones are not
/// to be compared.
pub fn agreed(address: SocketAddr, exchange: Exchange) -> Result<String> {
    let wish = Wish { resumes: false, exchange };
    let client = one(address, &config(wish)?, (super::server_name()?, false))?;
    let version = client.protocol_version().context("no version")?;
    let group = client.negotiated_key_exchange_group().context("no key exchange")?.name();
    let suite = client.negotiated_cipher_suite().context("no cipher")?.suite();
    let chain = client.peer_certificates().unwrap_or_default();
    let sizes: Vec<usize> = chain.iter().map(|certificate| certificate.len()).collect();
    Ok(format!("{version:?} {group:?} {suite:?}, certificates of {sizes:?} bytes"))
}

fn config(wish: Wish) -> Result<Arc<ClientConfig>> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if wish.exchange == Exchange::X25519 {
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    }
    let mut config = super::tls_with(provider)?;
    if !wish.resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// How long a ticket is waited for: a busy machine may keep a proxy from its core for long.
const TICKET_WAIT: Duration = Duration::from_secs(5);

/// One handshake for a name, and whether a ticket is waited for after it.
fn one(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    (name, awaits_ticket): (ServerName<'static>, bool),
) -> Result<ClientConnection> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut client = ClientConnection::new(Arc::clone(config), name)?;
    while client.is_handshaking() {
        client.complete_io(&mut tcp)?;
    }
    // The tickets of TLS 1.3 follow the handshake; those of TLS 1.2 were part of it.
    let mut lacks_ticket = awaits_ticket && client.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    tcp.set_read_timeout(Some(TICKET_WAIT))?;
    while lacks_ticket && client.tls13_tickets_received() == 0 {
        // Who sends none in time does not resume.
        lacks_ticket = client.read_tls(&mut tcp).is_ok_and(|read| read > 0);
        client.process_new_packets()?;
    }
    client.send_close_notify();
    // Who has closed already need not be told.
    let _ = client.write_tls(&mut tcp);
    Ok(client)
}

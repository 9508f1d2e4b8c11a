//! TLS handshakes and nothing after them.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

/// Makes handshakes one after the other for `seconds`; gives how many. Every one is full, or, if `resumes`, each but the
/// first takes up the session of the one before.
///
/// Errors: a handshake fails, or was of the other sort.
pub fn run(address: SocketAddr, resumes: bool, seconds: u32) -> Result<f64> {
    let mut config = ClientConfig::clone(&*super::tls()?);
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    let config = Arc::new(config);
    if resumes {
        one(address, &config, true)?;
    }
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut count = 0.0;
    while Instant::now() < end {
        let kind = one(address, &config, resumes)?;
        let is_resumed = kind == Some(HandshakeKind::Resumed);
        if is_resumed != resumes {
            bail!("a handshake was {kind:?}");
        }
        count += 1.0;
    }
    Ok(count)
}

/// Whether a session is taken up at all.
pub fn is_resumed(address: SocketAddr) -> Result<bool> {
    let config = super::tls()?;
    one(address, &config, true)?;
    Ok(one(address, &config, true)? == Some(HandshakeKind::Resumed))
}

fn one(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    awaits_ticket: bool,
) -> Result<Option<HandshakeKind>> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut client = ClientConnection::new(Arc::clone(config), super::server_name()?)?;
    while client.is_handshaking() {
        client.complete_io(&mut tcp)?;
    }
    if awaits_ticket && client.tls13_tickets_received() == 0 {
        // Tickets follow the handshake at once; who sends none does not resume.
        tcp.set_read_timeout(Some(Duration::from_millis(200)))?;
        if client.read_tls(&mut tcp).is_ok() {
            client.process_new_packets()?;
        }
    }
    let kind = client.handshake_kind();
    client.send_close_notify();
    // Who has closed already need not be told.
    let _ = client.write_tls(&mut tcp);
    Ok(kind)
}

//! A gateway without a certificate: one `Enrol`, one answer, and the stream ends.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use config::id::GatewayId;
use config::limits;
use config::sync::message::{Enrolled, Message};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Gateways, fingerprint_of, frame, public, refuse};
use crate::app::AuthorityError;
use crate::app::gateway::{self, Enrolment, Signed};
use crate::auth::Origin;

/// Redeems one join token.
pub(super) async fn serve(
    gateways: &Gateways,
    mut stream: TlsStream<TcpStream>,
    origin: Origin,
) -> io::Result<()> {
    let deadline = Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS);
    let read = frame::read(&mut stream, limits::MESSAGE_BYTES_UNAUTHENTICATED_MAX);
    let enrol = match tokio::time::timeout(deadline, read).await?? {
        Some(Message::Enrol(enrol)) => enrol,
        Some(_) => return refuse(&mut stream, "without a certificate only a join token is taken").await,
        None => return Ok(()),
    };
    let chain = Mutex::new(Vec::new());
    let sign = |id| sign(gateways, &enrol.csr, id, &chain);
    let enrolment = Enrolment { token: &enrol.token, name: &enrol.name, csr: &enrol.csr, origin };
    match gateway::enrol(&gateways.app, enrolment, &sign).await {
        Ok(id) => {
            tracing::info!(gateway = %enrol.name, %id, %origin, "a gateway joined");
            let enrolled = Enrolled {
                gateway: id.to_bytes(),
                chain: chain.into_inner().unwrap_or_else(PoisonError::into_inner),
                authority: gateways.authority.certificate_der().to_vec(),
            };
            frame::write(&mut stream, &Message::Enrolled(enrolled)).await?;
            tokio::time::timeout(deadline, stream.shutdown()).await?
        }
        Err(error) => {
            tracing::warn!(gateway = %enrol.name, %origin, %error, "a gateway was not let in");
            refuse(&mut stream, &public(&error)).await
        }
    }
}

/// Signs the key of `csr` for gateway `id`. The rules say which id and when, inside their transaction, so the chain is
/// made there and kept in `chain`.
pub(super) fn sign(
    gateways: &Gateways,
    csr: &[u8],
    id: GatewayId,
    chain: &Mutex<Vec<Vec<u8>>>,
) -> Result<Signed, AuthorityError> {
    let (signed, expires_at) = gateways.authority.sign_gateway(csr, id)?;
    let fingerprint = signed.first().map(|leaf| fingerprint_of(leaf)).unwrap_or_default();
    *chain.lock().unwrap_or_else(PoisonError::into_inner) = signed;
    Ok(Signed { fingerprint, expires_at })
}

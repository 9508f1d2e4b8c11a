//! Who this gateway is: certificate chain, key and the authority, in `DIR/gateway`.
//!
//! `identity.pem` is written last, so it stands for all: where it is missing the gateway is not enrolled. The key and its
//! request are kept from before the first try to enrol, so that a crash in between asks with the same key again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::self_signed::Request;
use config::sync::message::Enrolled;
use data_encoding::BASE64;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::SyncError;
use super::stream::client_config;
use crate::checkpoint::files;

/// An identity that TLS takes.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) config: Arc<ClientConfig>,
    /// Where the join token said control is; kept for later starts.
    pub(super) addresses: Vec<String>,
}

/// The files of one gateway.
#[derive(Debug, Clone)]
pub(super) struct Files(PathBuf);

const CHAIN: &str = "identity.pem";
const KEY: &str = "key.pem";
const AUTHORITY: &str = "authority.pem";
const REQUEST: &str = "request.der";
const ADDRESSES: &str = "control";

impl Files {
    pub(super) fn below(data: &Path) -> io::Result<Self> {
        let own = data.join("gateway");
        files::make_dir(&own)?;
        Ok(Self(own))
    }

    /// The identity, or `None` before enrolment.
    pub(super) fn load(&self) -> Result<Option<Identity>, SyncError> {
        let chain = match files::read(&self.0.join(CHAIN)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| unusable(CHAIN, &error))?,
        };
        let read = |what| files::read(&self.0.join(what)).map_err(|error| unusable(what, &error));
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| unusable(CHAIN, &error))?;
        let key = PrivateKeyDer::from_pem_slice(&read(KEY)?).map_err(|error| unusable(KEY, &error))?;
        let authority = CertificateDer::from_pem_slice(&read(AUTHORITY)?);
        let authority = authority.map_err(|error| unusable(AUTHORITY, &error))?;
        let config =
            client_config(&authority, Some((chain, key))).map_err(|error| unusable(CHAIN, &error))?;
        let addresses = read(ADDRESSES).unwrap_or_default();
        let addresses = String::from_utf8_lossy(&addresses).lines().map(str::to_owned).collect();
        Ok(Some(Identity { config, addresses }))
    }

    /// The signing request; makes the key on the first call.
    pub(super) fn request(&self, name: &str) -> Result<Vec<u8>, SyncError> {
        let path = self.0.join(REQUEST);
        match files::read(&path) {
            Ok(csr) => return Ok(csr),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(REQUEST, &error)),
        }
        let request = Request::create(name).map_err(|error| unusable(KEY, &error))?;
        let pem = pem("PRIVATE KEY", request.key.expose());
        files::write_aside(&self.0.join(KEY), pem.as_bytes()).map_err(|error| unusable(KEY, &error))?;
        files::write_aside(&path, &request.csr_der).map_err(|error| unusable(REQUEST, &error))?;
        Ok(request.csr_der)
    }

    /// Writes what control answered and reads it back as an identity.
    pub(super) fn store(&self, enrolled: &Enrolled, addresses: &[String]) -> Result<Identity, SyncError> {
        let write = |what, text: String| {
            files::write_aside(&self.0.join(what), text.as_bytes()).map_err(|error| unusable(what, &error))
        };
        write(AUTHORITY, pem("CERTIFICATE", &enrolled.authority))?;
        write(ADDRESSES, addresses.iter().map(|address| format!("{address}\n")).collect())?;
        write(CHAIN, enrolled.chain.iter().map(|der| pem("CERTIFICATE", der)).collect())?;
        let identity = self.load().and_then(|found| {
            found.ok_or_else(|| SyncError::Identity { what: CHAIN, why: "it was not written".to_owned() })
        });
        // One that does not work must not stand in the way of the next try.
        let stale = if identity.is_ok() { REQUEST } else { CHAIN };
        files::remove(&self.0.join(stale)).map_err(|error| unusable(stale, &error))?;
        identity
    }
}

fn unusable(what: &'static str, why: &dyn std::fmt::Display) -> SyncError {
    SyncError::Identity { what, why: why.to_string() }
}

/// RFC 7468: lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (place, character) in BASE64.encode(der).chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

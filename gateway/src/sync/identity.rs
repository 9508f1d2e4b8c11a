//! Who this gateway is: certificate chain, key and the authority, in `DIR/gateway`.
//!
//! `identity.pem` holds chain and key and is written last, so it stands for all: where it is missing the gateway is not
//! enrolled, and a renewal replaces both at once. The request and its key are kept from before the first try to enrol,
//! so that a crash in between asks with the same key again; the identity in use stays until the new one is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::identity::Said;
use certs::self_signed::Request;
use config::id::GatewayId;
use config::secret::Secret;
use config::sync::message::{Enrolled, parse_gateway_uri};
use data_encoding::BASE64;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::SyncError;
use super::stream::client_config;
use crate::checkpoint::files;

/// An identity that TLS takes.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) config: Arc<ClientConfig>,
    /// Where the join token said control is; kept for later starts.
    pub(super) addresses: Vec<String>,
    /// What the certificate says: whose it is and how long.
    pub(super) said: Said,
    authority: CertificateDer<'static>,
}

impl Identity {
    /// Who the certificate says this gateway is.
    pub(super) fn gateway(&self) -> Option<GatewayId> {
        self.said.subject_names.uris.iter().find_map(|uri| parse_gateway_uri(uri))
    }
}

/// The files of one gateway.
#[derive(Debug, Clone)]
pub(super) struct Files(pub(super) PathBuf);

const CHAIN: &str = "identity.pem";
/// Of gateways that enrolled before the key lay beside the chain.
const KEY: &str = "key.pem";
const AUTHORITY: &str = "authority.pem";
const REQUEST: &str = "request.pem";
const ADDRESSES: &str = "control";

impl Files {
    pub(super) fn below(data: &Path) -> io::Result<Self> {
        let own = data.join("gateway");
        files::make_dir(&own)?;
        Ok(Self(own))
    }

    /// The identity, or `None` before enrolment.
    pub(super) fn load(&self) -> Result<Option<Identity>, SyncError> {
        let Some(pem) = self.find(CHAIN)? else { return Ok(None) };
        let read = |what| files::read(&self.0.join(what)).map_err(|error| unusable(what, &error));
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| unusable(CHAIN, &error))?;
        let key = match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(key) => key,
            Err(_) => PrivateKeyDer::from_pem_slice(&read(KEY)?).map_err(|error| unusable(KEY, &error))?,
        };
        let authority = CertificateDer::from_pem_slice(&read(AUTHORITY)?);
        let authority = authority.map_err(|error| unusable(AUTHORITY, &error))?;
        let addresses = read(ADDRESSES).unwrap_or_default();
        let addresses = String::from_utf8_lossy(&addresses).lines().map(str::to_owned).collect();
        identity(authority, chain, key, addresses).map(Some)
    }

    fn find(&self, what: &'static str) -> Result<Option<Vec<u8>>, SyncError> {
        match files::read(&self.0.join(what)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(what, &error)),
        }
    }

    fn write(&self, what: &'static str, text: &str) -> Result<(), SyncError> {
        files::write_aside(&self.0.join(what), text.as_bytes()).map_err(|error| unusable(what, &error))
    }

    /// Whether an enrolment began and did not end.
    pub(super) fn is_enrolling(&self) -> bool {
        self.0.join(REQUEST).exists()
    }

    /// The signing request; makes the key on the first call. Both lie in one file, so neither is there alone.
    pub(super) fn request(&self, name: &str) -> Result<Vec<u8>, SyncError> {
        if let Some(pem) = self.find(REQUEST)? {
            let csr = CertificateSigningRequestDer::from_pem_slice(&pem);
            return Ok(csr.map_err(|error| unusable(REQUEST, &error))?.to_vec());
        }
        let request = Request::create(name).map_err(|error| unusable(REQUEST, &error))?;
        let key = pem("PRIVATE KEY", request.key.expose());
        self.write(REQUEST, &(key + &pem("CERTIFICATE REQUEST", &request.csr_der)))?;
        Ok(request.csr_der)
    }

    /// Writes what control answered, if it is an identity with the key of the request.
    pub(super) fn store(&self, enrolled: &Enrolled, addresses: &[String]) -> Result<Identity, SyncError> {
        let pending = self.find(REQUEST)?.unwrap_or_default();
        let key = PrivateKeyDer::from_pem_slice(&pending).map_err(|error| unusable(REQUEST, &error))?;
        let text = identity_pem(&enrolled.chain, key.secret_der());
        let authority = CertificateDer::from(enrolled.authority.clone());
        let chain = enrolled.chain.iter().cloned().map(CertificateDer::from).collect();
        let identity = identity(authority, chain, key, addresses.to_vec())?;
        self.write(AUTHORITY, &pem("CERTIFICATE", &enrolled.authority))?;
        self.write(ADDRESSES, &addresses.iter().map(|address| format!("{address}\n")).collect::<String>())?;
        self.write(CHAIN, &text)?;
        for stale in [REQUEST, KEY] {
            files::remove(&self.0.join(stale)).map_err(|error| unusable(stale, &error))?;
        }
        Ok(identity)
    }

    /// Writes a new chain and its key in place of `old`, if they are for the same gateway.
    pub(super) fn renew(
        &self,
        old: &Identity,
        chain: &[Vec<u8>],
        key: &Secret<Vec<u8>>,
    ) -> Result<Identity, SyncError> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().clone()));
        let certificates = chain.iter().cloned().map(CertificateDer::from).collect();
        let new = identity(old.authority.clone(), certificates, der, old.addresses.clone())?;
        if new.said.subject_names != old.said.subject_names {
            return Err(unusable(CHAIN, &"the new certificate is for another gateway"));
        }
        if new.said.validity.not_after <= old.said.validity.not_after {
            return Err(unusable(CHAIN, &"the new certificate ends no later than the old one"));
        }
        self.write(CHAIN, &identity_pem(chain, key.expose()))?;
        Ok(new)
    }
}

fn identity(
    authority: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    addresses: Vec<String>,
) -> Result<Identity, SyncError> {
    let leaf = chain.first().ok_or_else(|| unusable(CHAIN, &"it holds no certificate"))?;
    let said = Said::parse(leaf).map_err(|error| unusable(CHAIN, &error))?;
    let config = client_config(&authority, Some((chain, key))).map_err(|error| unusable(CHAIN, &error))?;
    Ok(Identity { config, addresses, said, authority })
}

/// An identity that lies in no file.
#[cfg(test)]
pub(super) fn of_parts(
    authority: &[u8],
    chain: &[Vec<u8>],
    key: &Secret<Vec<u8>>,
) -> Result<Identity, SyncError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().clone()));
    let chain = chain.iter().cloned().map(CertificateDer::from).collect();
    identity(CertificateDer::from(authority.to_vec()), chain, key, Vec::new())
}

fn identity_pem(chain: &[Vec<u8>], key: &[u8]) -> String {
    chain.iter().map(|der| pem("CERTIFICATE", der)).collect::<String>() + &pem("PRIVATE KEY", key)
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

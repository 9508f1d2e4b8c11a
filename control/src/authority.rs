//! The internal authority and what it signs at the first start; private keys lie sealed in the database.
//!
//! One authority a database (INVENTORY E-16): gateways, their stream and self-signed routes are all signed by it.

pub mod own;

use std::sync::Arc;

use certs::self_signed::{self, ClientName, SubjectName};
use config::id::GatewayId;
use config::limits;
use config::name::HostPattern;
use config::secret::Secret;
use config::sync::message::{CONTROL_SERVER_NAME, gateway_uri};

use crate::app::{self, AuthorityError, Clock, KeyError, Keys, Leaf};
use crate::store::{self, Db, internal_key};

const DAY_US: i64 = 86_400 * 1_000_000;

/// What the authority is called in the store, and what it is sealed for.
const NAME: &str = "authority";

/// Why the authority could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The seal.
    #[error("the internal authority does not open: {0}; was the secret key replaced?")]
    Key(#[from] KeyError),
    /// The authority itself.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The internal authority at work.
pub struct Internal {
    signer: self_signed::Authority,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Internal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Internal(***)")
    }
}

fn failed(cause: self_signed::AuthorityError) -> AuthorityError {
    AuthorityError { why: cause.to_string() }
}

impl Internal {
    /// The authority of this database; made at the first start.
    ///
    /// Errors: the database cannot be used, or what lies there was sealed with another secret key.
    pub async fn open(db: &Db, keys: &dyn Keys, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let sealed = match internal_key::get(db, NAME).await? {
            Some(sealed) => sealed,
            None => {
                let made = Self::create(Arc::clone(&clock))?;
                let sealed = keys.seal(NAME, made.to_bytes().expose())?;
                internal_key::get_or_put(db, NAME, &sealed, clock.now()).await?
            }
        };
        Ok(Self::from_bytes(&keys.unseal(NAME, &sealed)?, clock)?)
    }

    /// Makes a new authority.
    pub fn create(clock: Arc<dyn Clock>) -> Result<Self, AuthorityError> {
        let signer = self_signed::Authority::create("Gatehouse internal authority", seconds(clock.now()));
        Ok(Self { signer: signer.map_err(failed)?, clock })
    }

    /// Opens one from what [`Internal::to_bytes`] gave.
    pub fn from_bytes(bytes: &Secret<Vec<u8>>, clock: Arc<dyn Clock>) -> Result<Self, AuthorityError> {
        let parts = split(bytes.expose())
            .ok_or_else(|| AuthorityError { why: "its parts are damaged".to_owned() })?;
        let signer =
            self_signed::Authority::from_parts(parts.0, &Secret::new(parts.1.to_vec())).map_err(failed)?;
        Ok(Self { signer, clock })
    }

    /// Certificate and key as one piece, to be sealed.
    pub fn to_bytes(&self) -> Secret<Vec<u8>> {
        let (certificate, key) = (self.signer.certificate_der(), self.signer.key_pkcs8());
        let mut bytes = Vec::with_capacity(4 + certificate.len() + key.expose().len());
        bytes.extend_from_slice(&u32::try_from(certificate.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(certificate);
        bytes.extend_from_slice(key.expose());
        Secret::new(bytes)
    }

    /// The authority's certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        self.signer.certificate_der()
    }

    /// The name that control goes by on the gateways' stream.
    pub fn control_name() -> Result<SubjectName, AuthorityError> {
        let name = HostPattern::parse(CONTROL_SERVER_NAME);
        name.map(SubjectName::Host).map_err(|e| AuthorityError { why: e.to_string() })
    }

    /// A certificate of a server, with the longest life that clients take.
    pub fn issue(&self, names: &[SubjectName]) -> Result<Leaf, AuthorityError> {
        let now = self.clock.now();
        let days = self_signed::LEAF_DAYS_MAX;
        let leaf = self.signer.issue_server(names, seconds(now), days).map_err(failed)?;
        let expires_at = now.saturating_add(i64::try_from(days).unwrap_or_default() * DAY_US);
        Ok(Leaf { chain: leaf.chain, key: leaf.key, expires_at })
    }

    /// Signs a gateway's key; gives the chain and when it ends, in microseconds UTC.
    pub fn sign_gateway(&self, csr: &[u8], id: GatewayId) -> Result<(Vec<Vec<u8>>, i64), AuthorityError> {
        let now = self.clock.now();
        let uri = gateway_uri(id);
        let client = ClientName { common_name: &uri, uri: &uri };
        let days = limits::GATEWAY_CERTIFICATE_DAYS;
        let chain = self
            .signer
            .sign_gateway_csr(csr, client, seconds(now), u64::try_from(days).unwrap_or_default())
            .map_err(failed)?;
        Ok((chain, now.saturating_add(days * DAY_US)))
    }
}

impl app::Authority for Internal {
    fn issue_server(&self, names: &[HostPattern]) -> Result<Leaf, AuthorityError> {
        let names: Vec<_> = names.iter().cloned().map(SubjectName::Host).collect();
        self.issue(&names)
    }

    fn certificate_pem(&self) -> String {
        self.signer.certificate_pem()
    }
}

fn seconds(microseconds: i64) -> u64 {
    u64::try_from(microseconds / 1_000_000).unwrap_or_default()
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Authority as _, SystemClock};

    #[test]
    fn an_authority_opens_again_and_signs_the_gateway_that_it_names() {
        let made = Internal::create(Arc::new(SystemClock)).unwrap();
        let again = Internal::from_bytes(&made.to_bytes(), Arc::new(SystemClock)).unwrap();
        assert_eq!(made.certificate_pem(), again.certificate_pem());
        let request = self_signed::Request::create("gate-1").unwrap();
        let id = GatewayId::from_bytes([7; 16]);
        let (chain, expires_at) = again.sign_gateway(&request.csr_der, id).unwrap();
        let parts = certs::identity::Parts::parse(&chain, request.key.expose()).unwrap();
        assert_eq!(parts.subject_names.uris, [gateway_uri(id)]);
        assert!(expires_at > SystemClock.now() + 89 * DAY_US);
    }

    #[test]
    fn control_shows_its_name_and_damage_is_an_error() {
        let made = Internal::create(Arc::new(SystemClock)).unwrap();
        let leaf = made.issue(&[Internal::control_name().unwrap()]).unwrap();
        let parts = certs::identity::Parts::parse(&leaf.chain, leaf.key.expose()).unwrap();
        assert_eq!(parts.subject_names.hosts, [HostPattern::parse(CONTROL_SERVER_NAME).unwrap()]);
        let damaged = Secret::new(made.to_bytes().expose()[..9].to_vec());
        assert!(Internal::from_bytes(&damaged, Arc::new(SystemClock)).is_err());
    }
}

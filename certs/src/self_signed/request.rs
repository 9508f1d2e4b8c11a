//! A key made where it will be used, and the request to have it signed.

use config::secret::Secret;
use rcgen::{CertificateParams, DistinguishedName, DnType};

use super::{AuthorityError, new_key};

/// A new key and the request for its certificate: what a gateway makes at enrolment and at each renewal.
#[derive(Debug)]
pub struct Request {
    /// The request, for the authority.
    pub csr_der: Vec<u8>,
    /// The key as PKCS#8 DER; it never leaves its machine.
    pub key: Secret<Vec<u8>>,
}

impl Request {
    /// Makes a key and asks for a certificate of it. The authority decides the names; `common_name` is for people who
    /// read the request.
    pub fn create(common_name: &str) -> Result<Self, AuthorityError> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
        let request = params.serialize_request(&key).map_err(AuthorityError::Sign)?;
        Ok(Self { csr_der: request.der().to_vec(), key: Secret::new(key.serialize_der()) })
    }
}

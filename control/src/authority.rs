//! The internal authority and what it signs at the first start; private keys lie sealed in the database.
//!
//! One authority a database (INVENTORY E-16): gateways, their stream and self-signed routes are all signed by it.

use std::sync::Arc;

use certs::self_signed::{self, ClientName, SubjectName};
use config::id::GatewayId;
use config::limits;
use config::name::HostPattern;
use config::secret::Secret;
use config::sync::message::CONTROL_SERVER_NAME;

use crate::app::{self, AuthorityError, Clock, Leaf};

/// What gateways' certificates say they are, before the id.
const GATEWAY_URI: &str = "urn:gatehouse:gateway:";
const DAY_US: i64 = 86_400 * 1_000_000;

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

    /// The certificate that control shows to gateways.
    pub fn issue_control(&self) -> Result<Leaf, AuthorityError> {
        let name =
            HostPattern::parse(CONTROL_SERVER_NAME).map_err(|e| AuthorityError { why: e.to_string() })?;
        app::Authority::issue_server(self, &[name])
    }

    /// Signs a gateway's key; gives the chain and when it ends, in microseconds UTC.
    pub fn sign_gateway(
        &self,
        csr: &[u8],
        id: GatewayId,
        name: &str,
    ) -> Result<(Vec<Vec<u8>>, i64), AuthorityError> {
        let now = self.clock.now();
        let uri = format!("{GATEWAY_URI}{id}");
        let client = ClientName { common_name: name, uri: &uri };
        let days = limits::GATEWAY_CERTIFICATE_DAYS;
        let chain = self
            .signer
            .sign_gateway_csr(csr, client, seconds(now), u64::try_from(days).unwrap_or_default())
            .map_err(failed)?;
        Ok((chain, now.saturating_add(days * DAY_US)))
    }
}

/// The gateway that a verified certificate names.
pub fn gateway_of(leaf_der: &[u8]) -> Option<GatewayId> {
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let (_, leaf) = X509Certificate::from_der(leaf_der).ok()?;
    let names = leaf.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(GATEWAY_URI)?.parse().ok(),
        _ => None,
    })
}

impl app::Authority for Internal {
    fn issue_server(&self, names: &[HostPattern]) -> Result<Leaf, AuthorityError> {
        let names: Vec<_> = names.iter().cloned().map(SubjectName::Host).collect();
        let now = self.clock.now();
        let days = self_signed::LEAF_DAYS_MAX;
        let leaf = self.signer.issue_server(&names, seconds(now), days).map_err(failed)?;
        let expires_at = now.saturating_add(i64::try_from(days).unwrap_or_default() * DAY_US);
        Ok(Leaf { chain: leaf.chain, key: leaf.key, expires_at })
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
        let (chain, expires_at) = again.sign_gateway(&request.csr_der, id, "gate-1").unwrap();
        assert_eq!(gateway_of(&chain[0]), Some(id));
        assert!(expires_at > SystemClock.now() + 89 * DAY_US);
    }

    #[test]
    fn a_server_leaf_names_no_gateway_and_damage_is_an_error() {
        let made = Internal::create(Arc::new(SystemClock)).unwrap();
        assert_eq!(gateway_of(&made.issue_control().unwrap().chain[0]), None);
        let damaged = Secret::new(made.to_bytes().expose()[..9].to_vec());
        assert!(Internal::from_bytes(&damaged, Arc::new(SystemClock)).is_err());
    }
}

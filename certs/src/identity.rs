//! Chain, key, names and validity, checked for agreement once.
//!
//! A [`Ready`] identity can be served as it is: every certificate of its chain was read, the key was parsed and belongs
//! to the leaf. Expiry is reported, not judged: that needs a clock, which belongs to the caller.

use std::net::IpAddr;
use std::sync::Arc;

use config::id::IdentityId;
use config::name::HostPattern;
use config::snapshot::Identity;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Certificates in one chain: real ones have two to four.
pub const CHAIN_MAX: usize = 10;

/// Why an identity cannot be served. Never names key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum IdentityError {
    #[error("the chain is empty; it needs at least the leaf certificate")]
    NoChain,
    #[error("the chain has more than {CHAIN_MAX} certificates")]
    ChainTooLong,
    #[error("certificate {place} of the chain (0 is the leaf) cannot be read: {why}")]
    Certificate { place: usize, why: String },
    #[error(
        "the private key cannot be read: {why}; it must be PKCS#8 DER of RSA, ECDSA P-256/384/521 or Ed25519"
    )]
    Key { why: String },
    #[error("the private key does not match the leaf certificate")]
    KeyMismatch,
}

/// From when to when a certificate is valid, in Unix seconds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: i64,
    /// Last second.
    pub not_after: i64,
}

impl Validity {
    /// When two thirds of it have passed: time to have a new one.
    pub const fn renew_at(self) -> i64 {
        self.not_after.saturating_sub(self.not_after.saturating_sub(self.not_before) / 3)
    }

    /// Whether `now` (Unix seconds) lies inside.
    pub const fn covers(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// An identity that was checked and can be served.
#[derive(Debug)]
pub struct Ready {
    /// Stable name.
    pub id: IdentityId,
    /// The patterns it serves, as control wrote them.
    pub names: Box<[HostPattern]>,
    /// Whether it goes before others that serve the same name.
    pub preferred: bool,
    /// What the leaf itself says it is for.
    pub subject_names: SubjectNames,
    /// The leaf's validity.
    pub validity: Validity,
    /// Chain and parsed key, as rustls wants them.
    pub certified: Arc<CertifiedKey>,
}

impl Ready {
    /// Checks an identity of a snapshot.
    ///
    /// Cost: a parse of each certificate and one of the key (a point multiplication for ECDSA).
    /// Errors: see [`IdentityError`].
    pub fn of(identity: &Identity) -> Result<Self, IdentityError> {
        let parts = Parts::parse(&identity.chain, identity.key.expose())?;
        Ok(Self {
            id: identity.id,
            names: identity.names.clone(),
            preferred: identity.preferred,
            subject_names: parts.subject_names,
            validity: parts.validity,
            certified: parts.certified,
        })
    }

    /// The patterns it should serve that its leaf does not cover. The catch-all promises no name.
    pub fn uncovered(&self) -> impl Iterator<Item = &HostPattern> {
        self.names.iter().filter(|pattern| !self.subject_names.cover(pattern))
    }
}

/// What a leaf says by itself; whether its key is at hand and its issuer trusted is for others to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What it is for.
    pub subject_names: SubjectNames,
    /// From when to when it counts.
    pub validity: Validity,
}

impl Said {
    /// Reads one certificate in DER.
    pub fn parse(leaf: &[u8]) -> Result<Self, IdentityError> {
        let (validity, subject_names) = check_leaf(leaf)?;
        Ok(Self { subject_names, validity })
    }
}

/// A chain and its key, checked, before they have a name in a snapshot: what an upload is tried with.
#[derive(Debug)]
pub struct Parts {
    /// What the leaf says it is for.
    pub subject_names: SubjectNames,
    /// The leaf's validity.
    pub validity: Validity,
    /// Chain and parsed key, as rustls wants them.
    pub certified: Arc<CertifiedKey>,
}

impl Parts {
    /// Reads a chain in DER (leaf first) and a PKCS#8 key, and checks that they belong together.
    pub fn parse(chain: &[Vec<u8>], key_pkcs8: &[u8]) -> Result<Self, IdentityError> {
        let (validity, subject_names) = check_chain(chain)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pkcs8));
        let key = any_supported_type(&der).map_err(|error| IdentityError::Key { why: error.to_string() })?;
        let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| IdentityError::KeyMismatch)?;
        Ok(Self { subject_names, validity, certified: Arc::new(certified) })
    }
}

/// The subject alternative names of a leaf; the common name does not count (RFC 9525 § 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectNames {
    /// Names and wildcards, folded; what is no name of ours is left out.
    pub hosts: Vec<HostPattern>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// URIs, as written.
    pub uris: Vec<String>,
}

impl SubjectNames {
    /// Whether a leaf with these names serves all that `wanted` stands for. The catch-all promises no name.
    pub fn cover(&self, wanted: &HostPattern) -> bool {
        match wanted {
            HostPattern::CatchAll => true,
            HostPattern::Wildcard(_) => self.hosts.contains(wanted),
            HostPattern::Exact(name) => self.hosts.iter().any(|have| match have {
                HostPattern::Exact(have) => have == name,
                HostPattern::Wildcard(suffix) => {
                    name.as_str().split_once('.').is_some_and(|(_, rest)| rest == suffix.as_str())
                }
                HostPattern::CatchAll => false,
            }),
        }
    }

    /// Whether it stands for nobody.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.addresses.is_empty() && self.uris.is_empty()
    }

    fn of(leaf: &X509Certificate<'_>) -> Result<Self, x509_parser::error::X509Error> {
        let mut names = Self::default();
        let Some(extension) = leaf.subject_alternative_name()? else { return Ok(names) };
        for name in &extension.value.general_names {
            if let GeneralName::DNSName(text) = name {
                names.hosts.extend(HostPattern::parse(text).ok());
            } else if let GeneralName::IPAddress(bytes) = name {
                names.addresses.extend(address(bytes));
            } else if let GeneralName::URI(text) = name {
                names.uris.push((*text).to_owned());
            }
        }
        Ok(names)
    }
}

impl std::fmt::Display for SubjectNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts = self.hosts.iter().map(ToString::to_string);
        let addresses = self.addresses.iter().map(ToString::to_string);
        let all: Vec<_> = hosts.chain(addresses).chain(self.uris.iter().cloned()).collect();
        f.write_str(&shown_list(&all))
    }
}

/// A list for people: the first few, and how many more there are.
pub(crate) fn shown_list(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn check_chain(chain: &[Vec<u8>]) -> Result<(Validity, SubjectNames), IdentityError> {
    let (leaf, issuers) = chain.split_first().ok_or(IdentityError::NoChain)?;
    if chain.len() > CHAIN_MAX {
        return Err(IdentityError::ChainTooLong);
    }
    for (place, der) in issuers.iter().enumerate() {
        read(place + 1, der)?;
    }
    check_leaf(leaf)
}

fn check_leaf(leaf: &[u8]) -> Result<(Validity, SubjectNames), IdentityError> {
    said(&read(0, leaf)?)
}

pub(crate) fn said(leaf: &X509Certificate<'_>) -> Result<(Validity, SubjectNames), IdentityError> {
    let validity = Validity {
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
    };
    let names = SubjectNames::of(leaf)
        .map_err(|error| IdentityError::Certificate { place: 0, why: error.to_string() })?;
    Ok((validity, names))
}

pub(crate) fn read(place: usize, der: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    let (rest, certificate) = X509Certificate::from_der(der)
        .map_err(|error| IdentityError::Certificate { place, why: error.to_string() })?;
    if rest.is_empty() {
        Ok(certificate)
    } else {
        Err(IdentityError::Certificate { place, why: "bytes follow its end".to_owned() })
    }
}

#[cfg(test)]
mod tests;

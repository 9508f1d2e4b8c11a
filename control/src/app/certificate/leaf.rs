//! What a leaf says about itself, as rows keep it.

use certs::identity::Said;
use config::name::HostPattern;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

/// The facts of one leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Names and wildcards.
    pub names: Vec<HostPattern>,
    /// Addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// When it begins, in microseconds UTC.
    pub not_before: i64,
    /// When it ends, in microseconds UTC.
    pub not_after: i64,
    /// Who signed it.
    pub issuer: String,
    /// Its number at the issuer, in lower-case hexadecimal digits.
    pub serial: String,
    /// `ecdsa-p256`, `rsa-2048`, …
    pub key_kind: String,
}

/// Reads them; the message says why a leaf cannot be read.
pub fn facts(leaf: &[u8]) -> Result<Facts, String> {
    let said = Said::parse(leaf).map_err(|why| why.to_string())?;
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|why| why.to_string())?;
    Ok(Facts {
        names: said.subject_names.hosts,
        addresses: said.subject_names.addresses,
        not_before: said.validity.not_before.saturating_mul(1_000_000),
        not_after: said.validity.not_after.saturating_mul(1_000_000),
        issuer: certificate.issuer().to_string(),
        serial: data_encoding::HEXLOWER.encode(certificate.raw_serial()),
        key_kind: key_kind(&certificate),
    })
}

fn key_kind(certificate: &X509Certificate<'_>) -> String {
    let Ok(key) = certificate.public_key().parsed() else { return "unknown".into() };
    if let PublicKey::RSA(key) = key {
        format!("rsa-{}", key.key_size())
    } else if let PublicKey::EC(point) = key {
        format!("ecdsa-p{}", if point.key_size() > 500 { 521 } else { point.key_size() })
    } else {
        "ed25519".into()
    }
}

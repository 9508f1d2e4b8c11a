//! `tls_policy`: what a route asks of handshakes.

use config::limits::{CLIENT_AUTHORITIES_BYTES_MAX, CLIENT_AUTHORITIES_MAX};
use config::snapshot::{ClientCertificates, TlsPolicy, TlsVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde_json::{Map, Value, json};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::Places;
use super::node::Node;

/// Members.
pub const KNOWN: &[&str] = &["min_version", "client_ca_pem", "client_crl_pem"];

/// Names of the model's parts, and of the same members in a body.
pub const PLACES: Places =
    &[("clients", ""), ("authorities", "client_ca_pem"), ("revoked", "client_crl_pem")];

/// Reads the group.
pub fn read(node: &mut Node<'_>) -> TlsPolicy {
    let min_version = node.parsed("min_version", |text| match text {
        "1.2" => Ok(TlsVersion::Tls12),
        "1.3" => Ok(TlsVersion::Tls13),
        other => Err(format!("{other:?} is no version that is served; write 1.2 or 1.3")),
    });
    let authorities = node.parsed("client_ca_pem", authorities);
    let lists = node.parsed("client_crl_pem", lists);
    if lists.is_some() && authorities.is_none() {
        node.missing(
            "client_ca_pem",
            "a list of revoked certificates needs the authorities that they are of",
        );
    }
    TlsPolicy {
        min_version: min_version.unwrap_or_default(),
        clients: authorities.map(|authorities| ClientCertificates {
            authorities: authorities.into(),
            revoked: lists.unwrap_or_default().into(),
        }),
    }
}

fn authorities(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut found = Vec::new();
    for (place, der) in (1..).zip(CertificateDer::pem_slice_iter(text.as_bytes())) {
        let der = der.map_err(|why| format!("certificate {place} is no PEM that can be read: {why}"))?;
        let (rest, certificate) = x509_parser::parse_x509_certificate(&der)
            .map_err(|why| format!("certificate {place} cannot be read: {why}"))?;
        if !rest.is_empty() {
            return Err(format!("certificate {place} cannot be read: bytes follow its end"));
        }
        if !certificate.is_ca() {
            let who = certificate.subject().to_string();
            return Err(format!("certificate {place} ({who}) is no authority's: it may not sign others"));
        }
        found.push(der.to_vec());
        bounded(&found)?;
    }
    if found.is_empty() {
        Err("it holds no certificates in PEM (BEGIN CERTIFICATE)".into())
    } else {
        Ok(found)
    }
}

fn lists(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut found = Vec::new();
    for (place, der) in (1..).zip(CertificateRevocationListDer::pem_slice_iter(text.as_bytes())) {
        let der = der.map_err(|why| format!("list {place} is no PEM that can be read: {why}"))?;
        CertificateRevocationList::from_der(&der)
            .map_err(|why| format!("list {place} cannot be read: {why}"))?;
        found.push(der.to_vec());
        bounded(&found)?;
    }
    if found.is_empty() { Err("it holds no lists in PEM (BEGIN X509 CRL)".into()) } else { Ok(found) }
}

fn bounded(found: &[Vec<u8>]) -> Result<(), String> {
    let bytes: usize = found.iter().map(Vec::len).sum();
    if found.len() > CLIENT_AUTHORITIES_MAX {
        return Err(format!("at most {CLIENT_AUTHORITIES_MAX} of them"));
    }
    if bytes > CLIENT_AUTHORITIES_BYTES_MAX {
        return Err(format!("at most {CLIENT_AUTHORITIES_BYTES_MAX} bytes of them"));
    }
    Ok(())
}

/// Shows the group.
pub fn show(policy: &TlsPolicy) -> Value {
    let mut members = Map::new();
    let version = match policy.min_version {
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    };
    members.insert("min_version".into(), json!(version));
    if let Some(clients) = &policy.clients {
        members.insert("client_ca_pem".into(), json!(pem("CERTIFICATE", &clients.authorities)));
        if !clients.revoked.is_empty() {
            members.insert("client_crl_pem".into(), json!(pem("X509 CRL", &clients.revoked)));
        }
    }
    Value::Object(members)
}

/// Lines of 64 characters between the marks (RFC 7468 § 2).
pub fn pem(label: &str, ders: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for der in ders {
        text.push_str(&format!("-----BEGIN {label}-----\n"));
        for (place, character) in data_encoding::BASE64.encode(der).chars().enumerate() {
            if place > 0 && place % 64 == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text.push_str(&format!("\n-----END {label}-----\n"));
    }
    text
}

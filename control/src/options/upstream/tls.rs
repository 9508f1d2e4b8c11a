//! `upstream.tls`: how an endpoint proves itself, and we to it.

use config::name::HostName;
use config::secret::Secret;
use config::snapshot::{ClientIdentity, UpstreamTls, Verify};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Map, Value, json};

use super::super::node::Node;

/// Members.
pub const KNOWN: &[&str] =
    &["verify", "ca_pem", "fingerprint", "server_name", "client_cert_pem", "client_key_pem"];

/// What client keys of upstreams are sealed for.
pub const KEY_PURPOSE: &str = "upstream-client-key";
/// Authorities or certificates of one chain.
const CERTIFICATES_MAX: usize = 16;

/// Reads the group. A key that is not said is empty: it is kept sealed, in a place of its own.
pub fn read(node: &mut Node<'_>) -> UpstreamTls {
    let (authorities, print) = (node.parsed("ca_pem", certificates), node.parsed("fingerprint", fingerprint));
    let said = node.text("verify");
    let wanted = match (&authorities, &print) {
        (Some(_), _) => "ca",
        (None, Some(_)) => "fingerprint",
        (None, None) => "system",
    };
    let word = said.as_deref().unwrap_or(wanted);
    for (name, is_given, of) in
        [("ca_pem", authorities.is_some(), "ca"), ("fingerprint", print.is_some(), "fingerprint")]
    {
        if is_given && word != of {
            node.invalid(name, "invalid", format_args!("it goes with verify {of}, not with {word}"));
        } else if !is_given && word == of {
            node.missing(name, &format!("verify {of} needs it"));
        }
    }
    let verify = match word {
        "ca" => Verify::Authorities(authorities.unwrap_or_default().into()),
        "fingerprint" => Verify::Fingerprint(print.unwrap_or_default()),
        "off" => Verify::Nothing,
        "system" => Verify::System,
        _ => {
            node.invalid("verify", "invalid", "write system, ca, fingerprint or off");
            Verify::System
        }
    };
    UpstreamTls { verify, server_name: node.parsed("server_name", HostName::parse), client: client(node) }
}

fn client(node: &mut Node<'_>) -> Option<ClientIdentity> {
    let chain = node.parsed("client_cert_pem", certificates);
    let key = node.parsed("client_key_pem", private_key);
    if chain.is_none() && key.is_some() {
        node.missing("client_cert_pem", "a key proves nothing without its certificate");
    }
    let key = key.unwrap_or_else(|| Secret::new(Vec::new()));
    Some(ClientIdentity { chain: chain?.into(), key })
}

fn certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let wrong = "it holds no certificates in PEM (BEGIN CERTIFICATE)";
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let der = der.map_err(|_| wrong)?.to_vec();
        x509_parser::parse_x509_certificate(&der).map_err(|_| "a certificate in it cannot be read")?;
        found.push(der);
        if found.len() > CERTIFICATES_MAX {
            return Err(format!("at most {CERTIFICATES_MAX} certificates"));
        }
    }
    if found.is_empty() { Err(wrong.into()) } else { Ok(found) }
}

fn private_key(text: &str) -> Result<Secret<Vec<u8>>, &'static str> {
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(PrivateKeyDer::Pkcs8(key)) => Ok(Secret::new(key.secret_pkcs8_der().to_vec())),
        Ok(_) => Err("the key is not in PKCS#8; convert it with `openssl pkcs8 -topk8 -nocrypt`"),
        Err(_) => Err("it holds no private key in PEM (BEGIN PRIVATE KEY)"),
    }
}

fn fingerprint(text: &str) -> Result<[u8; 32], &'static str> {
    let digits: String = text.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
    let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or("write the SHA-256 of the certificate as 64 hexadecimal digits")
}

/// Whether a chain's leaf and a key belong together.
///
/// Errors: they do not, or the key is of no kind that TLS uses.
pub fn fits(chain: &[Vec<u8>], key: &Secret<Vec<u8>>) -> Result<(), &'static str> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().as_slice()));
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)
        .map_err(|_| "the key is of no kind that TLS uses")?;
    let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    match rustls::sign::CertifiedKey::new(chain, signer).keys_match() {
        Ok(()) => Ok(()),
        Err(_) => Err("the key is not that of client_cert_pem's first certificate"),
    }
}

/// Shows the group, without the key.
pub fn show(tls: &UpstreamTls) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    match &tls.verify {
        Verify::System => put("verify", json!("system")),
        Verify::Nothing => put("verify", json!("off")),
        Verify::Authorities(authorities) => {
            put("ca_pem", json!(pem(authorities)));
            put("verify", json!("ca"))
        }
        Verify::Fingerprint(digest) => {
            put("fingerprint", json!(data_encoding::HEXLOWER.encode(digest)));
            put("verify", json!("fingerprint"))
        }
    };
    if let Some(name) = &tls.server_name {
        put("server_name", json!(name.as_str()));
    }
    if let Some(client) = &tls.client {
        put("client_cert_pem", json!(pem(&client.chain)));
    }
    Value::Object(members)
}

/// Lines of 64 characters between the marks (RFC 7468 § 2).
fn pem(certificates: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for der in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for (place, character) in data_encoding::BASE64.encode(der).chars().enumerate() {
            if place > 0 && place % 64 == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text.push_str("\n-----END CERTIFICATE-----\n");
    }
    text
}

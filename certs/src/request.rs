//! Keys made here and the requests to have them signed elsewhere (`cert csr`), and the chain that comes back (`cert load`).
//!
//! The chain is paired with its waiting key by [`load`].

use config::limits;
use config::name::HostPattern;
use config::secret::Secret;
use rcgen::string::PrintableString;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use crate::describe::{KeyKind, distinguished};
use crate::self_signed::{SubjectName, pem, subject_alternative};
use crate::upload::{self, UploadError, Uploaded};

/// The kind of key that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyChoice {
    /// ECDSA on P-256: small, fast, understood by everybody.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA of 2048 bits, for clients older than 2014.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits; takes a second to make.
    Rsa4096,
}

/// Fields of the subject; a public authority looks at none of them but the common name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// CN. Should be one of the names.
    pub common_name: Option<String>,
    /// O.
    pub organization: Option<String>,
    /// OU.
    pub organizational_unit: Option<String>,
    /// L.
    pub locality: Option<String>,
    /// ST.
    pub state: Option<String>,
    /// C: two capital letters.
    pub country: Option<String>,
}

/// What a certificate is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The subject.
    pub subject: Subject,
    /// The names it shall be valid for; at least one, no catch-all.
    pub names: Vec<SubjectName>,
}

/// A request and the key it is for.
#[derive(Debug)]
pub struct Made {
    /// PKCS#10 in DER.
    pub csr_der: Vec<u8>,
    /// The same as PEM, ending in a newline.
    pub csr_pem: String,
    /// PKCS#8 DER; waits for the chain.
    pub key: Secret<Vec<u8>>,
}

/// What a request asks for, read from its bytes. Its signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Distinguished name, for people.
    pub subject: String,
    /// Names and addresses in it, in its order.
    pub names: Vec<SubjectName>,
    /// Kind of its key.
    pub key_kind: KeyKind,
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
}

/// Why a request could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum RequestError {
    #[error("a request needs at least one name; give it with --san")]
    NoNames,
    #[error("a request may have at most {max} names, not {count}")]
    TooManyNames { count: usize, max: usize },
    #[error("{name:?} cannot stand in a certificate; give a host name, a wildcard or an address")]
    Name { name: String },
    #[error("{field} {why}")]
    Field { field: &'static str, why: String },
    #[error("the key cannot be used: {why}")]
    Key { why: &'static str },
    #[error("making the request failed: {why}")]
    Make { why: String },
    #[error("the request cannot be read: {why}")]
    Unreadable { why: String },
    #[error("the request's key, {kind}, is too weak or of a kind that is not served")]
    WeakKey { kind: KeyKind },
}

/// Makes a new key and the request for its certificate.
///
/// Cost: RSA of 4096 bits takes about a second: run it on a blocking thread.
pub fn create(wanted: &Wanted, kind: KeyChoice) -> Result<Made, RequestError> {
    // Judged first: a second's work for a wrong country would be a pity.
    let params = params(wanted)?;
    let key = match kind {
        KeyChoice::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyChoice::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyChoice::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyChoice::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
        KeyChoice::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
    };
    request(&params, &key.map_err(|error| failed(&error))?)
}

/// Makes a request for a key that there is already, PKCS#8 DER: an order that is resumed, a pinned key.
pub fn for_key(wanted: &Wanted, key_pkcs8: &Secret<Vec<u8>>) -> Result<Made, RequestError> {
    let params = params(wanted)?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pkcs8.expose().as_slice()));
    let key = KeyPair::try_from(&der)
        .map_err(|_| RequestError::Key { why: "it is no PKCS#8 of RSA, ECDSA P-256/384/521 or Ed25519" })?;
    request(&params, &key)
}

/// Reads a request in PEM or DER and checks that it was signed by its key.
pub fn parse(bytes: &[u8]) -> Result<Asked, RequestError> {
    let unreadable = |why: &dyn ToString| RequestError::Unreadable { why: why.to_string() };
    if bytes.len() > limits::UPLOAD_BYTES_MAX {
        return Err(unreadable(&format!("it has more than {} bytes", limits::UPLOAD_BYTES_MAX)));
    }
    let der = upload::request_der(bytes).map_err(|error| unreadable(&error))?;
    let request = CertificateSigningRequestParams::from_der(&der.as_slice().into())
        .map_err(|error| unreadable(&error))?;
    let (rest, parsed) = X509CertificationRequest::from_der(&der).map_err(|error| unreadable(&error))?;
    if !rest.is_empty() {
        return Err(unreadable(&"bytes follow its end"));
    }
    let info = &parsed.certification_request_info;
    let key_kind = KeyKind::of(&info.subject_pki);
    if !key_kind.is_served() {
        return Err(RequestError::WeakKey { kind: key_kind });
    }
    let names = request.params.subject_alt_names.iter().map(asked_name).collect::<Result<Vec<_>, _>>()?;
    bounded(names.len())?;
    Ok(Asked {
        subject: distinguished(&info.subject),
        names,
        key_kind,
        public_key: request.public_key.subject_public_key_info(),
    })
}

/// Pairs a chain that came back with the key that waited for it, and judges both as an upload.
///
/// Errors: those of [`upload::read`]; a chain for another key is [`UploadError::KeyMismatch`].
pub fn load(files: &[&[u8]], waiting: &Secret<Vec<u8>>, now: i64) -> Result<Uploaded, UploadError> {
    upload::chain_for(files, waiting, now)
}

fn request(params: &CertificateParams, key: &KeyPair) -> Result<Made, RequestError> {
    let request = params.serialize_request(key).map_err(|error| failed(&error))?;
    let csr_der = request.der().to_vec();
    let csr_pem = pem::block("CERTIFICATE REQUEST", &csr_der);
    Ok(Made { csr_der, csr_pem, key: Secret::new(key.serialize_der()) })
}

fn params(wanted: &Wanted) -> Result<CertificateParams, RequestError> {
    bounded(wanted.names.len())?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&wanted.subject)?;
    for name in &wanted.names {
        if let SubjectName::Host(HostPattern::CatchAll) = name {
            return Err(RequestError::Name { name: "*".to_owned() });
        }
        let name = subject_alternative(name).map_err(|_| RequestError::Name { name: format!("{name:?}") })?;
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    Ok(params)
}

fn bounded(count: usize) -> Result<(), RequestError> {
    let max = limits::ACME_NAMES_MAX;
    match count {
        0 => Err(RequestError::NoNames),
        count if count > max => Err(RequestError::TooManyNames { count, max }),
        _ => Ok(()),
    }
}

/// X.520 bounds each field (Annex C).
fn distinguished_name(subject: &Subject) -> Result<DistinguishedName, RequestError> {
    let mut name = DistinguishedName::new();
    if let Some(country) = &subject.country {
        let plain = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
        let text = PrintableString::try_from(country.as_str()).ok().filter(|_| plain);
        let text = text.ok_or_else(|| RequestError::Field {
            field: "country",
            why: format!("{:?} is not a code of two capital letters (ISO 3166)", cut(country)),
        })?;
        name.push(DnType::CountryName, DnValue::PrintableString(text));
    }
    let fields = [
        ("state", &subject.state, DnType::StateOrProvinceName, 128),
        ("locality", &subject.locality, DnType::LocalityName, 128),
        ("organization", &subject.organization, DnType::OrganizationName, 64),
        ("organizational unit", &subject.organizational_unit, DnType::OrganizationalUnitName, 64),
        ("common name", &subject.common_name, DnType::CommonName, 64),
    ];
    for (field, value, kind, max) in fields {
        let Some(value) = value else { continue };
        if value.trim().is_empty() || value.chars().count() > max || value.contains(char::is_control) {
            let why =
                format!("{:?} is empty, longer than {max} characters or has control characters", cut(value));
            return Err(RequestError::Field { field, why });
        }
        name.push(kind, value.as_str());
    }
    Ok(name)
}

fn asked_name(name: &rcgen::SanType) -> Result<SubjectName, RequestError> {
    if let rcgen::SanType::DnsName(text) = name {
        let pattern =
            HostPattern::parse(text.as_str()).ok().filter(|pattern| *pattern != HostPattern::CatchAll);
        pattern.map(SubjectName::Host).ok_or_else(|| RequestError::Name { name: cut(text.as_str()) })
    } else if let rcgen::SanType::IpAddress(address) = name {
        Ok(SubjectName::Address(*address))
    } else {
        Err(RequestError::Name { name: "a name that is neither of a host nor an address".to_owned() })
    }
}

fn failed(error: &rcgen::Error) -> RequestError {
    RequestError::Make { why: error.to_string() }
}

fn cut(text: &str) -> String {
    crate::describe::shown(&text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests;

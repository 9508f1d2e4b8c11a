//! The internal authority and the leaves it signs.
//!
//! One authority a database: gateways, their stream, self-signed routes and, later, users are all signed by it, so
//! people trust one certificate (INVENTORY E-16). ECDSA P-256 throughout: every client that speaks TLS 1.2 takes it,
//! and a signature costs tens of microseconds. An authority that was made elsewhere may sign too ([`Authority::import`]),
//! with whatever key it has. Time is a parameter, in Unix seconds.

mod import;
pub(crate) mod pem;
mod request;

use std::net::IpAddr;
use std::time::Duration;

use config::name::HostPattern;
use config::secret::Secret;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SanType,
    SerialNumber, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::describe::KeyKind;

pub use request::Request;

/// Life of the authority in days: ten years.
pub const AUTHORITY_DAYS: u64 = 3653;
/// Longest life of a leaf in days: clients refuse more (CA/Browser Forum BR 6.3.2).
pub const LEAF_DAYS_MAX: u64 = 397;
/// How far a leaf begins before `now`, in seconds: the clocks of its readers are not all right.
pub const BACKDATED_SECONDS: u64 = 3600;
/// The name of an identity that stands for no name (RFC 2606 § 2 reserves the domain).
pub const NOBODY: &str = "gatehouse.invalid";

/// Last `now` that is taken at its word, in Unix seconds (year 9000): beyond it no date can be written.
const NOW_MAX: u64 = 221_845_392_000;

/// Why the authority could not be opened or did not sign.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum AuthorityError {
    #[error("the certificate of the authority cannot be read: {why}")]
    Certificate { why: String },
    #[error("the certificate given for the authority may not sign others (it is not a CA)")]
    NotAnAuthority,
    #[error(
        "the key of the authority is {kind}; it must be RSA of 2048 to 8192 bits, ECDSA P-256/384/521 or Ed25519"
    )]
    KeyKind { kind: KeyKind },
    #[error("the key of the authority does not belong to its certificate")]
    KeyMismatch,
    #[error("a certificate needs at least one name or address")]
    NoNames,
    #[error("{name:?} cannot stand in a certificate")]
    Name { name: String },
    #[error("the signing request is not acceptable: {0}")]
    Request(#[source] rcgen::Error),
    #[error("the signing request is for a key that is not ECDSA P-256")]
    RequestKey,
    #[error("making or signing a certificate failed")]
    Sign(#[source] rcgen::Error),
    #[error("the system's random generator failed")]
    Random,
}

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectName {
    /// A host name or a one-label wildcard; the catch-all becomes [`NOBODY`].
    Host(HostPattern),
    /// An address.
    Address(IpAddr),
}

/// Who a client certificate speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientName<'a> {
    /// Common name, for people.
    pub common_name: &'a str,
    /// The name that is checked, as a URI (`urn:gatehouse:gateway:ID`).
    pub uri: &'a str,
}

/// A signed certificate with its key.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// DER, leaf first, then intermediates. A root is left out: whoever trusts it has it.
    pub chain: Vec<Vec<u8>>,
    /// Its last second, in Unix seconds: never after that of the authority.
    pub ends: u64,
    /// PKCS#8 DER.
    pub key: Secret<Vec<u8>>,
}

/// An authority: a certificate, the key it signs with and, if it is an intermediate, who stands above it.
pub struct Authority {
    certificate: CertificateDer<'static>,
    /// DER, from who signed the authority upwards.
    above: Vec<Vec<u8>>,
    /// What a leaf carries: intermediates, this one among them.
    carried: Vec<Vec<u8>>,
    ends: u64,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority of ten years that may sign leaves and no further authority.
    pub fn create(name: &str, now: u64) -> Result<Self, AuthorityError> {
        let key = new_key()?;
        let mut params = params(name, now, AUTHORITY_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = false;
        let certificate = params.self_signed(&key).map_err(AuthorityError::Sign)?;
        Self::from_parts(certificate.der(), &Secret::new(key.serialize_der()))
    }

    /// Opens an authority that was made before.
    ///
    /// Errors: a part cannot be read, the certificate is no authority's, or the key is another's.
    pub fn from_parts(cert_der: &[u8], key_pkcs8: &Secret<Vec<u8>>) -> Result<Self, AuthorityError> {
        let unreadable = |why: &dyn ToString| AuthorityError::Certificate { why: why.to_string() };
        let certificate = CertificateDer::from(cert_der.to_vec());
        let (_, parsed) = X509Certificate::from_der(cert_der).map_err(|error| unreadable(&error))?;
        if !parsed.is_ca() {
            return Err(AuthorityError::NotAnAuthority);
        }
        let pkcs8 = PrivatePkcs8KeyDer::from(key_pkcs8.expose().as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, signature_algorithm(&parsed)?)
            .map_err(|_| AuthorityError::KeyMismatch)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::KeyMismatch);
        }
        let ends = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        let carried = if is_root(&parsed) { Vec::new() } else { vec![cert_der.to_vec()] };
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| unreadable(&error))?;
        Ok(Self { certificate, above: Vec::new(), carried, ends, issuer })
    }

    /// The same with the certificates above it, in DER, from who signed it upwards. What cannot be read is not carried.
    #[must_use]
    pub fn with_chain(mut self, above: Vec<Vec<u8>>) -> Self {
        let intermediate =
            |der: &&Vec<u8>| X509Certificate::from_der(der).is_ok_and(|(_, one)| !is_root(&one));
        self.carried.extend(above.iter().filter(intermediate).cloned());
        self.above = above;
        self
    }

    /// The certificates above it, in DER, from who signed it upwards; empty for a root.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.above
    }

    /// The certificate that users have to trust, as PEM: the uppermost that is known.
    pub fn trusted_pem(&self) -> String {
        pem::certificate(self.above.last().map_or(&self.certificate, Vec::as_slice))
    }

    /// Its last second, in Unix seconds.
    pub const fn ends(&self) -> u64 {
        self.ends
    }

    /// Its own certificate, in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The same as PEM, ending in a newline.
    pub fn certificate_pem(&self) -> String {
        pem::certificate(&self.certificate)
    }

    /// The signing key as PKCS#8 DER, for the caller to seal.
    pub fn key_pkcs8(&self) -> Secret<Vec<u8>> {
        Secret::new(self.issuer.key().serialize_der())
    }

    /// Signs a server leaf with a new key. `days` above [`LEAF_DAYS_MAX`] is taken as that.
    pub fn issue_server(&self, names: &[SubjectName], now: u64, days: u64) -> Result<Leaf, AuthorityError> {
        let names = names.iter().map(subject_alternative).collect::<Result<Vec<_>, _>>()?;
        let common_name = names.iter().find_map(plain_text).ok_or(AuthorityError::NoNames)?;
        let mut params = leaf_params(&common_name, now, days, ExtendedKeyUsagePurpose::ServerAuth)?;
        params.subject_alt_names = names;
        self.sign_with_new_key(params, now, days)
    }

    /// Signs a client leaf with a new key.
    pub fn issue_client(&self, name: ClientName<'_>, now: u64, days: u64) -> Result<Leaf, AuthorityError> {
        self.sign_with_new_key(client_params(name, now, days)?, now, days)
    }

    /// Signs a gateway's key. Nothing but the public key is taken from the request: names and uses are ours to give.
    ///
    /// Returns the chain, leaf first.
    ///
    /// Errors: the request cannot be read, was not signed by the key it asks for, or that key is not ECDSA P-256.
    pub fn sign_gateway_csr(
        &self,
        csr_der: &[u8],
        name: ClientName<'_>,
        now: u64,
        days: u64,
    ) -> Result<Vec<Vec<u8>>, AuthorityError> {
        let request =
            CertificateSigningRequestParams::from_der(&csr_der.into()).map_err(AuthorityError::Request)?;
        // What we make ourselves; a weak key or an odd curve has no business here.
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::RequestKey);
        }
        let signed = client_params(name, now, days)?
            .signed_by(&request.public_key, &self.issuer)
            .map_err(AuthorityError::Sign)?;
        Ok(vec![signed.der().to_vec()])
    }

    fn sign_with_new_key(
        &self,
        mut params: CertificateParams,
        now: u64,
        days: u64,
    ) -> Result<Leaf, AuthorityError> {
        let key = new_key()?;
        let mut ends = last_second(now, days.clamp(1, LEAF_DAYS_MAX));
        // Nobody trusts a leaf for longer than its authority. One that has ended is signed with all the same: whoever
        // looks sees what it is, and the rest goes on.
        if self.ends > now && self.ends < ends {
            ends = self.ends;
            lives(&mut params, backdated(now), ends);
        }
        let signed = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Sign)?;
        let chain = std::iter::once(signed.der().to_vec()).chain(self.carried.iter().cloned()).collect();
        Ok(Leaf { chain, ends, key: Secret::new(key.serialize_der()) })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(***)")
    }
}

/// A throw-away identity that signs itself and stands for [`NOBODY`]: what a TLS client sees when nothing else can be
/// shown. No client trusts it, so its dates are wide and need no clock.
pub fn throw_away() -> Result<Leaf, AuthorityError> {
    let key = new_key()?;
    let mut params = leaf_params(NOBODY, 0, LEAF_DAYS_MAX, ExtendedKeyUsagePurpose::ServerAuth)?;
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params.subject_alt_names = vec![dns(NOBODY)?];
    params.use_authority_key_identifier_extension = false;
    let signed = params.self_signed(&key).map_err(AuthorityError::Sign)?;
    Ok(Leaf { chain: vec![signed.der().to_vec()], ends: u64::MAX, key: Secret::new(key.serialize_der()) })
}

fn signature_algorithm(
    authority: &X509Certificate<'_>,
) -> Result<&'static SignatureAlgorithm, AuthorityError> {
    match KeyKind::of(authority.public_key()) {
        KeyKind::Rsa(2048..=8192) => Ok(&PKCS_RSA_SHA256),
        KeyKind::EcdsaP256 => Ok(&PKCS_ECDSA_P256_SHA256),
        KeyKind::EcdsaP384 => Ok(&PKCS_ECDSA_P384_SHA384),
        KeyKind::EcdsaP521 => Ok(&PKCS_ECDSA_P521_SHA512),
        KeyKind::Ed25519 => Ok(&PKCS_ED25519),
        kind @ (KeyKind::Rsa(_) | KeyKind::Other(_)) => Err(AuthorityError::KeyKind { kind }),
    }
}

fn is_root(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

fn new_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Sign)
}

fn leaf_params(
    common_name: &str,
    now: u64,
    days: u64,
    usage: ExtendedKeyUsagePurpose,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = params(common_name, now, days.clamp(1, LEAF_DAYS_MAX))?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    Ok(params)
}

fn client_params(name: ClientName<'_>, now: u64, days: u64) -> Result<CertificateParams, AuthorityError> {
    let mut params = leaf_params(name.common_name, now, days, ExtendedKeyUsagePurpose::ClientAuth)?;
    params.subject_alt_names = vec![SanType::URI(ia5(name.uri)?)];
    Ok(params)
}

fn params(common_name: &str, now: u64, days: u64) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    lives(&mut params, backdated(now), last_second(now, days.min(AUTHORITY_DAYS)));
    params.serial_number = Some(serial()?);
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = DistinguishedName::new();
    // X.520 bounds a common name at 64; the name that counts is the alternative one.
    let common_name: String = common_name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

fn last_second(now: u64, days: u64) -> u64 {
    now.min(NOW_MAX) + days * 86_400
}

/// Sets from when to when, both in Unix seconds.
fn lives(params: &mut CertificateParams, begins: u64, ends: u64) {
    let date = |seconds: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    (params.not_before, params.not_after) = (date(begins), date(ends));
}

const fn backdated(now: u64) -> u64 {
    if now < NOW_MAX { now.saturating_sub(BACKDATED_SECONDS) } else { NOW_MAX - BACKDATED_SECONDS }
}

/// 127 random bits, positive and not zero (RFC 5280 § 4.1.2.2).
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

pub(crate) fn subject_alternative(name: &SubjectName) -> Result<SanType, AuthorityError> {
    match name {
        SubjectName::Host(HostPattern::CatchAll) => dns(NOBODY),
        SubjectName::Host(pattern) => dns(&pattern.to_string()),
        SubjectName::Address(address) => Ok(SanType::IpAddress(*address)),
    }
}

fn plain_text(name: &SanType) -> Option<String> {
    if let SanType::DnsName(name) = name {
        Some(name.to_string())
    } else if let SanType::IpAddress(address) = name {
        Some(address.to_string())
    } else {
        None
    }
}

fn dns(name: &str) -> Result<SanType, AuthorityError> {
    ia5(name).map(SanType::DnsName)
}

fn ia5(text: &str) -> Result<Ia5String, AuthorityError> {
    Ia5String::try_from(text).map_err(|_| AuthorityError::Name { name: text.chars().take(80).collect() })
}

#[cfg(test)]
mod tests;

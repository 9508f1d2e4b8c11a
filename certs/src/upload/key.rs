//! Private keys in the forms people have them, brought to PKCS#8.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair,
};
use config::secret::Secret;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::UploadError;

/// What DER bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Certificate,
    /// RFC 5958.
    Pkcs8,
    /// RFC 8017 A.1.2.
    Pkcs1,
    /// RFC 5915.
    Sec1,
    /// PKCS#8 under a password.
    Encrypted,
    Unknown,
}

/// A private key that can sign, and the public one as the leaf must have it.
pub(crate) struct Key {
    pub(crate) pkcs8: Secret<Vec<u8>>,
    /// SubjectPublicKeyInfo in DER.
    pub(crate) public: Vec<u8>,
}

impl Key {
    /// Reads a key. Errors never say a byte of it.
    pub(crate) fn parse(der: &[u8], form: Form) -> Result<Self, UploadError> {
        let pkcs8 = match form {
            Form::Encrypted => return Err(UploadError::EncryptedKey),
            Form::Certificate | Form::Unknown => {
                return Err(UploadError::Key { why: "it is neither PKCS#8, PKCS#1 nor SEC1" });
            }
            Form::Pkcs8 if is_encrypted(der) => return Err(UploadError::EncryptedKey),
            Form::Pkcs8 => Secret::new(der.to_vec()),
            Form::Pkcs1 => from_pkcs1(der).ok_or(unreadable())?,
            Form::Sec1 => from_sec1(der).ok_or(unreadable())?,
        };
        let parsed = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.expose().as_slice()));
        let signer = any_supported_type(&parsed).map_err(|_| unreadable())?;
        let public = signer.public_key().ok_or(unreadable())?.to_vec();
        Ok(Self { pkcs8, public })
    }
}

const fn unreadable() -> UploadError {
    UploadError::Key { why: "it is damaged, too weak, or of a kind that is not served" }
}

fn from_pkcs1(der: &[u8]) -> Option<Secret<Vec<u8>>> {
    let key = rsa::KeyPair::from_der(der).ok()?;
    let pkcs8: Pkcs8V1Der<'_> = key.as_der().ok()?;
    Some(Secret::new(pkcs8.as_ref().to_vec()))
}

fn from_sec1(der: &[u8]) -> Option<Secret<Vec<u8>>> {
    [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P521_SHA512_ASN1_SIGNING]
        .into_iter()
        .find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())
        .and_then(|key| key.to_pkcs8v1().ok())
        .map(|document| Secret::new(document.as_ref().to_vec()))
}

/// Tells DER by the first members of its outer sequence.
pub(crate) fn form_of(der: &[u8]) -> Form {
    if X509Certificate::from_der(der).is_ok() {
        return Form::Certificate;
    }
    if is_encrypted(der) {
        return Form::Encrypted;
    }
    let Some(after_version) = inside(der).and_then(|inner| {
        // version: INTEGER 0 or 1 in all three.
        inner.strip_prefix(&[2, 1, 0]).or_else(|| inner.strip_prefix(&[2, 1, 1]))
    }) else {
        // A certificate that cannot be read is named as one, not as a key.
        return if inside(der).is_some_and(|inner| inner.first() == Some(&0x30)) {
            Form::Certificate
        } else {
            Form::Unknown
        };
    };
    match after_version.first() {
        Some(0x30) => Form::Pkcs8,
        Some(0x02) => Form::Pkcs1,
        Some(0x04) => Form::Sec1,
        _ => Form::Unknown,
    }
}

/// EncryptedPrivateKeyInfo begins with an algorithm of PKCS#5 or PKCS#12 where a version would stand (RFC 5958 § 3).
fn is_encrypted(der: &[u8]) -> bool {
    const PKCS5: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05];
    const PKCS12: &[u8] = &[0x06, 0x0a, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
    let algorithm = inside(der).and_then(inside);
    algorithm.is_some_and(|oid| oid.starts_with(PKCS5) || oid.starts_with(PKCS12))
}

/// What stands inside a SEQUENCE, up to the end of what there is.
pub(super) fn inside(der: &[u8]) -> Option<&[u8]> {
    let (length, rest) = der.strip_prefix(&[0x30])?.split_first()?;
    match length {
        0..=0x7f => Some(rest),
        0x81..=0x84 => rest.get(usize::from(length & 0x0f)..),
        _ => None,
    }
}

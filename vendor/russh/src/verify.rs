//! Signatures of people and of authorities, checked.
//!
//! RSA is checked by aws-lc-rs, with SHA-2 and 2048 bits at least: the `rsa` crate, which `ssh-key` would take for it,
//! stays out (RUSTSEC-2023-0071). Of a security key the touch is asked for, as OpenSSH does.

use signature::Verifier;
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{Algorithm, Certificate, HashAlg, Signature};

/// Flags and counter behind the signature of a security key (PROTOCOL.u2f).
const SK_TRAILER_LEN: usize = 5;
const SK_USER_PRESENT: u8 = 1;

/// Whether this is the key's signature of the message.
pub(crate) fn verify(key: &KeyData, message: &[u8], signature: &Signature) -> bool {
    match key {
        KeyData::Rsa(key) => verify_rsa(key, message, signature),
        KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => {
            let bytes = signature.as_bytes();
            let flags = bytes.len().checked_sub(SK_TRAILER_LEN).and_then(|at| bytes.get(at));
            flags.is_some_and(|flags| flags & SK_USER_PRESENT != 0)
                && Verifier::verify(key, message, signature).is_ok()
        }
        key => Verifier::verify(key, message, signature).is_ok(),
    }
}

/// Whether a certificate is signed by the key that it names as its authority.
pub(crate) fn verify_certificate(certificate: &Certificate) -> bool {
    let authority = certificate.signature_key();
    let KeyData::Rsa(_) = authority else {
        return certificate.verify_signature().is_ok();
    };
    // What is signed is everything before the last field, the signature.
    let (Ok(bytes), Ok(signature)) = (certificate.to_bytes(), Vec::try_from(certificate.signature().clone())) else {
        return false;
    };
    bytes
        .len()
        .checked_sub(4 + signature.len())
        .and_then(|end| bytes.get(..end))
        .is_some_and(|signed| verify(authority, signed, certificate.signature()))
}

#[cfg(feature = "aws-lc-rs")]
fn verify_rsa(key: &RsaPublicKey, message: &[u8], signature: &Signature) -> bool {
    use aws_lc_rs::signature::{
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents,
    };
    let params = match signature.algorithm() {
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) } => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) } => &RSA_PKCS1_2048_8192_SHA512,
        _ => return false,
    };
    let (Some(n), Some(e)) = (key.n().as_positive_bytes(), key.e().as_positive_bytes()) else {
        return false;
    };
    // Some clients leave out leading zeros.
    let Some(missing) = n.len().checked_sub(signature.as_bytes().len()) else {
        return false;
    };
    let mut padded = vec![0; missing];
    padded.extend_from_slice(signature.as_bytes());
    RsaPublicKeyComponents { n, e }.verify(params, message, &padded).is_ok()
}

#[cfg(not(feature = "aws-lc-rs"))]
fn verify_rsa(key: &RsaPublicKey, message: &[u8], signature: &Signature) -> bool {
    Verifier::verify(&KeyData::Rsa(key.clone()), message, signature).is_ok()
}

//! The certificates of an upload: which is the leaf, whether each was signed by the next, whether they can be served.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::prelude::X509Certificate;

use super::key::Key;
use super::{UploadError, Uploaded, Warning};
use crate::describe::{Description, KeyKind, distinguished};
use crate::identity::{self, CHAIN_MAX, IdentityError};

const DAY: i64 = 86_400;
/// Rest of life below which a warning is given (INVENTORY 2.1, Certificate).
const SOON_DAYS: i64 = 30;
/// CA/Browser Forum BR 6.3.2 with some slack for the rounding of others.
const LONG_DAYS: i64 = 398;

/// A certificate with the bytes it was read from.
pub(super) struct One<'a> {
    der: &'a [u8],
    pub(super) read: X509Certificate<'a>,
}

impl One<'_> {
    pub(super) fn subject(&self) -> String {
        distinguished(self.read.subject())
    }

    fn issuer(&self) -> String {
        distinguished(self.read.issuer())
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.read.subject().as_raw() == self.read.issuer().as_raw()
    }

    fn names(&self, issuer: &Self) -> bool {
        self.read.issuer().as_raw() == issuer.read.subject().as_raw()
    }

    fn is_of(&self, key: &Key) -> bool {
        self.read.public_key().raw == key.public
    }
}

/// Refuses keys that nobody should sign with, before anything is asked of the private one: its message would not say so.
pub(super) fn strong(certificates: &[Vec<u8>]) -> Result<(), UploadError> {
    for one in read(certificates)? {
        let kind = KeyKind::of(one.read.public_key());
        // Others than the leaf may be of kinds that we could not serve; clients judge those.
        let weak = match &kind {
            KeyKind::Rsa(bits) => *bits < 2048,
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 | KeyKind::Ed25519 => false,
            KeyKind::Other(_) => !one.read.is_ca(),
        };
        if weak {
            return Err(UploadError::WeakKey { subject: one.subject(), kind });
        }
    }
    Ok(())
}

/// Judges a chain that stands in its order.
pub(super) fn check(mut certificates: Vec<Vec<u8>>, key: Key, now: i64) -> Result<Uploaded, UploadError> {
    let brought = certificates.len();
    certificates.dedup();
    let mut warnings = Vec::new();
    if certificates.len() < brought {
        warnings.push(Warning::Repeated);
    }
    let chain = read(&certificates)?;
    let leaf = leaf_first(&chain, &key)?;
    for place in 1..chain.len() {
        link(&chain, place)?;
    }
    let described = judge_leaf(leaf, now, &mut warnings)?;
    for (place, issuer) in chain.iter().enumerate().skip(1) {
        judge_issuer(place, issuer, &described, now, &mut warnings)?;
    }
    judge_signatures(&chain)?;
    match chain.as_slice() {
        [only] if only.is_self_issued() => warnings.push(Warning::SelfSigned),
        [only] => warnings.push(Warning::NoIntermediate { issuer: only.issuer() }),
        [.., last] if last.is_self_issued() => warnings.push(Warning::RootIncluded),
        _ => {}
    }
    Ok(Uploaded { key: key.pkcs8, leaf: described, warnings, chain: certificates })
}

/// Puts certificates that came without an order in that of the chain. Also says how many do not belong to it.
pub(super) fn sort(certificates: Vec<Vec<u8>>, key: &Key) -> Result<(Vec<Vec<u8>>, usize), UploadError> {
    let all = read(&certificates)?;
    let Some(mut last) = all.iter().position(|one| one.is_of(key)) else { return Ok((certificates, 0)) };
    let mut order = vec![last];
    // At most CHAIN_MAX certificates, so the search for each one's issuer is short.
    while let Some(child) = all.get(last) {
        let next = all.iter().enumerate().position(|(place, issuer)| {
            !order.contains(&place) && child.names(issuer) && signed(child, issuer) != Some(false)
        });
        match next {
            Some(next) if !child.is_self_issued() => last = next,
            _ => break,
        }
        order.push(last);
    }
    let unused = all.len() - order.len();
    let sorted = order.iter().filter_map(|place| all.get(*place)).map(|one| one.der.to_vec()).collect();
    Ok((sorted, unused))
}

pub(super) fn read(certificates: &[Vec<u8>]) -> Result<Vec<One<'_>>, UploadError> {
    if certificates.is_empty() {
        return Err(UploadError::NoCertificate);
    }
    if certificates.len() > CHAIN_MAX {
        return Err(UploadError::ChainTooLong);
    }
    let each = certificates.iter().enumerate();
    each.map(|(place, der)| {
        let read = identity::read(place, der).map_err(|error| unreadable(place, &error))?;
        Ok(One { der, read })
    })
    .collect()
}

fn unreadable(place: usize, error: &IdentityError) -> UploadError {
    let why =
        if let IdentityError::Certificate { why, .. } = error { why.clone() } else { error.to_string() };
    UploadError::Certificate { place: place + 1, why }
}

pub(super) fn leaf_first<'a, 'b>(chain: &'a [One<'b>], key: &Key) -> Result<&'a One<'b>, UploadError> {
    let first = chain.first().ok_or(UploadError::NoCertificate)?;
    let Some(place) = chain.iter().position(|one| one.is_of(key)) else {
        let leaf = chain.iter().find(|one| !one.read.is_ca()).unwrap_or(first);
        return Err(UploadError::KeyMismatch { subject: leaf.subject() });
    };
    let found = chain.get(place).ok_or(UploadError::NoCertificate)?;
    if place == 0 {
        return Ok(found);
    }
    let reversed = place + 1 == chain.len()
        && chain.iter().zip(chain.iter().skip(1)).all(|(issuer, child)| child.names(issuer));
    Err(if reversed {
        UploadError::Reversed { first: first.subject() }
    } else {
        UploadError::LeafNotFirst { place: place + 1, subject: found.subject() }
    })
}

/// Checks that the certificate at `place` (0 is the leaf) signed the one before it.
pub(super) fn link(chain: &[One<'_>], place: usize) -> Result<(), UploadError> {
    let (Some(child), Some(issuer)) = (place.checked_sub(1).and_then(|at| chain.get(at)), chain.get(place))
    else {
        return Ok(());
    };
    if child.is_self_issued() {
        return Err(UploadError::AfterRoot { place: place + 1, subject: issuer.subject() });
    }
    if !child.names(issuer) {
        let elsewhere = chain.iter().any(|other| child.names(other));
        return Err(if elsewhere {
            UploadError::OutOfOrder { place, found: place + 1, issuer: child.issuer() }
        } else {
            UploadError::Gap { place, issuer: child.issuer(), next: issuer.subject() }
        });
    }
    if !issuer.read.is_ca() {
        return Err(UploadError::NotAnIssuer { place: place + 1, subject: issuer.subject() });
    }
    match signed(child, issuer) {
        Some(false) => Err(UploadError::Signature { place, issuer: child.issuer() }),
        Some(true) | None => Ok(()),
    }
}

/// Whether the key of `issuer` signed `child`; `None` for algorithms that are not judged here.
fn signed(child: &One<'_>, issuer: &One<'_>) -> Option<bool> {
    let public = issuer.read.public_key();
    let oid = child.read.signature_algorithm.algorithm.to_id_string();
    let algorithm: &'static dyn VerificationAlgorithm = match (oid.as_str(), KeyKind::of(public)) {
        ("1.2.840.113549.1.1.11", KeyKind::Rsa(2048..=8192)) => &RSA_PKCS1_2048_8192_SHA256,
        ("1.2.840.113549.1.1.12", KeyKind::Rsa(2048..=8192)) => &RSA_PKCS1_2048_8192_SHA384,
        ("1.2.840.113549.1.1.13", KeyKind::Rsa(2048..=8192)) => &RSA_PKCS1_2048_8192_SHA512,
        ("1.2.840.10045.4.3.2", KeyKind::EcdsaP256) => &ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", KeyKind::EcdsaP256) => &ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", KeyKind::EcdsaP256) => &ECDSA_P256_SHA512_ASN1,
        ("1.2.840.10045.4.3.2", KeyKind::EcdsaP384) => &ECDSA_P384_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", KeyKind::EcdsaP384) => &ECDSA_P384_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", KeyKind::EcdsaP384) => &ECDSA_P384_SHA512_ASN1,
        ("1.2.840.10045.4.3.2", KeyKind::EcdsaP521) => &ECDSA_P521_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", KeyKind::EcdsaP521) => &ECDSA_P521_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", KeyKind::EcdsaP521) => &ECDSA_P521_SHA512_ASN1,
        ("1.3.101.112", KeyKind::Ed25519) => &ED25519,
        _ => return None,
    };
    let key = UnparsedPublicKey::new(algorithm, &public.subject_public_key.data);
    let signature = &child.read.signature_value.data;
    Some(key.verify(child.read.tbs_certificate.as_ref(), signature).is_ok())
}

fn judge_leaf(leaf: &One<'_>, now: i64, warnings: &mut Vec<Warning>) -> Result<Description, UploadError> {
    let said = Description::of(&leaf.read, leaf.der).map_err(|error| unreadable(0, &error))?;
    let subject = said.subject.clone();
    if said.is_ca {
        return Err(UploadError::Authority { subject });
    }
    if said.subject_names.hosts.is_empty() && said.subject_names.addresses.is_empty() {
        return Err(UploadError::NoNames { subject });
    }
    let usage = leaf.read.extended_key_usage().map_err(|error| damaged(0, error))?;
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(UploadError::NotForServers { subject });
    }
    if now > said.validity.not_after {
        return Err(UploadError::Expired { subject, at: said.validity.not_after });
    }
    if now < said.validity.not_before {
        return Err(UploadError::NotYetValid { subject, from: said.validity.not_before });
    }
    if said.validity.not_after.saturating_sub(now) < SOON_DAYS * DAY {
        warnings.push(Warning::ExpiresSoon { at: said.validity.not_after });
    }
    let days = said.validity.not_after.saturating_sub(said.validity.not_before) / DAY;
    if days >= LONG_DAYS {
        warnings.push(Warning::LongLived { days });
    }
    let usage = leaf.read.key_usage().map_err(|error| damaged(0, error))?;
    if usage.is_some_and(|usage| !usage.value.digital_signature()) {
        warnings.push(Warning::KeyUsage);
    }
    Ok(said)
}

fn judge_issuer(
    place: usize,
    issuer: &One<'_>,
    leaf: &Description,
    now: i64,
    warnings: &mut Vec<Warning>,
) -> Result<(), UploadError> {
    let (from, at) = {
        let validity = issuer.read.validity();
        (validity.not_before.timestamp(), validity.not_after.timestamp())
    };
    let usage = issuer.read.key_usage().map_err(|error| damaged(place, error))?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(UploadError::NotAnIssuer { place: place + 1, subject: issuer.subject() });
    }
    // An expired root at the end is not looked at by clients, which have their own.
    if !issuer.is_self_issued() {
        if now > at {
            return Err(UploadError::Expired { subject: issuer.subject(), at });
        }
        if now < from {
            return Err(UploadError::NotYetValid { subject: issuer.subject(), from });
        }
        if at < leaf.validity.not_after {
            warnings.push(Warning::IssuerEndsFirst { subject: issuer.subject(), at });
        }
    }
    Ok(())
}

/// A root's signature over itself proves nothing and is not looked at.
fn judge_signatures(chain: &[One<'_>]) -> Result<(), UploadError> {
    let each = chain.iter().enumerate();
    each.filter(|(place, one)| *place == 0 || !one.is_self_issued())
        .try_for_each(|(place, one)| strong_signature(place, one))
}

/// Refuses a certificate that was signed over a hash for which others can be found.
pub(super) fn strong_signature(place: usize, one: &One<'_>) -> Result<(), UploadError> {
    let algorithm = match one.read.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.2" => "MD2",
        "1.2.840.113549.1.1.4" => "MD5",
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" | "1.3.14.3.2.29" => "SHA-1",
        _ => return Ok(()),
    };
    Err(UploadError::WeakSignature { place: place + 1, subject: one.subject(), algorithm })
}

pub(super) fn damaged(place: usize, error: x509_parser::error::X509Error) -> UploadError {
    UploadError::Certificate { place: place + 1, why: error.to_string() }
}

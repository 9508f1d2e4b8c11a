//! An authority that a person brings (`ca import`): whether it may sign leaves, and who stands above it.

use x509_parser::prelude::X509Certificate;

use super::chain::{self, One};
use super::key::Key;
use super::{UploadError, parts};

/// The certificates of an authority and its key.
pub(crate) struct Brought {
    /// DER: the authority, who signed it, and so on. A root at the end stays.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Key,
}

/// Reads an authority: its certificate first, then those above it if it is an intermediate, and its key in any place.
///
/// `now` is in Unix seconds. PEM, or DER with a file each.
pub(crate) fn authority(files: &[&[u8]], now: i64) -> Result<Brought, UploadError> {
    let (mut certificates, keys) = parts(files)?;
    let key = super::key_of(&certificates, keys)?;
    certificates.dedup();
    let chain = chain::read(&certificates)?;
    chain::leaf_first(&chain, &key)?;
    for (place, one) in chain.iter().enumerate() {
        chain::link(&chain, place)?;
        may_sign(place, one)?;
        counts(place, one, now)?;
        // A root's signature over itself proves nothing and is not looked at.
        if !one.is_self_issued() {
            chain::strong_signature(place, one)?;
        }
    }
    Ok(Brought { chain: certificates, key })
}

fn may_sign(place: usize, one: &One<'_>) -> Result<(), UploadError> {
    let subject = one.subject();
    let constraints = one.read.basic_constraints().map_err(|error| chain::damaged(place, error))?;
    let Some(constraints) = constraints.filter(|constraints| constraints.value.ca) else {
        return Err(UploadError::NotAuthority { place: place + 1, subject });
    };
    // Between the certificate at `place` and a leaf stand `place` others (RFC 5280 § 4.2.1.9).
    if let Some(allowed) = constraints.value.path_len_constraint
        && usize::try_from(allowed).is_ok_and(|allowed| allowed < place)
    {
        return Err(UploadError::PathLength { place: place + 1, subject, allowed, below: place });
    }
    let usage = one.read.key_usage().map_err(|error| chain::damaged(place, error))?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(UploadError::NoCertSign { place: place + 1, subject });
    }
    let extended = one.read.extended_key_usage().map_err(|error| chain::damaged(place, error))?;
    // Clients nest extended usages: an authority for mail cannot sign for servers.
    if !one.is_self_issued() && extended.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(UploadError::NotForServers { subject });
    }
    let constrained = one.read.name_constraints().map_err(|error| chain::damaged(place, error))?;
    if constrained.is_some() {
        return Err(UploadError::NameConstraints { place: place + 1, subject });
    }
    if place == 0 && has_empty_name(&one.read) {
        return Err(UploadError::AuthorityName { subject });
    }
    Ok(())
}

/// A leaf repeats the name of its authority; one that says nothing, or has a part that says nothing, cannot be found.
fn has_empty_name(certificate: &X509Certificate<'_>) -> bool {
    let mut parts = certificate.subject().iter().peekable();
    parts.peek().is_none() || parts.any(|part| part.iter().next().is_none())
}

fn counts(place: usize, one: &One<'_>, now: i64) -> Result<(), UploadError> {
    let validity = one.read.validity();
    let (from, at) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    // A root above it is not looked at by clients, which have their own.
    if place > 0 && one.is_self_issued() {
        return Ok(());
    }
    if now > at {
        return Err(UploadError::Expired { subject: one.subject(), at });
    }
    if now < from {
        return Err(UploadError::NotYetValid { subject: one.subject(), from });
    }
    Ok(())
}

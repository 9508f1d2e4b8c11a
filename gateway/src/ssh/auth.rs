//! From a key or a certificate to a principal. They alone say who somebody is: the login name is often a shared one.

use std::net::IpAddr;
use std::sync::Arc;

use config::id::UserId;
use config::snapshot::Principal;
use russh::keys::Algorithm;
use russh::keys::ssh_key::{Certificate, HashAlg, PublicKey};

use super::certificate::{self, Certified};
use crate::live::Live;

/// Whoever authenticated on a connection. Rights are not part of it: they are looked up for each channel anew.
#[derive(Debug)]
pub(super) struct Who {
    /// The user.
    pub(super) user: UserId,
    /// The user's name when the key was shown.
    pub(super) name: String,
    /// The key as OpenSSH prints it: `SHA256:…`.
    pub(super) fingerprint: String,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    /// A key that stands with the user.
    Key(Box<[u8]>),
    /// A certificate of an authority in the snapshot.
    Certificate(Box<Certified>),
}

/// What somebody shows, and from where and when.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    /// The login name.
    pub(super) login: &'a str,
    /// The address they come from.
    pub(super) peer: IpAddr,
    /// The time in milliseconds since 1970.
    pub(super) now_ms: u64,
}

impl Who {
    /// The person whose key this is in `live`, if it is anybody's who may come now. The owner of the key must have been
    /// proved.
    pub(super) fn of_key(live: &Live, key: &PublicKey, shown: Shown<'_>) -> Option<Self> {
        let blob = key.to_bytes().ok()?;
        let principal = live.table.principal_by_key(&blob).filter(|one| one.has_access(shown.now_ms))?;
        Some(Self {
            user: principal.id,
            name: principal.name.to_string(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            proof: Proof::Key(blob.into_boxed_slice()),
        })
    }

    /// The person whom this certificate means in `live`. Its signature and the owner of its key must have been proved.
    pub(super) fn of_certificate(
        live: &Live,
        shown: Shown<'_>,
        certificate: &Certificate,
    ) -> Result<Self, certificate::Refused> {
        let (principal, certified) = certificate::read(live, shown, certificate)?;
        let key = PublicKey::new(certificate.public_key().clone(), "");
        Ok(Self {
            user: principal.id,
            name: principal.name.to_string(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            proof: Proof::Certificate(Box::new(certified)),
        })
    }

    /// The person as they are in `live`: `None` once they are disabled, or what they came with is no longer good.
    pub(super) fn principal<'a>(&self, live: &'a Live, now_ms: u64) -> Option<&'a Arc<Principal>> {
        match &self.proof {
            Proof::Key(blob) => {
                live.table.principal_by_key(blob).filter(|principal| principal.id == self.user)
            }
            Proof::Certificate(certified) => live
                .table
                .principal(self.user)
                .filter(|principal| certified.still_means(live, principal, now_ms)),
        }
    }

    /// When what they came with ends, in milliseconds since 1970.
    pub(super) fn until_ms(&self) -> Option<u64> {
        match &self.proof {
            Proof::Key(_) => None,
            Proof::Certificate(certified) => certified.until_ms,
        }
    }

    /// How they proved it, for the audit: the key, and the certificate if it was one.
    pub(super) fn proof(&self) -> String {
        match &self.proof {
            Proof::Key(_) => self.fingerprint.clone(),
            Proof::Certificate(certified) => format!("{} by certificate {certified}", self.fingerprint),
        }
    }

    /// The certificate as the record names it: its authority, its number and its key id.
    pub(super) fn certificate(&self) -> String {
        match &self.proof {
            Proof::Key(_) => String::new(),
            Proof::Certificate(certified) => certified.to_string(),
        }
    }
}

/// Whether a key is anybody's, before its owner is proved: a stranger is spared the signature.
pub(super) fn is_known(live: &Live, key: &PublicKey, shown: Shown<'_>) -> bool {
    key.to_bytes().is_ok_and(|blob| {
        live.table.principal_by_key(&blob).is_some_and(|principal| principal.has_access(shown.now_ms))
    })
}

/// Whether signatures of this kind count: RSA only with SHA-2, and DSA not at all.
pub(super) fn is_modern(algorithm: &Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::Rsa { hash: Some(_) }
            | Algorithm::Ed25519
            | Algorithm::SkEd25519
            | Algorithm::Ecdsa { .. }
            | Algorithm::SkEcdsaSha2NistP256
    )
}

//! From a public key to a principal. The key alone says who somebody is: the login name is often a shared one.

use std::sync::Arc;

use config::id::UserId;
use config::snapshot::Principal;
use russh::keys::ssh_key::{HashAlg, PublicKey};

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
    blob: Vec<u8>,
}

impl Who {
    /// The person whose key this is in `live`, if it is anybody's. The owner of the key must have been proved.
    pub(super) fn of_key(live: &Live, key: &PublicKey) -> Option<Self> {
        let blob = key.to_bytes().ok()?;
        let principal = live.table.principal_by_key(&blob)?;
        Some(Self {
            user: principal.id,
            name: principal.name.to_string(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            blob,
        })
    }

    /// The person as they are in `live`: `None` once they are disabled or no longer hold the key they came with.
    pub(super) fn principal<'a>(&self, live: &'a Live) -> Option<&'a Arc<Principal>> {
        live.table.principal_by_key(&self.blob).filter(|principal| principal.id == self.user)
    }
}

/// Whether a key is anybody's, before its owner is proved: a stranger is spared the signature.
pub(super) fn is_known(live: &Live, key: &PublicKey) -> bool {
    key.to_bytes().is_ok_and(|blob| live.table.principal_by_key(&blob).is_some())
}

//! User certificates of OpenSSH (PROTOCOL.certkeys): whose authority is in the snapshot, and whom they mean.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use config::limits;
use config::snapshot::Principal;
use ipnet::IpNet;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::{Certificate, PublicKey};
use sha2::{Digest as _, Sha256};

use super::auth::Shown;
use crate::live::Live;

/// Without it, OpenSSH refuses port forwards to who shows the certificate, and a jump is one.
const FORWARDING: &str = "permit-port-forwarding";
const SOURCE_ADDRESS: &str = "source-address";

/// Why a certificate is not believed. For the log alone: the client hears what everybody hears who is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the certificate is not a user's")]
    NotAUsers,
    #[error("the certificate's authority is not one of ours")]
    Authority,
    #[error("the certificate is not valid at this time")]
    Time,
    #[error("the certificate was revoked")]
    Revoked,
    #[error("the certificate has a critical option that is not known here: {0:?}")]
    Option(String),
    #[error("the certificate is not for this source")]
    Source,
    #[error("the certificate does not permit port forwards")]
    Forwarding,
    #[error("none of the certificate's principals is a person here")]
    Principal,
    #[error("the certificate's principals are several people; the login name says which")]
    SeveralPeople,
    #[error("the person's access has ended")]
    Ended,
}

/// What stays of a certificate that was believed: enough to ask again under every later generation.
#[derive(Debug)]
pub(super) struct Certified {
    authority: Box<[u8]>,
    authority_name: Box<str>,
    serial: u64,
    key_id: Box<str>,
    key: [u8; 32],
    name: Box<str>,
    /// When it ends, in milliseconds since 1970.
    pub(super) until_ms: Option<u64>,
}

impl Certified {
    /// Whether it would still be believed to mean this person.
    pub(super) fn still_means(&self, live: &Live, principal: &Principal, now_ms: u64) -> bool {
        principal.name.as_str() == &*self.name
            && self.until_ms.is_none_or(|until| now_ms < until)
            && live
                .table
                .ssh_user_ca(&self.authority)
                .is_some_and(|ca| !ca.revokes(self.serial, &self.key_id, &self.key))
    }
}

impl fmt::Display for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authority_name, serial, key_id, .. } = self;
        write!(f, "{authority_name}, serial {serial}, id {key_id:?}")
    }
}

/// Whom a certificate means, whose signature was checked. Everything it says is read; what is not understood refuses.
pub(super) fn read<'a>(
    live: &'a Live,
    shown: Shown<'_>,
    certificate: &Certificate,
) -> Result<(&'a Arc<Principal>, Certified), Refused> {
    if certificate.cert_type() != CertType::User {
        return Err(Refused::NotAUsers);
    }
    let blob = |key| PublicKey::new(key, "").to_bytes().ok();
    let authority = blob(certificate.signature_key().clone()).ok_or(Refused::Authority)?;
    let ca = live.table.ssh_user_ca(&authority).ok_or(Refused::Authority)?;
    let now_s = shown.now_ms / 1_000;
    if now_s < certificate.valid_after() || now_s >= certificate.valid_before() {
        return Err(Refused::Time);
    }
    let key = blob(certificate.public_key().clone()).ok_or(Refused::Authority)?;
    let key: [u8; 32] = Sha256::digest(key).into();
    if ca.revokes(certificate.serial(), certificate.key_id(), &key) {
        return Err(Refused::Revoked);
    }
    check_options(certificate, shown.peer)?;
    let principal = principal(live, shown.login, certificate.valid_principals())?;
    if !principal.has_access(shown.now_ms) {
        return Err(Refused::Ended);
    }
    let certified = Certified {
        authority: authority.into_boxed_slice(),
        authority_name: ca.name.clone(),
        serial: certificate.serial(),
        key_id: certificate.key_id().chars().take(limits::SSH_KEY_ID_BYTES_MAX).collect(),
        key,
        name: principal.name.as_str().into(),
        // All ones is "for ever".
        until_ms: certificate.valid_before().checked_mul(1_000),
    };
    Ok((principal, certified))
}

fn check_options(certificate: &Certificate, peer: IpAddr) -> Result<(), Refused> {
    for (name, value) in certificate.critical_options().iter() {
        // A certificate for one command is none for a jump, and that a finger was recognised we cannot tell.
        if name != SOURCE_ADDRESS {
            return Err(Refused::Option(name.chars().take(limits::SSH_LOGIN_CHARS_SHOWN).collect()));
        }
        if !is_among(peer, value) {
            return Err(Refused::Source);
        }
    }
    let permits = certificate.extensions().contains_key(FORWARDING);
    if permits { Ok(()) } else { Err(Refused::Forwarding) }
}

/// Whether an address is in a list of addresses and networks; a list with anything else in it has nobody in it.
fn is_among(peer: IpAddr, list: &str) -> bool {
    let peer = peer.to_canonical();
    let networks: Option<Vec<IpNet>> = list
        .split(',')
        .take(limits::SSH_CERTIFICATE_SOURCES_MAX + 1)
        .map(|one| one.parse().ok().or_else(|| one.parse().ok().map(|ip: IpAddr| IpNet::from(ip))))
        .collect();
    networks.is_some_and(|networks| {
        networks.len() <= limits::SSH_CERTIFICATE_SOURCES_MAX
            && networks.iter().any(|network| network.contains(&peer))
    })
}

/// The person among a certificate's principals: whom the login name says (`user`, `user+vm`), or else the only one.
fn principal<'a>(live: &'a Live, login: &str, names: &[String]) -> Result<&'a Arc<Principal>, Refused> {
    let login = login.split_once('+').map_or(login, |(user, _)| user);
    // No names mean everybody to old servers; here they mean nobody.
    let mut people = names.iter().filter_map(|name| live.table.principal_by_name(name));
    if names.iter().any(|name| name == login)
        && let Some(principal) = live.table.principal_by_name(login)
    {
        return Ok(principal);
    }
    let first = people.next().ok_or(Refused::Principal)?;
    if people.any(|other| other.id != first.id) { Err(Refused::SeveralPeople) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_list_is_read_strictly() {
        let peer: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        for (list, holds) in [
            ("192.0.2.0/24", true),
            ("10.0.0.0/8,192.0.2.7", true),
            ("2001:db8::/32", false),
            ("", false),
            ("192.0.2.0/24,", false),
            ("192.0.2.0/24,nonsense", false),
            ("!192.0.2.8", false),
        ] {
            assert_eq!(is_among(peer, list), holds, "{list:?}");
        }
    }
}

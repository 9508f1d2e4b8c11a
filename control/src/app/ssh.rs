//! SSH: authorities, host keys and grants; what they share.

pub mod ca;
pub mod grant;
pub mod host_key;
pub mod own;

use config::limits::SESSIONS_PER_PRINCIPAL_MAX;
use russh::keys::{HashAlg, PublicKey};
use sha2::{Digest as _, Sha256};

use super::Error;
use super::input::{Input, Said};

/// A time member: RFC 3339, in microseconds UTC.
pub(super) fn until(input: &mut Input, name: &str) -> Said<i64> {
    input.parsed(name, "invalid", |text| {
        text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_microsecond).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            format!("{shown:?} is no time; write it as 2030-01-31T18:00:00Z")
        })
    })
}

/// How many jumps one person may have at once in one gateway.
pub(super) fn sessions_max(input: &mut Input) -> Said<u16> {
    let most = u64::try_from(SESSIONS_PER_PRINCIPAL_MAX).unwrap_or(u64::MAX);
    match input.number("ssh_sessions_max", 1, most) {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::This(number) => u16::try_from(number).map_or(Said::Nothing, Said::This),
    }
}

/// `SHA256:…` of a key, as `ssh-keygen -l` shows it.
fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// A key in SSH wire form.
fn blob(key: &PublicKey) -> Result<Vec<u8>, Error> {
    key.to_bytes().map_err(|error| internal(&error))
}

/// The data of an SSHFP record (RFC 4255, 6594, 7479) with a SHA-256; `None` for a kind of key that has no number.
fn sshfp(key: &PublicKey, blob: &[u8]) -> Option<String> {
    let number = [(1, "ssh-rsa"), (3, "ecdsa-sha2-"), (4, "ssh-ed25519")]
        .into_iter()
        .find(|(_, name)| key.algorithm().as_str().starts_with(name))?
        .0;
    Some(format!("{number} 2 {}", data_encoding::HEXLOWER.encode(&Sha256::digest(blob))))
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}

//! What settings must not be together, and what a secret must not be.

use std::net::SocketAddr;

use super::Mode;
use super::error::Origin;
use super::key::Key;
use super::parse::{Reading, path};
use crate::secret::Secret;

/// Least length of the signing and sealing root in bytes: 256 bits (INVENTORY A-20).
const SECRET_KEY_BYTES_MIN: usize = 32;

/// Parts of the placeholders that documentation shows; compared without case, `-`, `_` and blanks.
const PLACEHOLDERS: &[&str] = &[
    "yoursecretkey",
    "yoursecret",
    "changeinproduction",
    "changeme",
    "changethis",
    "prettysecret",
    "supersecret",
    "notasecret",
    "replaceme",
    "placeholder",
    "insertsecret",
    "secretkeyhere",
    "${",
    "<secret",
];

/// Judges the root key by the rules of INVENTORY A-20: refused in production, warned about in development.
///
/// `None` for one that cannot be used at all.
pub(super) fn secret_key(reading: &mut Reading<'_>, mode: Mode) -> Option<Secret<String>> {
    let secret = reading.secret(Key::SigningRoot)?;
    let Some(fault) = fault(secret.expose()) else { return Some(secret) };
    let (origin, key) = reading.place(Key::SigningRoot);
    match mode {
        Mode::Production => {
            let problem = format!(
                "{fault}; write at least {SECRET_KEY_BYTES_MIN} random bytes (openssl rand -hex 32), or leave it out \
                 and one is made"
            );
            reading.report.error(&origin, &key, problem);
            None
        }
        Mode::Development => {
            let ignored = if secret.expose().is_empty() { " and is not used" } else { "" };
            reading.report.warn(&origin, &key, format!("{fault}{ignored}; production would refuse it"));
            Some(secret).filter(|secret| !secret.expose().is_empty())
        }
    }
}

fn fault(secret: &str) -> Option<String> {
    if secret.is_empty() {
        return Some("is empty".to_owned());
    }
    let plain: String =
        secret.to_lowercase().chars().filter(|one| !matches!(one, '-' | '_' | ' ' | '.')).collect();
    if PLACEHOLDERS.iter().any(|placeholder| plain.contains(placeholder)) {
        return Some("is a placeholder from documentation".to_owned());
    }
    if secret.len() < SECRET_KEY_BYTES_MIN {
        return Some(format!("has {} bytes", secret.len()));
    }
    let first = secret.chars().next();
    if secret.chars().all(|one| Some(one) == first) {
        return Some("is one character over and over".to_owned());
    }
    None
}

/// One listener and the setting it came from.
pub(super) struct Bound {
    pub(super) key: Key,
    pub(super) address: SocketAddr,
}

/// The listeners of one setting.
pub(super) fn bound(key: Key, addresses: &[SocketAddr]) -> impl Iterator<Item = Bound> {
    addresses.iter().map(move |address| Bound { key, address: *address })
}

/// Reports each listener whose address another one has, whole or in part.
///
/// Quadratic, but at most eight settings of `LISTENERS_MAX` each.
pub(super) fn collisions(reading: &mut Reading<'_>, listeners: &[Bound]) {
    for (place, later) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(place).find(|one| overlap(one.address, later.address));
        if let Some(earlier) = earlier {
            let (origin, key) = reading.place(later.key);
            let whose = if earlier.key == later.key {
                "it names".to_owned()
            } else {
                format!("{} has", path(earlier.key))
            };
            let problem = format!("{} cannot be had: {whose} {} already", later.address, earlier.address);
            reading.report.error(&origin, &key, problem);
        }
    }
}

// `[::]` and `0.0.0.0` stand side by side: every listener of ours is of one family (IPV6_V6ONLY).
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// Warns of listeners that are meant for this machine and reach further.
pub(super) fn beyond_loopback(reading: &mut Reading<'_>, key: Key, addresses: &[SocketAddr], what: &str) {
    for address in addresses.iter().filter(|address| !address.ip().to_canonical().is_loopback()) {
        let (origin, written) = reading.place(key);
        let problem = format!("{address} is not loopback: {what}");
        reading.report.warn(&origin, &written, problem);
    }
}

/// Says which defaults were taken because the usual ones need root.
pub(super) fn other_ports(reading: &mut Reading<'_>, key: Key, taken: u16, usual: u16) {
    if !reading.raw.given.contains_key(&key) {
        let problem = format!("port {taken} instead of {usual}, which needs root");
        reading.report.warn(&Origin::Together, &path(key), problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_known_in_every_spelling() {
        for secret in [
            "",
            "short",
            "your-secret-key-change-in-production",
            "YOUR_SECRET_KEY_CHANGE_IN_PRODUCTION",
            "prettysecret",
            "prettysecretprettysecretprettysecret",
            "ChangeMe-ChangeMe-ChangeMe-ChangeMe-ChangeMe",
            "${SECRET_KEY}",
            "0000000000000000000000000000000000000000",
            "31 bytes are one byte too short",
        ] {
            assert!(fault(secret).is_some(), "{secret}");
        }
        for secret in ["8c1e5f0b9a7d4c3e2f1a0b9c8d7e6f5a", "correct horse battery staple and more words"] {
            assert_eq!(fault(secret), None, "{secret}");
        }
    }

    #[test]
    fn listeners_overlap_within_a_family() {
        let overlap = |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80"));
        assert!(overlap("[::1]:80", "[::]:80"));
        assert!(!overlap("[::]:80", "0.0.0.0:80"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
    }
}

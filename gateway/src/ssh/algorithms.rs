//! What we offer a client. The client's order decides, so what it must not choose is not offered.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use russh::keys::Algorithm;
use russh::keys::ssh_key::{EcdsaCurve, HashAlg};
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, kex, mac};

use super::host_keys::HostKeys;

/// How OpenSSH introduces itself: it has AES-GCM and would choose ChaCha20 if it could, at half as much again of our time.
const OPENSSH: &[u8] = b"SSH-2.0-OpenSSH_";
/// How PuTTY introduces itself, which would choose CTR.
const PUTTY: &[u8] = b"SSH-2.0-PuTTY_Release_";
/// The first of PuTTY that has AES-GCM.
const PUTTY_WITH_GCM: (u32, u32) = (0, 78);

const GCM: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::AES_128_GCM];
/// dbclient 2022.83 and its like have no GCM.
const GCM_AND_CTR: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::AES_256_CTR, cipher::AES_128_CTR];
/// With a part that a quantum computer does not undo: what is recorded today stays closed.
const HYBRID: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::SNTRUP761X25519_SHA512,
    kex::SNTRUP761X25519_SHA512_OPENSSH,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
/// dbclient 2022.83, paramiko and many others have none of those.
const HYBRID_AND_CURVE: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::SNTRUP761X25519_SHA512,
    kex::SNTRUP761X25519_SHA512_OPENSSH,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
/// The first of OpenSSH that is offered hybrid exchanges alone. 9.0 has them, and distributions took them out of what some
/// releases speak; from 10 on it warns of everything else.
const OPENSSH_HYBRID: (u32, u32) = (10, 0);
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];
/// How clients introduce themselves that have no MAC over the ciphertext.
const DROPBEAR: &[u8] = b"SSH-2.0-dropbear";
const MACS_OF_DROPBEAR: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256];
/// Of our own keys, and of people's (server-sig-algs): SHA-1 is in none.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// What we offer, by how a client introduces itself. Made once for a set of host keys, and shared by all connections.
pub(crate) struct Offers {
    hybrid: Arc<Config>,
    gcm: Arc<Config>,
    any: Arc<Config>,
    dropbear: Arc<Config>,
}

impl Offers {
    /// What is offered with these keys; `None` without one that can be used.
    pub(crate) fn with(keys: &HostKeys) -> Option<Self> {
        let config = |kex, ciphers, macs| Arc::new(config(keys, (kex, ciphers, macs)));
        (!keys.used.is_empty()).then(|| Self {
            hybrid: config(HYBRID, GCM, MACS),
            gcm: config(HYBRID_AND_CURVE, GCM, MACS),
            any: config(HYBRID_AND_CURVE, GCM_AND_CTR, MACS),
            dropbear: config(HYBRID_AND_CURVE, GCM_AND_CTR, MACS_OF_DROPBEAR),
        })
    }

    /// How we meet a client that has not introduced itself yet.
    pub(super) fn first(&self) -> Arc<Config> {
        Arc::clone(&self.gcm)
    }

    /// How we go on with a client that introduced itself so.
    pub(super) fn to(&self, identification: &[u8]) -> Arc<Config> {
        let openssh = identification.strip_prefix(OPENSSH).and_then(version);
        Arc::clone(if openssh.is_some_and(|version| version >= OPENSSH_HYBRID) {
            &self.hybrid
        } else if knows_gcm(identification) {
            &self.gcm
        } else if identification.starts_with(DROPBEAR) {
            &self.dropbear
        } else {
            &self.any
        })
    }
}

/// Whether a client that introduced itself so has AES-GCM for sure.
fn knows_gcm(identification: &[u8]) -> bool {
    let putty = identification.strip_prefix(PUTTY).and_then(version);
    identification.starts_with(OPENSSH) || putty.is_some_and(|version| version >= PUTTY_WITH_GCM)
}

/// The two numbers that a version begins with.
fn version(text: &[u8]) -> Option<(u32, u32)> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let mut number = || {
        let part = parts.next()?;
        let end = part.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(part.len());
        std::str::from_utf8(part.get(..end)?).ok()?.parse().ok()
    };
    Some((number()?, number()?))
}

type Lists = (&'static [kex::Name], &'static [cipher::Name], &'static [mac::Name]);

fn config(keys: &HostKeys, (kex, ciphers, macs): Lists) -> Config {
    let (keepalive_ms, keepalives) = limits::SSH_CLIENT_KEEPALIVE_MS;
    Config {
        // No version: it would only help to pick an exploit.
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-gatehouse")),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: Duration::from_millis(limits::SSH_REJECTION_MS),
        // OpenSSH asks with method "none" first; that is a question, not an attempt.
        auth_rejection_time_initial: Some(Duration::ZERO),
        // russh counts that question as an attempt.
        max_auth_attempts: limits::SSH_AUTH_TRIES_MAX + 1,
        keys: keys.used.clone(),
        announced_keys: keys.next.clone(),
        certificates: keys.certificates.clone(),
        preferred: Preferred {
            kex: Cow::Borrowed(kex),
            key: Cow::Borrowed(KEYS),
            cipher: Cow::Borrowed(ciphers),
            mac: Cow::Borrowed(macs),
            ..Preferred::DEFAULT
        },
        // An idle jump is a person who thinks; a dead client is found by the keep-alives.
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_millis(keepalive_ms)),
        keepalive_max: keepalives,
        nodelay: true,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;

    use super::*;

    fn offers() -> Offers {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        Offers::with(&HostKeys { used: vec![key], ..HostKeys::default() }).unwrap()
    }

    #[test]
    fn nothing_is_offered_without_a_host_key() {
        assert!(Offers::with(&HostKeys::default()).is_none());
    }

    #[test]
    fn a_client_that_says_nothing_or_takes_nothing_has_ten_minutes() {
        let config = offers().first();
        let asked = u32::try_from(config.keepalive_max).unwrap() + 1;
        let ten_minutes = Duration::from_secs(600);
        assert_eq!(config.keepalive_interval.unwrap() * asked, ten_minutes);
        assert_eq!(Duration::from_millis(limits::SSH_WRITE_STALL_MS), ten_minutes);
        assert!(config.inactivity_timeout.is_none());
    }

    #[test]
    fn only_who_has_gcm_for_sure_is_kept_to_it() {
        let offers = offers();
        for known in [
            &b"SSH-2.0-OpenSSH_9.2p1 Debian-2"[..],
            b"SSH-2.0-OpenSSH_for_Windows_8.1",
            b"SSH-2.0-PuTTY_Release_0.78",
            b"SSH-2.0-PuTTY_Release_0.83-rc1",
            b"SSH-2.0-PuTTY_Release_1.0",
        ] {
            assert_eq!(&*offers.to(known).preferred.cipher, GCM);
        }
        for other in [
            &b"SSH-2.0-dropbear_2022.83"[..],
            b"SSH-2.0-paramiko_2.12.0",
            b"SSH-2.0-PuTTY_Release_0.77",
            b"SSH-2.0-PuTTY_Release_0.7",
            b"SSH-2.0-PuTTY_Release_0.",
            b"SSH-2.0-PuTTY_Release_99999999999.0",
            b"SSH-2.0-PuTTY_Snapshot_2021_01_01.abcdef",
            b"SSH-2.0-Open",
            b"",
        ] {
            assert_eq!(&*offers.to(other).preferred.cipher, GCM_AND_CTR);
        }
    }

    #[test]
    fn who_has_a_hybrid_exchange_for_sure_is_kept_to_one() {
        let offers = offers();
        for known in [&b"SSH-2.0-OpenSSH_10.0"[..], b"SSH-2.0-OpenSSH_10.3p1 Debian-1"] {
            assert_eq!(&*offers.to(known).preferred.kex, HYBRID);
            assert_eq!(&*offers.to(known).preferred.cipher, GCM);
        }
        for other in [
            &b"SSH-2.0-OpenSSH_9.9p1"[..],
            b"SSH-2.0-OpenSSH_8.7",
            b"SSH-2.0-OpenSSH_for_Windows_10.0",
            b"SSH-2.0-OpenSSH_",
            b"SSH-2.0-PuTTY_Release_0.78",
            b"SSH-2.0-dropbear_2022.83",
            b"SSH-2.0-Go",
        ] {
            assert_eq!(&*offers.to(other).preferred.kex, HYBRID_AND_CURVE);
        }
    }

    #[test]
    fn only_dropbear_is_offered_a_mac_over_the_plaintext() {
        let offers = offers();
        assert!(offers.to(b"SSH-2.0-dropbear_2022.83").preferred.mac.contains(&mac::HMAC_SHA256));
        assert_eq!(&*offers.to(b"SSH-2.0-paramiko_2.12.0").preferred.mac, MACS);
        assert_eq!(&*offers.first().preferred.mac, MACS);
    }
}

//! What we offer a client. The client's order decides, so what it must not choose is not offered.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use russh::keys::ssh_key::{EcdsaCurve, HashAlg};
use russh::keys::{Algorithm, PrivateKey};
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, kex, mac};

/// How clients introduce themselves that have AES-GCM and would choose ChaCha20 or CTR if they could, at half as much
/// again of our time.
const KNOWS_GCM: [&[u8]; 2] = [b"SSH-2.0-OpenSSH_", b"SSH-2.0-PuTTY_"];

const GCM: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::AES_128_GCM];
/// dbclient 2022.83 and its like have no GCM.
const GCM_AND_CTR: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::AES_256_CTR, cipher::AES_128_CTR];
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
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

/// How we meet a client that is known to have AES-GCM; `None` without a host key.
pub(super) fn config(host_keys: &[PrivateKey]) -> Option<Arc<Config>> {
    (!host_keys.is_empty()).then(|| Arc::new(of(host_keys.to_vec(), GCM, MACS)))
}

/// How we go on with a client that introduced itself so; `None` to go on as we began.
pub(super) fn config_for(identification: &[u8], began: &Config) -> Option<Arc<Config>> {
    let knows_gcm = KNOWS_GCM.iter().any(|known| identification.starts_with(known));
    let macs = if identification.starts_with(DROPBEAR) { MACS_OF_DROPBEAR } else { MACS };
    (!knows_gcm).then(|| Arc::new(of(began.keys.clone(), GCM_AND_CTR, macs)))
}

fn of(keys: Vec<PrivateKey>, ciphers: &'static [cipher::Name], macs: &'static [mac::Name]) -> Config {
    let (keepalive_ms, keepalives) = limits::SSH_KEEPALIVE_MS;
    Config {
        // No version: it would only help to pick an exploit.
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-gatehouse")),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: Duration::from_millis(limits::SSH_REJECTION_MS),
        // OpenSSH asks with method "none" first; that is a question, not an attempt.
        auth_rejection_time_initial: Some(Duration::ZERO),
        // russh counts that question as an attempt.
        max_auth_attempts: limits::SSH_AUTH_TRIES_MAX + 1,
        keys,
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
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
    use super::*;

    #[test]
    fn only_who_has_gcm_for_sure_is_kept_to_it() {
        let began = of(Vec::new(), GCM, MACS);
        for known in [
            &b"SSH-2.0-OpenSSH_9.2p1 Debian-2"[..],
            b"SSH-2.0-OpenSSH_for_Windows_8.1",
            b"SSH-2.0-PuTTY_Release_0.78",
        ] {
            assert!(config_for(known, &began).is_none());
        }
        for other in [&b"SSH-2.0-dropbear_2022.83"[..], b"SSH-2.0-paramiko_2.12.0", b"SSH-2.0-Open", b""] {
            let config = config_for(other, &began).unwrap();
            assert_eq!(&*config.preferred.cipher, GCM_AND_CTR);
        }
    }

    #[test]
    fn only_dropbear_is_offered_a_mac_over_the_plaintext() {
        let began = of(Vec::new(), GCM, MACS);
        let macs = |known: &[u8]| config_for(known, &began).unwrap().preferred.mac.to_vec();
        assert!(macs(b"SSH-2.0-dropbear_2022.83").contains(&mac::HMAC_SHA256));
        assert_eq!(macs(b"SSH-2.0-paramiko_2.12.0"), MACS);
        assert_eq!(&*began.preferred.mac, MACS);
    }
}

//! Which cipher a connection gets.
//!
//! AES-128-GCM where the client has it, whatever it names first: all of TLS 1.3's ciphers are beyond reach, and SHA-256,
//! which comes with this one, is the hash that processors compute by themselves. SHA-384, with AES-256, took an eighth of
//! a handshake. A client that likes ChaCha20 best has no AES in hardware, and is obliged.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ClientHello;
use rustls::{CipherSuite, ServerConfig};

/// The provider of every handshake, with its ciphers in the order we like them.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    // Stable: kinds of certificates and versions stay in the library's order.
    provider.cipher_suites.sort_by_key(|suite| kind(suite.suite()));
    provider
}

/// In the order we like them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Aes128,
    Aes256,
    ChaCha20,
    Other,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library does not speak the hundreds of others")]
const fn kind(suite: CipherSuite) -> Kind {
    use CipherSuite as S;
    match suite {
        S::TLS13_AES_128_GCM_SHA256
        | S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Kind::Aes128,
        S::TLS13_AES_256_GCM_SHA384
        | S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Kind::Aes256,
        S::TLS13_CHACHA20_POLY1305_SHA256
        | S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Kind::ChaCha20,
        _ => Kind::Other,
    }
}

/// One configuration for each taste.
#[derive(Debug)]
pub(super) struct ByTaste {
    ours: Arc<ServerConfig>,
    /// Goes by the client's order.
    theirs: Arc<ServerConfig>,
}

impl ByTaste {
    /// `config`, and what it is for others.
    pub(super) fn of(config: ServerConfig) -> Self {
        let mut theirs = config.clone();
        theirs.ignore_client_order = false;
        Self { ours: Arc::new(config), theirs: Arc::new(theirs) }
    }

    /// The one for this hello.
    pub(super) fn of_hello(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        if likes_chacha(hello.cipher_suites()) { &self.theirs } else { &self.ours }
    }
}

/// Whether the first cipher that we know, of those a client names, is ChaCha20.
fn likes_chacha(suites: &[CipherSuite]) -> bool {
    suites.iter().map(|suite| kind(*suite)).find(|kind| *kind != Kind::Other) == Some(Kind::ChaCha20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_cipher_comes_first_and_none_is_left_out() {
        let suites = provider().cipher_suites;
        assert_eq!(suites.len(), aws_lc_rs::default_provider().cipher_suites.len());
        assert_eq!(suites[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert!(suites.is_sorted_by_key(|suite| kind(suite.suite())));
        assert!(suites.iter().all(|suite| kind(suite.suite()) != Kind::Other));
    }

    #[test]
    fn a_client_that_names_chacha_first_is_obliged() {
        use CipherSuite as S;
        let grease = S::from(0x0a0a);
        assert!(likes_chacha(&[grease, S::TLS13_CHACHA20_POLY1305_SHA256, S::TLS13_AES_128_GCM_SHA256]));
        assert!(!likes_chacha(&[grease, S::TLS13_AES_256_GCM_SHA384, S::TLS13_CHACHA20_POLY1305_SHA256]));
        assert!(!likes_chacha(&[]));
    }
}

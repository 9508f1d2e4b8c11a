//! Answers to authorities that look whether a name is ours (RFC 8555 § 8.3, RFC 8737). They come with the generation, so
//! that every gateway gives them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use config::limits;
use config::snapshot::{Challenge, ChallengeAnswer, Content, Kind, Snapshot, Value};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::resolver::Only;

/// The protocol of TLS-ALPN-01 (RFC 8737 § 6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// The challenges of one generation.
#[derive(Default)]
pub(crate) struct Challenges {
    http: HashMap<Box<str>, Vec<(Box<str>, Content)>>,
    tls: HashMap<Box<str>, Arc<ServerConfig>>,
    /// What is wrong with the others.
    pub(super) faults: Vec<String>,
}

impl Challenges {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut all = Self::default();
        let challenges = snapshot.objects().filter(|object| object.key().kind == Kind::CHALLENGE);
        for object in challenges.take(limits::CHALLENGES_MAX) {
            match object.decode() {
                Ok(Value::Challenge(challenge)) => all.add(challenge),
                Ok(_) => {}
                Err(error) => all.faults.push(format!("challenge cannot be answered: {error}")),
            }
        }
        all
    }

    fn add(&mut self, challenge: Challenge) {
        let Challenge { id, host, answer } = challenge;
        let name: Box<str> = host.as_str().into();
        match answer {
            ChallengeAnswer::Http { token, key_authorization } => {
                let body = Box::from(key_authorization.as_bytes());
                let content = Content { media_type: "application/octet-stream".into(), body };
                self.http.entry(name).or_default().push((token, content));
            }
            ChallengeAnswer::TlsAlpn { certificate, key } => match config(certificate, key.expose()) {
                Ok(config) => {
                    self.tls.insert(name, Arc::new(config));
                }
                Err(why) => self.faults.push(format!("challenge {id} ({host}) cannot be answered: {why}")),
            },
        }
    }

    /// Whether nobody looks by HTTP.
    pub(crate) fn has_no_http(&self) -> bool {
        self.http.is_empty()
    }

    /// What stands below the challenges' path for this host and token.
    pub(crate) fn http(&self, host: &str, token: &str) -> Option<&Content> {
        let known = self.http.get(host)?;
        known.iter().find(|(one, _)| **one == *token).map(|(_, content)| content)
    }

    /// What an authority's handshake is answered with: one that offers the challenges' protocol and nothing else.
    pub(super) fn tls(&self, hello: &ClientHello<'_>) -> Option<&Arc<ServerConfig>> {
        if self.tls.is_empty() {
            return None;
        }
        let mut offered = hello.alpn()?;
        let is_looking = offered.next() == Some(ACME_TLS) && offered.next().is_none();
        self.tls.get(hello.server_name()?).filter(|_| is_looking)
    }
}

fn config(certificate: Vec<u8>, key: &[u8]) -> Result<ServerConfig, rustls::Error> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
    let key = aws_lc_rs::sign::any_supported_type(&key)?;
    // Not checked against the key as others are: that refuses the critical extension that makes it an answer.
    let certified = CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Only(Arc::new(certified))));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenges({} by http, {} by tls)", self.http.len(), self.tls.len())
    }
}

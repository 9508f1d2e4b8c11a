//! An application on a temporary database, with keys and an authority that need no files.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use config::name::HostPattern;
use config::secret::Secret;
use config::settings::Database;
use config::snapshot::Ports;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

use super::{Addresses, App, Authority, AuthorityError, Clock, KeyError, Keys, Leaf, Parts};
use crate::store::Db;

/// A clock that tests move.
#[derive(Debug)]
pub(crate) struct TestClock(pub(crate) AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct TestKeys {
    sign: EncodingKey,
    verify: DecodingKey,
}

impl TestKeys {
    fn new() -> Self {
        use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
        let pair = Ed25519KeyPair::generate().unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        Self {
            sign: EncodingKey::from_ed_der(der.as_ref()),
            verify: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        }
    }
}

impl Keys for TestKeys {
    fn seal(&self, purpose: &str, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut sealed = format!("sealed:{purpose}:").into_bytes();
        sealed.extend(bytes.iter().map(|byte| byte ^ 0x5a));
        Ok(sealed)
    }

    fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
        let bytes = sealed.strip_prefix(format!("sealed:{purpose}:").as_bytes()).ok_or(KeyError::NotOurs)?;
        Ok(Secret::new(bytes.iter().map(|byte| byte ^ 0x5a).collect()))
    }

    fn sign_token(&self, claims: &serde_json::Value) -> Result<String, KeyError> {
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &self.sign)
            .map_err(|error| KeyError::Library(error.to_string()))
    }

    fn verify_token(&self, token: &str) -> Result<serde_json::Value, KeyError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode(token, &self.verify, &validation)
            .map(|data| data.claims)
            .map_err(|_| KeyError::NotOurs)
    }
}

struct TestAuthority(certs::self_signed::Authority, Arc<TestClock>);

impl Authority for TestAuthority {
    fn issue_server(&self, names: &[HostPattern]) -> Result<Leaf, AuthorityError> {
        let names: Vec<_> = names.iter().cloned().map(certs::self_signed::SubjectName::Host).collect();
        let now = self.1.now();
        let leaf = self
            .0
            .issue_server(&names, u64::try_from(now / 1_000_000).unwrap(), 90)
            .map_err(|error| AuthorityError { why: error.to_string() })?;
        Ok(Leaf { chain: leaf.chain, key: leaf.key, expires_at: now + 90 * 86_400 * 1_000_000 })
    }

    fn certificate_pem(&self) -> String {
        self.0.certificate_pem()
    }
}

/// 2026-01-01T00:00:00Z in microseconds.
pub(crate) const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// An application and what tests move about it.
pub(crate) struct Fixture {
    pub(crate) app: Arc<App>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) keys: Arc<TestKeys>,
    pub(crate) directory: tempfile::TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(NEW_YEAR)));
        let keys = Arc::new(TestKeys::new());
        let app = Self::open(&directory, &keys, &clock).await;
        Self { app, clock, keys, directory }
    }

    async fn open(directory: &tempfile::TempDir, keys: &Arc<TestKeys>, clock: &Arc<TestClock>) -> Arc<App> {
        let file = directory.path().join("database.db");
        let db = Db::open(&Database::Sqlite(file), directory.path()).await.unwrap();
        let seconds = u64::try_from(NEW_YEAR / 1_000_000).unwrap();
        let authority = certs::self_signed::Authority::create("test", seconds).unwrap();
        let parts = Parts {
            db,
            keys: Arc::clone(keys) as Arc<dyn Keys>,
            authority: Arc::new(TestAuthority(authority, Arc::clone(clock))),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            forward_ports: vec![Ports { first: 1_024, last: 65_535 }],
        };
        let app = App::start(parts).await.unwrap();
        let at = |text: &str| vec![text.parse::<SocketAddr>().unwrap()];
        app.set_addresses(Addresses {
            admin: at("127.0.0.1:1880"),
            admin_tls: Vec::new(),
            sync: at("127.0.0.1:1881"),
        })
        .await
        .unwrap();
        Arc::new(app)
    }

    /// The same database, opened anew.
    pub(crate) async fn reopened(&self) -> Arc<App> {
        Self::open(&self.directory, &self.keys, &self.clock).await
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

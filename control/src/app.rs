//! The rules: one file a resource, between the HTTP of `api` and the SQL of `store`.
//!
//! Owns validation, authorisation, audit and the order of a change: rows, audit, change log and generation in one
//! transaction, compiled before the commit and in force right after it. Start at [`App`] and [`change::Change`].

pub mod acme;
pub mod audit;
pub mod authority;
pub mod caller;
pub mod certificate;
pub mod challenge;
pub mod change;
pub mod console;
pub mod error;
pub mod explain;
pub mod forward;
pub mod gateway;
pub mod input;
pub mod join_token;
pub mod lines;
pub mod page;
pub mod route;
pub mod session;
pub mod setup;
pub mod signing_key;
pub mod ssh;
pub mod start;
pub mod system;
#[cfg(test)]
pub(crate) mod testing;
pub mod ticket_key;
pub mod token;
pub mod user;
pub mod user_key;
pub mod vm;
pub mod vm_host_key;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use config::name::HostPattern;
use config::secret::Secret;
use config::snapshot::Ports;

use crate::publish::Desired;
use crate::store::Db;

pub use caller::Caller;
pub use error::{Error, Violation};

/// Keys of the product: sealing at rest and the signature of tokens.
pub trait Keys: Send + Sync {
    /// Seals bytes for one purpose; the result opens only under the same purpose.
    fn seal(&self, purpose: &str, bytes: &[u8]) -> Result<Vec<u8>, KeyError>;
    /// Opens what [`Keys::seal`] closed.
    fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, KeyError>;
    /// Signs claims as a JWT (EdDSA over Ed25519).
    fn sign_token(&self, claims: &serde_json::Value) -> Result<String, KeyError>;
    /// The claims of a JWT that we signed. Checks form, algorithm and signature only: expiry and revocation are the
    /// caller's, who has the clock and the store.
    fn verify_token(&self, token: &str) -> Result<serde_json::Value, KeyError>;
}

/// Why a key operation failed; says nothing about the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not ours, or not whole: another key, another purpose, altered bytes.
    #[error("not made with the key of this installation, or altered since")]
    NotOurs,
    /// The library refused.
    #[error("the cryptographic library failed: {0}")]
    Library(String),
}

/// The internal authority.
pub trait Authority: Send + Sync {
    /// A server certificate for these names, made with a new key.
    fn issue_server(&self, names: &[HostPattern]) -> Result<Leaf, AuthorityError>;
    /// Its own certificate: what gateways trust, and users until another is imported.
    fn certificate_pem(&self) -> String;
}

/// The authority could not issue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the internal authority could not issue a certificate: {why}")]
pub struct AuthorityError {
    /// What went wrong.
    pub why: String,
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key as PKCS#8 DER.
    pub key: Secret<Vec<u8>>,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
}

/// The time, so that tests can move it.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970 UTC.
    fn now(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        jiff::Timestamp::now().as_microsecond()
    }
}

/// Where this control itself listens: what `control` as a target means, and what no target may be.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The admin API.
    pub admin: Vec<SocketAddr>,
    /// The admin API by TLS: never what `control` as a target means, since gateways dial it in plain HTTP.
    pub admin_tls: Vec<SocketAddr>,
    /// The gateways' stream.
    pub sync: Vec<SocketAddr>,
}

/// Everything that handlers and reconcilers share.
pub struct App {
    /// The store.
    pub db: Db,
    /// The desired state in memory.
    pub desired: Desired,
    /// Sealing and signing.
    pub keys: Arc<dyn Keys>,
    /// The internal authority.
    pub authority: Arc<dyn Authority>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What the connected gateways say.
    pub gateways: gateway::Connected,
    /// Wakes the orders of certificates.
    pub acme: acme::Nudge,
    /// Ports of the gate that forwards of anybody but root may take.
    pub forward_ports: Vec<Ports>,
    /// Set once the listeners are bound.
    addresses: RwLock<Addresses>,
    /// Held from the start of a change until its generation is in force: installs happen in the order of commits.
    writers: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "App({:?})", self.desired)
    }
}

/// What an [`App`] is made of.
pub struct Parts {
    /// The store.
    pub db: Db,
    /// Sealing and signing.
    pub keys: Arc<dyn Keys>,
    /// The internal authority.
    pub authority: Arc<dyn Authority>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ports of the gate that forwards of anybody but root may take.
    pub forward_ports: Vec<Ports>,
}

impl App {
    /// Every listener of ours that is known: control's own and those of the connected gateways.
    pub fn own_listeners(&self) -> Vec<SocketAddr> {
        let Addresses { mut admin, admin_tls, sync } = self.addresses();
        admin.extend(admin_tls);
        admin.extend(sync);
        let said = self.gateways.all();
        admin.extend(
            said.iter().flat_map(|(_, said)| said.listeners.iter().map(|listening| listening.address)),
        );
        admin
    }

    /// Where control listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

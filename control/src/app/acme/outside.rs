//! What an order needs of the world: an authority, name servers, gateways. A trait each, so that a test can kill an order
//! between any two calls.

use std::time::Duration;

use async_trait::async_trait;
use certs::acme::Method;
use certs::acme::order::{ChallengeTask, Progress, Reason};
use certs::acme::preflight::Finding;
use certs::acme::renewal_info::Window;
use config::name::HostPattern;
use config::secret::Secret;

use super::account::Dns;
use crate::publish::Unacknowledged;

/// Why a step did not succeed, for people, and what it means for the order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What it means.
    pub then: Then,
    /// A sentence: what, where and what to do about it.
    pub message: String,
    /// How long to wait at least.
    pub after: Option<Duration>,
}

/// What a fault means for the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The same step is taken again later.
    Again,
    /// The same step is taken again when an authority's limit leaves room: nothing failed.
    Held,
    /// The authority gave the order up: the next attempt begins with a new one.
    Anew,
    /// The authority does not know the account any more: it is registered again.
    Register,
}

impl Fault {
    /// A fault after which the same step is taken again.
    pub fn again(message: impl Into<String>) -> Self {
        Self { then: Then::Again, message: message.into(), after: None }
    }

    /// A fault after which the order begins anew.
    pub fn anew(message: impl Into<String>) -> Self {
        Self { then: Then::Anew, message: message.into(), after: None }
    }
}

impl From<Unacknowledged> for Fault {
    fn from(why: Unacknowledged) -> Self {
        Self::again(why.to_string())
    }
}

impl From<certs::acme::AcmeError> for Fault {
    fn from(error: certs::acme::AcmeError) -> Self {
        use certs::acme::Kind;
        let then = if matches!(error.kind, Kind::OrderFailed | Kind::OrderGone | Kind::BadCsr) {
            Then::Anew
        } else if error.kind == Kind::AccountDoesNotExist {
            Then::Register
        } else {
            Then::Again
        };
        // Rate limits are counted by the hour or the week; an authority that names no time is not asked within one.
        let least = (error.kind == Kind::RateLimited).then_some(Duration::from_secs(3600));
        Self { then, after: error.after.or(least), message: error.to_string() }
    }
}

/// An authority, and whom to trust when speaking to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// URL of its directory.
    pub directory: String,
    /// Roots trusted besides the machine's, as PEM; empty for none.
    pub roots: String,
    /// Where names are looked up as it sees them; empty for the resolvers of this machine.
    pub resolvers: Vec<std::net::SocketAddr>,
}

/// What an account is registered with.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Mail addresses.
    pub contacts: Vec<String>,
    /// Key id and HMAC key of an external account.
    pub external: Option<(String, Secret<String>)>,
}

/// An account that was registered.
#[derive(Debug, Clone)]
pub struct Registered {
    /// What the authority knows us by: sealed at once.
    pub credentials: Secret<Vec<u8>>,
    /// URL of the account; no secret.
    pub url: String,
}

/// An account as orders use it.
#[derive(Debug, Clone)]
pub struct Access {
    /// The authority.
    pub authority: Authority,
    /// What it knows us by.
    pub credentials: Secret<Vec<u8>>,
}

/// What is ordered.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The names.
    pub names: Vec<HostPattern>,
    /// How they are proved.
    pub method: Method,
    /// The leaf that the new certificate takes the place of.
    pub replaces: Option<Vec<u8>>,
}

/// Where the gateways listen for the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Their single addresses, sorted.
    pub addresses: Vec<std::net::IpAddr>,
    /// Whether a name that points elsewhere cannot lead to them.
    pub is_complete: bool,
}

/// An authority that speaks ACME. Each call asks where the order stands first, so each may be repeated.
#[async_trait]
pub trait Ca: Send + Sync {
    /// Makes an account.
    async fn register(&self, authority: &Authority, new: &Registration) -> Result<Registered, Fault>;
    /// What would make the authority refuse, found out before it is bothered.
    async fn preflight(&self, access: &Access, wanted: &Wanted, own: &Own) -> Result<Vec<Finding>, Fault>;
    /// What is seen of published answers from here, at the addresses where the authority will look.
    async fn reach(&self, authority: &Authority, tasks: &[ChallengeTask]) -> Vec<Finding>;
    /// An order for these names that was opened before and whose URL was lost, where the authority lists orders.
    async fn find(&self, access: &Access, wanted: &Wanted) -> Result<Option<String>, Fault>;
    /// Opens an order and gives its URL.
    async fn start(&self, access: &Access, wanted: &Wanted) -> Result<String, Fault>;
    /// What has to be answered.
    async fn tasks(&self, access: &Access, order: &str, method: Method) -> Result<Vec<ChallengeTask>, Fault>;
    /// Tells it to look.
    async fn ready(&self, access: &Access, order: &str, method: Method) -> Result<(), Fault>;
    /// Where the order stands.
    async fn poll(&self, access: &Access, order: &str) -> Result<Progress, Fault>;
    /// Hands in the request.
    async fn finalize(&self, access: &Access, order: &str, csr: &[u8]) -> Result<(), Fault>;
    /// Fetches the chain, leaf first.
    async fn download(&self, access: &Access, order: &str) -> Result<Vec<Vec<u8>>, Fault>;
    /// Revokes a leaf.
    async fn revoke(&self, access: &Access, leaf: &[u8], reason: Reason) -> Result<(), Fault>;
    /// When the authority would like a leaf renewed.
    async fn renewal_info(&self, access: &Access, leaf: &[u8]) -> Result<Option<Window>, Fault>;
}

/// One TXT value at one name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Txt {
    /// The name, without trailing dot.
    pub record: String,
    /// Its text.
    pub value: String,
}

/// Where TXT records are put.
#[derive(Debug, Clone)]
pub struct Place {
    /// How.
    pub dns: Dns,
    /// The secret for it.
    pub secret: Option<Secret<String>>,
    /// Where it is looked whether they are there; empty for the resolvers of this machine.
    pub resolvers: Vec<std::net::SocketAddr>,
}

/// Name servers that can be written to.
#[async_trait]
pub trait Records: Send + Sync {
    /// Puts values; returns when every authoritative server shows them.
    async fn put(&self, place: &Place, records: &[Txt]) -> Result<(), Fault>;
    /// Takes them away.
    async fn remove(&self, place: &Place, records: &[Txt]) -> Result<(), Fault>;
}

/// All of it.
#[derive(Clone)]
pub struct Outside {
    /// Authorities.
    pub ca: std::sync::Arc<dyn Ca>,
    /// Name servers.
    pub records: std::sync::Arc<dyn Records>,
    /// How long gateways get to say that they answer a challenge.
    pub acknowledged_within: Duration,
}

impl Outside {
    /// The world as it is.
    pub fn real() -> Self {
        let real = std::sync::Arc::new(super::real::Real);
        let acknowledged_within = Duration::from_millis(config::limits::CHALLENGE_ACKNOWLEDGED_MS);
        Self { ca: std::sync::Arc::<super::real::Real>::clone(&real), records: real, acknowledged_within }
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside(..)")
    }
}

//! Records that prove a name (DNS-01): where they are put, and whether the world sees them.
//!
//! A [`Provider`] puts and removes one TXT value. Names are text as in the zone, lower-case, without trailing dot:
//! `_acme-challenge.example.com`.

mod error;

pub use error::DnsError;

/// Somebody who can write TXT records.
///
/// Two values may stand at one name at once (a name and the wildcard below it): `present` adds, `remove` takes away
/// one value alone. Both may be repeated: what is there already, or gone already, is no error.
#[async_trait::async_trait]
pub trait Provider: Send + Sync {
    /// Adds a value to the TXT records at `record`. Returns when the provider has taken it, not when all servers show
    /// it.
    async fn present(&self, record: &str, value: &str) -> Result<(), DnsError>;

    /// Takes the value away again, and no other.
    async fn remove(&self, record: &str, value: &str) -> Result<(), DnsError>;
}

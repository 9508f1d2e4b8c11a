//! Records that prove a name (DNS-01): where they are put, and whether the world sees them.
//!
//! A [`Provider`] puts and removes one TXT value: [`Rfc2136`], [`Hook`], or another one behind [`Delegated`].
//! [`propagation::wait`] asks the zone's own servers before the authority does. [`Lookup`] is how names are looked up.
//! Names are text as in the zone, lower-case, without trailing dot: `_acme-challenge.example.com`.

mod ask;
mod delegated;
mod error;
mod hook;
mod lookup;
pub mod propagation;
mod rfc2136;

pub use delegated::Delegated;
pub use error::DnsError;
pub use hook::Hook;
pub use lookup::{Lookup, Server, Zone};
pub use rfc2136::{Rfc2136, TsigKey};

pub(crate) use lookup::CaaRecord;

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

/// Text from outside, fit for a line of a log.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(config::limits::ACME_DETAIL_CHARS_MAX)
        .collect()
}

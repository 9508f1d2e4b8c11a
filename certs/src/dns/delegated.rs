//! A record kept elsewhere: `_acme-challenge.name` is an alias into a zone that may be written.

use super::{DnsError, Lookup, Provider};

/// Follows the aliases of a record and writes where they lead (as acme-dns does: a zone of its own, changed freely,
/// while the real zone holds a CNAME set once).
#[derive(Debug, Clone)]
pub struct Delegated<P> {
    lookup: Lookup,
    provider: P,
}

impl<P: Provider> Delegated<P> {
    /// Writes through `provider` where `lookup` says that a record leads.
    pub fn new(lookup: Lookup, provider: P) -> Self {
        Self { lookup, provider }
    }

    async fn target(&self, record: &str) -> Result<String, DnsError> {
        let target = self.lookup.alias(record).await?;
        if target == record {
            let why = "it is no alias; add a CNAME record that leads into the zone that may be written";
            return Err(DnsError::Name { name: record.to_owned(), why: why.to_owned() });
        }
        Ok(target)
    }
}

#[async_trait::async_trait]
impl<P: Provider> Provider for Delegated<P> {
    async fn present(&self, record: &str, value: &str) -> Result<(), DnsError> {
        self.provider.present(&self.target(record).await?, value).await
    }

    async fn remove(&self, record: &str, value: &str) -> Result<(), DnsError> {
        self.provider.remove(&self.target(record).await?, value).await
    }
}

//! SNI to identity: exact name, then one-label wildcard, then the default.

/// Finds an identity for a server name. Immutable; one generation's.
#[derive(Debug, Default)]
pub struct CertIndex {}

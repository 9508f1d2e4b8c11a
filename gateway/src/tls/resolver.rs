//! Which identity a client is shown.

use std::fmt;
use std::sync::Arc;

use certs::CertIndex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::live::Current;

/// Picks the identity of the generation in force at the hello.
pub(super) struct Resolver {
    current: Current,
    before_the_first: CertIndex,
}

impl Resolver {
    pub(super) fn new(current: Current) -> Self {
        Self { current, before_the_first: CertIndex::fallback() }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self.current.pin() {
            Some(live) => live.certs.find(hello.server_name()),
            None => self.before_the_first.find(None),
        }
    }
}

// `ServerConfig` prints its resolver; what that holds is not for a log.
impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Shows one identity, whatever is asked for.
pub(super) struct Only(pub(super) Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Only")
    }
}

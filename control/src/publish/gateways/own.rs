//! The certificate that control shows on the gateways' stream; reissued while control runs.
//!
//! Made at each start and never stored. A control that runs for months reissues it in the handshake that first finds two
//! thirds of its life passed: no task and no timer, and a clock that jumps is no matter.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::TlsError;
use crate::app::Clock;
use crate::authority::Internal;

/// Control's own certificate.
pub(super) struct Own {
    authority: Arc<Internal>,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    current: Mutex<Issued>,
}

#[derive(Clone)]
struct Issued {
    key: Arc<CertifiedKey>,
    /// In microseconds UTC.
    renew_at: i64,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Own(***)")
    }
}

impl Own {
    /// Issues the first one.
    pub(super) fn new(
        authority: Arc<Internal>,
        clock: Arc<dyn Clock>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let current = Mutex::new(issue(&authority, clock.now(), provider)?);
        Ok(Self { authority, clock, provider: Arc::clone(provider), current })
    }

    /// The one to show now.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if now >= current.renew_at {
            match issue(&self.authority, now, &self.provider) {
                Ok(issued) => {
                    tracing::info!("control's certificate on the gateways' stream was renewed");
                    *current = issued;
                }
                // A third of its life is left; the next handshake tries again.
                Err(error) => {
                    tracing::error!(%error, "control's certificate on the gateways' stream is not renewed")
                }
            }
        }
        Arc::clone(&current.key)
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn issue(authority: &Internal, now: i64, provider: &CryptoProvider) -> Result<Issued, TlsError> {
    let leaf = authority.issue_control()?;
    let chain = leaf.chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.expose().clone()));
    let key = Arc::new(CertifiedKey::from_der(chain, key, provider)?);
    let renew_at = leaf.expires_at.saturating_sub(leaf.expires_at.saturating_sub(now) / 3);
    Ok(Issued { key, renew_at })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::app::testing::{NEW_YEAR, TestClock};

    const DAY_US: i64 = 86_400 * 1_000_000;

    #[test]
    fn control_that_runs_for_months_shows_a_certificate_that_counts() {
        let clock = Arc::new(TestClock(AtomicI64::new(NEW_YEAR)));
        let authority = Arc::new(Internal::create(Arc::clone(&clock) as Arc<dyn Clock>).unwrap());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let own = Own::new(authority, Arc::clone(&clock) as Arc<dyn Clock>, &provider).unwrap();
        let first = own.current();
        let mut shown = Arc::clone(&first);
        for day in 0..400 {
            clock.0.store(NEW_YEAR + day * DAY_US, Ordering::Relaxed);
            shown = own.current();
            let validity = certs::identity::Said::parse(&shown.cert[0]).unwrap().validity;
            let now = clock.now() / 1_000_000;
            assert!(validity.covers(now + 29 * 86_400), "on day {day}");
            let life = i64::try_from(certs::self_signed::LEAF_DAYS_MAX).unwrap();
            assert_eq!(day < life - life / 3, Arc::ptr_eq(&first, &shown), "on day {day}");
        }
        assert!(Arc::ptr_eq(&shown, &own.current()), "a new one for each handshake");
    }
}

//! A certificate that control itself shows — on the gateways' stream, on the admin API — reissued while it runs.
//!
//! Made at each start and never stored. A control that runs for months reissues it in the handshake that first finds two
//! thirds of its life passed: no task and no timer, and a clock that jumps is no matter.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use certs::self_signed::SubjectName;
use config::limits;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::Internal;
use crate::app::{AuthorityError, Clock};

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// The authority does not sign it.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// rustls refuses it.
    #[error("control's own certificate cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Control's own certificate for one purpose.
pub struct Own {
    authority: Arc<Internal>,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
}

struct Current {
    names: Vec<SubjectName>,
    issued: Issued,
}

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
    pub fn new(
        authority: Arc<Internal>,
        clock: Arc<dyn Clock>,
        provider: &Arc<CryptoProvider>,
        names: Vec<SubjectName>,
    ) -> Result<Self, OwnError> {
        let issued = issue(&authority, &names, clock.now(), provider)?;
        let current = Mutex::new(Current { names, issued });
        Ok(Self { authority, clock, provider: Arc::clone(provider), current })
    }

    /// Adds an address by which somebody reached this machine, so that whoever trusts the authority trusts it there.
    pub fn reached_by(&self, address: IpAddr) {
        let name = SubjectName::Address(address.to_canonical());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let room = limits::API_CERTIFICATE_ADDRESSES_MAX;
        if current.names.contains(&name) || current.names.len() >= room {
            return;
        }
        let mut names = current.names.clone();
        names.push(name);
        match issue(&self.authority, &names, self.clock.now(), &self.provider) {
            Ok(issued) => *current = Current { names, issued },
            Err(error) => tracing::error!(%error, %address, "control's certificate does not name an address"),
        }
    }

    /// The one to show now.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if now >= current.issued.renew_at {
            match issue(&self.authority, &current.names, now, &self.provider) {
                Ok(issued) => {
                    tracing::info!("control's own certificate was renewed");
                    current.issued = issued;
                }
                // A third of its life is left; the next handshake tries again.
                Err(error) => tracing::error!(%error, "control's own certificate is not renewed"),
            }
        }
        Arc::clone(&current.issued.key)
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn issue(
    authority: &Internal,
    names: &[SubjectName],
    now: i64,
    provider: &CryptoProvider,
) -> Result<Issued, OwnError> {
    let leaf = authority.issue(names)?;
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

    fn own(clock: &Arc<TestClock>) -> Own {
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let authority = Arc::new(Internal::create(Arc::clone(&clock)).unwrap());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Own::new(authority, clock, &provider, vec![Internal::control_name().unwrap()]).unwrap()
    }

    #[test]
    fn control_that_runs_for_months_shows_a_certificate_that_counts() {
        let clock = Arc::new(TestClock(AtomicI64::new(NEW_YEAR)));
        let own = own(&clock);
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

    #[test]
    fn an_address_is_named_once_and_their_number_is_bounded() {
        let own = own(&Arc::new(TestClock(AtomicI64::new(NEW_YEAR))));
        let first = own.current();
        own.reached_by([10, 0, 0, 1].into());
        let second = own.current();
        own.reached_by("::ffff:10.0.0.1".parse().unwrap());
        assert!(!Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&second, &own.current()));
        for last in 0..=255 {
            own.reached_by([10, 0, 1, last].into());
        }
        let names = own.current.lock().unwrap().names.len();
        assert_eq!(names, limits::API_CERTIFICATE_ADDRESSES_MAX);
    }
}

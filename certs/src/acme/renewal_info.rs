//! When the authority would like a certificate renewed (RFC 9773).

use std::time::Duration;

use instant_acme::CertificateIdentifier;
use rustls_pki_types::CertificateDer;

use super::account::Account;
use super::error::{AcmeError, Kind, clean};

/// Shortest and longest wait between two questions (RFC 9773 § 4.3.2 leaves the bounds to us).
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));

/// The time in which to renew. One that is past means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Begin, in Unix seconds.
    pub start: u64,
    /// End, in Unix seconds; after [`Window::start`].
    pub end: u64,
    /// A page for people that says why, if the authority gives one.
    pub explanation: Option<String>,
    /// When to ask again, between a minute and a day.
    pub retry_after: Duration,
}

/// Asks when to renew a leaf (DER): one request, which needs no signature.
///
/// Returns `None` when the authority does not say, or the leaf has no authority key identifier to ask by.
///
/// Errors: what the authority answers; a window that ends before it begins (§ 4.2 wants it ignored, the caller's own
/// rule holds then).
pub async fn renewal_info(account: &Account, leaf_der: &[u8]) -> Result<Option<Window>, AcmeError> {
    const STEP: &str = "asking when to renew";
    let leaf = CertificateDer::from(leaf_der);
    let Ok(id) = CertificateIdentifier::try_from(&leaf) else { return Ok(None) };
    let work = async {
        let (info, retry_after) = match account.inner.renewal_info(&id).await {
            Ok(answer) => answer,
            Err(instant_acme::Error::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(account.fail(error)),
        };
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        let start = seconds(info.suggested_window.start.unix_timestamp());
        let end = seconds(info.suggested_window.end.unix_timestamp());
        if start >= end {
            return Err(account.refuse(Kind::NotAcme, "the window it suggests ends before it begins"));
        }
        Ok(Some(Window {
            start,
            end,
            explanation: info.explanation_url.as_deref().map(clean),
            retry_after: retry_after.clamp(RETRY_AFTER.0, RETRY_AFTER.1),
        }))
    };
    account.step(STEP, work).await
}

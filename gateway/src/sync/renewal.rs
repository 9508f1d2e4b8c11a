//! The gateway's certificate while it serves: renewed on the stream, shown at the next dial.
//!
//! Asks once two thirds of the certificate's life have passed, with a new key that lies in memory alone until control
//! answered for it. A try that comes to nothing is repeated after a pause; the old certificate counts meanwhile.

use std::sync::Arc;

use certs::self_signed::Request;
use config::limits;
use config::secret::Secret;
use config::sync::message::{Message, Renew, Renewed};
use rustls::ClientConfig;

use super::SyncError;
use super::enrol::blocking;
use super::identity::{Files, Identity};

/// Unix seconds; a parameter so that a test can advance it.
pub(super) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The machine's clock.
pub(super) fn system_clock() -> Clock {
    Arc::new(|| {
        let passed = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        i64::try_from(passed.as_secs()).unwrap_or(i64::MAX)
    })
}

/// The identity in use, and a renewal under way.
pub(super) struct Renewal {
    identity: Identity,
    files: Files,
    clock: Clock,
    asked_at: Option<i64>,
    /// Of the request that was sent on the stream at hand.
    key: Option<Secret<Vec<u8>>>,
}

impl Renewal {
    pub(super) fn new(identity: Identity, files: Files, clock: Clock) -> Self {
        Self { identity, files, clock, asked_at: None, key: None }
    }

    /// What to dial with.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.identity.config)
    }

    /// Where the join token said control is.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.identity.addresses.clone()
    }

    /// This gateway joined anew.
    pub(super) fn replace(&mut self, identity: Identity) {
        (self.identity, self.asked_at, self.key) = (identity, None, None);
    }

    /// Whether it is time to ask.
    pub(super) fn is_due(&self) -> bool {
        let now = (self.clock)();
        let pause = limits::RENEWAL_PAUSE_SECONDS;
        now >= self.identity.said.validity.renew_at()
            && self.asked_at.is_none_or(|asked| now >= asked.saturating_add(pause))
    }

    /// The request to send; its key is kept until the answer comes or the stream ends.
    pub(super) fn ask(&mut self) -> Option<Message> {
        self.asked_at = Some((self.clock)());
        match Request::create("renewal") {
            Ok(request) => {
                self.key = Some(request.key);
                Some(Message::Renew(Renew { csr: request.csr_der }))
            }
            Err(error) => {
                tracing::error!(%error, "no key for a new certificate of this gateway");
                None
            }
        }
    }

    /// Control's answer: on the disk first, then in use. One that does not fit leaves everything as it is.
    pub(super) async fn take(&mut self, renewed: Renewed) {
        let Some(key) = self.key.take() else {
            return tracing::warn!("control sent a certificate that was not asked for");
        };
        let (files, old) = (self.files.clone(), self.identity.clone());
        let written: Result<Identity, SyncError> =
            blocking(move || files.renew(&old, &renewed.chain, &key)).await;
        match written {
            Ok(identity) => {
                tracing::info!(
                    until = identity.said.validity.not_after,
                    "this gateway's certificate was renewed"
                );
                self.identity = identity;
                self.asked_at = None;
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate of this gateway is not used; asking again later");
            }
        }
    }

    /// The stream is gone, and with it the answer.
    pub(super) fn disconnected(&mut self) {
        self.key = None;
    }
}

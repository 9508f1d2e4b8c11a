//! Certificates from public authorities: accounts with them, orders as jobs, and when to renew.
//!
//! Nothing here is on a gateway's path: an order that waits or fails leaves what is served as it is. Start at [`run`].

pub mod account;
mod budget;
pub mod order;
pub mod outside;
mod real;
pub mod renewal;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::App;
use crate::store::lease::{self, Lease};
pub use outside::Outside;
pub use tally::{Ended, Tally};

/// What is done under the lease.
const LEASE: &str = "acme";
/// How long a lease lasts, in microseconds: what the orders of a control that was killed wait for another.
const LASTS: i64 = 30_000_000;
/// How often it is made to last longer, or asked for.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Renewals that fail until the holder stops by itself, before the lease is anybody else's.
const FAILURES_MAX: u32 = 4;

/// Wakes the orders, and says on the strength of what they are worked on.
#[derive(Debug, Default)]
pub struct Nudge {
    orders: Notify,
    renewals: Notify,
    lease: Mutex<Option<Lease>>,
    tally: Tally,
}

impl Nudge {
    /// Wakes the orders: one was opened, or is to be tried at once. A burst is one waking.
    pub fn wake(&self) {
        self.orders.notify_one();
    }

    /// Wakes the renewals: what was just issued may live shorter than their pause.
    pub(super) fn issued(&self) {
        self.renewals.notify_one();
    }

    /// How orders ended here.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The lease that this control holds, if it works on orders.
    fn lease(&self) -> Option<Lease> {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, lease: Option<Lease>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }
}

/// Carries orders on and looks what is to be renewed, until `stop`; run it once beside the listeners.
///
/// Where several controls share a database one of them does it at a time, the one that holds the lease. Should another take it
/// over while a step is under way, the epoch of the lease and the revision of the order's row keep the older result
/// out, and every step may be repeated.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let outside = Outside::real();
    let holder = uuid::Uuid::new_v4().to_string();
    while let Some(lease) = acquired(&app, &holder, &stop).await {
        app.acme.hold(Some(lease));
        let held = stop.child_token();
        let orders = order::job::run(Arc::clone(&app), outside.clone(), held.clone());
        let renewals = renewal::run(Arc::clone(&app), outside.clone(), held.clone());
        tokio::join!(Box::pin(orders), Box::pin(renewals), Box::pin(keep(&app, &holder, lease, held)));
        app.acme.hold(None);
    }
}

/// Waits until the lease is ours; `None` at the stop.
async fn acquired(app: &App, holder: &str, stop: &CancellationToken) -> Option<Lease> {
    let mut often = tokio::time::interval(RENEW_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            _ = often.tick() => {}
        }
        match lease::take(&app.db, LEASE, holder, LASTS).await {
            Ok(Some(lease)) => return Some(lease),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no control can be chosen for orders"
                );
            }
        }
    }
}

/// Keeps the lease until `held` ends, and ends it when it was lost.
async fn keep(app: &App, holder: &str, lease: Lease, held: CancellationToken) {
    let mut often = tokio::time::interval(RENEW_EVERY);
    let mut failures = 0;
    loop {
        tokio::select! {
            () = held.cancelled() => {
                if let Err(error) = lease::release(&app.db, lease).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a lease is left to run out");
                }
                return;
            }
            _ = often.tick() => {}
        }
        match lease::take(&app.db, LEASE, holder, LASTS).await {
            Ok(Some(now)) if now == lease => failures = 0,
            Ok(_) => {
                tracing::info!("another control works on orders from here on");
                held.cancel();
                return;
            }
            Err(_) => failures += 1,
        }
        if failures >= FAILURES_MAX {
            tracing::warn!("the lease of orders cannot be kept; they stand still until it can");
            held.cancel();
            return;
        }
    }
}

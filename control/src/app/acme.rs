//! Certificates from public authorities: accounts with them, orders as jobs, and when to renew.
//!
//! Nothing here is on a gateway's path: an order that waits or fails leaves what is served as it is. Start at [`run`].

pub mod account;
pub mod order;
pub mod outside;
mod real;
pub mod renewal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::App;
pub use outside::Outside;

/// Wakes the orders: one was opened, or is to be tried at once.
#[derive(Debug, Default)]
pub struct Nudge(Notify);

impl Nudge {
    /// Wakes them; a burst is one waking.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    async fn woken(&self) {
        self.0.notified().await;
    }
}

/// Carries orders on and looks what is to be renewed, until `stop`; run it once beside the listeners.
///
/// There is one task for each control. Where several share a database, a step that two of them take counts once: the row's
/// revision decides whose result stands, and every step may be repeated.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let outside = Outside::real();
    let orders = order::job::run(Arc::clone(&app), outside.clone(), stop.clone());
    tokio::join!(orders, renewal::run(app, outside, stop));
}

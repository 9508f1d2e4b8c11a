//! What closes by itself while a generation is in force: a route whose list of revoked client certificates expires.
//!
//! The route is shut by whoever looks at the list at a handshake or a request; here it is only said.

use std::sync::Arc;
use std::time::Duration;

use config::limits;

use crate::tls::clients;
use crate::worker::Shared;

/// Says what closes when it does, for ever: in the log, in what the admin endpoint and the metrics show, and from there to
/// control.
pub(crate) async fn watch(shared: Arc<Shared>) {
    loop {
        // Before the look: a generation that comes meanwhile is not missed.
        let applied = shared.gauges.next_applied();
        let pause = look(&shared);
        tokio::select! {
            () = applied => {}
            () = wait(pause) => {}
        }
    }
}

/// Names what is closed and was not named yet. Returns how long nothing more closes; `None`: ever.
fn look(shared: &Shared) -> Option<Duration> {
    let live = shared.current.pin()?;
    let known = shared.gauges.faults();
    let mut more = live.tls.degraded();
    more.retain(|what| !known.contains(what));
    for what in &more {
        tracing::warn!(generation = %live.snapshot.generation(), what, "degraded");
    }
    shared.gauges.add_faults(&more);
    let now = clients::now();
    let end = live.tls.next_end(now)?;
    Some(Duration::from_secs(end.saturating_sub(now).unsigned_abs()))
}

async fn wait(pause: Option<Duration>) {
    match pause {
        // The clock may jump meanwhile.
        Some(pause) => tokio::time::sleep(pause.min(limits::EXPIRY_LOOK)).await,
        None => std::future::pending().await,
    }
}

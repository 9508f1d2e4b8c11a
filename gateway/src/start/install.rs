//! Puts a generation in force: compile, bind, swap, then what open flows and listeners have to do about it.

use std::sync::Arc;
use std::time::Instant;

use config::delta::Delta;
use config::snapshot::Snapshot;
use config::table::Conflicts;

use super::run::Listeners;
use crate::listener::Wanted;
use crate::live::Live;
use crate::worker::Shared;

/// What a generation goes through on its way into force.
#[derive(Clone)]
pub(crate) struct Install {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listeners: Listeners,
}

impl Install {
    /// Puts `snapshot` in force; `delta` is what made it of the one in force, if it came as a delta.
    ///
    /// Returns what is paused in it, each part named.
    ///
    /// Errors: it does not compile. The one before stays in force.
    pub(crate) async fn install(
        &self,
        snapshot: Arc<Snapshot>,
        delta: Option<&Delta>,
    ) -> Result<Vec<String>, Conflicts> {
        let began = Instant::now();
        let before = self.shared.current.pin();
        let compiled = match (&before, delta) {
            (Some(live), Some(delta)) if follows(live, delta) => live.recompile(snapshot, delta),
            _ => compile_aside(snapshot).await,
        };
        let (live, mut degraded) = compiled.inspect_err(|_| self.shared.gauges.refused())?;
        // Bind before the swap: a request routed by the new generation must find its port open.
        degraded.extend(self.bind().await);
        let live = Arc::new(live);
        self.shared.current.replace(Arc::clone(&live));
        if let Some(before) = before {
            self.shared.sessions.reconcile(&before.snapshot, &live.snapshot);
        }
        self.shared.gauges.applied(began.elapsed(), degraded.clone());
        let generation = live.snapshot.generation();
        tracing::info!(%generation, objects = live.snapshot.len(), degraded = degraded.len(), took = ?began.elapsed(), "in force");
        Ok(degraded)
    }

    /// Brings the listeners to what is wanted; names those that are paused.
    async fn bind(&self) -> Vec<String> {
        let mut supervisor = self.listeners.lock().await;
        if !supervisor.has_started() {
            // The checkpoint comes before the listeners, and they are all or nothing at the start.
            return Vec::new();
        }
        supervisor.apply(&Wanted::from_settings(&self.shared.settings), Instant::now()).await;
        let listed = supervisor.list();
        let paused = listed.iter().filter_map(|one| Some(format!("{}: {}", one.kind, one.paused.as_ref()?)));
        let paused = paused.collect();
        super::run::publish(&self.shared, &supervisor);
        paused
    }
}

fn follows(live: &Live, delta: &Delta) -> bool {
    live.snapshot.generation() == delta.base && live.snapshot.lineage() == delta.lineage
}

/// A whole snapshot takes its time, in which the admin endpoint and the stream to control must go on.
async fn compile_aside(snapshot: Arc<Snapshot>) -> Result<(Live, Vec<String>), Conflicts> {
    let again = Arc::clone(&snapshot);
    match tokio::task::spawn_blocking(move || Live::compile(snapshot)).await {
        Ok(compiled) => compiled,
        // It panicked or was cancelled; here it says so in the usual way.
        Err(_) => Live::compile(again),
    }
}

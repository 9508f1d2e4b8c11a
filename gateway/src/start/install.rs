//! Puts a generation in force: compile, bind, swap, then what open flows have to do about it, and the checkpoint.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use config::delta::Delta;
use config::snapshot::Snapshot;
use config::table::Conflicts;

use super::run::Listeners;
use crate::checkpoint::Checkpoint;
use crate::listener::Wanted;
use crate::live::Live;
use crate::worker::Shared;

/// What a generation goes through on its way into force.
#[derive(Clone)]
pub(crate) struct Install {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listeners: Listeners,
    pub(crate) checkpoint: Arc<Mutex<Checkpoint>>,
}

impl Install {
    /// Puts `snapshot` in force and on disk; `delta` is what made it of the one in force, if it came as a delta.
    ///
    /// Returns what is paused in it, each part named; a disk that does not take it is one of them.
    ///
    /// Errors: it does not compile. The one before stays in force.
    pub(crate) async fn install(
        &self,
        snapshot: Arc<Snapshot>,
        delta: Option<Delta>,
    ) -> Result<Vec<String>, Conflicts> {
        let began = Instant::now();
        let live = self.compile(Arc::clone(&snapshot), delta.as_ref()).await;
        let (live, mut degraded) = live.inspect_err(|_| self.shared.gauges.refused())?;
        // Bind before the swap: a request routed by the new generation must find its port open.
        degraded.extend(self.bind().await);
        self.swap(live);
        // Durable before it is acknowledged, and served before it is durable: nobody waits for a disk.
        degraded.extend(self.save(Arc::clone(&snapshot), delta).await);
        self.report(&snapshot, began, degraded.clone());
        Ok(degraded)
    }

    /// Puts the checkpoint's generation in force, before anything listens.
    ///
    /// Errors: it does not compile, so it is of a program that knew other rules. Nothing is in force then.
    pub(crate) async fn install_saved(&self, snapshot: Arc<Snapshot>) -> Result<(), Conflicts> {
        let began = Instant::now();
        let (live, degraded) = self.compile(Arc::clone(&snapshot), None).await?;
        self.swap(live);
        self.report(&snapshot, began, degraded);
        Ok(())
    }

    async fn compile(
        &self,
        snapshot: Arc<Snapshot>,
        delta: Option<&Delta>,
    ) -> Result<(Live, Vec<String>), Conflicts> {
        match (self.shared.current.pin(), delta) {
            (Some(live), Some(delta)) if follows(&live, delta) => live.recompile(snapshot, delta),
            _ => compile_aside(snapshot).await,
        }
    }

    fn swap(&self, live: Live) {
        let live = Arc::new(live);
        if let Some(before) = self.shared.current.replace(Arc::clone(&live)) {
            self.shared.sessions.reconcile(&before.snapshot, &live.snapshot);
        }
    }

    async fn save(&self, snapshot: Arc<Snapshot>, delta: Option<Delta>) -> Option<String> {
        let checkpoint = Arc::clone(&self.checkpoint);
        let save = move || {
            // A save that panicked left its files as they were: they are written aside.
            checkpoint.lock().unwrap_or_else(PoisonError::into_inner).save(&snapshot, delta.as_ref())
        };
        let cause = match tokio::task::spawn_blocking(save).await {
            Ok(Ok(())) => return None,
            Ok(Err(cause)) => cause.to_string(),
            Err(cause) => cause.to_string(),
        };
        tracing::error!(%cause, "the checkpoint cannot be written: a restart would go back");
        Some(format!("checkpoint: cannot be written: {cause}"))
    }

    fn report(&self, snapshot: &Snapshot, began: Instant, degraded: Vec<String>) {
        let (generation, objects, took) = (snapshot.generation(), snapshot.len(), began.elapsed());
        tracing::info!(%generation, objects, degraded = degraded.len(), ?took, "in force");
        for what in &degraded {
            tracing::warn!(%generation, what, "degraded");
        }
        self.shared.gauges.applied(took, degraded);
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

#[cfg(test)]
mod tests;

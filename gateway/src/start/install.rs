//! Puts a generation in force: compile, bind, swap, then what open flows have to do about it.
//!
//! What makes it durable is the stream's business (`sync`): a generation is served before it is on disk, and on disk
//! before it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use config::delta::{self, Delta};
use config::id::GatewayId;
use config::snapshot::Snapshot;
use config::sync::asking::{Ask, Told};
use config::sync::message::{FORMATS, Hello, Listening, Report};
use config::table::Conflicts;

use super::run::Listeners;
use crate::audit::Audit;
use crate::forward::Doors;
use crate::listener::Wanted;
use crate::live::Live;
use crate::sync::{Asking, Ends, Installer, Link};
use crate::upstream::health::watch;
use crate::upstream::retired;
use crate::worker::Shared;

/// What a generation goes through on its way into force.
#[derive(Clone)]
pub(crate) struct Install {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listeners: Listeners,
    pub(crate) doors: Arc<tokio::sync::Mutex<Doors>>,
    /// Random number of this start of the process.
    pub(crate) boot: u64,
}

impl Installer for Install {
    async fn install(&self, snapshot: Arc<Snapshot>, delta: Option<Delta>) -> Result<Vec<String>, String> {
        self.put_in_force(snapshot, delta.as_ref()).await.map_err(|conflicts| {
            self.shared.gauges.refused();
            conflicts.to_string()
        })
    }

    fn degraded(&self) -> Option<Vec<String>> {
        Some(self.shared.degraded())
    }

    async fn turn(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        Some(self.shared.upgrade.turn().await)
    }

    fn is_handed(&self) -> bool {
        self.shared.upgrade.is_handed()
    }

    async fn stepped_back(&self) {
        self.shared.upgrade.stepped_back().await;
    }

    fn met(&self, ends: Ends) {
        self.shared.control_ends.store(Some(Arc::new(ends)));
    }

    fn named(&self, gateway: GatewayId) {
        self.shared.gateway.store(Some(Arc::new(gateway)));
    }

    fn hello(&self) -> Hello {
        let listed = self.shared.listeners.load();
        let open = listed.iter().filter(|one| one.paused.is_none()).map(|one| (one.kind.name(), one.address));
        let admin = self.shared.admin.load();
        let open = open.chain(admin.as_ref().map(|address| ("admin", **address)));
        Hello {
            boot: self.boot,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            formats: FORMATS.to_vec(),
            listeners: open.map(|(kind, address)| Listening { kind: kind.to_owned(), address }).collect(),
            draining: self.shared.drain.is_draining(),
            // What is in force is the follower's to say.
            ..Hello::default()
        }
    }

    fn report(&self) -> Report {
        let answered = |class: usize| {
            self.shared.metrics.sum(|shard| shard.responses.get(class).map_or(0, |count| count.load(Relaxed)))
        };
        Report {
            connections: self.shared.guard.connections() as u64,
            sessions: self.shared.sessions.len() as u64,
            // 1xx are no answers.
            requests: (1..5).map(answered).sum(),
        }
    }

    fn asked(&self, ask: &Ask) -> Option<Told> {
        crate::console::asked::answer(&self.shared, ask)
    }

    fn asking(&self) -> Option<&Asking> {
        Some(&self.shared.asking)
    }

    fn audit(&self) -> Option<&Audit> {
        Some(&self.shared.audit)
    }

    fn link(&self, link: Link) {
        let was = self.shared.gauges.link_down();
        match link {
            Link::Up => {
                self.shared.gauges.set_link(None);
                self.shared.upgrade.follows();
                tracing::info!("following control");
            }
            Link::Down { why } => {
                // Told at every failed try; said once for each cause.
                if was.as_deref() != Some(&why) {
                    tracing::warn!(%why, "not following control: serving what is in force");
                }
                self.shared.gauges.set_link(Some(why));
            }
        }
    }
}

impl Install {
    /// Puts `snapshot` in force; `delta` is what made it of the one in force, if it came as a delta.
    ///
    /// Returns what of it is not as it should be, each part named.
    ///
    /// Errors: it does not compile. The one before stays in force.
    pub(crate) async fn put_in_force(
        &self,
        snapshot: Arc<Snapshot>,
        delta: Option<&Delta>,
    ) -> Result<Vec<String>, Conflicts> {
        let began = Instant::now();
        let (live, faults) = self.compile(Arc::clone(&snapshot), delta).await?;
        // Bind before the swap: a request routed by the new generation must find its port open.
        self.bind().await;
        let mut doors = self.doors.lock().await;
        doors.open(&live.forwards, &snapshot, Instant::now()).await;
        let live = Arc::new(live);
        match self.shared.current.replace(Arc::clone(&live)) {
            Some(before) => {
                self.shared.sessions.reconcile(&before.snapshot, &live.snapshot);
                self.follow(&before.snapshot, &live.snapshot, delta).await;
            }
            None => self.watch(watch::of_whole(&live.table)).await,
        }
        // After open flows heard what becomes of them: those of UDP stand on these sockets.
        doors.close().await;
        drop(doors);
        self.shared.gauges.applied(began.elapsed(), faults);
        let degraded = self.shared.degraded();
        let (generation, objects, took) = (snapshot.generation(), snapshot.len(), began.elapsed());
        tracing::info!(%generation, objects, degraded = degraded.len(), ?took, "in force");
        for what in &degraded {
            tracing::warn!(%generation, what, "degraded");
        }
        Ok(degraded)
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

    /// Closes idle connections to endpoints that are in no route any more, forgets what was known of them, and asks
    /// those that are to be asked.
    async fn follow(&self, old: &Snapshot, new: &Snapshot, delta: Option<&Delta>) {
        let follows = |delta: &&Delta| old.generation() == delta.base && old.lineage() == delta.lineage;
        let whole = delta.filter(follows).is_none().then(|| delta::diff(old, new));
        let Some(step) = whole.as_ref().or(delta) else { return };
        self.watch(watch::of_step(old, new, step)).await;
        let left = retired::of_step(old, new, step);
        self.shared.health.retire(&left, &retired::routes(step));
        if !left.is_empty() {
            self.listeners.lock().await.retire(left);
        }
    }

    async fn watch(&self, changes: Vec<watch::Wanted>) {
        if !changes.is_empty() {
            self.listeners.lock().await.watch(changes).await;
        }
    }

    /// Brings the listeners to what is wanted.
    async fn bind(&self) {
        let mut supervisor = self.listeners.lock().await;
        if !supervisor.has_started() {
            // The checkpoint comes before the listeners, and they are all or nothing at the start.
            return;
        }
        supervisor.apply(&Wanted::from_settings(&self.shared.settings), Instant::now()).await;
        super::run::publish(&self.shared, &supervisor);
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

//! Holds what is bound to what is wanted: make before break, and each listener fails alone.
//!
//! [`plan`] is pure. [`Supervisor`] owns the applied state and is driven by one task: [`Supervisor::start`] once, where
//! any failure is fatal, then [`Supervisor::apply`] for each new set and [`Supervisor::retry`] when
//! [`Supervisor::retry_at`] has come.

use std::collections::{BTreeMap, HashSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::id::EndpointId;
use config::limits;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bind::{BindError, Bound, bind, join};
use super::ports::{self, Ports};
use super::{Kind, Wanted};
use crate::upstream::health::watch;
use crate::worker::{Command, Handle, Listen};

/// What it takes to get from applied to desired.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be opened, first.
    pub open: Vec<Wanted>,
    /// To be closed, once everything new is open.
    pub close: Vec<Wanted>,
}

/// Compares what is wanted with what is there, open or paused.
pub fn plan<'a>(desired: &[Wanted], applied: impl IntoIterator<Item = &'a Wanted>) -> Plan {
    let mut plan = Plan { open: desired.to_vec(), close: Vec::new() };
    for there in applied {
        match plan.open.iter().position(|wanted| wanted == there) {
            Some(place) => drop(plan.open.remove(place)),
            None => plan.close.push(*there),
        }
    }
    plan
}

/// A listener in force, for people to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What is spoken there.
    pub kind: Kind,
    /// The bound address; the configured one while paused.
    pub address: SocketAddr,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
}

enum State {
    Open { address: SocketAddr, close: CancellationToken },
    Paused { error: String, pause: Duration, again: Instant },
}

type Opened = Vec<(Wanted, Bound)>;
type Failed = Vec<(Wanted, BindError)>;

/// The applied listeners of a gateway.
pub struct Supervisor {
    workers: Arc<[Handle]>,
    ports: Ports,
    applied: BTreeMap<Wanted, State>,
    loops: TaskTracker,
    admin: Option<SocketAddr>,
    started: bool,
    /// What the process before handed over and nobody has yet.
    inherited: Vec<(Wanted, Bound)>,
    /// Bound, and not accepted on yet.
    prepared: Opened,
}

impl Supervisor {
    /// Nothing applied yet.
    pub(crate) fn new(workers: Arc<[Handle]>, ports: Ports) -> Self {
        Self {
            workers,
            ports,
            applied: BTreeMap::new(),
            loops: TaskTracker::new(),
            admin: None,
            started: false,
            inherited: Vec::new(),
            prepared: Vec::new(),
        }
    }

    /// Takes what the process before handed over; [`Supervisor::prepare`] uses what is wanted of it.
    pub(crate) fn inherit(&mut self, listeners: Vec<(Wanted, Bound)>) {
        self.inherited = listeners;
    }

    /// Opens everything or nothing: at the start of the process a taken port is a mistake that somebody is there to
    /// see.
    ///
    /// Errors: every listener that cannot be had.
    #[cfg(test)]
    pub(crate) async fn start(&mut self, desired: &[Wanted]) -> Result<(), Vec<BindError>> {
        self.prepare(desired)?;
        self.open().await;
        Ok(())
    }

    /// The first half of a start: everything is bound or nothing. Nobody accepts yet.
    ///
    /// Errors: every listener that cannot be had.
    pub(crate) fn prepare(&mut self, desired: &[Wanted]) -> Result<(), Vec<BindError>> {
        let (bound, errors) = self.bind_all(desired);
        // What is left of them nobody wants any more; the process before takes what is queued there.
        self.inherited.clear();
        if !errors.is_empty() {
            return Err(errors.into_iter().map(|(_, error)| error).collect());
        }
        self.prepared = bound;
        Ok(())
    }

    /// The second half: what is bound is accepted on.
    pub(crate) async fn open(&mut self) {
        for (wanted, bound) in std::mem::take(&mut self.prepared) {
            self.hand_out(wanted, bound).await;
        }
        self.started = true;
    }

    /// Which listener of the settings is open at an address.
    pub(crate) fn wanted_at(&self, kind: Kind, bound: SocketAddr) -> Option<Wanted> {
        let is_there = |state: &State| matches!(state, State::Open { address, .. } if *address == bound);
        self.applied
            .iter()
            .find(|(wanted, state)| wanted.kind == kind && is_there(state))
            .map(|(wanted, _)| *wanted)
    }

    /// Has the admin endpoint of the process before, if it is where it is wanted.
    pub(crate) fn adopt_admin(&mut self, wanted: SocketAddr, socket: TcpListener) -> Option<Bound> {
        let address = socket.local_addr().ok()?;
        let fits = address.ip() == wanted.ip() && (wanted.port() == 0 || address.port() == wanted.port());
        fits.then(|| {
            self.admin = Some(address);
            Bound { address, sockets: vec![socket] }
        })
    }

    /// Opens the admin endpoint, which is no worker's; port 0 is remembered like the others'.
    pub(crate) fn bind_admin(&mut self, address: SocketAddr) -> Result<Bound, BindError> {
        let key = "admin".to_owned();
        let mut changed = false;
        let bound = self.bind_remembered(key, address, 1, &mut changed);
        self.save(changed);
        self.admin = bound.as_ref().ok().map(|bound| bound.address);
        bound
    }

    /// The admin endpoint, if it is open.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Whether the listeners of the start are open.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// Brings what is applied to `desired`; what cannot be had is paused alone and tried again.
    pub(crate) async fn apply(&mut self, desired: &[Wanted], now: Instant) {
        let plan = plan(desired, self.applied.keys());
        let (bound, errors) = self.bind_all(&plan.open);
        for (wanted, bound) in bound {
            self.hand_out(wanted, bound).await;
        }
        for (wanted, error) in errors {
            tracing::warn!(kind = %wanted.kind, %error, "a listener is paused");
            let pause = limits::LISTENER_RETRY.0;
            let state = State::Paused { error: error.to_string(), pause, again: now + pause };
            self.applied.insert(wanted, state);
        }
        for wanted in plan.close {
            if let Some(State::Open { address, close }) = self.applied.remove(&wanted) {
                tracing::info!(kind = %wanted.kind, %address, "a listener closes");
                close.cancel();
            }
        }
    }

    /// Tries what is paused and due.
    pub(crate) async fn retry(&mut self, now: Instant) {
        let due: Vec<Wanted> = self
            .applied
            .iter()
            .filter(|(_, state)| matches!(state, State::Paused { again, .. } if *again <= now))
            .map(|(wanted, _)| *wanted)
            .collect();
        let (bound, errors) = self.bind_all(&due);
        for (wanted, bound) in bound {
            self.hand_out(wanted, bound).await;
        }
        for (wanted, error) in errors {
            if let Some(State::Paused { error: shown, pause, again }) = self.applied.get_mut(&wanted) {
                *shown = error.to_string();
                *pause = (*pause * 2).min(limits::LISTENER_RETRY.1);
                *again = now + *pause;
            }
        }
    }

    /// When [`Supervisor::retry`] has something to do.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        let paused = self.applied.values().filter_map(|state| match state {
            State::Paused { again, .. } => Some(*again),
            State::Open { .. } => None,
        });
        paused.min()
    }

    /// Stops accepting everywhere. Done when what the kernel had queued is handed out.
    pub(crate) async fn close_all(&mut self) {
        // A generation that comes during the drain must not open them again.
        self.started = false;
        for state in std::mem::take(&mut self.applied).into_values() {
            if let State::Open { close, .. } = state {
                close.cancel();
            }
        }
        self.loops.close();
        self.loops.wait().await;
    }

    /// Has every worker close its idle connections to these endpoints. One that is too busy keeps them until they are
    /// too old, which is less than a minute.
    pub(crate) fn retire(&self, ids: HashSet<EndpointId>) {
        let ids = Arc::new(ids);
        for worker in self.workers.iter() {
            worker.offer(Command::Retire(Arc::clone(&ids)));
        }
    }

    /// Has the first worker ask these whether they are well.
    pub(crate) async fn watch(&self, changes: Vec<watch::Wanted>) {
        if let Some(first) = self.workers.first() {
            first.send(Command::Watch(changes)).await;
        }
    }

    /// Every listener, open or paused, in order of kind.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let listed = self.applied.iter().map(|(wanted, state)| match state {
            State::Open { address, .. } => Listed { kind: wanted.kind, address: *address, paused: None },
            State::Paused { error, .. } => {
                Listed { kind: wanted.kind, address: wanted.address, paused: Some(error.clone()) }
            }
        });
        listed.collect()
    }

    fn bind_all(&mut self, wanted: &[Wanted]) -> (Opened, Failed) {
        let (mut bound, mut errors, mut changed) = (Vec::new(), Vec::new(), false);
        for wanted in wanted {
            if let Some(adopted) = self.adopt(wanted) {
                bound.push((*wanted, adopted));
                continue;
            }
            match self.bind_remembered(ports::key(wanted), wanted.address, self.workers.len(), &mut changed) {
                Ok(one) => bound.push((*wanted, one)),
                Err(error) => errors.push((*wanted, error)),
            }
        }
        self.save(changed);
        (bound, errors)
    }

    /// What the process before had for this listener, as it is or at that very address, and sockets beside it for workers
    /// that it had not.
    fn adopt(&mut self, wanted: &Wanted) -> Option<Bound> {
        let same = self.inherited.iter().position(|(theirs, _)| theirs == wanted);
        let there =
            |(theirs, bound): &(Wanted, Bound)| theirs.kind == wanted.kind && bound.address == wanted.address;
        let place = same.or_else(|| self.inherited.iter().position(there))?;
        let (_, mut bound) = self.inherited.swap_remove(place);
        match join(bound.address, self.workers.len().saturating_sub(bound.sockets.len())) {
            Ok(mut more) => bound.sockets.append(&mut more),
            // Those that are there serve, too.
            Err(error) => tracing::warn!(%error, "a worker has no socket of its own there"),
        }
        Some(bound)
    }

    fn save(&self, changed: bool) {
        if changed && let Err(cause) = self.ports.save() {
            tracing::warn!(%cause, "the chosen ports cannot be kept: the next start may choose others");
        }
    }

    fn bind_remembered(
        &mut self,
        key: String,
        address: SocketAddr,
        sockets: usize,
        changed: &mut bool,
    ) -> Result<Bound, BindError> {
        let remembered = self.ports.address(&key, address);
        let bound = match bind(remembered, sockets) {
            // Somebody took the port since: with port 0, another one is what was asked for.
            Err(_) if remembered != address => bind(address, sockets)?,
            done => done?,
        };
        if address.port() == 0 {
            *changed |= self.ports.chose(key, bound.address.port());
        }
        Ok(bound)
    }

    async fn hand_out(&mut self, wanted: Wanted, bound: Bound) {
        let close = CancellationToken::new();
        // A process before may have had more workers, and with them more sockets.
        for (worker, socket) in self.workers.iter().cycle().zip(bound.sockets) {
            let alive = self.loops.token();
            worker
                .send(Command::Listen(Listen { kind: wanted.kind, socket, close: close.clone(), alive }))
                .await;
        }
        tracing::info!(kind = %wanted.kind, address = %bound.address, "listening");
        self.applied.insert(wanted, State::Open { address: bound.address, close });
    }
}

#[cfg(test)]
mod tests;

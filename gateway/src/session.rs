//! The registry of open sessions: upgraded connections and jumps. They can be listed and ended, and each knows the
//! objects it stands on, so that a change ends exactly the flows it concerns (DESIGN D5).
//!
//! A session begins with [`Sessions::open_under`], moves its bytes in [`SessionHandle::relay`] and is closed when the
//! handle is dropped. What a new generation means for it is decided in [`reconcile`]. An order to end only ever comes
//! nearer: a later, milder change does not call an earlier one back.

mod reconcile;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use config::id::{ConsoleId, EndpointId, ForwardId, RouteId, SessionId, UserId, VmId};
use config::snapshot::{FlowPolicy, Snapshot};
use config::sync::asking::{SessionSeen, source_text};
use config::sync::audit::{Carried, On, What, Who};
use dashmap::DashMap;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::audit::{Audit, Happened};
use crate::live::Current;
use crate::relay::{self, Counts, RelayLimits, Totals};
use reconcile::Step;

/// What a session is and stands on.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What kind of flow.
    pub kind: SessionKind,
    /// Who it comes from: the client, also behind trusted proxies, which do not say its port; that is 0 then.
    pub peer: SocketAddr,
    /// Who authenticated, on SSH.
    pub principal: Option<UserId>,
    /// The route it came by.
    pub route: Option<RouteId>,
    /// The port forward it came by.
    pub forward: Option<ForwardId>,
    /// The endpoint it goes to.
    pub endpoint: Option<EndpointId>,
    /// The VM it goes to.
    pub vm: Option<VmId>,
    /// The console it shows.
    pub console: Option<ConsoleId>,
}

/// Kind of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// An upgraded HTTP connection.
    Upgrade,
    /// A connection, or a client's datagrams, that came by a port forward.
    Forward,
    /// A `direct-tcpip` channel.
    Jump,
    /// A console of a machine.
    Console,
    /// A console whose holder may only look.
    Look,
    /// A connection whose TLS is the upstream's.
    Passthrough,
}

impl SessionKind {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Forward => "forward",
            Self::Jump => "jump",
            Self::Console => "console",
            Self::Look => "look",
            Self::Passthrough => "passthrough",
        }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Both ends were done.
    Finished,
    /// Nothing moved for too long.
    Idle,
    /// One end broke.
    Broken,
    /// Its object went, or somebody ended it.
    Cut,
    /// The process stops.
    Stopping,
}

impl EndReason {
    /// The word for it in the audit.
    const fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Idle => "idle for too long",
            Self::Broken => "one end broke",
            Self::Cut => "cut by a change, or by somebody",
            Self::Stopping => "the gateway stops",
        }
    }
}

/// One open session as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionInfo {
    /// What [`Sessions::end`] takes.
    pub id: String,
    /// What kind of flow.
    pub kind: SessionKind,
    /// Who it comes from, as `IP:port`; without the port where a proxy keeps that to itself.
    pub peer: String,
    /// Id of the user who authenticated, on SSH.
    pub principal: Option<String>,
    /// Id of the route it came by.
    pub route: Option<String>,
    /// Id of the port forward it came by.
    pub forward: Option<String>,
    /// Id of the endpoint it goes to.
    pub endpoint: Option<String>,
    /// Id of the VM it goes to.
    pub vm: Option<String>,
    /// Id of the console it shows.
    pub console: Option<String>,
    /// When it was opened, in milliseconds since 1970 UTC.
    pub started_ms: u64,
    /// Bytes towards the VM so far.
    pub bytes_up: u64,
    /// Bytes towards the user so far.
    pub bytes_down: u64,
}

/// Open sessions of the gateway.
#[derive(Default)]
pub struct Sessions {
    open: DashMap<SessionId, Arc<Entry>>,
    /// Moves with every generation, for sessions that know more of their rights than a [`Subject`] says.
    steps: tokio::sync::watch::Sender<()>,
    /// Hears of sessions that are worth a row.
    audit: Arc<Audit>,
}

// Not Clone: two owners could close it twice.
/// An open session, held by the task that relays it; dropping it closes the entry.
pub struct SessionHandle {
    sessions: Arc<Sessions>,
    entry: Arc<Entry>,
}

struct Entry {
    id: SessionId,
    subject: Subject,
    started: SystemTime,
    counts: Counts,
    order: Mutex<Option<Order>>,
    /// Of what the audit hears of; boxed, since most tunnels are nobody's.
    told: OnceLock<Box<Told>>,
    /// Tells those who wait of another order. A `watch` would be a quarter of what a tunnel at rest costs.
    ordered: Notify,
}

/// What the audit hears of a session besides what it is and stands on.
struct Told {
    on: On,
    who: Who,
    proof: String,
    /// Why it ended, once whoever relayed it says so.
    end: Mutex<Option<String>>,
}

/// When a session is to end, and why.
#[derive(Clone, Copy)]
struct Order {
    at: Instant,
    reason: EndReason,
}

impl Sessions {
    /// None open yet.
    pub fn telling(audit: Arc<Audit>) -> Self {
        Self { audit, ..Self::default() }
    }

    /// Registers a session. The handle's [`SessionHandle::ended`] resolves when it is to end.
    ///
    /// A session that was admitted under a pinned generation is opened with [`Sessions::open_under`].
    pub fn open(self: &Arc<Self>, subject: Subject) -> SessionHandle {
        self.open_as(SessionId::from_uuid(uuid::Uuid::now_v7()), subject)
    }

    /// Registers a session with this id, or another if it is taken.
    fn open_as(self: &Arc<Self>, mut id: SessionId, subject: Subject) -> SessionHandle {
        loop {
            if let dashmap::Entry::Vacant(free) = self.open.entry(id) {
                let entry = Arc::new(Entry {
                    id,
                    subject,
                    started: SystemTime::now(),
                    counts: Counts::default(),
                    order: Mutex::new(None),
                    told: OnceLock::new(),
                    ordered: Notify::new(),
                });
                free.insert(Arc::clone(&entry));
                return SessionHandle { sessions: Arc::clone(self), entry };
            }
            id = SessionId::from_uuid(uuid::Uuid::now_v7());
        }
    }

    /// Registers a session that was admitted under `pinned`.
    ///
    /// If another generation came into force in between, the session is held against it at once: the step to it may
    /// have been reconciled before this session could be seen. Relies on [`Current::replace`] coming before
    /// [`Sessions::reconcile`].
    pub fn open_under(
        self: &Arc<Self>,
        subject: Subject,
        pinned: &Snapshot,
        current: &Current,
    ) -> SessionHandle {
        self.held_against(self.open(subject), pinned, current)
    }

    /// Registers the console that a ticket opens, as the session that its redemption took for it. Were that one open
    /// already, it would get another: each can be listed and ended.
    pub fn open_console(
        self: &Arc<Self>,
        id: SessionId,
        subject: Subject,
        pinned: &Snapshot,
        current: &Current,
    ) -> SessionHandle {
        self.held_against(self.open_as(id, subject), pinned, current)
    }

    #[expect(clippy::unused_self, reason = "reads as a step of the two above")]
    fn held_against(&self, handle: SessionHandle, pinned: &Snapshot, current: &Current) -> SessionHandle {
        if let Some(newest) = current.pin() {
            let newest = &newest.snapshot;
            if newest.generation() != pinned.generation() || newest.lineage() != pinned.lineage() {
                let policy = Step::new(pinned, newest).policy(&handle.entry.subject);
                handle.entry.obey(policy);
            }
        }
        handle
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The open sessions, oldest first, with their bytes so far.
    pub fn list(&self) -> Vec<SessionInfo> {
        let mut entries = self.entries();
        entries.sort_unstable_by_key(|entry| entry.id);
        entries.iter().map(|entry| entry.info()).collect()
    }

    /// At most `limit` open sessions after this one, in the order of ids, and whether others follow. Cost: proportional
    /// to all of them.
    pub fn page(&self, after: Option<SessionId>, limit: usize) -> (Vec<SessionSeen>, bool) {
        let mut entries = self.entries();
        entries.retain(|entry| after.is_none_or(|after| entry.id > after));
        entries.sort_unstable_by_key(|entry| entry.id);
        let more = entries.len() > limit;
        entries.truncate(limit);
        (entries.iter().map(|entry| entry.seen()).collect(), more)
    }

    /// One open session.
    pub fn one(&self, id: SessionId) -> Option<SessionSeen> {
        self.open.get(&id).map(|entry| entry.seen())
    }

    /// Ends one session; `false` if there is none with this id.
    pub fn end(&self, id: SessionId) -> bool {
        let found = self.open.get(&id).map(|entry| Arc::clone(&entry));
        found.is_some_and(|entry| {
            entry.end_within(Duration::ZERO, EndReason::Cut);
            true
        })
    }

    /// Ends every session: the process stops.
    pub fn stop(&self) {
        for entry in self.entries() {
            entry.end_within(Duration::ZERO, EndReason::Stopping);
        }
    }

    /// Ends what the step from `old` to `new` concerns, each by its object's policy.
    ///
    /// To be called after `new` came into force. Cost: proportional to the open sessions, not to the snapshots.
    pub fn reconcile(&self, old: &Snapshot, new: &Snapshot) {
        let mut step = Step::new(old, new);
        for entry in self.entries() {
            let policy = step.policy(&entry.subject);
            entry.obey(policy);
        }
        self.steps.send_replace(());
    }

    /// Changes when another generation came into force and was held against the open sessions.
    pub(crate) fn steps(&self) -> tokio::sync::watch::Receiver<()> {
        self.steps.subscribe()
    }

    /// A copy of the entries: no guard of the map is held while something is decided about them.
    fn entries(&self) -> Vec<Arc<Entry>> {
        self.open.iter().map(|entry| Arc::clone(&entry)).collect()
    }
}

impl Entry {
    fn obey(&self, policy: FlowPolicy) {
        match policy {
            FlowPolicy::Keep => {}
            FlowPolicy::Drain { ms } => self.end_within(Duration::from_millis(ms.into()), EndReason::Cut),
            FlowPolicy::Cut => self.end_within(Duration::ZERO, EndReason::Cut),
        }
    }

    fn end_within(&self, time: Duration, reason: EndReason) {
        // A time too long to be a moment is no order at all.
        let Some(at) = Instant::now().checked_add(time) else { return };
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if order.is_none_or(|held| at < held.at) {
            *order = Some(Order { at, reason });
            drop(order);
            self.ordered.notify_waiters();
        }
    }

    fn order(&self) -> Option<Order> {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn happened(&self, told: &Told, what: What) -> Happened {
        Happened {
            what,
            on: told.on.clone(),
            who: told.who,
            proof: told.proof.clone(),
            source: self.subject.peer.ip(),
            session: Some(self.id),
            why: String::new(),
            totals: None,
        }
    }

    fn started_ms(&self) -> u64 {
        let since_1970 = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
    }

    fn seen(&self) -> SessionSeen {
        let Subject { kind, peer, principal, route, forward, endpoint, vm, console } = self.subject;
        SessionSeen {
            id: self.id,
            kind: kind.name().to_owned(),
            peer,
            principal,
            route,
            forward,
            endpoint,
            vm,
            console,
            started_ms: self.started_ms(),
            bytes_up: self.counts.up(),
            bytes_down: self.counts.down(),
            target: self.told.get().and_then(|told| match &told.on {
                On::Jump { target, .. } => Some(target.clone()),
                On::Console(_) | On::Ssh { .. } | On::Audit | On::Other => None,
            }),
        }
    }

    fn info(&self) -> SessionInfo {
        SessionInfo {
            id: self.id.to_string(),
            kind: self.subject.kind,
            peer: source_text(self.subject.peer),
            principal: self.subject.principal.map(|id| id.to_string()),
            route: self.subject.route.map(|id| id.to_string()),
            forward: self.subject.forward.map(|id| id.to_string()),
            endpoint: self.subject.endpoint.map(|id| id.to_string()),
            vm: self.subject.vm.map(|id| id.to_string()),
            console: self.subject.console.map(|id| id.to_string()),
            started_ms: self.started_ms(),
            bytes_up: self.counts.up(),
            bytes_down: self.counts.down(),
        }
    }
}

impl SessionHandle {
    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.entry.id
    }

    /// Tells the audit that the session is open; it hears of the end as well. `on`, `who` and `proof` say what of it.
    pub(crate) fn tell(&self, (on, who, proof): (On, Who, String)) {
        let told = self.entry.told.get_or_init(|| Box::new(Told { on, who, proof, end: Mutex::default() }));
        self.sessions.audit.note(self.entry.happened(told, What::Open));
    }

    /// Says why the session ended, where that is known better than by what it was ordered.
    pub(crate) fn ended_by(&self, reason: EndReason) {
        self.ended_because(reason.word().to_owned());
    }

    /// The same in words.
    pub(crate) fn ended_because(&self, why: String) {
        if let Some(told) = self.entry.told.get() {
            *told.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        }
    }

    /// Relays the session's two ends until they are done or the session is to end; the bytes count as they pass.
    pub async fn relay<A, B>(&self, downstream: &mut A, upstream: &mut B, limits: RelayLimits) -> Totals
    where
        A: AsyncRead + AsyncWrite + Unpin + 'static,
        B: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        self.relay_until(downstream, upstream, limits, std::future::pending()).await
    }

    /// [`SessionHandle::relay`] that `also` can end.
    pub async fn relay_until<A, B>(
        &self,
        downstream: &mut A,
        upstream: &mut B,
        limits: RelayLimits,
        also: impl Future<Output = EndReason>,
    ) -> Totals
    where
        A: AsyncRead + AsyncWrite + Unpin + 'static,
        B: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let ended = async {
            tokio::select! {
                reason = self.ended() => reason,
                reason = also => reason,
            }
        };
        let totals = relay::counted(downstream, upstream, limits, &self.entry.counts, ended).await;
        self.ended_by(totals.reason);
        totals
    }

    /// Counts bytes that were moved without [`SessionHandle::relay`].
    pub(crate) fn carried(&self, up: u64, down: u64) {
        self.entry.counts.add(up, down);
    }

    /// What went through so far.
    pub(crate) fn totals(&self, reason: EndReason) -> Totals {
        self.entry.counts.totals(reason)
    }

    /// Whether the session is to end at once.
    pub(crate) fn ends_now(&self) -> bool {
        self.entry.order().is_some_and(|order| order.at <= Instant::now())
    }

    /// Resolves when the session is to end, with the reason.
    pub async fn ended(&self) -> EndReason {
        loop {
            let mut changed = pin!(self.entry.ordered.notified());
            // Before the order is read: it hears of everything after that.
            changed.as_mut().enable();
            match self.entry.order() {
                None => changed.await,
                // Boxed: few sessions are ever ordered to end, and all wait here.
                Some(order) => match Box::pin(timeout_at(order.at, changed)).await {
                    Ok(()) => {}
                    Err(_) => return order.reason,
                },
            }
        }
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        self.sessions.open.remove_if(&self.entry.id, |_, open| Arc::ptr_eq(open, &self.entry));
        let Some(told) = self.entry.told.get() else { return };
        let said = told.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ordered = || self.entry.order().map(|order| order.reason);
        let why = said.unwrap_or_else(|| ordered().unwrap_or(EndReason::Finished).word().to_owned());
        let ms = self.entry.started.elapsed().unwrap_or_default().as_millis();
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        let totals = Carried { up: self.entry.counts.up(), down: self.entry.counts.down(), ms };
        self.sessions.audit.note(Happened {
            totals: Some(totals),
            why,
            ..self.entry.happened(told, What::End)
        });
    }
}

#[cfg(test)]
mod tests;

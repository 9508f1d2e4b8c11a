//! Holds the sockets of forwards to what a generation wants: make before break, and each forward fails alone.
//!
//! Driven by one task: [`Doors::start`] once, when the gateway's own listeners are open; then for each generation
//! [`Doors::open`] before it comes into force and [`Doors::close`] after; [`Doors::retry`] when [`Doors::retry_at`] has
//! come. A socket that two forwards have in turn stays open between them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::id::ForwardId;
use config::limits;
use config::snapshot::{Forward, Generation, Lineage, Snapshot, Transport};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::bind::{self, Open};
use super::{Forwards, Spot, plan};
use crate::upgrade::manifest::Flow;
use crate::worker::{Command, Handle, Shared};

/// A socket for one worker.
pub(crate) struct Door {
    /// Where it is.
    pub(crate) spot: Spot,
    /// The socket.
    pub(crate) socket: Open,
    /// Has it closed.
    pub(crate) close: CancellationToken,
    /// Held until it is closed.
    pub(crate) alive: TaskTrackerToken,
    /// Told when the forward that it is of has changed.
    pub(crate) turned: Arc<Notify>,
    /// The sessions that the process before had there.
    pub(crate) flows: Vec<(Flow, OwnedFd)>,
}

/// The sockets of all forwards.
pub(crate) struct Doors {
    shared: Arc<Shared>,
    workers: Arc<[Handle]>,
    open: HashMap<Spot, Opened>,
    applied: BTreeMap<ForwardId, Applied>,
    /// No longer wanted by who has them, once the generation is in force; by transport and port.
    leaving: HashMap<(Transport, u16), Vec<(Spot, ForwardId)>>,
    /// Forwards that are gone with it.
    gone: Vec<ForwardId>,
    /// Those that it has, as they are now.
    changed: Vec<Arc<Forward>>,
    /// Told to close, and not closed yet.
    closing: Vec<Closing>,
    /// How long that is waited for.
    pub(super) closes_within: Duration,
    /// The generation that `applied` is of.
    at: Option<(Lineage, Generation)>,
    sockets: usize,
    has_started: bool,
    /// What the process before handed over and nobody has yet.
    inherited: HashMap<Spot, Vec<Open>>,
    flows: HashMap<u64, Vec<(Flow, OwnedFd)>>,
}

struct Opened {
    owner: ForwardId,
    close: CancellationToken,
    loops: TaskTracker,
    sockets: usize,
    /// One for each socket of UDP: sessions that are open hear of a change.
    turned: Vec<Arc<Notify>>,
}

/// Sockets that a worker is too busy to close.
struct Closing {
    spot: Spot,
    owner: ForwardId,
    loops: TaskTracker,
}

struct Applied {
    forward: Arc<Forward>,
    paused: Option<Paused>,
}

struct Paused {
    why: String,
    /// When it is worth another try: what stands in the snapshot or the settings does not change by itself.
    again: Option<(Instant, Duration)>,
}

impl Doors {
    /// Nothing open yet.
    pub(crate) fn new(shared: Arc<Shared>, workers: Arc<[Handle]>) -> Self {
        Self {
            shared,
            workers,
            open: HashMap::new(),
            applied: BTreeMap::new(),
            leaving: HashMap::new(),
            gone: Vec::new(),
            changed: Vec::new(),
            closing: Vec::new(),
            closes_within: Duration::from_millis(limits::FORWARD_CLOSE_DEADLINE_MS),
            at: None,
            sockets: 0,
            has_started: false,
            inherited: HashMap::new(),
            flows: HashMap::new(),
        }
    }

    /// Takes the sockets that the process before handed over; [`Doors::start`] uses what is wanted of them.
    pub(crate) fn inherit(&mut self, sockets: HashMap<Spot, Vec<Open>>) {
        self.inherited = sockets;
    }

    /// Takes the sessions of datagrams that it had, by the number of their socket.
    pub(crate) fn inherit_flows(&mut self, flows: Vec<(Flow, OwnedFd)>) {
        for (flow, upstream) in flows {
            self.flows.entry(flow.gate).or_default().push((flow, upstream));
        }
    }

    /// Opens the forwards of what is in force, if anything is; the gateway's own listeners come first.
    pub(crate) async fn start(&mut self) {
        self.has_started = true;
        if let Some(live) = self.shared.current.pin() {
            self.open(&live.forwards, &live.snapshot, Instant::now()).await;
        }
        self.inherited.clear();
        self.flows.clear();
    }

    /// Opens what `forwards` want and is not there, before they come into force. What cannot be had is paused.
    pub(crate) async fn open(&mut self, forwards: &Forwards, snapshot: &Snapshot, now: Instant) {
        if !self.has_started {
            return;
        }
        let step = forwards.step();
        let touched: BTreeSet<ForwardId> = if step.base.is_some() && step.base == self.at {
            step.touched.clone()
        } else {
            self.applied.keys().copied().chain(forwards.iter().map(|forward| forward.id)).collect()
        };
        self.at = Some((snapshot.lineage(), snapshot.generation()));
        for id in &touched {
            self.leave(*id, forwards);
        }
        for forward in touched.iter().filter_map(|id| forwards.get(*id)) {
            self.enter(forward, forwards, now).await;
            self.changed.push(Arc::clone(forward));
        }
        if !touched.is_empty() {
            self.publish();
        }
    }

    /// Closes what is no forward's any more, after the swap. Done when the sockets are closed, or named as not closed.
    pub(crate) async fn close(&mut self) {
        let mut ending = Vec::new();
        for (spot, owner) in std::mem::take(&mut self.leaving).into_values().flatten() {
            if self.open.get(&spot).is_some_and(|opened| opened.owner == owner)
                && let Some(opened) = self.open.remove(&spot)
            {
                tracing::info!(forward = %owner, %spot, "a forward's port closes");
                opened.close.cancel();
                self.sockets = self.sockets.saturating_sub(opened.sockets);
                ending.push(Closing { spot, owner, loops: opened.loops });
            }
        }
        wait_for(ending.iter().map(|one| one.loops.clone()).collect(), self.closes_within).await;
        for one in ending.iter().filter(|one| !one.loops.is_empty()) {
            tracing::error!(forward = %one.owner, spot = %one.spot, "a worker is too busy to close a forward's port");
        }
        self.closing.append(&mut ending);
        self.look_at_closing();
        for forward in std::mem::take(&mut self.changed) {
            let open = spots(&forward).filter_map(|spot| self.open.get(&spot));
            open.flat_map(|opened| &opened.turned).for_each(|turned| turned.notify_one());
        }
        for id in std::mem::take(&mut self.gone) {
            self.shared.forwards.retire(id);
        }
    }

    /// Closes everything: the process stops. Connections live on.
    pub(crate) async fn close_all(&mut self) {
        // A generation that comes during the drain must not open them again.
        self.has_started = false;
        self.applied.clear();
        self.sockets = 0;
        let open = std::mem::take(&mut self.open).into_values();
        let ending = open.map(|opened| {
            opened.close.cancel();
            opened.loops
        });
        if !wait_for(ending.collect(), self.closes_within).await {
            tracing::error!("a worker is too busy to close the ports of forwards");
        }
    }

    /// Forgets those that are closed, and says which are not.
    fn look_at_closing(&mut self) {
        let before = self.closing.len();
        self.closing.retain(|one| !one.loops.is_empty());
        if before > 0 {
            let told = |one: &Closing| {
                (one.owner, format!("{} is still open: a worker is too busy to close it", one.spot))
            };
            self.shared.forwards.closing.store(Arc::new(self.closing.iter().map(told).collect()));
        }
    }

    /// Tries what is paused and due.
    pub(crate) async fn retry(&mut self, now: Instant) {
        self.look_at_closing();
        let is_due = |applied: &&Applied| {
            applied.paused.as_ref().and_then(|paused| paused.again).is_some_and(|(at, _)| at <= now)
        };
        let due: Vec<Arc<Forward>> =
            self.applied.values().filter(is_due).map(|applied| Arc::clone(&applied.forward)).collect();
        if due.is_empty() {
            return;
        }
        let Some(live) = self.shared.current.pin() else { return };
        for forward in due {
            self.enter(&forward, &live.forwards, now).await;
        }
        self.publish();
    }

    /// Sockets that are open.
    #[cfg(test)]
    pub(super) const fn open_sockets(&self) -> usize {
        self.sockets
    }

    /// When [`Doors::retry`] has something to do.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        let again = |applied: &Applied| applied.paused.as_ref()?.again.map(|(at, _)| at);
        self.applied.values().filter_map(again).min()
    }

    /// Notes which spots a forward will not have any more.
    fn leave(&mut self, id: ForwardId, forwards: &Forwards) {
        let Some(applied) = self.applied.get(&id) else { return };
        let stays: BTreeSet<Spot> = match forwards.get(id) {
            Some(forward) if forwards.blocked_by(id).is_none() => spots(forward).collect(),
            Some(_) | None => BTreeSet::new(),
        };
        let gone = spots(&applied.forward).filter(|spot| !stays.contains(spot));
        for spot in gone {
            self.leaving.entry((spot.transport, spot.port)).or_default().push((spot, id));
        }
        if forwards.get(id).is_none() {
            self.applied.remove(&id);
            self.gone.push(id);
        }
    }

    /// Opens what a forward misses, and notes why where it cannot be had.
    async fn enter(&mut self, forward: &Arc<Forward>, forwards: &Forwards, now: Instant) {
        let before = self.applied.get(&forward.id).and_then(|applied| applied.paused.as_ref()?.again);
        let paused = match forwards.blocked_by(forward.id) {
            Some(other) => {
                Some(Paused { why: format!("a port of it is taken by forward {other}"), again: None })
            }
            None => self.open_spots(forward).await.map(|(why, is_worth_another_try)| {
                let (first, longest) = limits::LISTENER_RETRY;
                let pause = before.map_or(first, |(_, pause)| (pause * 2).min(longest));
                Paused { why, again: is_worth_another_try.then(|| (now + pause, pause)) }
            }),
        };
        if let Some(paused) = &paused {
            tracing::warn!(forward = %forward.id, why = paused.why, "a forward is paused");
        }
        self.applied.insert(forward.id, Applied { forward: Arc::clone(forward), paused });
    }

    /// Returns why ports are missing, if any are, and whether trying again may help.
    async fn open_spots(&mut self, forward: &Arc<Forward>) -> Option<(String, bool)> {
        let mut failed: Option<(String, bool)> = None;
        let mut missing = 0_usize;
        for (spot, nth) in spots(forward).zip(1_usize..) {
            if nth.is_multiple_of(limits::FORWARD_PORTS_AT_ONCE) {
                tokio::task::yield_now().await;
            }
            if let Some(opened) = self.open.get_mut(&spot) {
                // Also one that another forward is about to leave: it is never closed in between.
                opened.owner = forward.id;
                continue;
            }
            if let Err(why) = self.open_spot(spot, forward).await {
                missing += 1;
                failed.get_or_insert(why);
            }
        }
        failed.map(|(why, again)| match missing - 1 {
            0 => (why, again),
            more => (format!("{why}; {more} more of its ports cannot be had"), again),
        })
    }

    async fn open_spot(&mut self, spot: Spot, forward: &Forward) -> Result<(), (String, bool)> {
        if let Some(kind) = self.taken_by_us(spot) {
            return Err((format!("{spot} is used by the gateway itself: {kind}"), false));
        }
        let is_wide = forward.ports.len() > limits::FORWARD_PORTS_SHARED_MAX;
        let count = if is_wide { 1 } else { self.workers.len().max(1) };
        if self.sockets + count > self.shared.forwards.sockets_max {
            let max = self.shared.forwards.sockets_max;
            let why = if max < limits::FORWARD_SOCKETS_MAX {
                " that this process may open files for (LimitNOFILE, ulimit -n)"
            } else {
                ""
            };
            let why = format!("{spot}: forwards listen with {} of at most {max} sockets{why}", self.sockets);
            return Err((why, true));
        }
        if let Some(sockets) = self.inherited.remove(&spot) {
            self.hand_out(spot, forward.id, adopt(spot, sockets, count)).await;
            return Ok(());
        }
        let joins = self.is_ours(spot);
        let sockets = match bind::bind(spot, count, joins) {
            Ok(sockets) => sockets,
            // A machine without IPv6 has nothing there that could be asked for.
            Err(cause) if forward.listen.is_none() && spot.ip.is_ipv6() && has_no_family(&cause) => {
                return Ok(());
            }
            Err(cause) => return Err((bind::reason(&cause, spot), true)),
        };
        self.hand_out(spot, forward.id, sockets).await;
        Ok(())
    }

    /// The listener of the gateway's own settings that is there.
    fn taken_by_us(&self, spot: Spot) -> Option<String> {
        if spot.transport != Transport::Tcp {
            return None;
        }
        let is_there =
            |address: SocketAddr| address.port() == spot.port && meets(address.ip().to_canonical(), spot.ip);
        let listed = self.shared.listeners.load();
        let found = listed.iter().find(|one| is_there(one.address));
        let admin = self.shared.admin.load();
        let admin = admin.as_ref().filter(|address| is_there(***address));
        found
            .map(|one| format!("its {} listener", one.kind))
            .or(admin.map(|_| "its admin endpoint".to_owned()))
    }

    /// Whether a socket of ours that is about to go is in the way: a wildcard that becomes one address or the other way
    /// round, one that a busy worker has not closed yet, or a UDP session that outlives its forward.
    fn is_ours(&self, spot: Spot) -> bool {
        let is_parted =
            spot.transport == Transport::Udp && self.shared.forwards.parted.contains_key(&spot.port);
        let is_near = |there: &Spot| {
            there.transport == spot.transport && there.port == spot.port && meets(there.ip, spot.ip)
        };
        let leaving = self.leaving.get(&(spot.transport, spot.port)).map_or(&[][..], Vec::as_slice);
        is_parted
            || leaving.iter().any(|(there, _)| is_near(there) && self.open.contains_key(there))
            || self.closing.iter().any(|one| is_near(&one.spot))
    }

    async fn hand_out(&mut self, spot: Spot, owner: ForwardId, sockets: Vec<Open>) {
        let (close, loops) = (CancellationToken::new(), TaskTracker::new());
        let count = sockets.len();
        let mut all_turned = Vec::new();
        // One alone goes to a worker by its port, so that the ports of a row are spread over them.
        let first = if count == 1 { usize::from(spot.port) % self.workers.len().max(1) } else { 0 };
        for (worker, socket) in self.workers.iter().cycle().skip(first).zip(sockets) {
            let flows = socket.cookie().and_then(|cookie| self.flows.remove(&cookie)).unwrap_or_default();
            let turned = Arc::new(Notify::new());
            if spot.transport == Transport::Udp {
                all_turned.push(Arc::clone(&turned));
            }
            let door = Door { spot, socket, close: close.clone(), alive: loops.token(), turned, flows };
            worker.send(Command::Door(Box::new(door))).await;
        }
        loops.close();
        tracing::info!(forward = %owner, %spot, "a forward listens");
        self.sockets += count;
        self.open.insert(spot, Opened { owner, close, loops, sockets: count, turned: all_turned });
    }

    fn publish(&self) {
        let paused = self.applied.iter();
        let paused = paused.filter_map(|(id, applied)| Some((*id, applied.paused.as_ref()?.why.clone())));
        self.shared.forwards.paused.store(Arc::new(paused.collect()));
    }
}

/// The sockets that the process before had, and for connections one for each worker that it had not. Datagrams of one
/// client must stay in one socket: another one beside it would get some clients of the others.
fn adopt(spot: Spot, mut sockets: Vec<Open>, count: usize) -> Vec<Open> {
    let missing = count.saturating_sub(sockets.len());
    if spot.transport == Transport::Tcp && missing > 0 {
        match bind::bind(spot, missing, true) {
            Ok(mut more) => sockets.append(&mut more),
            Err(cause) => tracing::warn!(%spot, %cause, "a worker has no socket of its own there"),
        }
    }
    sockets
}

/// Tries paused forwards again, for ever.
pub(crate) async fn supervise(doors: Arc<Mutex<Doors>>) {
    loop {
        let next = doors.lock().await.retry_at();
        let pause = next.map_or(limits::LISTENER_RETRY.0, |at| at.saturating_duration_since(Instant::now()));
        tokio::time::sleep(pause.min(limits::LISTENER_RETRY.0)).await;
        doors.lock().await.retry(Instant::now()).await;
    }
}

/// Waits a while until all of these have closed; whether they have.
async fn wait_for(loops: Vec<TaskTracker>, within: Duration) -> bool {
    let ended = async {
        for one in loops {
            one.wait().await;
        }
    };
    tokio::time::timeout(within, ended).await.is_ok()
}

/// The sockets that a forward wants.
fn spots(forward: &Forward) -> impl Iterator<Item = Spot> + use<> {
    let transport = forward.transport;
    let ips = plan::addresses(forward.listen);
    let ports = forward.ports;
    ips.into_iter().flat_map(move |ip| ports.iter().map(move |port| Spot { transport, ip, port }))
}

/// Whether two sockets of one port are in each other's way.
fn meets(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4() && (one == other || one.is_unspecified() || other.is_unspecified())
}

fn has_no_family(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::AddrNotAvailable
        || cause.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

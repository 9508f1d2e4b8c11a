//! What is counted and bounded for each forward, in all workers together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};

use arc_swap::ArcSwap;
use config::id::ForwardId;
use config::limits;
use config::snapshot::{Forward, Transport};
use dashmap::DashMap;
use tokio::time::Instant;

use crate::guard::Bounds;

/// Why a flow was not let in, or a datagram not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Nothing in force leads anywhere from there.
    Gone,
    /// Its address may not come in.
    Source,
    /// The forward has as many flows as it may.
    Flows,
    /// The forward had as many new flows this second as it may.
    Rate,
    /// A bound of the gateway.
    Gateway,
    /// The target's name does not resolve.
    Unresolved,
    /// The target's address may not be dialled.
    Forbidden,
    /// The target refused it.
    Unreachable,
    /// The target did not answer in time.
    Timeout,
    /// A datagram that came faster than it could go.
    Overrun,
}

impl Refused {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 10] = [
        Self::Gone,
        Self::Source,
        Self::Flows,
        Self::Rate,
        Self::Gateway,
        Self::Unresolved,
        Self::Forbidden,
        Self::Unreachable,
        Self::Timeout,
        Self::Overrun,
    ];

    /// The word for it in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Source => "source",
            Self::Flows => "flows",
            Self::Rate => "rate",
            Self::Gateway => "gateway",
            Self::Unresolved => "unresolved",
            Self::Forbidden => "forbidden",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Overrun => "overrun",
        }
    }
}

/// What all workers know together of the forwards.
pub struct State {
    by_id: DashMap<ForwardId, Arc<Flows>>,
    began: Instant,
    /// UDP sessions open now, and the most there may be.
    udp_open: Arc<AtomicUsize>,
    udp_max: usize,
    /// The most sockets that forwards may listen with.
    pub(crate) sockets_max: usize,
    /// Sockets of UDP sessions that outlive their forward, by port: as long as there is one, the port is ours.
    pub(crate) parted: DashMap<u16, usize>,
    /// Why forwards are paused, for people to see.
    pub(crate) paused: ArcSwap<BTreeMap<ForwardId, String>>,
    /// Ports that should be closed and are not: whose they were, and which.
    pub(crate) closing: ArcSwap<Vec<(ForwardId, String)>>,
}

/// The flows of one forward.
#[derive(Debug, Default)]
pub struct Flows {
    open: AtomicUsize,
    /// When the bucket of new flows is full again (GCRA), in nanoseconds since the start.
    full_at_ns: AtomicU64,
    /// Flows that were let in.
    pub(crate) begun: AtomicU64,
    /// Flows and datagrams that were not, by [`Refused`].
    pub(crate) refused: [AtomicU64; Refused::ALL.len()],
    /// UDP sessions that ended to make room for another.
    pub(crate) displaced: AtomicU64,
    /// Bytes towards the machine and towards the user.
    pub(crate) bytes: [AtomicU64; 2],
}

/// A flow that was let in; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Ticket {
    flows: Arc<Flows>,
    udp_open: Option<Arc<AtomicUsize>>,
}

impl State {
    /// Nothing open, within these bounds.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            by_id: DashMap::new(),
            began: Instant::now(),
            udp_open: Arc::default(),
            udp_max: bounds.udp_sessions_max,
            sockets_max: bounds.forward_sockets_max,
            parted: DashMap::new(),
            paused: ArcSwap::default(),
            closing: ArcSwap::default(),
        }
    }

    /// What is not as the generation in force wants it, each forward named.
    pub(crate) fn degraded(&self) -> Vec<String> {
        let (paused, closing) = (self.paused.load(), self.closing.load());
        let line = |id: &ForwardId, why: &String| format!("forward {id}: {why}");
        let paused = paused.iter().map(|(id, why)| line(id, why));
        paused.chain(closing.iter().map(|(id, why)| line(id, why))).collect()
    }

    /// The flows of a forward.
    pub(crate) fn of(&self, id: ForwardId) -> Arc<Flows> {
        if let Some(flows) = self.by_id.get(&id) {
            return Arc::clone(&flows);
        }
        Arc::clone(&self.by_id.entry(id).or_default())
    }

    /// The flows of every forward that had one.
    pub(crate) fn all(&self) -> BTreeMap<ForwardId, Arc<Flows>> {
        self.by_id.iter().map(|entry| (*entry.key(), Arc::clone(entry.value()))).collect()
    }

    /// UDP sessions open now.
    pub fn udp_open(&self) -> usize {
        self.udp_open.load(Relaxed)
    }

    /// Forgets the counts of a forward that is gone; its open flows keep theirs.
    pub(crate) fn retire(&self, id: ForwardId) {
        self.by_id.remove(&id);
    }

    /// Lets a flow in, or says which bound is reached.
    pub(crate) fn enter(&self, flows: &Arc<Flows>, forward: &Forward) -> Result<Ticket, Refused> {
        let max = forward.flows_max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        if !enter(&flows.open, max) {
            return Err(Refused::Flows);
        }
        let mut ticket = Ticket { flows: Arc::clone(flows), udp_open: None };
        if forward.transport == Transport::Udp {
            if !enter(&self.udp_open, self.udp_max) {
                return Err(Refused::Gateway);
            }
            ticket.udp_open = Some(Arc::clone(&self.udp_open));
        }
        flows.begun.fetch_add(1, Relaxed);
        Ok(ticket)
    }

    /// Whether the forward may have another new flow in this second.
    pub(crate) fn paced(&self, flows: &Flows, forward: &Forward, now: Instant) -> Result<(), Refused> {
        match forward.flows_per_second {
            Some(rate) if !self.take(&flows.full_at_ns, rate, now) => Err(Refused::Rate),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes one from a bucket that holds one second's worth.
    fn take(&self, full_at_ns: &AtomicU64, rate: u32, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.began).as_nanos();
        let now_ns = u64::try_from(since).unwrap_or(u64::MAX);
        let interval_ns = (1_000_000_000 / u64::from(rate.max(1))).max(1);
        let horizon = now_ns.saturating_add(interval_ns.saturating_mul(rate.into()));
        let next = |full_at: u64| full_at.clamp(now_ns, horizon).saturating_add(interval_ns);
        full_at_ns
            .try_update(Relaxed, Relaxed, |full_at| Some(next(full_at)).filter(|at| *at <= horizon))
            .is_ok()
    }

    /// Says that a UDP session has a socket of its own on this port now.
    pub(crate) fn part(&self, port: u16) {
        *self.parted.entry(port).or_default() += 1;
    }

    /// Says that such a socket is closed.
    pub(crate) fn unpart(&self, port: u16) {
        if let dashmap::mapref::entry::Entry::Occupied(mut entry) = self.parted.entry(port) {
            if *entry.get() > 1 {
                *entry.get_mut() -= 1;
            } else {
                entry.remove();
            }
        }
    }
}

impl Flows {
    /// Flows open now.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Counts one that was not let in.
    pub(crate) fn refuse(&self, why: Refused) {
        if let Some(count) = self.refused.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How many were refused for this reason.
    pub fn refused(&self, why: Refused) -> u64 {
        self.refused.get(why as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Counts bytes that went through.
    pub(crate) fn carried(&self, up: u64, down: u64) {
        let [ups, downs] = &self.bytes;
        ups.fetch_add(up, Relaxed);
        downs.fetch_add(down, Relaxed);
    }
}

impl Ticket {
    /// The forward's flows.
    pub(crate) const fn flows(&self) -> &Arc<Flows> {
        &self.flows
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.flows.open.fetch_sub(1, AcqRel);
        if let Some(open) = &self.udp_open {
            open.fetch_sub(1, AcqRel);
        }
    }
}

fn enter(count: &AtomicUsize, max: usize) -> bool {
    count.try_update(AcqRel, Relaxed, |open| (open < max).then_some(open + 1)).is_ok()
}

/// Longest silence of a flow.
pub(crate) fn idle(forward: &Forward) -> std::time::Duration {
    let default = match forward.transport {
        Transport::Tcp => limits::FORWARD_TCP_IDLE_MS,
        Transport::Udp => limits::FORWARD_UDP_IDLE_MS,
    };
    std::time::Duration::from_millis(forward.idle_ms.map_or(default, u64::from))
}

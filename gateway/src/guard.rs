//! Admission: what may come in at all. Every refusal is counted by whoever asked.
//!
//! Counts are exact in sum, by source and by principal; a permit gives its place back when it is dropped, also by a
//! task that panicked.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

use config::id::UserId;
use config::limits;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::Notify;

/// The bounds of a [`Guard`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Downstream connections, all listeners together.
    pub connections_max: usize,
    /// Downstream connections from one source.
    pub connections_per_source_max: usize,
    /// Open sessions.
    pub sessions_max: usize,
    /// Open sessions of one principal.
    pub sessions_per_principal_max: usize,
    /// UDP sessions of port forwards.
    pub udp_sessions_max: usize,
    /// Sockets that port forwards listen with.
    pub forward_sockets_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_source_max: limits::CONNECTIONS_PER_SOURCE_MAX,
            sessions_max: limits::SESSIONS_MAX,
            sessions_per_principal_max: limits::SESSIONS_PER_PRINCIPAL_MAX,
            udp_sessions_max: limits::UDP_SESSIONS_MAX,
            forward_sockets_max: limits::FORWARD_SOCKETS_MAX,
        }
    }
}

impl Bounds {
    /// The bounds of a process that may open this many files: port forwards get a share to listen and one for UDP
    /// sessions; of the rest a connection takes two, its own and the one upstream. Running out of them would hit
    /// listeners, logs and the checkpoint too.
    pub fn for_open_files(max: Option<u64>) -> Self {
        let bounds = Self::default();
        let files = max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let room = files.saturating_sub(limits::OPEN_FILES_RESERVED);
        let share = room / limits::FORWARD_FILES_SHARE;
        Self {
            connections_max: bounds.connections_max.min(((room - 2 * share) / 2).max(1)),
            udp_sessions_max: bounds.udp_sessions_max.min(share.max(1)),
            forward_sockets_max: bounds.forward_sockets_max.min(share.max(1)),
            ..bounds
        }
    }
}

/// Bounds connections and sessions of the whole gateway.
#[derive(Default)]
pub struct Guard {
    bounds: Bounds,
    connections: AtomicUsize,
    // As many entries as open connections at most: an entry goes with its last one.
    sources: DashMap<IpAddr, usize>,
    sessions: AtomicUsize,
    principals: DashMap<UserId, usize>,
    idle: Notify,
}

/// A connection that was admitted; dropping it makes room.
pub struct Permit {
    guard: Arc<Guard>,
    /// `None` is a proxy, which brings the connections of many.
    source: Option<IpAddr>,
}

impl Permit {
    /// Makes a proxy's connection that of who asks through it.
    pub fn of(mut self, peer: IpAddr) -> Result<Self, Full> {
        let source = source(peer);
        if !enter_as(&self.guard.sources, source, self.guard.bounds.connections_per_source_max) {
            return Err(Full::Source);
        }
        if let Some(before) = self.source.replace(source) {
            leave_as(&self.guard.sources, before);
        }
        Ok(self)
    }
}

/// A session that was admitted; dropping it makes room.
pub struct SessionPermit {
    guard: Arc<Guard>,
    principal: Option<UserId>,
}

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All connections of the gateway.
    Connections,
    /// The connections of one source.
    Source,
    /// All sessions of the gateway.
    Sessions,
    /// The sessions of one principal.
    Principal,
}

impl Full {
    /// Every bound, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Connections, Self::Source, Self::Sessions, Self::Principal];

    /// The word for it in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Source => "source",
            Self::Sessions => "sessions",
            Self::Principal => "principal",
        }
    }
}

impl Guard {
    /// A guard with bounds of its own.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, ..Self::default() })
    }

    /// Admits a downstream connection.
    pub fn admit_connection(self: &Arc<Self>, peer: IpAddr) -> Result<Permit, Full> {
        let source = source(peer);
        enter(&self.connections, self.bounds.connections_max).ok_or(Full::Connections)?;
        if !enter_as(&self.sources, source, self.bounds.connections_per_source_max) {
            self.leave_connections();
            return Err(Full::Source);
        }
        Ok(Permit { guard: Arc::clone(self), source: Some(source) })
    }

    /// Admits a connection of a proxy that is to say who asks: only the bound of all connections holds for it.
    pub fn admit_proxy(self: &Arc<Self>) -> Result<Permit, Full> {
        enter(&self.connections, self.bounds.connections_max).ok_or(Full::Connections)?;
        Ok(Permit { guard: Arc::clone(self), source: None })
    }

    /// Admits a tunnel or jump; `principal` where somebody authenticated.
    pub fn admit_session(self: &Arc<Self>, principal: Option<UserId>) -> Result<SessionPermit, Full> {
        self.admit_session_within(principal, usize::MAX)
    }

    /// [`Guard::admit_session`] for a principal who may have fewer than others.
    pub fn admit_session_within(
        self: &Arc<Self>,
        principal: Option<UserId>,
        of_principal_max: usize,
    ) -> Result<SessionPermit, Full> {
        let of_principal_max = self.bounds.sessions_per_principal_max.min(of_principal_max);
        enter(&self.sessions, self.bounds.sessions_max).ok_or(Full::Sessions)?;
        if let Some(user) = principal
            && !enter_as(&self.principals, user, of_principal_max)
        {
            self.sessions.fetch_sub(1, Relaxed);
            return Err(Full::Principal);
        }
        Ok(SessionPermit { guard: Arc::clone(self), principal })
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.connections.load(Acquire)
    }

    /// Sessions open now.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Acquire)
    }

    /// Resolves when no connection is open.
    pub async fn idle(&self) {
        loop {
            let left = self.idle.notified();
            if self.connections() == 0 {
                return;
            }
            left.await;
        }
    }

    fn leave_connections(&self) {
        if self.connections.fetch_sub(1, AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(source) = self.source {
            leave_as(&self.guard.sources, source);
        }
        self.guard.leave_connections();
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        if let Some(user) = self.principal {
            leave_as(&self.guard.principals, user);
        }
        self.guard.sessions.fetch_sub(1, AcqRel);
    }
}

/// Who a peer counts as: an IPv6 customer has a /64, so its addresses are one source.
pub(crate) fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

fn enter(count: &AtomicUsize, max: usize) -> Option<()> {
    let one_more = |open: usize| (open < max).then_some(open + 1);
    count.try_update(AcqRel, Relaxed, one_more).ok().map(drop)
}

fn enter_as<K: Eq + Hash>(counts: &DashMap<K, usize>, key: K, max: usize) -> bool {
    match counts.entry(key) {
        Entry::Occupied(entry) if *entry.get() >= max => false,
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += 1;
            true
        }
        Entry::Vacant(entry) => {
            entry.insert(1);
            true
        }
    }
}

fn leave_as<K: Eq + Hash>(counts: &DashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut entry) = counts.entry(key) {
        if *entry.get() > 1 {
            *entry.get_mut() -= 1;
        } else {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn guard(connections_max: usize, connections_per_source_max: usize) -> Arc<Guard> {
        let bounds = Bounds {
            connections_max,
            connections_per_source_max,
            sessions_max: 3,
            sessions_per_principal_max: 2,
            ..Bounds::default()
        };
        Guard::new(bounds)
    }

    #[test]
    fn a_full_gateway_refuses_until_somebody_leaves() {
        let guard = guard(2, 2);
        let first = guard.admit_connection(ONE).ok().unwrap();
        let _second = guard.admit_connection(OTHER).ok().unwrap();
        assert_eq!(guard.admit_connection(OTHER).err(), Some(Full::Connections));

        drop(first);

        assert!(guard.admit_connection(OTHER).is_ok());
    }

    #[test]
    fn connections_leave_files_for_the_rest_of_the_process() {
        assert_eq!(Bounds::for_open_files(None).connections_max, limits::CONNECTIONS_MAX);
        assert_eq!(Bounds::for_open_files(Some(1 << 30)).connections_max, limits::CONNECTIONS_MAX);
        let few = limits::OPEN_FILES_RESERVED as u64 + 1_000;
        let bounds = Bounds::for_open_files(Some(few));
        assert_eq!(
            (bounds.connections_max, bounds.udp_sessions_max, bounds.forward_sockets_max),
            (375, 125, 125)
        );
        assert_eq!(Bounds::for_open_files(Some(3)).connections_max, 1);
    }

    #[test]
    fn one_source_cannot_take_all_the_room() {
        let guard = guard(10, 1);
        let first = guard.admit_connection(ONE).ok().unwrap();
        assert_eq!(guard.admit_connection(ONE).err(), Some(Full::Source));
        assert!(guard.admit_connection(OTHER).is_ok());
        assert_eq!(guard.connections(), 1, "a refusal keeps no place");

        drop(first);

        assert!(guard.admit_connection(ONE).is_ok());
        assert!(guard.sources.is_empty(), "who has left is not remembered");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_source() {
        let guard = guard(10, 1);
        let _first = guard.admit_connection("2001:db8::1".parse().unwrap()).ok().unwrap();
        assert_eq!(guard.admit_connection("2001:db8::2".parse().unwrap()).err(), Some(Full::Source));
        assert!(guard.admit_connection("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn sessions_are_bounded_in_sum_and_by_principal() {
        let guard = guard(1, 1);
        let user = UserId::from_bytes([1; 16]);
        let first = guard.admit_session(Some(user)).ok().unwrap();
        let _second = guard.admit_session(Some(user)).ok().unwrap();
        assert_eq!(guard.admit_session(Some(user)).err(), Some(Full::Principal));
        let _third = guard.admit_session(None).ok().unwrap();
        assert_eq!(guard.admit_session(None).err(), Some(Full::Sessions));

        drop(first);

        assert!(guard.admit_session(Some(user)).is_ok());
        assert_eq!(guard.sessions(), 2);
    }

    #[tokio::test]
    async fn idle_resolves_with_the_last_connection() {
        let guard = guard(2, 2);
        let permits = [guard.admit_connection(ONE).ok().unwrap(), guard.admit_connection(ONE).ok().unwrap()];
        let waiter = tokio::spawn({
            let guard = Arc::clone(&guard);
            async move { guard.idle().await }
        });
        drop(permits);
        waiter.await.unwrap();
    }

    #[test]
    fn who_asks_through_a_proxy_counts_and_not_the_proxy() {
        let guard = guard(3, 1);
        let proxied = guard.admit_proxy().ok().unwrap().of(ONE).ok().unwrap();
        let own = guard.admit_proxy().ok().unwrap();
        assert_eq!(guard.admit_connection(ONE).err(), Some(Full::Source));
        assert_eq!(guard.admit_proxy().ok().unwrap().of(ONE).err(), Some(Full::Source));
        assert_eq!(guard.connections(), 2);

        drop((proxied, own));

        assert!(guard.admit_connection(ONE).is_ok());
        assert_eq!((guard.connections(), guard.sources.len()), (0, 0));
    }
}

//! Port forwards: ports of the gate that lead to ports of a machine, whatever is spoken there.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::id::ForwardId;
use crate::name::Namespace;
use crate::snapshot::{Endpoint, FlowPolicy, ProxyProtocol};

/// One port, or a row of them, that leads to as many ports of a machine. A disabled forward is not in the snapshot.
///
/// No two share a port of one protocol on one address; control sees to it, and a gateway pauses the younger one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Stable name.
    pub id: ForwardId,
    /// The tenant that owns it.
    pub namespace: Namespace,
    /// What is carried.
    pub transport: Transport,
    /// The address it listens on; `None` is every address of both families.
    pub listen: Option<IpAddr>,
    /// The ports it listens on.
    pub ports: Ports,
    /// Where they lead: its port is the first one's, the others follow in order. Weight and draining say nothing here.
    pub endpoint: Endpoint,
    /// Clients that may connect; none stands for all. Others are closed at once, or their datagrams dropped.
    pub sources: Box<[IpNet]>,
    /// A PROXY protocol header before the first byte; of TCP only.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Connections, or UDP sessions, at once in one gateway; `None` is the bound of the whole gateway.
    pub flows_max: Option<u32>,
    /// New ones a second in one gateway; `None` is no bound.
    pub flows_per_second: Option<u32>,
    /// Longest silence in milliseconds; `None` is the default of the transport.
    pub idle_ms: Option<u32>,
    /// What a change of the forward does to its open flows.
    pub on_change: FlowPolicy,
    /// What its deletion does to them.
    pub on_delete: FlowPolicy,
}

/// What a forward carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams; those of one client's address and port are a session.
    Udp,
}

/// A row of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// The lowest; not 0.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl Ports {
    /// How many there are.
    pub const fn len(self) -> usize {
        (self.last as usize + 1).saturating_sub(self.first as usize)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// Each of them, lowest first.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }

    /// Whether this port is among them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether they have a port in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl Forward {
    /// The port of the machine that `port` of the gate leads to.
    pub fn target_port(&self, port: u16) -> Option<u16> {
        if !self.ports.contains(port) {
            return None;
        }
        self.endpoint.target.port().checked_add(port - self.ports.first)
    }
}

//! Rules of a port forward.

use super::{Checked, Faults};
use crate::limits;
use crate::snapshot::{Forward, Transport};

impl Checked for Forward {
    fn look(&self, faults: &mut Faults) {
        let (ports, max) = (self.ports, limits::FORWARD_PORTS_MAX);
        faults.require(ports.first != 0, "ports", "a port is 1 to 65535");
        faults.require(!ports.is_empty(), "ports", "the first port comes after the last");
        faults.require(ports.len() <= max, "ports", format_args!("a forward has at most {max} ports"));
        let target = self.endpoint.target.port();
        let fits = target != 0 && target.checked_add(ports.last.saturating_sub(ports.first)).is_some();
        faults.require(fits, "endpoint", "as many ports as the gate's have to follow it, up to 65535");
        faults.networks("sources", &self.sources, limits::FORWARD_SOURCES_MAX);
        let has_connections = self.transport == Transport::Tcp;
        faults.require(
            self.proxy_protocol.is_none() || has_connections,
            "proxy_protocol",
            "is of connections: a datagram has no beginning to put it before",
        );
        faults.require(
            self.flows_max != Some(0),
            "flows_max",
            "0 would let nobody in; leave it out for no bound",
        );
        faults.require(
            self.flows_per_second != Some(0),
            "flows_per_second",
            "0 would let nobody in; leave it out for no bound",
        );
        if let Some(ms) = self.idle_ms {
            faults.within("idle_ms", ms, (1_000, limits::TUNNEL_IDLE_MS_MAX));
        }
    }
}

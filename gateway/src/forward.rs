//! Port forwards: ports of the gate that lead to ports of a machine, for connections and for datagrams.
//!
//! [`plan`] says which forward has which port in a generation; [`doors`] opens and closes the sockets, bind before swap,
//! close after it; [`tcp`] and [`udp`] carry what comes in. A socket knows its address alone: whose it is, it asks the
//! generation in force for each new flow, so a change is in force with the swap and a socket outlives the forwards that
//! have it in turn. Open flows are sessions ([`crate::session`]) and end by the same rules as all of them.
//!
//! A forward that cannot have its port is paused alone, and its reason says who is in the way: an older forward, the
//! gateway itself, or another program.

pub(crate) mod bind;
pub(crate) mod doors;
pub(crate) mod flows;
pub(crate) mod plan;
mod record;
mod tcp;
pub(crate) mod udp;

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use config::snapshot::{Forward, Ports, Transport};
use ipnet::IpNet;

use crate::upgrade::Whose;
use crate::worker::{Shared, Worker};
use doors::Door;

pub(crate) use bind::Open;
pub(crate) use doors::Doors;
pub use flows::{Flows, Refused, State};
pub use plan::Forwards;

/// One address and port of a transport: a socket, or a few that share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Spot {
    pub(crate) transport: Transport,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = std::net::SocketAddr::new(self.ip, self.port);
        write!(f, "{address}/{}", name(self.transport))
    }
}

/// The word for it in metrics and messages.
pub(crate) const fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

/// Serves a socket until it is to be closed.
pub(crate) fn serve(worker: &Rc<Worker>, door: Door) {
    let Door { spot, socket, close, alive, flows, turned } = door;
    let started = match socket {
        Open::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(|listener| {
            let listener = Rc::new(listener);
            worker.lendable.add(Whose::Door(spot), &listener);
            let accept = tcp::Loop { spot, listener, close, _alive: alive };
            drop(tokio::task::spawn_local(tcp::run(Rc::clone(worker), accept)));
        }),
        Open::Udp(socket) => udp::Hall::open(worker, spot, socket, turned).map(|hall| {
            // Before the first datagram is taken: it may be of one of them.
            hall.inherit(flows);
            drop(tokio::task::spawn_local(udp::run(hall, close, alive)));
        }),
    };
    if let Err(cause) = started {
        tracing::error!(%spot, %cause, "a worker cannot watch a socket of a forward");
    }
}

/// The highest of these ports that another program has on the address, if it has one. What forwards of ours have is not
/// looked at: whose it is, control knows.
pub(crate) fn taken(
    shared: &Shared,
    transport: Transport,
    listen: Option<IpAddr>,
    ports: Ports,
) -> Option<u16> {
    let live = shared.current.pin();
    let is_ours = |port: u16| {
        let has = live.as_ref().is_some_and(|live| live.forwards.listening(transport, port).next().is_some());
        has || transport == Transport::Udp && shared.forwards.parted.contains_key(&port)
    };
    let is_taken = |port: u16| {
        let mut ips = plan::addresses(listen).into_iter();
        ips.any(|ip| bind::is_taken(Spot { transport, ip, port }))
    };
    (ports.first..=ports.last).rev().find(|port| !is_ours(*port) && is_taken(*port))
}

/// Whether a client may come in.
fn may_come(sources: &[IpNet], client: IpAddr) -> bool {
    let client = client.to_canonical();
    sources.is_empty() || sources.iter().any(|network| network.contains(&client))
}

/// The endpoint that `port` of the gate leads to.
fn endpoint_of(forward: &Forward, port: u16) -> Option<config::snapshot::Endpoint> {
    use config::target::Target;
    let target_port = forward.target_port(port)?;
    let mut endpoint = forward.endpoint.clone();
    match &mut endpoint.target {
        Target::Address(address) => address.set_port(target_port),
        Target::Name { port, .. } => *port = target_port,
    }
    Some(endpoint)
}

#[cfg(test)]
mod tests;

//! What port forwards take from here: a bare connection, the PROXY header, the addresses of an endpoint.
//!
//! The same rules as for requests, and one more: the ports of forwards are our own, too, so that no chain of them comes
//! back to where it began.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use config::limits;
use config::snapshot::{Endpoint, ProxyProtocol, Transport};
use config::target::Target;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::resolve::{self, Place};
use super::{Ends, open, own_addresses, proxy};
use crate::fault::{Cause, Fault, Kind, Retry};
use crate::forward::Forwards;
use crate::worker::Worker;

/// Opens a connection to `endpoint` and says who asks, if that is wanted.
///
/// Errors: an upstream fault; unresolved, forbidden, refused or too slow.
pub(crate) async fn connect(
    worker: &Rc<Worker>,
    endpoint: &Endpoint,
    own: &[SocketAddr],
    introduction: Option<(ProxyProtocol, Ends)>,
) -> Result<TcpStream, Fault> {
    let all = async {
        let (mut io, _) = open::connect(worker, endpoint, own).await?;
        if let Some((version, ends)) = introduction {
            let header = proxy::header(version, Some(ends));
            let written = io.write_all(&header).await;
            written.map_err(|cause| Fault::upstream(Kind::Refused, Retry::Safe, cause))?;
        }
        Ok(io)
    };
    match timeout(Duration::from_millis(limits::CONNECT_DEADLINE_MS), all).await {
        Ok(done) => done,
        Err(_) => {
            Err(Fault::upstream(Kind::Timeout, Retry::Safe, Cause::Rule("the connection took too long")))
        }
    }
}

/// The addresses that a flow to this port must not go to: the gateway's listeners and the ports of forwards.
pub(crate) fn own(worker: &Worker, forwards: &Forwards, transport: Transport, port: u16) -> Vec<SocketAddr> {
    let mut own: Vec<SocketAddr> = match transport {
        Transport::Tcp => own_addresses(worker).iter().filter(|own| own.port() == port).copied().collect(),
        Transport::Udp => Vec::new(),
    };
    own.extend(forwards.listening(transport, port).map(|ip| SocketAddr::new(ip, port)));
    own
}

/// Where a name led when a flow began.
#[derive(Debug, Clone)]
pub(crate) struct Named(Place);

impl Named {
    /// Whether it still leads there; asks again when its time has come.
    pub(crate) fn is_current(&self, worker: &Rc<Worker>) -> bool {
        resolve::touch(worker, &self.0);
        self.0.is_current()
    }
}

/// Where a name led in the process before, to be held against where it leads now.
///
/// Returns `None` where nobody can say; an address leads nowhere else.
pub(crate) async fn recall(worker: &Rc<Worker>, target: &Target, ip: IpAddr) -> Option<Named> {
    let Target::Name { host, .. } = target else { return None };
    let (name, _) = resolve::addresses(worker, host).await.ok()?;
    Some(Named(Place { name, ip }))
}

/// The addresses of an endpoint with a name, best first.
///
/// Errors: an upstream fault.
pub(crate) async fn resolve(
    worker: &Rc<Worker>,
    target: &Target,
) -> Result<Vec<(SocketAddr, Option<Named>)>, Fault> {
    let (host, port) = match target {
        Target::Address(address) => return Ok(vec![(*address, None)]),
        Target::Name { host, port } => (host, *port),
    };
    let (name, ips) = resolve::addresses(worker, host).await?;
    let named =
        |ip: &IpAddr| (SocketAddr::new(*ip, port), Some(Named(Place { name: Rc::clone(&name), ip: *ip })));
    Ok(ips.iter().map(named).collect())
}

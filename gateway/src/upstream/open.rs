//! A new connection, from the name to the handshake, under one deadline.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use config::snapshot::{Endpoint, Protocol, ProxyProtocol};
use config::target::Target;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::pool::{Key, Lease};
use super::resolve::{self, Place};
use super::way::Way;
use super::{Call, Stream, dial, own_addresses, proxy, tls};
use crate::fault::{Cause, Fault, Kind, Retry};
use crate::worker::Worker;

/// Opens a connection the way `way` says.
pub(super) async fn open(
    worker: &Rc<Worker>,
    call: &Call<'_>,
    way: Option<&Way>,
    key: Key,
) -> Result<Lease, Fault> {
    match timeout(call.deadline, open_all(worker, call, way)).await {
        Ok(Ok((stream, place))) => Ok(Lease { stream, is_reused: false, key, place }),
        Ok(Err(fault)) => Err(fault),
        Err(_) => {
            Err(Fault::upstream(Kind::Timeout, Retry::Safe, Cause::Rule("the connection took too long")))
        }
    }
}

async fn open_all(
    worker: &Rc<Worker>,
    call: &Call<'_>,
    way: Option<&Way>,
) -> Result<(Stream, Option<Box<Place>>), Fault> {
    // First of all: with a policy that cannot be used, nobody is bothered by a connection.
    let tls = match way.and_then(|way| Some((way, way.tls.as_ref()?))) {
        Some((way, policy)) => {
            Some((tls::server_name(&call.endpoint.target, policy)?, tls::config(way, policy).await?))
        }
        None => None,
    };
    let (mut io, place) = connect(worker, call.endpoint, &own_addresses(worker)).await?;
    if let Some(version) = way.and_then(|way| way.proxy) {
        introduce(&mut io, version, call).await?;
    }
    let is_http2 = way.is_some_and(|way| way.protocol == Protocol::Http2);
    let stream = match tls {
        None => Stream::Plain(io),
        Some((name, config)) => Stream::Tls(Box::new(tls::shake_hands(config, name, io, is_http2).await?)),
    };
    Ok((stream, place))
}

/// A bare connection to an endpoint, at none of our `own` addresses.
pub(super) async fn connect(
    worker: &Rc<Worker>,
    endpoint: &Endpoint,
    own: &[SocketAddr],
) -> Result<(TcpStream, Option<Box<Place>>), Fault> {
    let (host, port) = match &endpoint.target {
        Target::Address(address) => {
            let io = dial::dial_address(*address, endpoint.loopback_ok, own).await?;
            return Ok((io, None));
        }
        Target::Name { host, port } => (host, *port),
    };
    let (name, ips) = resolve::addresses(worker, host).await?;
    let addresses: Vec<SocketAddr> = ips.iter().map(|ip: &IpAddr| SocketAddr::new(*ip, port)).collect();
    let (io, address) = dial::first_of(&addresses, endpoint.loopback_ok, own).await?;
    Ok((io, Some(Box::new(Place { name, ip: address.ip() }))))
}

/// Says who asks, before the first byte of anything else.
async fn introduce(io: &mut TcpStream, version: ProxyProtocol, call: &Call<'_>) -> Result<(), Fault> {
    let header = proxy::header(version, call.ends.copied());
    io.write_all(&header).await.map_err(|cause| Fault::upstream(Kind::Refused, Retry::Safe, cause))
}

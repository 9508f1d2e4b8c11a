//! A route and its upstream.

use std::net::SocketAddr;

use prost::Message;

use super::object::{address, address_bytes, id_bytes, in_field, port};
use crate::id::{EndpointId, RouteId, VmId};
use crate::limits;
use crate::name::{HostName, HostPattern, Namespace, PathPrefix};
use crate::snapshot::{Action, Endpoint, FlowPolicy, Route, Service, TlsMode, Upstream};
use crate::target::Target;

/// What an absent `on_delete` means. Of the wire, so it stays when the product's default moves.
const ON_DELETE_ABSENT: FlowPolicy = FlowPolicy::Drain { ms: 30_000 };

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireRoute {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    host: String,
    /// Empty is `/`.
    #[prost(string, tag = "3")]
    path: String,
    /// 0 off, 1 self-signed.
    #[prost(uint32, tag = "4")]
    tls: u32,
    #[prost(bool, tag = "5")]
    redirect_https: bool,
    #[prost(uint32, optional, tag = "6")]
    hsts_seconds: Option<u32>,
    #[prost(bool, tag = "7")]
    websocket: bool,
    /// 0 forward, 1 control, 2 noVNC, 3 ttyd.
    #[prost(uint32, tag = "8")]
    action: u32,
    /// Of a forward: all of them. Of control: the one.
    #[prost(message, repeated, tag = "9")]
    endpoints: Vec<WireEndpoint>,
    /// 0 keep, 1 cut, n + 2 drain n milliseconds; absent is keep.
    #[prost(uint64, tag = "10")]
    on_change: u64,
    /// The same numbers; absent is [`ON_DELETE_ABSENT`].
    #[prost(uint64, optional, tag = "11")]
    on_delete: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct WireEndpoint {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    /// 4 or 16 bytes; empty where the target is a name.
    #[prost(bytes = "vec", tag = "2")]
    address: Vec<u8>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint32, tag = "4")]
    port: u32,
    #[prost(bool, tag = "5")]
    loopback_ok: bool,
    /// Empty is no VM.
    #[prost(bytes = "vec", tag = "6")]
    vm: Vec<u8>,
}

pub(super) fn encode_route(route: &Route) -> WireRoute {
    let (action, endpoints) = match &route.action {
        Action::Forward(upstream) => (0, upstream.endpoints.iter().map(encode_endpoint).collect()),
        Action::Service(Service::Control { id, address }) => {
            let target = Target::Address(*address);
            (
                1,
                vec![encode_endpoint(&Endpoint {
                    id: *id,
                    target,
                    loopback_ok: false,
                    vm: None,
                    weight: 1,
                    draining: false,
                })],
            )
        }
        Action::Service(Service::Novnc) => (2, Vec::new()),
        Action::Service(Service::Ttyd) => (3, Vec::new()),
        Action::Redirect(_) => (4, Vec::new()),
        Action::Respond(_) => (5, Vec::new()),
    };
    WireRoute {
        namespace: route.namespace.to_string(),
        host: route.host.to_string(),
        path: if route.path.as_str() == "/" { String::new() } else { route.path.to_string() },
        tls: match route.tls {
            TlsMode::Off => 0,
            TlsMode::SelfSigned => 1,
        },
        redirect_https: route.redirect_https,
        hsts_seconds: route.hsts_seconds,
        websocket: route.websocket,
        action,
        endpoints,
        on_change: encode_flow(route.on_change),
        on_delete: (route.on_delete != ON_DELETE_ABSENT).then(|| encode_flow(route.on_delete)),
    }
}

pub(super) fn decode_route(id: RouteId, wire: WireRoute) -> Result<Route, String> {
    Ok(Route {
        id,
        namespace: Namespace::parse(&wire.namespace).map_err(in_field("namespace"))?,
        host: HostPattern::parse(&wire.host).map_err(in_field("host"))?,
        path: if wire.path.is_empty() {
            PathPrefix::root()
        } else {
            PathPrefix::parse(&wire.path).map_err(in_field("path"))?
        },
        tls: match wire.tls {
            0 => TlsMode::Off,
            1 => TlsMode::SelfSigned,
            other => return Err(format!("tls mode {other} is not known to this version")),
        },
        redirect_https: wire.redirect_https,
        hsts_seconds: wire.hsts_seconds,
        websocket: wire.websocket,
        action: decode_action(wire.action, &wire.endpoints)?,
        on_change: decode_flow(wire.on_change),
        matchers: None,
        filters: None,
        timeouts: None,
        on_delete: wire.on_delete.map_or(ON_DELETE_ABSENT, decode_flow),
    })
}

fn decode_action(action: u32, endpoints: &[WireEndpoint]) -> Result<Action, String> {
    Ok(match action {
        0 => {
            if endpoints.is_empty() || endpoints.len() > limits::ENDPOINTS_MAX {
                let (count, max) = (endpoints.len(), limits::ENDPOINTS_MAX);
                return Err(format!("an upstream has 1 to {max} endpoints, this one {count}"));
            }
            let endpoints = endpoints.iter().map(decode_endpoint).collect::<Result<_, _>>()?;
            Action::Forward(Upstream { endpoints, policy: None })
        }
        1 => match endpoints {
            [wire] => match decode_endpoint(wire)? {
                Endpoint { id, target: Target::Address(address), .. } => {
                    Action::Service(Service::Control { id, address })
                }
                Endpoint { target: Target::Name { .. }, .. } => {
                    return Err("the service control needs an address".to_owned());
                }
            },
            _ => return Err("the service control needs one address".to_owned()),
        },
        2 => Action::Service(Service::Novnc),
        3 => Action::Service(Service::Ttyd),
        other => return Err(format!("action {other} is not known to this version")),
    })
}

fn encode_endpoint(endpoint: &Endpoint) -> WireEndpoint {
    let (address, name, port) = match &endpoint.target {
        Target::Address(address) => (address_bytes(address.ip()), String::new(), address.port()),
        Target::Name { host, port } => (Vec::new(), host.to_string(), *port),
    };
    WireEndpoint {
        id: endpoint.id.to_bytes().to_vec(),
        address,
        name,
        port: port.into(),
        loopback_ok: endpoint.loopback_ok,
        vm: endpoint.vm.map(|vm| vm.to_bytes().to_vec()).unwrap_or_default(),
    }
}

fn decode_endpoint(wire: &WireEndpoint) -> Result<Endpoint, String> {
    let port = port(wire.port)?;
    let target = match (wire.address.is_empty(), wire.name.is_empty()) {
        (false, true) => Target::Address(SocketAddr::new(address(&wire.address)?, port)),
        (true, false) => {
            Target::Name { host: HostName::parse(&wire.name).map_err(in_field("endpoint"))?, port }
        }
        (true, true) | (false, false) => return Err("an endpoint is an address or a name".to_owned()),
    };
    Ok(Endpoint {
        id: EndpointId::from_bytes(id_bytes(&wire.id)?),
        target,
        loopback_ok: wire.loopback_ok,
        vm: if wire.vm.is_empty() { None } else { Some(VmId::from_bytes(id_bytes(&wire.vm)?)) },
        weight: 1,
        draining: false,
    })
}

const fn encode_flow(policy: FlowPolicy) -> u64 {
    match policy {
        FlowPolicy::Keep => 0,
        FlowPolicy::Cut => 1,
        FlowPolicy::Drain { ms } => ms.saturating_add(2),
    }
}

const fn decode_flow(number: u64) -> FlowPolicy {
    match number {
        0 => FlowPolicy::Keep,
        1 => FlowPolicy::Cut,
        n => FlowPolicy::Drain { ms: n - 2 },
    }
}

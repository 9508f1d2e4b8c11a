//! Objects and their bytes.
//!
//! The object's key carries kind and id, so neither is repeated in the bytes. Defaults are omitted, ids are 16 bytes,
//! enumerations are numbers, names travel in their folded text and are parsed again: bytes from an older database or a
//! newer control meet the grammar of this program. Tags and numbers never change meaning.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use prost::Message;

use crate::id::{EndpointId, IdentityId, KeyId, RouteId, UserId, VmId};
use crate::limits;
use crate::name::{HostName, HostPattern, Namespace, NetworkName, PathPrefix, UserName, VmName};
use crate::secret::Secret;
use crate::snapshot::object::Malformed;
use crate::snapshot::{
    Action, Endpoint, FlowPolicy, Identity, Kind, Object, Principal, Route, Service, SshHostKey, SshKey,
    TlsMode, Upstream, Value, Vm,
};
use crate::target::Target;

/// What an absent `on_delete` means. Of the wire, so it stays when the product's default moves.
const ON_DELETE_ABSENT: FlowPolicy = FlowPolicy::Drain { ms: 30_000 };
/// What an absent network means.
const NETWORK_ABSENT: &str = "default";
/// What an absent SSH port means.
const SSH_PORT_ABSENT: u16 = 22;

#[derive(Clone, PartialEq, Message)]
struct WireRoute {
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

#[derive(Clone, PartialEq, Message)]
struct WireVm {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    namespace: String,
    /// Empty is [`NETWORK_ABSENT`].
    #[prost(string, tag = "3")]
    network: String,
    #[prost(bytes = "vec", tag = "4")]
    address: Vec<u8>,
    /// 0 is [`SSH_PORT_ABSENT`].
    #[prost(uint32, tag = "5")]
    ssh_port: u32,
    #[prost(bool, tag = "6")]
    loopback_ok: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WirePrincipal {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    keys: Vec<Vec<u8>>,
    /// In the grammar of `grant`.
    #[prost(string, tag = "3")]
    grants: String,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct WireIdentity {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    chain: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
}

impl fmt::Debug for WireIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireIdentity").field("names", &self.names).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct WireSshHostKey {
    #[prost(string, tag = "1")]
    private_pem: String,
}

impl fmt::Debug for WireSshHostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireSshHostKey").finish_non_exhaustive()
    }
}

pub(crate) fn encode(value: &Value) -> Option<Object> {
    let bytes = match value {
        Value::Route(route) => encode_route(route).encode_to_vec(),
        Value::Vm(vm) => encode_vm(vm).encode_to_vec(),
        Value::Principal(principal) => encode_principal(principal).encode_to_vec(),
        Value::Identity(identity) => encode_identity(identity).encode_to_vec(),
        Value::SshHostKey(key) => {
            WireSshHostKey { private_pem: key.private_pem.expose().clone() }.encode_to_vec()
        }
        Value::Unknown => return None,
    };
    Some(Object::new(value.key()?, bytes))
}

pub(crate) fn decode(object: &Object) -> Result<Value, Malformed> {
    read(object).map_err(|why| Malformed { key: object.key(), why })
}

fn read(object: &Object) -> Result<Value, String> {
    let (id, bytes) = (object.key().id, object.bytes());
    if bytes.len() > limits::OBJECT_BYTES_MAX {
        return Err(format!("it has {} bytes, at most {} are read", bytes.len(), limits::OBJECT_BYTES_MAX));
    }
    Ok(match object.key().kind {
        Kind::ROUTE => Value::Route(decode_route(RouteId::from_bytes(id), parse(bytes)?)?),
        Kind::VM => Value::Vm(decode_vm(VmId::from_bytes(id), &parse(bytes)?)?),
        Kind::PRINCIPAL => Value::Principal(decode_principal(UserId::from_bytes(id), parse(bytes)?)?),
        Kind::IDENTITY => Value::Identity(decode_identity(IdentityId::from_bytes(id), parse(bytes)?)?),
        Kind::SSH_HOST_KEY => {
            let wire: WireSshHostKey = parse(bytes)?;
            Value::SshHostKey(SshHostKey {
                id: KeyId::from_bytes(id),
                private_pem: Secret::new(wire.private_pem),
            })
        }
        Kind(_) => Value::Unknown,
    })
}

fn parse<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    M::decode(bytes).map_err(|error| error.to_string())
}

fn encode_route(route: &Route) -> WireRoute {
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

fn decode_route(id: RouteId, wire: WireRoute) -> Result<Route, String> {
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

fn encode_vm(vm: &Vm) -> WireVm {
    WireVm {
        name: vm.name.to_string(),
        namespace: vm.namespace.to_string(),
        network: if vm.network.as_str() == NETWORK_ABSENT { String::new() } else { vm.network.to_string() },
        address: address_bytes(vm.address),
        ssh_port: if vm.ssh_port == SSH_PORT_ABSENT { 0 } else { vm.ssh_port.into() },
        loopback_ok: vm.loopback_ok,
    }
}

fn decode_vm(id: VmId, wire: &WireVm) -> Result<Vm, String> {
    let network = if wire.network.is_empty() { NETWORK_ABSENT } else { &wire.network };
    Ok(Vm {
        id,
        name: VmName::parse(&wire.name).map_err(in_field("name"))?,
        namespace: Namespace::parse(&wire.namespace).map_err(in_field("namespace"))?,
        network: NetworkName::parse(network).map_err(in_field("network"))?,
        address: address(&wire.address)?,
        ssh_port: if wire.ssh_port == 0 { SSH_PORT_ABSENT } else { port(wire.ssh_port)? },
        loopback_ok: wire.loopback_ok,
    })
}

fn encode_principal(principal: &Principal) -> WirePrincipal {
    WirePrincipal {
        name: principal.name.to_string(),
        keys: principal.keys.iter().map(|key| key.blob.to_vec()).collect(),
        grants: principal.grants.to_string(),
    }
}

fn decode_principal(id: UserId, wire: WirePrincipal) -> Result<Principal, String> {
    Ok(Principal {
        id,
        name: UserName::parse(&wire.name).map_err(in_field("name"))?,
        keys: wire.keys.into_iter().map(|blob| SshKey { blob: Arc::from(blob) }).collect(),
        grants: wire.grants.parse().map_err(in_field("grants"))?,
    })
}

fn encode_identity(identity: &Identity) -> WireIdentity {
    WireIdentity {
        names: identity.names.iter().map(ToString::to_string).collect(),
        chain: identity.chain.to_vec(),
        key: identity.key.expose().clone(),
    }
}

fn decode_identity(id: IdentityId, wire: WireIdentity) -> Result<Identity, String> {
    let WireIdentity { names, chain, key } = wire;
    // First, so that the key is in custody whatever else is wrong.
    let key = Secret::new(key);
    let names = names.iter().map(|name| HostPattern::parse(name).map_err(in_field("names")));
    Ok(Identity { id, names: names.collect::<Result<_, _>>()?, chain: chain.into(), key })
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

/// The 4 or 16 bytes of an address.
pub(super) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// An address from its 4 or 16 bytes.
pub(super) fn address(bytes: &[u8]) -> Result<IpAddr, String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes)
        .map(IpAddr::from)
        .map_err(|_| format!("an address has 4 or 16 bytes, this one {}", bytes.len()))
}

/// A port from its number.
pub(super) fn port(number: u32) -> Result<u16, String> {
    u16::try_from(number).map_err(|_| format!("{number} is no port"))
}

/// The 16 bytes of an id.
pub(super) fn id_bytes(bytes: &[u8]) -> Result<[u8; 16], String> {
    bytes.try_into().map_err(|_| format!("an id has 16 bytes, this one {}", bytes.len()))
}

fn in_field<E: fmt::Display>(field: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{field}: {error}")
}

//! A route and its upstream.

use std::net::SocketAddr;

use prost::Message;

use super::balancing::{WirePolicy, decode_policy, encode_policy};
use super::filters::{
    WireContent, WireFilters, WireTimeouts, decode_content, decode_filters, decode_prefix, decode_timeouts,
    encode_content, encode_filters, encode_prefix, encode_timeouts, status,
};
use super::matchers::{WireMatchers, decode_matchers, encode_matchers};
use super::object::{address, address_bytes, id_bytes, in_field, port};
use super::tls::{WireTlsPolicy, decode_policy as decode_tls, encode_policy as encode_tls};
use crate::id::{EndpointId, RouteId, VmId};
use crate::limits;
use crate::name::{HostName, HostPattern, Namespace};
use crate::snapshot::{
    Action, Endpoint, FlowPolicy, Invalid, Redirect, Respond, Route, Service, TlsMode, Upstream,
};
use crate::target::Target;

/// What an absent `on_delete` means. Of the wire, so it stays when the product's default moves.
const ON_DELETE_ABSENT: FlowPolicy = FlowPolicy::Drain { ms: 30_000 };
/// What an absent weight means.
const WEIGHT_ABSENT: u16 = 1;
/// A reader that skips the policy of TLS would let in whom it keeps out.
const NEEDS_TLS_POLICY: u32 = 1;
/// Number of the feature that a list of upgrades needs.
const NEEDS_UPGRADES: u32 = 2;
/// Violations that a refusal spells out.
const VIOLATIONS_SHOWN: usize = 3;

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireRoute {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    host: String,
    /// Empty is `/`.
    #[prost(string, tag = "3")]
    path: String,
    /// 0 off, 1 self-signed, 2 upload, 3 ACME, 4 pass-through.
    #[prost(uint32, tag = "4")]
    tls: u32,
    #[prost(bool, tag = "5")]
    redirect_https: bool,
    #[prost(uint32, optional, tag = "6")]
    hsts_seconds: Option<u32>,
    #[prost(bool, tag = "7")]
    websocket: bool,
    /// 0 forward, 1 control, 2 noVNC, 3 ttyd, 4 redirect, 5 respond.
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
    #[prost(message, optional, tag = "12")]
    matchers: Option<WireMatchers>,
    #[prost(message, optional, tag = "13")]
    filters: Option<WireFilters>,
    #[prost(message, optional, tag = "14")]
    timeouts: Option<WireTimeouts>,
    /// Of a forward.
    #[prost(message, optional, tag = "15")]
    policy: Option<WirePolicy>,
    #[prost(message, optional, tag = "16")]
    redirect: Option<WireRedirect>,
    #[prost(message, optional, tag = "17")]
    respond: Option<WireRespond>,
    /// What a reader has to know to serve the route at all: 1 is `tls_policy`, 2 is `filters.upgrades`. Fields that are not known are skipped, and a
    /// skipped condition or filter would open the route: control that adds one gives it a number and writes it here.
    #[prost(uint32, repeated, tag = "18")]
    needs: Vec<u32>,
    /// Needs [`NEEDS_TLS_POLICY`].
    #[prost(message, optional, tag = "19")]
    tls_policy: Option<WireTlsPolicy>,
}

#[derive(Clone, PartialEq, Message)]
struct WireRedirect {
    #[prost(uint32, tag = "1")]
    status: u32,
    #[prost(string, tag = "2")]
    to: String,
    #[prost(bool, tag = "3")]
    keeps_rest: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WireRespond {
    #[prost(uint32, tag = "1")]
    status: u32,
    #[prost(message, optional, tag = "2")]
    content: Option<WireContent>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireEndpoint {
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
    /// 0 is 1.
    #[prost(uint32, tag = "7")]
    weight: u32,
    #[prost(bool, tag = "8")]
    draining: bool,
}

pub(super) fn encode_route(route: &Route) -> WireRoute {
    let mut wire = WireRoute {
        namespace: route.namespace.to_string(),
        host: route.host.to_string(),
        path: encode_prefix(&route.path),
        tls: match route.tls {
            TlsMode::Off => 0,
            TlsMode::SelfSigned => 1,
            TlsMode::Upload => 2,
            TlsMode::Acme => 3,
            TlsMode::Passthrough => 4,
        },
        redirect_https: route.redirect_https,
        hsts_seconds: route.hsts_seconds,
        websocket: route.websocket,
        on_change: encode_flow(route.on_change),
        on_delete: (route.on_delete != ON_DELETE_ABSENT).then(|| encode_flow(route.on_delete)),
        matchers: route.matchers.as_deref().map(encode_matchers),
        filters: route.filters.as_deref().map(encode_filters),
        timeouts: route.timeouts.as_deref().map(encode_timeouts),
        tls_policy: route.tls_policy.as_deref().map(encode_tls),
        needs: needs(route),
        ..WireRoute::default()
    };
    encode_action(&route.action, &mut wire);
    wire
}

fn needs(route: &Route) -> Vec<u32> {
    let has_upgrades = route.filters.as_deref().is_some_and(|filters| !filters.upgrades.is_empty());
    let asked = [(route.tls_policy.is_some(), NEEDS_TLS_POLICY), (has_upgrades, NEEDS_UPGRADES)];
    asked.iter().filter(|(is_asked, _)| *is_asked).map(|(_, number)| *number).collect()
}

fn encode_action(action: &Action, wire: &mut WireRoute) {
    wire.action = match action {
        Action::Forward(upstream) => {
            wire.endpoints = upstream.endpoints.iter().map(encode_endpoint).collect();
            wire.policy = upstream.policy.as_deref().map(encode_policy);
            0
        }
        Action::Service(Service::Control { id, address }) => {
            let target = Target::Address(*address);
            let (loopback_ok, vm, weight, draining) = (false, None, WEIGHT_ABSENT, false);
            let endpoint = Endpoint { id: *id, target, loopback_ok, vm, weight, draining };
            wire.endpoints = vec![encode_endpoint(&endpoint)];
            1
        }
        Action::Service(Service::Novnc) => 2,
        Action::Service(Service::Ttyd) => 3,
        Action::Redirect(Redirect { status, to, keeps_rest }) => {
            let (status, to) = (u32::from(*status), to.to_string());
            wire.redirect = Some(WireRedirect { status, to, keeps_rest: *keeps_rest });
            4
        }
        Action::Respond(Respond { status, content }) => {
            let (status, content) = (u32::from(*status), Some(encode_content(content)));
            wire.respond = Some(WireRespond { status, content });
            5
        }
    };
}

pub(super) fn decode_route(id: RouteId, mut wire: WireRoute) -> Result<Route, String> {
    if let Some(number) =
        wire.needs.iter().find(|number| ![NEEDS_TLS_POLICY, NEEDS_UPGRADES].contains(number))
    {
        return Err(format!("it needs feature {number}, which this version does not know"));
    }
    let route = Route {
        id,
        namespace: Namespace::parse(&wire.namespace).map_err(in_field("namespace"))?,
        host: HostPattern::parse(&wire.host).map_err(in_field("host"))?,
        path: decode_prefix(&wire.path).map_err(in_field("path"))?,
        tls: match wire.tls {
            0 => TlsMode::Off,
            1 => TlsMode::SelfSigned,
            2 => TlsMode::Upload,
            3 => TlsMode::Acme,
            4 => TlsMode::Passthrough,
            other => return Err(format!("tls mode {other} is not known to this version")),
        },
        redirect_https: wire.redirect_https,
        hsts_seconds: wire.hsts_seconds,
        websocket: wire.websocket,
        on_change: decode_flow(wire.on_change).map_err(in_field("on_change"))?,
        on_delete: wire.on_delete.map_or(Ok(ON_DELETE_ABSENT), decode_flow).map_err(in_field("on_delete"))?,
        matchers: boxed(wire.matchers.take().map(decode_matchers)).map_err(in_field("matchers"))?,
        filters: boxed(wire.filters.take().map(decode_filters)).map_err(in_field("filters"))?,
        timeouts: wire.timeouts.take().map(decode_timeouts).map(Box::new),
        tls_policy: boxed(wire.tls_policy.take().map(decode_tls)).map_err(in_field("tls_policy"))?,
        action: decode_action(wire)?,
    };
    checked(route.check())?;
    Ok(route)
}

/// Says the first violations in one line.
pub(super) fn checked(outcome: Result<(), Vec<Invalid>>) -> Result<(), String> {
    outcome.map_err(|violations| {
        let shown: Vec<_> = violations.iter().take(VIOLATIONS_SHOWN).map(ToString::to_string).collect();
        shown.join("; ")
    })
}

fn boxed<T>(part: Option<Result<T, String>>) -> Result<Option<Box<T>>, String> {
    Ok(part.transpose()?.map(Box::new))
}

fn decode_action(wire: WireRoute) -> Result<Action, String> {
    let WireRoute { action, endpoints, policy, redirect, respond, .. } = wire;
    Ok(match action {
        0 => {
            // Before they are read: each becomes more than its bytes.
            if endpoints.len() > limits::ENDPOINTS_MAX {
                let (count, max) = (endpoints.len(), limits::ENDPOINTS_MAX);
                return Err(format!("an upstream has 1 to {max} endpoints, this one {count}"));
            }
            let endpoints = endpoints.iter().map(decode_endpoint).collect::<Result<_, _>>()?;
            let policy = boxed(policy.map(decode_policy)).map_err(in_field("policy"))?;
            Action::Forward(Upstream { endpoints, policy })
        }
        1 => match endpoints.as_slice() {
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
        4 => {
            let WireRedirect { status: number, to, keeps_rest } =
                redirect.ok_or("a redirect leads nowhere")?;
            Action::Redirect(Redirect { status: status(number)?, to: to.into_boxed_str(), keeps_rest })
        }
        5 => {
            let WireRespond { status: number, content } = respond.ok_or("a fixed answer says nothing")?;
            let content = decode_content(content.ok_or("a fixed answer has no content")?);
            Action::Respond(Respond { status: status(number)?, content })
        }
        other => return Err(format!("action {other} is not known to this version")),
    })
}

pub(super) fn encode_endpoint(endpoint: &Endpoint) -> WireEndpoint {
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
        weight: if endpoint.weight == WEIGHT_ABSENT { 0 } else { endpoint.weight.into() },
        draining: endpoint.draining,
    }
}

pub(super) fn decode_endpoint(wire: &WireEndpoint) -> Result<Endpoint, String> {
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
        weight: match wire.weight {
            0 => WEIGHT_ABSENT,
            weight => u16::try_from(weight).map_err(|_| format!("{weight} is no weight"))?,
        },
        draining: wire.draining,
    })
}

pub(super) const fn encode_flow(policy: FlowPolicy) -> u64 {
    match policy {
        FlowPolicy::Keep => 0,
        FlowPolicy::Cut => 1,
        FlowPolicy::Drain { ms } => ms as u64 + 2,
    }
}

pub(super) fn decode_flow(number: u64) -> Result<FlowPolicy, String> {
    Ok(match number {
        0 => FlowPolicy::Keep,
        1 => FlowPolicy::Cut,
        n => FlowPolicy::Drain {
            ms: u32::try_from(n - 2).map_err(|_| format!("a drain of {} ms is too long", n - 2))?,
        },
    })
}

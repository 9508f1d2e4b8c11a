//! A port forward.

use prost::Message;

use super::balancing::{decode_proxy_protocol, encode_proxy_protocol};
use super::matchers::{decode_networks, encode_networks};
use super::object::{address, address_bytes, in_field, port};
use super::route::{WireEndpoint, checked, decode_endpoint, decode_flow, encode_endpoint, encode_flow};
use crate::id::ForwardId;
use crate::name::Namespace;
use crate::snapshot::{FlowPolicy, Forward, Ports, Transport};

/// What an absent `on_delete` means. Of the wire, so it stays when the product's default moves.
const ON_DELETE_ABSENT: FlowPolicy = FlowPolicy::Drain { ms: 30_000 };

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireForward {
    #[prost(string, tag = "1")]
    namespace: String,
    /// 0 TCP, 1 UDP.
    #[prost(uint32, tag = "2")]
    transport: u32,
    /// Empty is every address.
    #[prost(bytes = "vec", tag = "3")]
    listen: Vec<u8>,
    #[prost(uint32, tag = "4")]
    first: u32,
    /// 0 is `first`.
    #[prost(uint32, tag = "5")]
    last: u32,
    #[prost(message, optional, tag = "6")]
    endpoint: Option<WireEndpoint>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    sources: Vec<Vec<u8>>,
    /// 0 none, 1 v1, 2 v2.
    #[prost(uint32, tag = "8")]
    proxy_protocol: u32,
    #[prost(uint32, optional, tag = "9")]
    flows_max: Option<u32>,
    #[prost(uint32, optional, tag = "10")]
    flows_per_second: Option<u32>,
    #[prost(uint32, optional, tag = "11")]
    idle_ms: Option<u32>,
    /// The numbers of a route's.
    #[prost(uint64, tag = "12")]
    on_change: u64,
    /// Absent is [`ON_DELETE_ABSENT`].
    #[prost(uint64, optional, tag = "13")]
    on_delete: Option<u64>,
    /// What a reader has to know to serve it at all; none so far.
    #[prost(uint32, repeated, tag = "14")]
    needs: Vec<u32>,
}

pub(super) fn encode_forward(forward: &Forward) -> WireForward {
    let Ports { first, last } = forward.ports;
    WireForward {
        namespace: forward.namespace.to_string(),
        transport: match forward.transport {
            Transport::Tcp => 0,
            Transport::Udp => 1,
        },
        listen: forward.listen.map(address_bytes).unwrap_or_default(),
        first: first.into(),
        last: if last == first { 0 } else { last.into() },
        endpoint: Some(encode_endpoint(&forward.endpoint)),
        sources: encode_networks(&forward.sources),
        proxy_protocol: encode_proxy_protocol(forward.proxy_protocol),
        flows_max: forward.flows_max,
        flows_per_second: forward.flows_per_second,
        idle_ms: forward.idle_ms,
        on_change: encode_flow(forward.on_change),
        on_delete: (forward.on_delete != ON_DELETE_ABSENT).then(|| encode_flow(forward.on_delete)),
        needs: Vec::new(),
    }
}

pub(super) fn decode_forward(id: ForwardId, wire: WireForward) -> Result<Forward, String> {
    if let Some(number) = wire.needs.first() {
        return Err(format!("it needs feature {number}, which this version does not know"));
    }
    let first = port(wire.first)?;
    let forward = Forward {
        id,
        namespace: Namespace::parse(&wire.namespace).map_err(in_field("namespace"))?,
        transport: match wire.transport {
            0 => Transport::Tcp,
            1 => Transport::Udp,
            other => return Err(format!("transport {other} is not known to this version")),
        },
        listen: if wire.listen.is_empty() { None } else { Some(address(&wire.listen)?) },
        ports: Ports { first, last: if wire.last == 0 { first } else { port(wire.last)? } },
        endpoint: decode_endpoint(&wire.endpoint.ok_or("it leads nowhere")?)?,
        sources: decode_networks(&wire.sources).map_err(in_field("sources"))?,
        proxy_protocol: decode_proxy_protocol(wire.proxy_protocol)?,
        flows_max: wire.flows_max,
        flows_per_second: wire.flows_per_second,
        idle_ms: wire.idle_ms,
        on_change: decode_flow(wire.on_change).map_err(in_field("on_change"))?,
        on_delete: wire.on_delete.map_or(Ok(ON_DELETE_ABSENT), decode_flow).map_err(in_field("on_delete"))?,
    };
    checked(forward.check())?;
    Ok(forward)
}

//! Consoles and the authority of their tickets.

use std::fmt;

use prost::Message;

use super::object::{id_bytes, in_field};
use super::route::{WireEndpoint, checked, decode_endpoint, decode_flow, encode_endpoint, encode_flow};
use crate::id::{ConsoleId, KeyId, VmId};
use crate::name::Namespace;
use crate::secret::Secret;
use crate::snapshot::{Console, ConsoleKind, ConsoleWire, FlowPolicy, TicketAuthority};

/// What an absent `on_delete` means. Of the wire, so it stays when the product's default moves.
const ON_DELETE_ABSENT: FlowPolicy = FlowPolicy::Drain { ms: 30_000 };

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct WireConsole {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(bytes = "vec", tag = "2")]
    vm: Vec<u8>,
    /// 0 VNC, 1 ttyd, 2 SSH, 3 serial.
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(message, optional, tag = "4")]
    endpoint: Option<WireEndpoint>,
    /// Empty is TCP.
    #[prost(string, tag = "5")]
    web_socket_path: String,
    #[prost(string, optional, tag = "6")]
    secret: Option<String>,
    #[prost(bool, tag = "7")]
    read_only: bool,
    /// The numbers of a route's.
    #[prost(uint64, tag = "8")]
    on_change: u64,
    /// Absent is [`ON_DELETE_ABSENT`].
    #[prost(uint64, optional, tag = "9")]
    on_delete: Option<u64>,
    /// What a reader has to know to serve it at all; none so far.
    #[prost(uint32, repeated, tag = "10")]
    needs: Vec<u32>,
}

impl fmt::Debug for WireConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireConsole").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireTicketAuthority {
    #[prost(bytes = "vec", tag = "1")]
    public_key: Vec<u8>,
}

pub(super) fn encode_console(console: &Console) -> WireConsole {
    WireConsole {
        namespace: console.namespace.to_string(),
        vm: console.vm.to_bytes().to_vec(),
        kind: match console.kind {
            ConsoleKind::Vnc => 0,
            ConsoleKind::Ttyd => 1,
            ConsoleKind::Ssh => 2,
            ConsoleKind::Serial => 3,
        },
        endpoint: Some(encode_endpoint(&console.endpoint)),
        web_socket_path: match &console.wire {
            ConsoleWire::Tcp => String::new(),
            ConsoleWire::WebSocket { path } => path.to_string(),
        },
        secret: console.secret.as_ref().map(|secret| secret.expose().clone()),
        read_only: console.read_only,
        on_change: encode_flow(console.on_change),
        on_delete: (console.on_delete != ON_DELETE_ABSENT).then(|| encode_flow(console.on_delete)),
        needs: Vec::new(),
    }
}

pub(super) fn decode_console(id: ConsoleId, mut wire: WireConsole) -> Result<Console, String> {
    // First, so that the password is in custody whatever else is wrong.
    let secret = wire.secret.take().map(Secret::new);
    if let Some(number) = wire.needs.first() {
        return Err(format!("it needs feature {number}, which this version does not know"));
    }
    let path = wire.web_socket_path;
    let console = Console {
        id,
        namespace: Namespace::parse(&wire.namespace).map_err(in_field("namespace"))?,
        vm: VmId::from_bytes(id_bytes(&wire.vm).map_err(in_field("vm"))?),
        kind: match wire.kind {
            0 => ConsoleKind::Vnc,
            1 => ConsoleKind::Ttyd,
            2 => ConsoleKind::Ssh,
            3 => ConsoleKind::Serial,
            other => return Err(format!("console kind {other} is not known to this version")),
        },
        endpoint: decode_endpoint(&wire.endpoint.ok_or("it leads nowhere")?)?,
        wire: if path.is_empty() { ConsoleWire::Tcp } else { ConsoleWire::WebSocket { path: path.into() } },
        secret,
        read_only: wire.read_only,
        on_change: decode_flow(wire.on_change).map_err(in_field("on_change"))?,
        on_delete: wire.on_delete.map_or(Ok(ON_DELETE_ABSENT), decode_flow).map_err(in_field("on_delete"))?,
    };
    checked(console.check())?;
    Ok(console)
}

pub(super) fn encode_ticket_authority(authority: &TicketAuthority) -> WireTicketAuthority {
    WireTicketAuthority { public_key: authority.public_key.to_vec() }
}

pub(super) fn decode_ticket_authority(
    id: KeyId,
    wire: &WireTicketAuthority,
) -> Result<TicketAuthority, String> {
    let len = wire.public_key.len();
    let public_key = <[u8; 32]>::try_from(wire.public_key.as_slice())
        .map_err(|_| format!("an Ed25519 public key has 32 bytes, this one {len}"))?;
    Ok(TicketAuthority { id, public_key })
}

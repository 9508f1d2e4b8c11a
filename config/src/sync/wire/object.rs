//! Objects and their bytes.
//!
//! The object's key carries kind and id, so neither is repeated in the bytes. Defaults are omitted, ids are 16 bytes,
//! enumerations are numbers, names travel in their folded text and are parsed again: bytes from an older database or a
//! newer control meet the grammar of this program. Tags and numbers never change meaning.

use std::fmt;
use std::net::IpAddr;

use prost::Message;

use crate::id::{ChallengeId, ConsoleId, ForwardId, IdentityId, KeyId, RouteId, UserId, VmId};
use crate::limits;
use crate::name::{HostPattern, Namespace, NetworkName, UserName, VmName};
use crate::secret::Secret;
use crate::snapshot::object::Malformed;
use crate::snapshot::{Identity, Kind, Object, Principal, Value, Vm};
use crate::sync::wire::console::{
    decode_console, decode_ticket_authority, encode_console, encode_ticket_authority,
};
use crate::sync::wire::forward::{decode_forward, encode_forward};
use crate::sync::wire::route::{decode_route, encode_route};
use crate::sync::wire::ssh::{
    WireSshAccess, decode_access, decode_gate, decode_host_key, decode_pin, decode_user_ca, encode_access,
    encode_gate, encode_host_key, encode_pin, encode_user_ca, ssh_key,
};
use crate::sync::wire::tls::{
    decode_challenge, decode_cookie_key, decode_ticket_key, encode_challenge, encode_cookie_key,
    encode_ticket_key,
};

/// What an absent network means.
const NETWORK_ABSENT: &str = "default";
/// What an absent SSH port means.
const SSH_PORT_ABSENT: u16 = 22;

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
    #[prost(message, optional, tag = "4")]
    ssh: Option<WireSshAccess>,
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
    #[prost(bool, tag = "4")]
    preferred: bool,
}

impl fmt::Debug for WireIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireIdentity").field("names", &self.names).finish_non_exhaustive()
    }
}

pub(crate) fn encode(value: &Value) -> Option<Object> {
    let bytes = match value {
        Value::Route(route) => encode_route(route).encode_to_vec(),
        Value::Vm(vm) => encode_vm(vm).encode_to_vec(),
        Value::Principal(principal) => encode_principal(principal).encode_to_vec(),
        Value::Identity(identity) => encode_identity(identity).encode_to_vec(),
        Value::SshHostKey(key) => encode_host_key(key).encode_to_vec(),
        Value::Challenge(challenge) => encode_challenge(challenge).encode_to_vec(),
        Value::TicketKey(key) => encode_ticket_key(key).encode_to_vec(),
        Value::CookieKey(key) => encode_cookie_key(key).encode_to_vec(),
        Value::Forward(forward) => encode_forward(forward).encode_to_vec(),
        Value::Console(console) => encode_console(console).encode_to_vec(),
        Value::TicketAuthority(authority) => encode_ticket_authority(authority).encode_to_vec(),
        Value::SshUserCa(ca) => encode_user_ca(ca).encode_to_vec(),
        Value::SshHostKeyPin(pin) => encode_pin(pin).encode_to_vec(),
        Value::SshGate(gate) => encode_gate(gate).encode_to_vec(),
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
        Kind::SSH_HOST_KEY => Value::SshHostKey(decode_host_key(KeyId::from_bytes(id), parse(bytes)?)?),
        Kind::CHALLENGE => Value::Challenge(decode_challenge(ChallengeId::from_bytes(id), parse(bytes)?)?),
        Kind::TICKET_KEY => Value::TicketKey(decode_ticket_key(KeyId::from_bytes(id), parse(bytes)?)?),
        Kind::COOKIE_KEY => Value::CookieKey(decode_cookie_key(KeyId::from_bytes(id), parse(bytes)?)?),
        Kind::FORWARD => Value::Forward(decode_forward(ForwardId::from_bytes(id), parse(bytes)?)?),
        Kind::CONSOLE => Value::Console(decode_console(ConsoleId::from_bytes(id), parse(bytes)?)?),
        Kind::TICKET_AUTHORITY => {
            Value::TicketAuthority(decode_ticket_authority(KeyId::from_bytes(id), &parse(bytes)?)?)
        }
        Kind::SSH_USER_CA => Value::SshUserCa(decode_user_ca(KeyId::from_bytes(id), parse(bytes)?)?),
        Kind::SSH_HOST_KEY_PIN => Value::SshHostKeyPin(decode_pin(VmId::from_bytes(id), parse(bytes)?)?),
        Kind::SSH_GATE => Value::SshGate(decode_gate(parse(bytes)?)?),
        Kind(_) => Value::Unknown,
    })
}

fn parse<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    M::decode(bytes).map_err(|error| error.to_string())
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
        ssh: encode_access(&principal.ssh),
    }
}

fn decode_principal(id: UserId, wire: WirePrincipal) -> Result<Principal, String> {
    Ok(Principal {
        id,
        name: UserName::parse(&wire.name).map_err(in_field("name"))?,
        keys: wire.keys.into_iter().map(ssh_key).collect(),
        grants: wire.grants.parse().map_err(in_field("grants"))?,
        ssh: wire.ssh.map(decode_access).transpose().map_err(in_field("ssh"))?.unwrap_or_default(),
    })
}

fn encode_identity(identity: &Identity) -> WireIdentity {
    WireIdentity {
        names: identity.names.iter().map(ToString::to_string).collect(),
        chain: identity.chain.to_vec(),
        key: identity.key.expose().clone(),
        preferred: identity.preferred,
    }
}

fn decode_identity(id: IdentityId, wire: WireIdentity) -> Result<Identity, String> {
    let WireIdentity { names, chain, key, preferred } = wire;
    // First, so that the key is in custody whatever else is wrong.
    let key = Secret::new(key);
    let names = names.iter().map(|name| HostPattern::parse(name).map_err(in_field("names")));
    Ok(Identity { id, names: names.collect::<Result<_, _>>()?, preferred, chain: chain.into(), key })
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

/// Says which field an error is about.
pub(super) fn in_field<E: fmt::Display>(field: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{field}: {error}")
}

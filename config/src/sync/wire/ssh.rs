//! What SSH is told: host keys, authorities, pins and rights.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use prost::Message;

use super::object::{address, address_bytes, id_bytes, in_field, port};
use super::route::checked;
use crate::id::{KeyId, VmId};
use crate::name::Namespace;
use crate::secret::Secret;
use crate::snapshot::{
    PinState, PinnedKey, Ports, SshAccess, SshGate, SshGrant, SshHostKey, SshHostKeyPin, SshKey, SshScope,
    SshUserCa,
};

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct WireSshHostKey {
    #[prost(string, tag = "1")]
    private_pem: String,
    #[prost(bool, tag = "2")]
    is_next: bool,
    #[prost(string, optional, tag = "3")]
    certificate: Option<String>,
}

impl fmt::Debug for WireSshHostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireSshHostKey").finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireSshUserCa {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(uint64, repeated, tag = "3")]
    revoked_serials: Vec<u64>,
    #[prost(string, repeated, tag = "4")]
    revoked_key_ids: Vec<String>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    revoked_keys: Vec<Vec<u8>>,
    /// What a reader has to know to believe it at all; none so far.
    #[prost(uint32, repeated, tag = "6")]
    needs: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireSshHostKeyPin {
    #[prost(message, repeated, tag = "1")]
    keys: Vec<WirePinnedKey>,
}

#[derive(Clone, PartialEq, Message)]
struct WirePinnedKey {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(uint64, tag = "2")]
    seen_ms: u64,
    /// 0 refused, 1 accepted: what is not known is not believed.
    #[prost(uint32, tag = "3")]
    state: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireSshGate {
    #[prost(bytes = "vec", tag = "1")]
    control_address: Vec<u8>,
    /// 0 is none.
    #[prost(uint32, tag = "2")]
    control_port: u32,
    /// Empty is none.
    #[prost(bytes = "vec", tag = "3")]
    user_authority: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireSshAccess {
    #[prost(uint64, optional, tag = "1")]
    until_ms: Option<u64>,
    #[prost(uint32, optional, tag = "2")]
    sessions_max: Option<u32>,
    #[prost(message, repeated, tag = "3")]
    grants: Vec<WireSshGrant>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSshGrant {
    /// Empty where a namespace is named.
    #[prost(bytes = "vec", tag = "1")]
    vm: Vec<u8>,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(message, repeated, tag = "3")]
    ports: Vec<WirePorts>,
    #[prost(uint64, optional, tag = "4")]
    until_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct WirePorts {
    #[prost(uint32, tag = "1")]
    first: u32,
    /// 0 is `first`.
    #[prost(uint32, tag = "2")]
    last: u32,
}

pub(super) fn encode_host_key(key: &SshHostKey) -> WireSshHostKey {
    WireSshHostKey {
        private_pem: key.private_pem.expose().clone(),
        is_next: key.is_next,
        certificate: key.certificate.as_deref().map(str::to_owned),
    }
}

pub(super) fn decode_host_key(id: KeyId, wire: WireSshHostKey) -> Result<SshHostKey, String> {
    let WireSshHostKey { private_pem, is_next, certificate } = wire;
    // First, so that the key is in custody whatever else is wrong.
    let private_pem = Secret::new(private_pem);
    let key = SshHostKey { id, private_pem, is_next, certificate: certificate.map(Into::into) };
    checked(key.check())?;
    Ok(key)
}

pub(super) fn encode_user_ca(ca: &SshUserCa) -> WireSshUserCa {
    WireSshUserCa {
        name: ca.name.to_string(),
        key: ca.key.blob.to_vec(),
        revoked_serials: ca.revoked_serials.to_vec(),
        revoked_key_ids: ca.revoked_key_ids.iter().map(ToString::to_string).collect(),
        revoked_keys: ca.revoked_keys.iter().map(|key| key.to_vec()).collect(),
        needs: Vec::new(),
    }
}

pub(super) fn decode_user_ca(id: KeyId, wire: WireSshUserCa) -> Result<SshUserCa, String> {
    if let Some(number) = wire.needs.first() {
        return Err(format!("it needs feature {number}, which this version does not know"));
    }
    let revoked = wire.revoked_keys.iter().map(|key| {
        let len = key.len();
        <[u8; 32]>::try_from(key.as_slice())
            .map_err(|_| format!("revoked_keys: a SHA-256 has 32 bytes, this one {len}"))
    });
    let ca = SshUserCa {
        id,
        name: wire.name.into(),
        key: ssh_key(wire.key),
        revoked_serials: wire.revoked_serials.into(),
        revoked_keys: revoked.collect::<Result<_, _>>()?,
        revoked_key_ids: wire.revoked_key_ids.into_iter().map(Into::into).collect(),
    };
    checked(ca.check())?;
    Ok(ca)
}

pub(super) fn encode_pin(pin: &SshHostKeyPin) -> WireSshHostKeyPin {
    let keys = pin.keys.iter().map(|pinned| WirePinnedKey {
        key: pinned.key.blob.to_vec(),
        seen_ms: pinned.seen_ms,
        state: match pinned.state {
            PinState::Refused => 0,
            PinState::Accepted => 1,
        },
    });
    WireSshHostKeyPin { keys: keys.collect() }
}

pub(super) fn decode_pin(vm: VmId, wire: WireSshHostKeyPin) -> Result<SshHostKeyPin, String> {
    let keys = wire.keys.into_iter().map(|pinned| PinnedKey {
        key: ssh_key(pinned.key),
        seen_ms: pinned.seen_ms,
        state: if pinned.state == 1 { PinState::Accepted } else { PinState::Refused },
    });
    let pin = SshHostKeyPin { vm, keys: keys.collect() };
    checked(pin.check())?;
    Ok(pin)
}

pub(super) fn encode_gate(gate: &SshGate) -> WireSshGate {
    WireSshGate {
        control_address: gate.control.map(|control| address_bytes(control.ip())).unwrap_or_default(),
        control_port: gate.control.map_or(0, |control| control.port().into()),
        user_authority: gate.user_authority.as_ref().map(|key| key.blob.to_vec()).unwrap_or_default(),
    }
}

pub(super) fn decode_gate(wire: WireSshGate) -> Result<SshGate, String> {
    let control = if wire.control_port == 0 {
        None
    } else {
        let ip = address(&wire.control_address).map_err(in_field("control"))?;
        Some(SocketAddr::new(ip, port(wire.control_port).map_err(in_field("control"))?))
    };
    let user_authority = (!wire.user_authority.is_empty()).then(|| ssh_key(wire.user_authority));
    Ok(SshGate { control, user_authority })
}

/// `None` where nothing is said: most people have the rights of their role.
pub(super) fn encode_access(access: &SshAccess) -> Option<WireSshAccess> {
    (*access != SshAccess::default()).then(|| WireSshAccess {
        until_ms: access.until_ms,
        sessions_max: access.sessions_max.map(Into::into),
        grants: access.grants.iter().map(encode_grant).collect(),
    })
}

pub(super) fn decode_access(wire: WireSshAccess) -> Result<SshAccess, String> {
    let sessions = wire.sessions_max.map(u16::try_from).transpose();
    let access = SshAccess {
        until_ms: wire.until_ms,
        sessions_max: sessions.map_err(in_field("sessions_max"))?,
        grants: wire.grants.into_iter().map(decode_grant).collect::<Result<_, _>>()?,
    };
    checked(access.check())?;
    Ok(access)
}

fn encode_grant(grant: &SshGrant) -> WireSshGrant {
    let (vm, namespace) = match &grant.scope {
        SshScope::Vm(vm) => (vm.to_bytes().to_vec(), String::new()),
        SshScope::Namespace(namespace) => (Vec::new(), namespace.to_string()),
    };
    let ports = grant.ports.iter().map(|Ports { first, last }| WirePorts {
        first: (*first).into(),
        last: if first == last { 0 } else { (*last).into() },
    });
    WireSshGrant { vm, namespace, ports: ports.collect(), until_ms: grant.until_ms }
}

fn decode_grant(wire: WireSshGrant) -> Result<SshGrant, String> {
    let scope = if wire.vm.is_empty() {
        SshScope::Namespace(Namespace::parse(&wire.namespace).map_err(in_field("namespace"))?)
    } else {
        SshScope::Vm(VmId::from_bytes(id_bytes(&wire.vm).map_err(in_field("vm"))?))
    };
    let ports = wire.ports.iter().map(|row| {
        let first = port(row.first)?;
        Ok(Ports { first, last: if row.last == 0 { first } else { port(row.last)? } })
    });
    Ok(SshGrant { scope, ports: ports.collect::<Result<_, String>>()?, until_ms: wire.until_ms })
}

/// A public key from its blob.
pub(super) fn ssh_key(blob: Vec<u8>) -> SshKey {
    SshKey { blob: Arc::from(blob) }
}

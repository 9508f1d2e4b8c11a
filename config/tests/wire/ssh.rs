//! What SSH is told: host keys, authorities, pins and rights.

use std::net::SocketAddr;

use config::id::{KeyId, VmId};
use config::name::Namespace;
use config::secret::Secret;
use config::snapshot::{
    PinState, PinnedKey, Ports, SshAccess, SshGate, SshGrant, SshHostKey, SshHostKeyPin, SshKey, SshScope,
    SshUserCa, Value,
};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

fn id() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>()
}

fn key() -> impl Strategy<Value = SshKey> {
    vec(any::<u8>(), 1..64).prop_map(|blob| SshKey { blob: blob.into() })
}

pub(crate) fn host_key() -> impl Strategy<Value = Value> {
    (id(), ".{0,40}", any::<bool>(), option::of("[ -~]{1,40}")).prop_map(|(id, pem, is_next, certificate)| {
        Value::SshHostKey(SshHostKey {
            id: KeyId::from_bytes(id),
            private_pem: Secret::new(pem),
            is_next,
            certificate: certificate.map(Into::into),
        })
    })
}

pub(crate) fn user_ca() -> impl Strategy<Value = Value> {
    let revoked = (vec(1..=u64::MAX, 0..4), vec("[ -~]{1,20}", 0..4), vec(any::<[u8; 32]>(), 0..3));
    (id(), "[a-z]{1,9}", key(), revoked).prop_map(|(id, name, key, (serials, ids, keys))| {
        Value::SshUserCa(SshUserCa {
            id: KeyId::from_bytes(id),
            name: name.into(),
            key,
            revoked_serials: serials.into(),
            revoked_key_ids: ids.into_iter().map(Into::into).collect(),
            revoked_keys: keys.into(),
        })
    })
}

pub(crate) fn pin() -> impl Strategy<Value = Value> {
    let pinned = (key(), any::<u64>(), any::<bool>()).prop_map(|(key, seen_ms, is_accepted)| {
        let state = if is_accepted { PinState::Accepted } else { PinState::Refused };
        PinnedKey { key, seen_ms, state }
    });
    (id(), vec(pinned, 0..4)).prop_map(|(vm, keys)| {
        Value::SshHostKeyPin(SshHostKeyPin { vm: VmId::from_bytes(vm), keys: keys.into() })
    })
}

pub(crate) fn gate() -> impl Strategy<Value = Value> {
    let control = option::of((any::<std::net::IpAddr>(), 1..=u16::MAX));
    (control, option::of(key())).prop_map(|(control, user_authority)| {
        Value::SshGate(SshGate { control: control.map(SocketAddr::from), user_authority })
    })
}

pub(crate) fn access() -> impl Strategy<Value = SshAccess> {
    let ports = btree_set((1..=u16::MAX, 0..9_u16), 1..4).prop_map(|rows| {
        rows.into_iter().map(|(first, more)| Ports { first, last: first.saturating_add(more) }).collect()
    });
    let scope = (id(), any::<bool>()).prop_map(|(id, is_vm)| {
        if is_vm {
            SshScope::Vm(VmId::from_bytes(id))
        } else {
            SshScope::Namespace(Namespace::parse("ns1").unwrap())
        }
    });
    let grant = (scope, ports, option::of(any::<u64>())).prop_map(|(scope, ports, until_ms)| SshGrant {
        scope,
        ports,
        until_ms,
    });
    (option::of(any::<u64>()), option::of(1..=256_u16), vec(grant, 0..3)).prop_map(
        |(until_ms, sessions_max, grants)| SshAccess { until_ms, sessions_max, grants: grants.into() },
    )
}

pub(crate) fn golden_values() -> Vec<(&'static str, Value)> {
    vec![
        ("ssh_host_key", golden_host_key(false)),
        ("ssh_host_key_next", golden_host_key(true)),
        ("ssh_user_ca", golden_user_ca()),
        ("ssh_host_key_pin", golden_pin()),
        ("ssh_gate", golden_gate()),
    ]
}

fn golden_host_key(is_next: bool) -> Value {
    Value::SshHostKey(SshHostKey {
        id: KeyId::from_bytes([8; 16]),
        private_pem: Secret::new("pem".to_owned()),
        is_next,
        certificate: is_next.then(|| "certificate".into()),
    })
}

fn golden_user_ca() -> Value {
    Value::SshUserCa(SshUserCa {
        id: KeyId::from_bytes([15; 16]),
        name: "people".into(),
        key: SshKey { blob: b"key"[..].into() },
        revoked_serials: Box::new([1, u64::MAX]),
        revoked_key_ids: Box::new(["ada@old".into()]),
        revoked_keys: Box::new([[0xdd; 32]]),
    })
}

fn golden_pin() -> Value {
    let pinned =
        |blob: &[u8], seen_ms, state| PinnedKey { key: SshKey { blob: blob.into() }, seen_ms, state };
    let keys = [pinned(b"one", 1, PinState::Accepted), pinned(b"two", 2, PinState::Refused)];
    Value::SshHostKeyPin(SshHostKeyPin { vm: VmId::from_bytes([3; 16]), keys: keys.into() })
}

fn golden_gate() -> Value {
    Value::SshGate(SshGate {
        control: Some("10.0.0.1:1880".parse().unwrap()),
        user_authority: Some(SshKey { blob: b"key"[..].into() }),
    })
}

pub(crate) fn golden_access() -> SshAccess {
    let row = |first, last| Ports { first, last };
    let one = SshGrant {
        scope: SshScope::Vm(VmId::from_bytes([3; 16])),
        ports: [row(22, 22), row(8000, 8010)].into(),
        until_ms: Some(9),
    };
    let tenant = SshGrant {
        scope: SshScope::Namespace(Namespace::parse("ns2").unwrap()),
        ports: [row(1, u16::MAX)].into(),
        until_ms: None,
    };
    SshAccess { until_ms: Some(10), sessions_max: Some(2), grants: Box::new([one, tenant]) }
}

//! The wire form: what is written is read back, the bytes do not move between versions, and nothing a peer sends panics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

#[path = "wire/features.rs"]
mod features;
#[path = "wire/golden.rs"]
mod golden;
#[path = "wire/ssh.rs"]
mod ssh;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::delta::{self, Delta};
use config::id::{EndpointId, IdentityId, RouteId, UserId, VmId};
use config::limits;
use config::name::{
    GatewayName, HostName, HostPattern, Namespace, NetworkName, PathPrefix, UserName, VmName,
};
use config::secret::Secret;
use config::snapshot::{
    Action, Content, Digest, Endpoint, FlowPolicy, Generation, Identity, Kind, Lineage, Object, ObjectKey,
    Principal, Redirect, Respond, Route, Service, Snapshot, SshKey, Timeouts, TlsMode, Upstream, Value, Vm,
};
use config::sync::message::{
    Ack, Enrol, Enrolled, Have, Hello, Listening, Message, Nack, Renew, Renewed, Report,
};
use config::target::Target;
use golden::{golden_route, golden_route_with_everything};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn id() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>()
}

fn plain() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,12}"
}

fn host() -> impl Strategy<Value = HostName> {
    "[a-z][a-z0-9]{0,8}\\.example\\.com".prop_map(|text| HostName::parse(&text).unwrap())
}

fn pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        host().prop_map(HostPattern::Exact),
        host().prop_map(HostPattern::Wildcard),
        Just(HostPattern::CatchAll)
    ]
}

fn path() -> impl Strategy<Value = PathPrefix> {
    prop_oneof![
        Just(PathPrefix::root()),
        "/[a-z]{1,8}(/[a-z0-9]{1,8})?".prop_map(|text| PathPrefix::parse(&text).unwrap()),
    ]
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let target = prop_oneof![
        address().prop_map(Target::Address),
        (host(), any::<u16>()).prop_map(|(host, port)| Target::Name { host, port }),
    ];
    let share = (prop_oneof![Just(1), limits::WEIGHT.0..=limits::WEIGHT.1], any::<bool>());
    (id(), target, any::<bool>(), option::of(id()), share).prop_map(|(id, target, loopback_ok, vm, share)| {
        let (weight, draining) = share;
        let vm = vm.map(VmId::from_bytes);
        Endpoint { id: EndpointId::from_bytes(id), target, loopback_ok, vm, weight, draining }
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (vec(endpoint(), 1..5), option::of(features::policy().boxed())).prop_map(|(list, policy)| {
            Action::Forward(Upstream { endpoints: list.into(), policy: policy.map(Box::new) })
        }),
        features::redirect().boxed().prop_map(Action::Redirect),
        features::respond().boxed().prop_map(Action::Respond),
        (id(), address()).prop_map(|(id, address)| {
            Action::Service(Service::Control { id: EndpointId::from_bytes(id), address })
        }),
        Just(Action::Service(Service::Novnc)),
        Just(Action::Service(Service::Ttyd)),
    ]
}

fn flow() -> impl Strategy<Value = FlowPolicy> {
    prop_oneof![
        Just(FlowPolicy::Keep),
        Just(FlowPolicy::Cut),
        prop_oneof![Just(30_000), 0..=u32::MAX].prop_map(|ms| FlowPolicy::Drain { ms }),
    ]
}

fn route() -> impl Strategy<Value = Value> {
    let facts = (id(), plain(), pattern(), path(), action());
    let tls = prop_oneof![
        Just(TlsMode::Off),
        Just(TlsMode::SelfSigned),
        Just(TlsMode::Upload),
        Just(TlsMode::Acme),
    ];
    let rest = (tls, any::<bool>(), option::of(any::<u32>()), any::<bool>(), flow(), flow());
    let features = (
        option::of(features::matchers().boxed()),
        option::of(features::filters().boxed()),
        option::of(features::timeouts().boxed()),
        option::of(features::tls_policy()),
    );
    (facts, rest, features).prop_map(|((id, namespace, host, path, action), rest, features)| {
        let (matchers, filters, timeouts, tls_policy) = features;
        let (tls, redirect_https, hsts_seconds, websocket, on_change, on_delete) = rest;
        let tls_policy = tls_policy.filter(|_| tls.is_terminated());
        Value::Route(Route {
            id: RouteId::from_bytes(id),
            namespace: Namespace::parse(&namespace).unwrap(),
            host,
            path,
            tls,
            tls_policy: tls_policy.map(Box::new),
            redirect_https,
            hsts_seconds,
            websocket,
            action,
            on_change,
            matchers: matchers.map(Box::new),
            filters: filters.map(Box::new),
            timeouts: timeouts.map(Box::new),
            on_delete,
        })
    })
}

fn vm() -> impl Strategy<Value = Value> {
    let network = prop_oneof![Just("default".to_owned()), plain()];
    let port = prop_oneof![Just(22), 1..=u16::MAX];
    (id(), plain(), plain(), network, any::<IpAddr>(), port, any::<bool>()).prop_map(
        |(id, name, namespace, network, address, ssh_port, loopback_ok)| {
            Value::Vm(Vm {
                id: VmId::from_bytes(id),
                name: VmName::parse(&name).unwrap(),
                namespace: Namespace::parse(&namespace).unwrap(),
                network: NetworkName::parse(&network).unwrap(),
                address,
                ssh_port,
                loopback_ok,
            })
        },
    )
}

fn principal() -> impl Strategy<Value = Value> {
    let grants = prop_oneof![Just(""), Just("root"), Just("admin:ns1 guest:ns2"), Just("operator")];
    (id(), plain(), vec(vec(any::<u8>(), 0..64), 0..4), grants, ssh::access()).prop_map(
        |(id, name, keys, grants, ssh)| {
            Value::Principal(Principal {
                id: UserId::from_bytes(id),
                name: UserName::parse(&name).unwrap(),
                keys: keys.into_iter().map(|blob| SshKey { blob: Arc::from(blob) }).collect(),
                grants: grants.parse().unwrap(),
                ssh,
            })
        },
    )
}

fn identity() -> impl Strategy<Value = Value> {
    let bytes = || vec(any::<u8>(), 0..64);
    let facts = (id(), vec(pattern(), 0..4), any::<bool>(), vec(bytes(), 0..3), bytes());
    facts.prop_map(|(id, names, preferred, chain, key)| {
        Value::Identity(Identity {
            id: IdentityId::from_bytes(id),
            names: names.into(),
            preferred,
            chain: chain.into(),
            key: Secret::new(key),
        })
    })
}

fn value() -> impl Strategy<Value = Value> {
    // Boxed, as large strategies are everywhere here: unoptimised, their trees would not fit a test's stack.
    prop_oneof![
        route().boxed(),
        vm().boxed(),
        principal().boxed(),
        identity(),
        ssh::host_key(),
        ssh::user_ca(),
        ssh::pin(),
        ssh::gate(),
        features::challenge(),
        features::ticket_key(),
        features::cookie_key(),
        features::forward(),
        features::console(),
        features::ticket_authority()
    ]
}

fn object() -> impl Strategy<Value = Object> {
    (any::<u8>(), id(), vec(any::<u8>(), 0..32))
        .prop_map(|(kind, id, bytes)| Object::new(ObjectKey { kind: Kind(kind), id }, bytes))
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (id(), any::<u64>(), vec(object(), 0..20)).prop_map(|(lineage, generation, objects)| {
        Snapshot::of(Lineage(lineage), Generation(generation), objects)
    })
}

fn hello() -> impl Strategy<Value = Message> {
    let have = option::of((id(), any::<u64>(), any::<[u64; 4]>()));
    let listeners = vec((plain(), address()), 0..4);
    (any::<u64>(), ".{0,20}", vec(any::<u32>(), 0..4), have, listeners, any::<bool>(), vec(plain(), 0..3))
        .prop_map(|(boot, version, formats, have, listeners, draining, degraded)| {
            Message::Hello(Hello {
                boot,
                version,
                formats,
                have: have.map(|(lineage, generation, digest)| Have {
                    lineage: Lineage(lineage),
                    generation: Generation(generation),
                    digest: Digest(digest),
                }),
                listeners: listeners.into_iter().map(|(kind, address)| Listening { kind, address }).collect(),
                draining,
                degraded,
                undurable: boot % 2 == 0,
            })
        })
}

fn message() -> impl Strategy<Value = Message> {
    let bytes = || vec(any::<u8>(), 0..64);
    prop_oneof![
        (".{0,20}", plain(), bytes()).prop_map(|(token, name, csr)| Message::Enrol(Enrol {
            token: Secret::new(token),
            name: GatewayName::parse(&name).unwrap(),
            csr,
        })),
        (id(), vec(bytes(), 0..3), bytes()).prop_map(|(gateway, chain, authority)| {
            Message::Enrolled(Enrolled { gateway, chain, authority })
        }),
        hello(),
        snapshot().prop_map(Message::Snapshot),
        (snapshot(), snapshot()).prop_map(|(old, new)| Message::Delta(delta::diff(&old, &new))),
        (any::<u64>(), vec(".{0,20}", 0..4))
            .prop_map(|(number, degraded)| Message::Ack(Ack { generation: Generation(number), degraded })),
        (any::<u64>(), ".{0,20}", any::<bool>()).prop_map(|(number, reason, want_snapshot)| {
            Message::Nack(Nack { generation: Generation(number), reason, want_snapshot })
        }),
        any::<[u64; 3]>().prop_map(|[connections, sessions, requests]| {
            Message::Report(Report { connections, sessions, requests })
        }),
        ".{0,20}".prop_map(Message::Refused),
        any::<u64>().prop_map(Message::Ping),
        any::<u64>().prop_map(Message::Pong),
        Just(Message::Unknown),
    ]
}

proptest! {
    #[test]
    fn every_value_is_read_back_as_written(value in value()) {
        let object = Object::encode(&value).unwrap();
        prop_assert_eq!(Some(object.key()), value.key());
        prop_assert_eq!(object.decode().unwrap(), value);
    }

    #[test]
    fn every_message_is_read_back_as_written(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode()).unwrap(), message);
    }

    #[test]
    fn random_bytes_never_panic(kind in 0..8_u8, bytes in vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
        let _ = Object::new(ObjectKey { kind: Kind(kind), id: [0; 16] }, bytes).decode();
    }

    #[test]
    fn damaged_messages_never_panic(message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = message.encode();
        if !bytes.is_empty() {
            let place = at.index(bytes.len());
            let _ = Message::decode(&bytes[..place]);
            bytes[place] = byte;
            let _ = Message::decode(&bytes);
        }
    }

    #[test]
    fn damaged_objects_never_panic(value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let object = Object::encode(&value).unwrap();
        let mut bytes = object.bytes().to_vec();
        if !bytes.is_empty() {
            let place = at.index(bytes.len());
            bytes[place] = byte;
            let _ = Object::new(object.key(), bytes).decode();
        }
    }

    #[test]
    fn fields_that_are_not_known_are_skipped(value in value(), more in vec(any::<u8>(), 0..20)) {
        let object = Object::encode(&value).unwrap();
        let mut bytes = object.bytes().to_vec();
        push_field(&mut bytes, 900, &more);
        prop_assert_eq!(Object::new(object.key(), bytes).decode().unwrap(), value);
    }

    #[test]
    fn a_delta_of_two_snapshots_makes_one_of_the_other(a in snapshot(), more in vec(object(), 0..20), drop in 0..20_usize) {
        let mut b = a.clone().numbered(Generation(a.generation().0.wrapping_add(1)));
        for key in a.objects().map(Object::key).take(drop).collect::<Vec<_>>() {
            b.remove(key);
        }
        for (place, object) in more.into_iter().enumerate() {
            // Every other one replaces what is there, so that changes are met as well as additions.
            let key = a.objects().nth(place).filter(|_| place % 2 == 0).map_or(object.key(), Object::key);
            b.put(Object::new(key, object.bytes().to_vec()));
        }
        let delta = delta::diff(&a, &b);
        let Message::Delta(carried) = Message::decode(&Message::Delta(delta.clone()).encode()).unwrap() else {
            panic!("a delta is read as something else")
        };
        prop_assert_eq!(&carried, &delta);
        prop_assert_eq!(delta::apply(&a, &carried).unwrap(), b);
    }
}

/// Appends a length-delimited field, as a newer program would write it.
fn push_field(bytes: &mut Vec<u8>, tag: u32, body: &[u8]) {
    let mut varint = |mut number: u64| {
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    };
    varint(u64::from(tag) << 3 | 2);
    varint(body.len() as u64);
    bytes.extend_from_slice(body);
}

#[test]
fn a_kind_of_message_that_is_not_known_is_unknown() {
    let mut bytes = Vec::new();
    push_field(&mut bytes, 77, b"from the future");
    assert_eq!(Message::decode(&bytes).unwrap(), Message::Unknown);
}

#[test]
fn a_kind_of_object_that_is_not_known_is_kept_and_unknown() {
    let object = Object::new(ObjectKey { kind: Kind(200), id: [1; 16] }, b"whatever".to_vec());
    assert_eq!(object.decode().unwrap(), Value::Unknown);
    let snapshot = Snapshot::of(Lineage([2; 16]), Generation(3), [object.clone()]);
    let Message::Snapshot(read) = Message::decode(&Message::Snapshot(snapshot).encode()).unwrap() else {
        panic!("not a snapshot")
    };
    assert_eq!(read.get(object.key()), Some(&object));
}

#[test]
fn an_object_above_its_limit_is_refused() {
    let bytes = vec![0; limits::OBJECT_BYTES_MAX + 1];
    let object = Object::new(ObjectKey { kind: Kind(200), id: [1; 16] }, bytes);
    assert!(object.decode().unwrap_err().why.contains("at most"));
    let snapshot = Snapshot::of(Lineage::default(), Generation(1), [object]);
    assert!(Message::decode(&Message::Snapshot(snapshot).encode()).unwrap_err().why.contains("at most"));
}

#[test]
fn an_upstream_has_at_least_one_and_not_too_many_endpoints() {
    for count in [0, limits::ENDPOINTS_MAX + 1] {
        let Value::Route(mut route) = golden_route() else { panic!("not a route") };
        let endpoint = Endpoint {
            id: EndpointId::from_bytes([9; 16]),
            target: Target::Address("10.0.0.9:80".parse().unwrap()),
            loopback_ok: false,
            vm: None,
            weight: 1,
            draining: false,
        };
        route.action = Action::Forward(Upstream { endpoints: vec![endpoint; count].into(), policy: None });
        let error = Object::encode(&Value::Route(route)).unwrap().decode().unwrap_err();
        assert!(error.why.contains("endpoints"), "{error}");
    }
}

/// The bytes of a plain route with one field more, as another program would write it.
fn with_field(tag: u32, body: &[u8]) -> Result<Value, String> {
    let object = Object::encode(&golden_route()).unwrap();
    let mut bytes = object.bytes().to_vec();
    push_field(&mut bytes, tag, body);
    Object::new(object.key(), bytes).decode().map_err(|error| error.why)
}

#[test]
fn a_number_that_is_not_known_refuses_the_route_and_does_not_mean_something_else() {
    // Fields of the matchers, filters and policy, and in them the numbers 99.
    for (tag, body, part) in [
        (12, &[0x22, 2, 0x10, 99][..], "test"),
        (13, &[0x22, 2, 0x20, 99], "rate key"),
        (13, &[0x4a, 2, 0x10, 99], "edit"),
        (15, &[0x08, 99], "balance"),
        (15, &[0x1a, 2, 0x08, 99], "stickiness"),
        (15, &[0x20, 99], "protocol"),
        (15, &[0x2a, 2, 0x08, 99], "verification"),
        (15, &[0x30, 99], "PROXY protocol"),
        (15, &[0x3a, 2, 0x08, 99], "probe"),
        (18, &[99], "feature"),
    ] {
        let why = with_field(tag, body).unwrap_err();
        assert!(why.contains(part), "{tag} {body:?}: {why}");
    }
}

#[test]
fn what_breaks_a_bound_is_refused_with_its_place() {
    let Value::Route(mut route) = golden_route() else { panic!("not a route") };
    let mut matchers = features::golden_matchers();
    matchers.priority = limits::PRIORITY_MAX + 1;
    matchers.headers[1].name = "X-Upper".into();
    route.matchers = Some(Box::new(matchers));
    let mut filters = features::golden_filters();
    filters.request_fields[0].name = "Transfer-Encoding".into();
    route.filters = Some(Box::new(filters));
    let error = Object::encode(&Value::Route(route)).unwrap().decode().unwrap_err();
    for part in ["matchers.priority: 1001", "matchers.headers[1].name", "filters.request_fields[0].name"] {
        assert!(error.why.contains(part), "{error}");
    }
}

#[test]
fn the_largest_route_that_passes_the_check_fits_an_object() {
    let Value::Route(mut route) = golden_route() else { panic!("not a route") };
    route.matchers = Some(Box::new(features::largest_matchers()));
    route.filters = Some(Box::new(features::largest_filters()));
    let Action::Forward(upstream) = &mut route.action else { panic!("not forwarded") };
    let name =
        HostName::parse(&vec!["a".repeat(62); 4].join(".")[..limits::HOST_NAME_BYTES_MAX - 3]).unwrap();
    let endpoint =
        Endpoint { target: Target::Name { host: name, port: 80 }, ..upstream.endpoints[0].clone() };
    upstream.endpoints = vec![endpoint; limits::ENDPOINTS_MAX].into();
    upstream.policy = Some(Box::new(features::largest_policy()));
    assert_eq!(route.check(), Ok(()));
    let object = Object::encode(&Value::Route(route.clone())).unwrap();
    assert_eq!(object.decode().unwrap(), Value::Route(route), "{} bytes", object.bytes().len());
}

#[test]
fn more_objects_than_allowed_are_refused_before_they_are_allocated() {
    let mut body = Vec::new();
    for _ in 0..limits::OBJECTS_MAX + 20 {
        body.extend_from_slice(&[4 << 3 | 2, 0]);
    }
    let mut bytes = Vec::new();
    push_field(&mut bytes, 4, &body);
    assert!(Message::decode(&bytes).unwrap_err().why.contains("parts"));
}

#[test]
fn a_snapshot_that_breaks_its_promise_is_damaged_and_names_its_generation() {
    let snapshot = Snapshot::of(Lineage([7; 16]), Generation(12), [Object::encode(&golden_route()).unwrap()]);
    let mut bytes = Message::Snapshot(snapshot).encode();
    // The last byte belongs to the object's own bytes.
    *bytes.last_mut().unwrap() ^= 1;
    let Message::Damaged(nack) = Message::decode(&bytes).unwrap() else { panic!("taken as whole") };
    assert_eq!(nack.generation, Generation(12));
    assert!(nack.reason.contains("digest"));
}

#[test]
fn secrets_do_not_print_themselves() {
    let value = Value::Identity(Identity {
        id: IdentityId::from_bytes([7; 16]),
        names: Box::new([]),
        preferred: false,
        chain: Box::new([]),
        key: Secret::new(b"hunter2".to_vec()),
    });
    let object = Object::encode(&value).unwrap();
    let snapshot = Snapshot::of(Lineage::default(), Generation(1), [object.clone()]);
    let full = golden_route_with_everything();
    let text = format!("{value:?} {object:?} {full:?} {:?}", Message::Snapshot(snapshot));
    assert!(!text.contains("argon2id") && !text.contains("107, 101, 121"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("104, 117"), "{text}");
}

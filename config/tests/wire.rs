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

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use config::delta::{self, Delta};
use config::id::{EndpointId, IdentityId, KeyId, RouteId, UserId, VmId};
use config::limits;
use config::name::{
    GatewayName, HostName, HostPattern, Namespace, NetworkName, PathPrefix, UserName, VmName,
};
use config::secret::Secret;
use config::snapshot::{
    Action, Content, Digest, Endpoint, FlowPolicy, Generation, Identity, Kind, Lineage, Object, ObjectKey,
    Principal, Redirect, Respond, Route, Service, Snapshot, SshHostKey, SshKey, Timeouts, TlsMode, Upstream,
    Value, Vm,
};
use config::sync::message::{
    Ack, Enrol, Enrolled, Have, Hello, Listening, Message, Nack, Renew, Renewed, Report,
};
use config::target::Target;
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
    (id(), plain(), vec(vec(any::<u8>(), 0..64), 0..4), grants).prop_map(|(id, name, keys, grants)| {
        Value::Principal(Principal {
            id: UserId::from_bytes(id),
            name: UserName::parse(&name).unwrap(),
            keys: keys.into_iter().map(|blob| SshKey { blob: Arc::from(blob) }).collect(),
            grants: grants.parse().unwrap(),
        })
    })
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

fn host_key() -> impl Strategy<Value = Value> {
    (id(), ".{0,40}").prop_map(|(id, pem)| {
        Value::SshHostKey(SshHostKey { id: KeyId::from_bytes(id), private_pem: Secret::new(pem) })
    })
}

fn value() -> impl Strategy<Value = Value> {
    // Boxed, as large strategies are everywhere here: unoptimised, their trees would not fit a test's stack.
    prop_oneof![
        route().boxed(),
        vm().boxed(),
        principal().boxed(),
        identity(),
        host_key(),
        features::challenge(),
        features::ticket_key(),
        features::forward()
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

fn golden_route() -> Value {
    Value::Route(Route {
        id: RouteId::from_bytes([1; 16]),
        namespace: Namespace::parse("ns1").unwrap(),
        host: HostPattern::parse("*.example.com").unwrap(),
        path: PathPrefix::parse("/api").unwrap(),
        tls: TlsMode::SelfSigned,
        redirect_https: true,
        hsts_seconds: Some(600),
        websocket: true,
        action: Action::Forward(Upstream {
            endpoints: vec![
                Endpoint {
                    id: EndpointId::from_bytes([2; 16]),
                    target: Target::Address("10.0.0.1:8080".parse().unwrap()),
                    loopback_ok: true,
                    vm: Some(VmId::from_bytes([3; 16])),
                    weight: 1,
                    draining: false,
                },
                Endpoint {
                    id: EndpointId::from_bytes([4; 16]),
                    target: Target::Name { host: HostName::parse("origin.example").unwrap(), port: 443 },
                    loopback_ok: false,
                    vm: None,
                    weight: 1,
                    draining: false,
                },
            ]
            .into(),
            policy: None,
        }),
        on_change: FlowPolicy::Cut,
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: None,
        on_delete: FlowPolicy::Drain { ms: 5_000 },
    })
}

fn golden_route_with_everything() -> Route {
    let Value::Route(mut route) = golden_route() else { panic!("not a route") };
    if let Action::Forward(upstream) = &mut route.action {
        upstream.policy = Some(Box::new(features::golden_policy()));
        upstream.endpoints[0].weight = 256;
        upstream.endpoints[1].draining = true;
    }
    Route {
        matchers: Some(Box::new(features::golden_matchers())),
        filters: Some(Box::new(features::golden_filters())),
        timeouts: Some(Box::new(Timeouts {
            connect_ms: Some(1),
            request_body_ms: Some(2),
            response_head_ms: Some(3),
            idle_body_ms: Some(4),
            whole_ms: Some(5),
            tunnel_ms: Some(6),
        })),
        tls_policy: Some(Box::new(features::golden_tls_policy())),
        ..route
    }
}

fn golden_values() -> Vec<(&'static str, Value)> {
    let Value::Route(plain) = golden_route() else { panic!("not a route") };
    let plain = Route {
        path: PathPrefix::root(),
        tls: TlsMode::Off,
        redirect_https: false,
        hsts_seconds: None,
        websocket: false,
        action: Action::Service(Service::Control {
            id: EndpointId::from_bytes([5; 16]),
            address: "[fd00::1]:1880".parse().unwrap(),
        }),
        on_change: FlowPolicy::Keep,
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: None,
        on_delete: FlowPolicy::Drain { ms: limits::DRAIN_ON_DELETE_MS },
        ..plain
    };
    let full = golden_route_with_everything();
    let redirect = Redirect { status: 308, to: "https://other.example/x".into(), keeps_rest: true };
    let content = Content { media_type: "text/plain".into(), body: b"gone".as_slice().into() };
    let respond = Respond { status: 410, content };
    let vm = Vm {
        id: VmId::from_bytes([3; 16]),
        name: VmName::parse("web-01").unwrap(),
        namespace: Namespace::parse("ns1").unwrap(),
        network: NetworkName::parse("blue").unwrap(),
        address: "10.0.0.1".parse().unwrap(),
        ssh_port: 2200,
        loopback_ok: true,
    };
    let principal = Principal {
        id: UserId::from_bytes([6; 16]),
        name: UserName::parse("ada").unwrap(),
        keys: Box::new([SshKey { blob: Arc::from(&b"key"[..]) }]),
        grants: "admin:ns1 guest:ns2".parse().unwrap(),
    };
    let identity = Identity {
        id: IdentityId::from_bytes([7; 16]),
        names: Box::new([HostPattern::CatchAll]),
        preferred: false,
        chain: Box::new([b"leaf".to_vec(), b"root".to_vec()]),
        key: Secret::new(b"key".to_vec()),
    };
    let host_key = SshHostKey { id: KeyId::from_bytes([8; 16]), private_pem: Secret::new("pem".to_owned()) };
    vec![
        ("route", golden_route()),
        ("route_control", Value::Route(plain.clone())),
        ("route_full", Value::Route(full)),
        ("route_redirect", Value::Route(Route { action: Action::Redirect(redirect), ..plain.clone() })),
        ("route_respond", Value::Route(Route { action: Action::Respond(respond), ..plain })),
        ("vm", Value::Vm(vm)),
        ("principal", Value::Principal(principal)),
        ("identity", Value::Identity(identity.clone())),
        ("identity_preferred", Value::Identity(Identity { preferred: true, ..identity.clone() })),
        ("ssh_host_key", Value::SshHostKey(host_key)),
        ("challenge_http", features::golden_challenge(false)),
        ("challenge_tls_alpn", features::golden_challenge(true)),
        ("ticket_key", features::golden_ticket_key()),
        ("forward", features::golden_forward()),
    ]
}

fn golden_messages() -> Vec<(&'static str, Message)> {
    let lineage = Lineage([0xaa; 16]);
    let object = Object::new(ObjectKey { kind: Kind::VM, id: [3; 16] }, b"bytes".to_vec());
    let snapshot = Snapshot::of(lineage, Generation(7), [object.clone()]);
    let delta = Delta {
        lineage,
        base: Generation(6),
        to: Generation(7),
        digest: snapshot.digest(),
        upserts: vec![object],
        removals: vec![ObjectKey { kind: Kind::ROUTE, id: [1; 16] }],
    };
    let name = GatewayName::parse("edge-1").unwrap();
    let hello = Hello {
        boot: 0x0102_0304_0506_0708,
        version: "0.1.0".to_owned(),
        formats: vec![1],
        have: Some(Have { lineage, generation: Generation(7), digest: snapshot.digest() }),
        listeners: vec![Listening { kind: "http".to_owned(), address: "0.0.0.0:80".parse().unwrap() }],
        draining: true,
        degraded: vec!["tls".to_owned()],
        undurable: false,
    };
    let enrolled = Enrolled { gateway: [9; 16], chain: vec![b"leaf".to_vec()], authority: b"root".to_vec() };
    vec![
        ("enrol", Message::Enrol(Enrol { token: Secret::new("t".to_owned()), name, csr: b"csr".to_vec() })),
        ("enrolled", Message::Enrolled(enrolled)),
        ("hello", Message::Hello(hello)),
        ("snapshot", Message::Snapshot(snapshot)),
        ("delta", Message::Delta(delta)),
        (
            "ack",
            Message::Ack(Ack { generation: Generation(7), degraded: vec!["http 0.0.0.0:80".to_owned()] }),
        ),
        (
            "nack",
            Message::Nack(Nack { generation: Generation(7), reason: "no".to_owned(), want_snapshot: true }),
        ),
        ("report", Message::Report(Report { connections: 1, sessions: 2, requests: 3 })),
        ("refused", Message::Refused("not today".to_owned())),
        ("renew", Message::Renew(Renew { csr: b"csr".to_vec() })),
        ("renewed", Message::Renewed(Renewed { chain: vec![b"leaf".to_vec(), b"root".to_vec()] })),
        ("withdrawn", Message::Withdrawn),
        ("ping", Message::Ping(1)),
        ("pong", Message::Pong(0)),
    ]
}

/// Compares with a golden file of hexadecimal lines; `UPDATE_GOLDEN=1` rewrites it.
fn assert_golden(name: &str, bytes: &[u8]) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
    let lines =
        bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n");
    let text = lines.collect::<String>();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        golden, text,
        "{name}: the wire form moved; old gateways could not read it (UPDATE_GOLDEN=1 rewrites)"
    );
}

#[test]
fn the_bytes_of_every_object_stay_what_they_are() {
    for (name, value) in golden_values() {
        let object = Object::encode(&value).unwrap();
        assert_eq!(object.decode().unwrap(), value);
        assert_golden(&format!("object_{name}"), object.bytes());
    }
}

#[test]
fn the_bytes_of_every_message_stay_what_they_are() {
    for (name, message) in golden_messages() {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).unwrap(), message);
        assert_golden(&format!("message_{name}"), &bytes);
    }
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

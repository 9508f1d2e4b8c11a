//! The bytes of every object and message, as files that a person reviews.

use std::path::PathBuf;

use super::*;

pub(crate) fn golden_route() -> Value {
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

pub(crate) fn golden_route_with_everything() -> Route {
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
        ssh: Default::default(),
    };
    let identity = Identity {
        id: IdentityId::from_bytes([7; 16]),
        names: Box::new([HostPattern::CatchAll]),
        preferred: false,
        chain: Box::new([b"leaf".to_vec(), b"root".to_vec()]),
        key: Secret::new(b"key".to_vec()),
    };
    vec![
        ("route", golden_route()),
        ("route_control", Value::Route(plain.clone())),
        ("route_full", Value::Route(full)),
        ("route_redirect", Value::Route(Route { action: Action::Redirect(redirect), ..plain.clone() })),
        ("route_respond", Value::Route(Route { action: Action::Respond(respond), ..plain })),
        ("vm", Value::Vm(vm)),
        ("principal", Value::Principal(principal.clone())),
        ("principal_ssh", Value::Principal(Principal { ssh: ssh::golden_access(), ..principal })),
        ("identity", Value::Identity(identity.clone())),
        ("identity_preferred", Value::Identity(Identity { preferred: true, ..identity.clone() })),
        ("challenge_http", features::golden_challenge(false)),
        ("challenge_tls_alpn", features::golden_challenge(true)),
        ("ticket_key", features::golden_ticket_key()),
        ("cookie_key", features::golden_cookie_key()),
        ("forward", features::golden_forward()),
        ("console_vnc", features::golden_console(true)),
        ("console_ttyd", features::golden_console(false)),
        ("ticket_authority", features::golden_ticket_authority()),
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
    for (name, value) in golden_values().into_iter().chain(ssh::golden_values()) {
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

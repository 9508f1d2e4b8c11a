//! Whatever a route and its upstream can be asked to do, inside the bounds.

use config::id::{ChallengeId, ConsoleId, EndpointId, ForwardId, KeyId, VmId};
use config::limits;
use config::name::{HostName, Namespace, PathPrefix};
use config::secret::Secret;
use config::snapshot::{
    ActiveCheck, Balance, BasicAuth, BasicUser, Challenge, ChallengeAnswer, ClientCertificates,
    ClientIdentity, Console, ConsoleKind, ConsoleWire, Content, CookieKey, Edit, Ejection, Endpoint,
    ErrorPage, FieldEdit, Filters, FlowPolicy, Forward, HashKey, Learned, Maintenance, Matchers, PathRewrite,
    Ports, Probe, Protocol, ProxyProtocol, RateKey, RateLimit, Redirect, Respond, RetryPolicy, Sticky, Test,
    TicketAuthority, TicketKey, Timeouts, TlsPolicy, TlsVersion, Transport, UpstreamPolicy, UpstreamTls,
    Value, ValueMatch, Verify,
};
use config::target::Target;
use ipnet::IpNet;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

pub(crate) const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$c29tZWhhc2g";

fn name() -> impl Strategy<Value = Box<str>> {
    "x-[a-z0-9_.!-]{1,8}".prop_map(String::into_boxed_str)
}

fn text() -> impl Strategy<Value = Box<str>> {
    "[a-zA-Z0-9/?%:é-]{0,12}".prop_map(String::into_boxed_str)
}

fn prefix() -> impl Strategy<Value = PathPrefix> {
    prop_oneof![
        Just(PathPrefix::root()),
        "/[a-z]{1,8}(/[a-z0-9]{1,8})?".prop_map(|text| PathPrefix::parse(&text).unwrap()),
    ]
}

fn host() -> impl Strategy<Value = HostName> {
    "[a-z]{1,8}\\.example".prop_map(|text| HostName::parse(&text).unwrap())
}

fn networks() -> impl Strategy<Value = Box<[IpNet]>> {
    let v4 = (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(ip, bits)| IpNet::new(ip.into(), bits).unwrap());
    let v6 = (any::<[u8; 15]>(), 8..=128_u8).prop_map(|(rest, bits)| {
        let mut ip = [0x20; 16];
        ip[1..].copy_from_slice(&rest);
        IpNet::new(ip.into(), bits).unwrap()
    });
    btree_set(prop_oneof![v4, v6].prop_map(|network| network.trunc()), 0..4)
        .prop_map(|networks| networks.into_iter().collect())
}

fn conditions(value: &'static str) -> impl Strategy<Value = Box<[ValueMatch]>> {
    let value = move || value.prop_map(String::into_boxed_str);
    let test = prop_oneof![
        Just(Test::Absent),
        Just(Test::Present),
        value().prop_map(Test::Equals),
        value().prop_map(|text| Test::Prefix(format!("a{text}").into())),
    ];
    btree_set((name(), test).prop_map(|(name, test)| ValueMatch { name, test }), 0..4)
        .prop_map(|conditions| conditions.into_iter().collect())
}

pub(crate) fn matchers() -> impl Strategy<Value = Matchers> {
    let max = limits::PRIORITY_MAX;
    let methods = btree_set("[A-Za-z]{1,8}", 0..4);
    let headers = conditions("[a-zA-Z0-9é=&-]{0,8}");
    let query = conditions("[a-zA-Z0-9=%é]{0,0}[a-z%0-9=]{0,8}");
    (prop_oneof![Just(0), -max..=max], any::<bool>(), methods, headers, query, networks()).prop_map(
        |(priority, path_exact, methods, headers, query, clients)| Matchers {
            priority,
            path_exact,
            methods: methods.into_iter().map(String::into_boxed_str).collect(),
            headers,
            query,
            clients,
        },
    )
}

fn content() -> impl Strategy<Value = Content> {
    let media = prop_oneof![Just("text/html; charset=utf-8"), Just("application/json")];
    (media, vec(any::<u8>(), 0..64))
        .prop_map(|(media, body)| Content { media_type: media.into(), body: body.into() })
}

fn edits() -> impl Strategy<Value = Box<[FieldEdit]>> {
    let edit = prop_oneof![text().prop_map(Edit::Add), Just(Edit::Remove), text().prop_map(Edit::Set)];
    let edit =
        (name(), edit, any::<bool>()).prop_map(|(name, edit, always)| FieldEdit { name, edit, always });
    vec(edit, 0..4).prop_map(Vec::into_boxed_slice)
}

fn rate() -> impl Strategy<Value = RateLimit> {
    let key = prop_oneof![Just(RateKey::Client), Just(RateKey::Route)];
    (1..=u32::MAX, 1..=limits::TIMEOUT_MS_MAX, 1..=u32::MAX, key)
        .prop_map(|(requests, per_ms, burst, key)| RateLimit { requests, per_ms, burst, key })
}

fn basic_auth() -> impl Strategy<Value = BasicAuth> {
    (text(), btree_set("[a-zé ]{1,8}", 1..4)).prop_map(|(realm, names)| {
        let user =
            |name: String| BasicUser { name: name.into(), password_hash: Secret::new(HASH.to_owned()) };
        BasicAuth { realm, users: names.into_iter().map(user).collect() }
    })
}

pub(crate) fn filters() -> impl Strategy<Value = Filters> {
    let maintenance = (option::of(content()), 0..=limits::WEEK_SECONDS)
        .prop_map(|(page, retry_after_seconds)| Maintenance { page, retry_after_seconds });
    let page = (btree_set(400..=599_u16, 1..4), content(), any::<bool>()).prop_map(
        |(statuses, content, replaces_origin)| ErrorPage {
            statuses: statuses.into_iter().collect(),
            content,
            replaces_origin,
        },
    );
    let path = (prefix(), prefix()).prop_map(|(strip, add)| PathRewrite { strip, add });
    let who = (
        option::of(maintenance.boxed()),
        networks().boxed(),
        networks().boxed(),
        option::of(rate()),
        option::of(basic_auth().boxed()),
    );
    let bounds = (option::of(1..=u32::MAX), option::of(any::<u64>()), any::<bool>());
    let edits = (option::of(path.boxed()), edits().boxed(), edits().boxed(), vec(page.boxed(), 0..3));
    (who, bounds, edits).prop_map(|(who, bounds, edits)| {
        let (maintenance, allow, deny, rate, basic_auth) = who;
        let (in_flight_max, body_bytes_max, gzip) = bounds;
        let (path, request_fields, response_fields, error_pages) = edits;
        let error_pages = error_pages.into();
        Filters {
            maintenance,
            allow,
            deny,
            rate,
            basic_auth,
            in_flight_max,
            body_bytes_max,
            path,
            request_fields,
            response_fields,
            error_pages,
            gzip,
            upgrades: if gzip { ["x-one".into(), "tcp/1".into()].into() } else { Box::default() },
        }
    })
}

pub(crate) fn timeouts() -> impl Strategy<Value = Timeouts> {
    let ms = || option::of(1..=limits::TIMEOUT_MS_MAX);
    (ms(), ms(), ms(), ms(), ms(), option::of(1..=limits::TUNNEL_IDLE_MS_MAX)).prop_map(
        |(connect_ms, request_body_ms, response_head_ms, idle_body_ms, whole_ms, tunnel_ms)| Timeouts {
            connect_ms,
            request_body_ms,
            response_head_ms,
            idle_body_ms,
            whole_ms,
            tunnel_ms,
        },
    )
}

fn balance() -> impl Strategy<Value = Balance> {
    prop_oneof![
        Just(Balance::RoundRobin),
        Just(Balance::LeastConnections),
        Just(Balance::PowerOfTwo),
        Just(Balance::Hash(HashKey::Address)),
        name().prop_map(|name| Balance::Hash(HashKey::Cookie(name))),
        name().prop_map(|name| Balance::Hash(HashKey::Header(name))),
    ]
}

fn sticky() -> impl Strategy<Value = Sticky> {
    let learned = (name(), prefix(), 1..=u8::MAX, 1..=limits::WEEK_SECONDS, 1..=limits::LEARNED_KEYS.1);
    prop_oneof![
        (name(), 0..=limits::COOKIE_SECONDS_MAX)
            .prop_map(|(name, max_age_seconds)| Sticky::Cookie { name, max_age_seconds }),
        learned.prop_map(|(header, path, field, expire_seconds, keys_max)| {
            Sticky::Learned(Learned { header, path, field, expire_seconds, keys_max })
        }),
    ]
}

fn tls() -> impl Strategy<Value = UpstreamTls> {
    let der = || vec(any::<u8>(), 1..32);
    let verify = prop_oneof![
        vec(der(), 1..4).prop_map(|list| Verify::Authorities(list.into())),
        any::<[u8; 32]>().prop_map(Verify::Fingerprint),
        Just(Verify::Nothing),
        Just(Verify::System),
    ];
    let client = (vec(der(), 1..4), der())
        .prop_map(|(chain, key)| ClientIdentity { chain: chain.into(), key: Secret::new(key) });
    (verify, option::of(host()), option::of(client)).prop_map(|(verify, server_name, client)| UpstreamTls {
        verify,
        server_name,
        client,
    })
}

fn check() -> impl Strategy<Value = ActiveCheck> {
    let (least, most) = limits::CHECK_INTERVAL_MS;
    let range = (100..=599_u16, 100..=599_u16).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let http = ("/[a-z?=]{0,12}", option::of(host()), vec(range, 1..4)).prop_map(|(path, host, statuses)| {
        Probe::Http { path: path.into(), host, statuses: statuses.into() }
    });
    let probe = prop_oneof![http, Just(Probe::Tcp)];
    (probe, least..=most, 1..=limits::CHECK_TIMEOUT_MS_MAX, 1..=u8::MAX, 1..=u8::MAX).prop_map(
        |(probe, interval_ms, timeout_ms, rise, fall)| ActiveCheck {
            probe,
            interval_ms,
            timeout_ms,
            rise,
            fall,
        },
    )
}

pub(crate) fn policy() -> impl Strategy<Value = UpstreamPolicy> {
    let protocol = prop_oneof![Just(Protocol::Http1), Just(Protocol::Http2)];
    let proxy = prop_oneof![Just(ProxyProtocol::V1), Just(ProxyProtocol::V2)];
    let ejection = (1..=u32::MAX, 1..=limits::TIMEOUT_MS_MAX)
        .prop_map(|(failures, for_ms)| Ejection { failures, for_ms });
    let retry = (1..=limits::RETRY_TRIES_MAX, 0..=100_u8)
        .prop_map(|(tries_max, budget_percent)| RetryPolicy { tries_max, budget_percent });
    let retry = prop_oneof![Just(RetryPolicy::default()), retry];
    let talk =
        (balance(), option::of(sticky().boxed()), protocol, option::of(tls().boxed()), option::of(proxy));
    let slow_start = 0..=limits::SLOW_START_MS_MAX;
    let health =
        (option::of(check().boxed()), option::of(ejection), slow_start, option::of(1..=u32::MAX), retry);
    (talk, health).prop_map(|((balance, sticky, protocol, tls, proxy_protocol), health)| {
        let (check, ejection, slow_start_ms, in_flight_max, retry) = health;
        UpstreamPolicy {
            balance,
            sticky,
            protocol,
            tls,
            proxy_protocol,
            check,
            ejection,
            slow_start_ms,
            in_flight_max,
            retry,
        }
    })
}

pub(crate) fn redirect() -> impl Strategy<Value = Redirect> {
    let status = prop_oneof![Just(301), Just(302), Just(303), Just(307), Just(308)];
    let to = prop_oneof!["/[a-z]{0,8}", "https?://[a-z]{1,8}\\.example(:[0-9]{1,4})?(/[a-z]{0,8})?"];
    (status, to, any::<bool>()).prop_map(|(status, to, keeps_rest)| Redirect {
        status,
        to: to.into(),
        keeps_rest,
    })
}

pub(crate) fn respond() -> impl Strategy<Value = Respond> {
    let statuses = (200..=599_u16).prop_filter("it has a body", |status| ![204, 205, 304].contains(status));
    (statuses, content()).prop_map(|(status, content)| Respond { status, content })
}

/// One of everything, for the golden files.
pub(crate) fn golden_matchers() -> Matchers {
    let condition = |name: &str, test| ValueMatch { name: name.into(), test };
    Matchers {
        priority: -7,
        path_exact: true,
        methods: ["GET".into(), "HEAD".into()].into(),
        headers: [condition("x-tenant", Test::Equals("blue".into())), condition("x-debug", Test::Absent)]
            .into(),
        query: [condition("v", Test::Prefix("2".into())), condition("beta", Test::Present)].into(),
        clients: ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()].into(),
    }
}

pub(crate) fn golden_filters() -> Filters {
    let content = |body: &str| Content { media_type: "text/html".into(), body: body.as_bytes().into() };
    let edit = |name: &str, edit, always| FieldEdit { name: name.into(), edit, always };
    Filters {
        maintenance: Some(Maintenance { page: Some(content("soon")), retry_after_seconds: 60 }),
        allow: ["10.0.0.0/8".parse().unwrap()].into(),
        deny: ["10.1.0.0/16".parse().unwrap()].into(),
        rate: Some(RateLimit { requests: 10, per_ms: 1_000, burst: 20, key: RateKey::Route }),
        basic_auth: Some(BasicAuth {
            realm: "ours".into(),
            users: [BasicUser { name: "ada".into(), password_hash: Secret::new(HASH.to_owned()) }].into(),
        }),
        in_flight_max: Some(8),
        body_bytes_max: Some(0),
        path: Some(PathRewrite { strip: PathPrefix::parse("/api").unwrap(), add: PathPrefix::root() }),
        request_fields: [edit("X-One", Edit::Add("1".into()), false)].into(),
        response_fields: [edit("Server", Edit::Remove, false), edit("X-Two", Edit::Set("2".into()), true)]
            .into(),
        error_pages: [ErrorPage {
            statuses: [502, 503].into(),
            content: content("oh"),
            replaces_origin: true,
        }]
        .into(),
        gzip: true,
        upgrades: Box::default(),
    }
}

pub(crate) fn golden_policy() -> UpstreamPolicy {
    UpstreamPolicy {
        balance: Balance::Hash(HashKey::Cookie("sid".into())),
        sticky: Some(Sticky::Learned(Learned {
            header: "x-key".into(),
            path: PathPrefix::parse("/infrastructures").unwrap(),
            field: 3,
            expire_seconds: 3_600,
            keys_max: 30_000,
        })),
        protocol: Protocol::Http2,
        tls: Some(UpstreamTls {
            verify: Verify::Fingerprint([0x11; 32]),
            server_name: Some(HostName::parse("origin.example").unwrap()),
            client: Some(ClientIdentity {
                chain: [b"leaf".to_vec()].into(),
                key: Secret::new(b"key".to_vec()),
            }),
        }),
        proxy_protocol: Some(ProxyProtocol::V2),
        check: Some(ActiveCheck {
            probe: Probe::Http {
                path: "/health?deep".into(),
                host: Some(HostName::parse("health.example").unwrap()),
                statuses: [(200, 299), (404, 404)].into(),
            },
            interval_ms: 2_000,
            timeout_ms: 500,
            rise: 2,
            fall: 3,
        }),
        ejection: Some(Ejection { failures: 5, for_ms: 10_000 }),
        slow_start_ms: 30_000,
        in_flight_max: Some(100),
        retry: RetryPolicy { tries_max: 1, budget_percent: 0 },
    }
}

/// `count` texts of `bytes` bytes, no two the same.
fn long(count: usize, bytes: usize) -> impl Iterator<Item = Box<str>> {
    (0..count).map(move |n| format!("{n:a>bytes$}").into())
}

pub(crate) fn largest_matchers() -> Matchers {
    const MAX: usize = limits::MATCHERS_MAX;
    let conditions = || {
        let value = || Test::Equals("v".repeat(limits::FIELD_VALUE_BYTES_MAX).into());
        let condition = |name| ValueMatch { name, test: value() };
        long(MAX, limits::FIELD_NAME_BYTES_MAX).map(condition).collect()
    };
    Matchers {
        priority: limits::PRIORITY_MAX,
        path_exact: true,
        methods: long(MAX, limits::METHOD_BYTES_MAX).collect(),
        headers: conditions(),
        query: conditions(),
        clients: (0..MAX).map(|n| format!("2001:db8::{n:x}/128").parse().unwrap()).collect(),
    }
}

pub(crate) fn largest_filters() -> Filters {
    const MAX: usize = limits::FILTERS_MAX;
    let edits = || {
        let value = || Edit::Set("v".repeat(limits::FIELD_VALUE_BYTES_MAX).into());
        let edit = |name| FieldEdit { name, edit: value(), always: true };
        long(MAX, limits::FIELD_NAME_BYTES_MAX).map(edit).collect()
    };
    let hash = format!("{HASH}{}", "x".repeat(limits::PASSWORD_HASH_BYTES_MAX - HASH.len()));
    let user = |name| BasicUser { name, password_hash: Secret::new(hash.clone()) };
    let users = long(limits::BASIC_USERS_MAX, limits::BASIC_TEXT_BYTES_MAX).map(user).collect();
    let page = ErrorPage {
        statuses: (400..600).collect(),
        content: Content {
            media_type: "text/html".into(),
            body: vec![b'x'; limits::PAGES_BYTES_MAX / MAX].into(),
        },
        replaces_origin: true,
    };
    let networks: Box<[IpNet]> = (0..MAX).map(|n| format!("2001:db8::{n:x}/128").parse().unwrap()).collect();
    Filters {
        allow: networks.clone(),
        deny: networks,
        basic_auth: Some(BasicAuth { realm: "ours".into(), users }),
        request_fields: edits(),
        response_fields: edits(),
        error_pages: vec![page; MAX].into(),
        upgrades: long(MAX, limits::UPGRADE_NAME_BYTES_MAX).collect(),
        ..golden_filters_without_pages()
    }
}

fn golden_filters_without_pages() -> Filters {
    Filters { maintenance: None, error_pages: [].into(), ..golden_filters() }
}

pub(crate) fn largest_policy() -> UpstreamPolicy {
    let der = || vec![vec![b'x'; limits::DER_BYTES_MAX]; limits::AUTHORITIES_MAX].into();
    let client = ClientIdentity { chain: der(), key: Secret::new(vec![b'x'; limits::DER_BYTES_MAX]) };
    let tls = UpstreamTls { verify: Verify::Authorities(der()), server_name: None, client: Some(client) };
    UpstreamPolicy { tls: Some(tls), ..golden_policy() }
}

pub(crate) fn tls_policy() -> impl Strategy<Value = TlsPolicy> {
    let version = prop_oneof![Just(TlsVersion::Tls12), Just(TlsVersion::Tls13)];
    let certificates = |least| btree_set(vec(any::<u8>(), 1..32), least..4);
    let clients = (certificates(1), certificates(0)).prop_map(|(authorities, revoked)| ClientCertificates {
        authorities: authorities.into_iter().collect(),
        revoked: revoked.into_iter().collect(),
    });
    (version, option::of(clients)).prop_map(|(min_version, clients)| TlsPolicy { min_version, clients })
}

pub(crate) fn challenge() -> impl Strategy<Value = Value> {
    let http = ("[A-Za-z0-9_-]{1,20}", "[ -~]{0,20}").prop_map(|(token, key_authorization)| {
        ChallengeAnswer::Http { token: token.into(), key_authorization: key_authorization.into() }
    });
    let bytes = || vec(any::<u8>(), 1..32);
    let alpn = (bytes(), bytes())
        .prop_map(|(certificate, key)| ChallengeAnswer::TlsAlpn { certificate, key: Secret::new(key) });
    (any::<[u8; 16]>(), host(), prop_oneof![http, alpn]).prop_map(|(id, host, answer)| {
        Value::Challenge(Challenge { id: ChallengeId::from_bytes(id), host, answer })
    })
}

pub(crate) fn ticket_key() -> impl Strategy<Value = Value> {
    (any::<[u8; 16]>(), any::<bool>(), any::<[u8; 32]>()).prop_map(|(id, seals, secret)| {
        Value::TicketKey(TicketKey { id: KeyId::from_bytes(id), seals, secret: Secret::new(secret.to_vec()) })
    })
}

pub(crate) fn cookie_key() -> impl Strategy<Value = Value> {
    (any::<[u8; 16]>(), any::<[u8; 32]>()).prop_map(|(id, secret)| {
        Value::CookieKey(CookieKey { id: KeyId::from_bytes(id), secret: Secret::new(secret.to_vec()) })
    })
}

pub(crate) fn golden_cookie_key() -> Value {
    Value::CookieKey(CookieKey { id: KeyId::from_bytes([13; 16]), secret: Secret::new(vec![0xce; 32]) })
}

pub(crate) fn golden_tls_policy() -> TlsPolicy {
    let authorities = Box::new([b"one".to_vec(), b"two".to_vec()]);
    let clients = ClientCertificates { authorities, revoked: Box::new([b"list".to_vec()]) };
    TlsPolicy { min_version: TlsVersion::Tls13, clients: Some(clients) }
}

pub(crate) fn golden_challenge(by_handshake: bool) -> Value {
    let answer = if by_handshake {
        ChallengeAnswer::TlsAlpn { certificate: b"leaf".to_vec(), key: Secret::new(b"key".to_vec()) }
    } else {
        ChallengeAnswer::Http { token: "abc".into(), key_authorization: "abc.def".into() }
    };
    let host = HostName::parse("app.example").unwrap();
    Value::Challenge(Challenge { id: ChallengeId::from_bytes([10; 16]), host, answer })
}

pub(crate) fn golden_ticket_key() -> Value {
    Value::TicketKey(TicketKey {
        id: KeyId::from_bytes([11; 16]),
        seals: true,
        secret: Secret::new(vec![0xcd; 32]),
    })
}

pub(crate) fn console() -> impl Strategy<Value = Value> {
    let numbers = (any::<[u8; 16]>(), any::<[u8; 16]>(), 0..4_usize, 1..=u16::MAX);
    let rest = (option::of("[ -~]{1,8}"), any::<bool>(), "/[a-z0-9/]{0,20}");
    (numbers, rest).prop_map(|((id, vm, kind, port), (secret, read_only, path))| {
        let kind = ConsoleKind::ALL[kind];
        let is_read = kind == ConsoleKind::Vnc && read_only;
        let wire = match kind {
            ConsoleKind::Ttyd => ConsoleWire::WebSocket { path: path.into() },
            ConsoleKind::Vnc if !is_read => ConsoleWire::WebSocket { path: path.into() },
            ConsoleKind::Vnc | ConsoleKind::Ssh | ConsoleKind::Serial => ConsoleWire::Tcp,
        };
        let secret = secret.filter(|_| is_read).map(Secret::new);
        Value::Console(Console {
            vm: VmId::from_bytes(vm),
            kind,
            wire,
            secret,
            read_only: is_read,
            ..plain_console(id, port)
        })
    })
}

pub(crate) fn ticket_authority() -> impl Strategy<Value = Value> {
    (any::<[u8; 16]>(), any::<[u8; 32]>()).prop_map(|(id, public_key)| {
        Value::TicketAuthority(TicketAuthority { id: KeyId::from_bytes(id), public_key })
    })
}

fn plain_console(id: [u8; 16], port: u16) -> Console {
    Console {
        id: ConsoleId::from_bytes(id),
        namespace: Namespace::parse("ns1").unwrap(),
        vm: VmId::from_bytes([3; 16]),
        kind: ConsoleKind::Vnc,
        endpoint: forwarded(id, 1, 0, port).endpoint,
        wire: ConsoleWire::Tcp,
        secret: None,
        read_only: false,
        on_change: FlowPolicy::Keep,
        on_delete: FlowPolicy::Drain { ms: 30_000 },
    }
}

pub(crate) fn golden_console(is_tcp: bool) -> Value {
    let plain = plain_console([13; 16], 5_900);
    Value::Console(if is_tcp {
        Console {
            secret: Some(Secret::new("passw0rd".to_owned())),
            read_only: true,
            on_change: FlowPolicy::Cut,
            on_delete: FlowPolicy::Keep,
            ..plain
        }
    } else {
        let wire = ConsoleWire::WebSocket { path: "/ws".into() };
        Console { kind: ConsoleKind::Ttyd, wire, ..plain }
    })
}

pub(crate) fn golden_ticket_authority() -> Value {
    Value::TicketAuthority(TicketAuthority { id: KeyId::from_bytes([14; 16]), public_key: [0xee; 32] })
}

fn forwarded(id: [u8; 16], first: u16, row: u16, target: u16) -> Forward {
    let port = target.min(u16::MAX - row);
    let target = Target::Name { host: HostName::parse("vm.example").unwrap(), port };
    let endpoint = EndpointId::from_bytes(id);
    Forward {
        id: ForwardId::from_bytes(id),
        namespace: Namespace::parse("ns1").unwrap(),
        transport: Transport::Tcp,
        listen: None,
        ports: Ports { first, last: first.saturating_add(row) },
        endpoint: Endpoint { id: endpoint, target, loopback_ok: false, vm: None, weight: 1, draining: false },
        sources: Box::default(),
        proxy_protocol: None,
        flows_max: None,
        flows_per_second: None,
        idle_ms: None,
        on_change: FlowPolicy::Keep,
        on_delete: FlowPolicy::Drain { ms: 30_000 },
    }
}

pub(crate) fn forward() -> impl Strategy<Value = Value> {
    let ports = (1..=u16::MAX, 0..200_u16, 1..=u16::MAX);
    let limits = (option::of(1..100_u32), option::of(1..100_u32), option::of(1_000..100_000_u32));
    let ends = (any::<bool>(), option::of(any::<std::net::IpAddr>()), networks());
    (any::<[u8; 16]>(), ports, limits, ends).prop_map(|(id, (first, row, target), limits, ends)| {
        let (is_udp, listen, sources) = ends;
        let mut forward = forwarded(id, first, row, target);
        (forward.flows_max, forward.flows_per_second, forward.idle_ms) = limits;
        forward.transport = if is_udp { Transport::Udp } else { Transport::Tcp };
        forward.proxy_protocol = if is_udp { None } else { Some(ProxyProtocol::V1) };
        Value::Forward(Forward { listen, sources, ..forward })
    })
}

pub(crate) fn golden_forward() -> Value {
    Value::Forward(Forward {
        listen: Some("192.0.2.1".parse().unwrap()),
        sources: Box::new(["10.0.0.0/8".parse().unwrap()]),
        proxy_protocol: Some(ProxyProtocol::V2),
        flows_max: Some(1),
        flows_per_second: Some(2),
        idle_ms: Some(3_000),
        on_change: FlowPolicy::Cut,
        on_delete: FlowPolicy::Keep,
        ..forwarded([12; 16], 10_022, 3, 22)
    })
}

//! `upstream`: how a route's endpoints share its requests, are spoken to and looked after.

pub mod scheme;
pub mod tls;

use config::limits::{LEARNED_KEYS, LEARNED_SECONDS, TIMEOUT_MS_MAX};
use config::name::{HostName, PathPrefix};
use config::snapshot::{
    ActiveCheck, Balance, Ejection, HashKey, Learned, Probe, Protocol, ProxyProtocol, RetryPolicy, Sticky,
    UpstreamPolicy,
};
use serde_json::{Map, Value, json};

use super::Places;
use super::matchers::{header_name, is_token};
use super::merge::Rivals;
use super::node::Node;
use super::units::time_text;

/// Members.
pub const KNOWN: &[&str] = &[
    "balance",
    "sticky",
    "protocol",
    "tls",
    "proxy_protocol",
    "check",
    "ejection",
    "slow_start",
    "in_flight_max",
    "retry",
];
/// Members of `sticky`.
pub const STICKY: &[&str] = &["cookie", "learned"];
/// Members of `sticky.cookie`.
pub const COOKIE: &[&str] = &["name", "max_age"];
/// Members of `sticky.learned`.
pub const LEARNED: &[&str] = &["header", "path", "field", "expire", "keys_max"];
/// Members of `check`.
pub const CHECK: &[&str] = &["http", "tcp", "interval", "timeout", "rise", "fall"];
/// Members of `check.http`.
pub const CHECK_HTTP: &[&str] = &["path", "host", "statuses"];
/// Members of `ejection`.
pub const EJECTION: &[&str] = &["failures", "for"];
/// Members of `retry`.
pub const RETRY: &[&str] = &["tries", "budget_percent"];

/// What gives way to each other in a merge.
pub const RIVALS: &[Rivals] = &[
    (&["sticky"], STICKY),
    (&["check"], &["http", "tcp"]),
    (&["tls"], &["verify", "ca_pem", "fingerprint"]),
];

/// Where the model's rules speak of other names.
pub const PLACES: Places = &[
    ("authorities", "ca_pem"),
    ("client", ""),
    ("chain", "client_cert_pem"),
    ("key", "client_key_pem"),
    ("probe", "http"),
    ("tries_max", "tries"),
];

/// Name of a sticky cookie that says none.
const COOKIE_NAME: &str = "gatehouse";

/// Reads the group.
pub fn read(node: &mut Node<'_>) -> UpstreamPolicy {
    let defaults = RetryPolicy::default();
    UpstreamPolicy {
        balance: node.parsed("balance", balance).unwrap_or_default(),
        sticky: node.object("sticky", sticky).flatten(),
        protocol: node.parsed("protocol", protocol).unwrap_or_default(),
        tls: node.object("tls", tls::read),
        proxy_protocol: node.parsed("proxy_protocol", proxy_protocol),
        check: node.object("check", check).flatten(),
        ejection: node.object("ejection", |node| Ejection {
            failures: node.number("failures", 1, i64::from(u32::MAX)).unwrap_or(5),
            for_ms: node.time("for", 1, u64::from(TIMEOUT_MS_MAX)).unwrap_or(30_000),
        }),
        slow_start_ms: node.time("slow_start", 0, 3_600_000).unwrap_or_default(),
        in_flight_max: node.number("in_flight_max", 1, i64::from(u32::MAX)),
        retry: node
            .object("retry", |node| RetryPolicy {
                tries_max: node.number("tries", 1, 10).unwrap_or(defaults.tries_max),
                budget_percent: node.number("budget_percent", 0, 100).unwrap_or(defaults.budget_percent),
            })
            .unwrap_or(defaults),
    }
}

/// Reads a way to balance; the command line writes them alike.
pub fn balance(text: &str) -> Result<Balance, String> {
    let key = |text: &str| match text.split_once(':') {
        None if text == "address" => Ok(HashKey::Address),
        Some(("header", name)) => header_name(name).map(HashKey::Header),
        Some(("cookie", name)) if is_token(name) => Ok(HashKey::Cookie(name.into())),
        _ => Err("write hash:address, hash:header:NAME or hash:cookie:NAME".to_owned()),
    };
    match text {
        "round-robin" => Ok(Balance::RoundRobin),
        "least" | "least-connections" => Ok(Balance::LeastConnections),
        "p2c" | "power-of-two" => Ok(Balance::PowerOfTwo),
        other => match other.strip_prefix("hash:") {
            Some(rest) => key(rest).map(Balance::Hash),
            None => {
                Err("write round-robin, least, p2c or hash:address, hash:header:NAME, hash:cookie:NAME"
                    .into())
            }
        },
    }
}

fn balance_text(balance: &Balance) -> String {
    match balance {
        Balance::RoundRobin => "round-robin".into(),
        Balance::LeastConnections => "least".into(),
        Balance::PowerOfTwo => "p2c".into(),
        Balance::Hash(HashKey::Address) => "hash:address".into(),
        Balance::Hash(HashKey::Header(name)) => format!("hash:header:{name}"),
        Balance::Hash(HashKey::Cookie(name)) => format!("hash:cookie:{name}"),
    }
}

fn protocol(text: &str) -> Result<Protocol, &'static str> {
    match text {
        "http1" => Ok(Protocol::Http1),
        "http2" => Ok(Protocol::Http2),
        _ => Err("write http1 or http2"),
    }
}

fn proxy_protocol(text: &str) -> Result<ProxyProtocol, &'static str> {
    match text {
        "v1" => Ok(ProxyProtocol::V1),
        "v2" => Ok(ProxyProtocol::V2),
        _ => Err("write v1 or v2"),
    }
}

fn sticky(node: &mut Node<'_>) -> Option<Sticky> {
    let is_one = node.has("cookie") != node.has("learned");
    let cookie = node.object("cookie", |node| Sticky::Cookie {
        name: node
            .parsed("name", |text| match is_token(text) {
                true => Ok(text.into()),
                false => Err("it is no name of a cookie"),
            })
            .unwrap_or_else(|| COOKIE_NAME.into()),
        max_age_seconds: node.seconds("max_age", 0).unwrap_or_default(),
    });
    let learned = node.object("learned", learned).flatten();
    if !is_one {
        node.invalid_here("invalid", "say either cookie or learned");
    }
    cookie.or(learned.map(Sticky::Learned))
}

fn learned(node: &mut Node<'_>) -> Option<Learned> {
    let header = node.parsed("header", header_name);
    if header.is_none() {
        node.missing("header", "it is the response header that tells the key");
    }
    Some(Learned {
        path: node.parsed("path", PathPrefix::parse).unwrap_or_else(PathPrefix::root),
        field: node.number("field", 1, i64::from(u8::MAX)).unwrap_or(3),
        expire_seconds: node.seconds("expire", 1).unwrap_or(LEARNED_SECONDS),
        keys_max: node.number("keys_max", 1, i64::from(LEARNED_KEYS.1)).unwrap_or(LEARNED_KEYS.0),
        header: header?,
    })
}

fn check(node: &mut Node<'_>) -> Option<ActiveCheck> {
    let is_one = node.has("http") != node.has("tcp");
    let http = node.object("http", |node| {
        let path = node.parsed("path", |text| match text.starts_with('/') {
            true => Ok(Box::<str>::from(text)),
            false => Err("write a path that begins with /"),
        });
        let host = node.parsed("host", HostName::parse);
        let statuses =
            node.list("statuses", 16, |item, place, flaws| super::range(&item).or_flaw(place, flaws));
        let statuses = if statuses.is_empty() { vec![(200, 399)] } else { statuses };
        Probe::Http { path: path.unwrap_or_else(|| "/".into()), host, statuses: statuses.into() }
    });
    let tcp = node.truth("tcp");
    if tcp == Some(false) {
        node.invalid("tcp", "invalid", "write true, or leave it out");
    }
    if !is_one {
        node.invalid_here("invalid", "say either http or tcp");
    }
    Some(ActiveCheck {
        interval_ms: node.time("interval", 100, 3_600_000).unwrap_or(5_000),
        timeout_ms: node.time("timeout", 1, 60_000).unwrap_or(2_000),
        rise: node.number("rise", 1, i64::from(u8::MAX)).unwrap_or(2),
        fall: node.number("fall", 1, i64::from(u8::MAX)).unwrap_or(3),
        probe: http.or(tcp.map(|_| Probe::Tcp))?,
    })
}

/// Shows the group, without what is secret; what keeps its default is left out.
pub fn show(policy: &UpstreamPolicy) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    let balanced = policy.balance != Balance::default();
    put("balance", balanced.then(|| json!(balance_text(&policy.balance))));
    put("sticky", policy.sticky.as_ref().map(show_sticky));
    put("protocol", (policy.protocol == Protocol::Http2).then(|| json!("http2")));
    put("tls", policy.tls.as_ref().map(tls::show));
    put(
        "proxy_protocol",
        policy.proxy_protocol.map(|version| match version {
            ProxyProtocol::V1 => json!("v1"),
            ProxyProtocol::V2 => json!("v2"),
        }),
    );
    put("check", policy.check.as_ref().map(show_check));
    put(
        "ejection",
        policy.ejection.map(
            |ejection| json!({"failures": ejection.failures, "for": time_text(u64::from(ejection.for_ms))}),
        ),
    );
    let slow = u64::from(policy.slow_start_ms);
    put("slow_start", (slow > 0).then(|| json!(time_text(slow))));
    put("in_flight_max", policy.in_flight_max.map(Into::into));
    let RetryPolicy { tries_max, budget_percent } = policy.retry;
    let retried = policy.retry != RetryPolicy::default();
    put("retry", retried.then(|| json!({"tries": tries_max, "budget_percent": budget_percent})));
    Value::Object(members)
}

fn seconds_text(seconds: u32) -> String {
    time_text(u64::from(seconds).saturating_mul(1_000))
}

fn show_sticky(sticky: &Sticky) -> Value {
    match sticky {
        Sticky::Cookie { name, max_age_seconds: 0 } => json!({"cookie": {"name": name}}),
        Sticky::Cookie { name, max_age_seconds } => {
            json!({"cookie": {"name": name, "max_age": seconds_text(*max_age_seconds)}})
        }
        Sticky::Learned(learned) => json!({"learned": {
            "header": learned.header, "path": learned.path.as_str(), "field": learned.field,
            "expire": seconds_text(learned.expire_seconds), "keys_max": learned.keys_max,
        }}),
    }
}

fn show_check(check: &ActiveCheck) -> Value {
    let (name, probe) = match &check.probe {
        Probe::Tcp => ("tcp", json!(true)),
        Probe::Http { path, host, statuses } => {
            let range = |(first, last): &(u16, u16)| match first == last {
                true => first.to_string(),
                false => format!("{first}-{last}"),
            };
            let statuses: Vec<_> = statuses.iter().map(range).collect();
            let probe = match host {
                Some(host) => json!({"path": path, "statuses": statuses, "host": host.as_str()}),
                None => json!({"path": path, "statuses": statuses}),
            };
            ("http", probe)
        }
    };
    json!({
        name: probe, "interval": time_text(u64::from(check.interval_ms)),
        "timeout": time_text(u64::from(check.timeout_ms)), "rise": check.rise, "fall": check.fall,
    })
}

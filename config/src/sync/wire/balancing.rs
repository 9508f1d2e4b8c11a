//! The policy of an upstream.

use std::fmt;

use prost::Message;

use super::filters::{decode_prefix, encode_prefix, status};
use super::object::in_field;
use crate::name::HostName;
use crate::secret::Secret;
use crate::snapshot::{
    ActiveCheck, Balance, ClientIdentity, Ejection, HashKey, Learned, Probe, Protocol, ProxyProtocol,
    RetryPolicy, Sticky, UpstreamPolicy, UpstreamTls, Verify,
};

/// What absent members of the retry policy mean. Of the wire, so they stay when the product's default moves.
const RETRY_ABSENT: RetryPolicy = RetryPolicy { tries_max: 3, budget_percent: 20 };

#[derive(Clone, PartialEq, Message)]
pub(super) struct WirePolicy {
    /// 0 round robin, 1 least connections, 2 the better of two, 3 hash of the address, 4 of a cookie, 5 of a header.
    #[prost(uint32, tag = "1")]
    balance: u32,
    /// Of the cookie or header.
    #[prost(string, tag = "2")]
    hash_name: String,
    #[prost(message, optional, tag = "3")]
    sticky: Option<WireSticky>,
    /// 0 HTTP/1.1, 1 HTTP/2.
    #[prost(uint32, tag = "4")]
    protocol: u32,
    #[prost(message, optional, tag = "5")]
    tls: Option<WireTls>,
    /// 0 none; otherwise the version.
    #[prost(uint32, tag = "6")]
    proxy_protocol: u32,
    #[prost(message, optional, tag = "7")]
    check: Option<WireCheck>,
    #[prost(message, optional, tag = "8")]
    ejection: Option<WireEjection>,
    #[prost(uint32, tag = "9")]
    slow_start_ms: u32,
    #[prost(uint32, optional, tag = "10")]
    in_flight_max: Option<u32>,
    /// Absent is [`RETRY_ABSENT`], as the next.
    #[prost(uint32, optional, tag = "11")]
    tries_max: Option<u32>,
    #[prost(uint32, optional, tag = "12")]
    budget_percent: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSticky {
    /// 0 a cookie of ours, 1 a learned key.
    #[prost(uint32, tag = "1")]
    kind: u32,
    /// Of the cookie, or of the header that tells the key.
    #[prost(string, tag = "2")]
    name: String,
    /// Life of the cookie, or of a key.
    #[prost(uint32, tag = "3")]
    seconds: u32,
    /// Of a learned key, as the rest; empty is `/`.
    #[prost(string, tag = "4")]
    path: String,
    #[prost(uint32, tag = "5")]
    field: u32,
    #[prost(uint32, tag = "6")]
    keys_max: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WireTls {
    /// 0 the system's authorities, 1 these authorities, 2 a fingerprint, 3 not at all.
    #[prost(uint32, tag = "1")]
    verify: u32,
    #[prost(bytes = "vec", repeated, tag = "2")]
    authorities: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    fingerprint: Vec<u8>,
    /// Empty is the target's own.
    #[prost(string, tag = "4")]
    server_name: String,
    #[prost(message, optional, tag = "5")]
    client: Option<WireClient>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct WireClient {
    #[prost(bytes = "vec", repeated, tag = "1")]
    chain: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

impl fmt::Debug for WireClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireClient").finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
struct WireCheck {
    /// 0 a GET, 1 a connection.
    #[prost(uint32, tag = "1")]
    probe: u32,
    /// Of a GET, as the next two.
    #[prost(string, tag = "2")]
    path: String,
    /// Empty is the target's own.
    #[prost(string, tag = "3")]
    host: String,
    /// First and last of each range.
    #[prost(uint32, repeated, tag = "4")]
    statuses: Vec<u32>,
    #[prost(uint32, tag = "5")]
    interval_ms: u32,
    #[prost(uint32, tag = "6")]
    timeout_ms: u32,
    #[prost(uint32, tag = "7")]
    rise: u32,
    #[prost(uint32, tag = "8")]
    fall: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireEjection {
    #[prost(uint32, tag = "1")]
    failures: u32,
    #[prost(uint32, tag = "2")]
    for_ms: u32,
}

pub(super) fn encode_policy(policy: &UpstreamPolicy) -> WirePolicy {
    let (balance, hash_name) = match &policy.balance {
        Balance::RoundRobin => (0, ""),
        Balance::LeastConnections => (1, ""),
        Balance::PowerOfTwo => (2, ""),
        Balance::Hash(HashKey::Address) => (3, ""),
        Balance::Hash(HashKey::Cookie(name)) => (4, &**name),
        Balance::Hash(HashKey::Header(name)) => (5, &**name),
    };
    let RetryPolicy { tries_max, budget_percent } = policy.retry;
    WirePolicy {
        balance,
        hash_name: hash_name.to_owned(),
        sticky: policy.sticky.as_ref().map(encode_sticky),
        protocol: match policy.protocol {
            Protocol::Http1 => 0,
            Protocol::Http2 => 1,
        },
        tls: policy.tls.as_ref().map(encode_tls),
        proxy_protocol: encode_proxy_protocol(policy.proxy_protocol),
        check: policy.check.as_ref().map(encode_check),
        ejection: policy.ejection.map(|Ejection { failures, for_ms }| WireEjection { failures, for_ms }),
        slow_start_ms: policy.slow_start_ms,
        in_flight_max: policy.in_flight_max,
        tries_max: (tries_max != RETRY_ABSENT.tries_max).then(|| tries_max.into()),
        budget_percent: (budget_percent != RETRY_ABSENT.budget_percent).then(|| budget_percent.into()),
    }
}

pub(super) const fn encode_proxy_protocol(version: Option<ProxyProtocol>) -> u32 {
    match version {
        None => 0,
        Some(ProxyProtocol::V1) => 1,
        Some(ProxyProtocol::V2) => 2,
    }
}

pub(super) fn decode_proxy_protocol(number: u32) -> Result<Option<ProxyProtocol>, String> {
    Ok(match number {
        0 => None,
        1 => Some(ProxyProtocol::V1),
        2 => Some(ProxyProtocol::V2),
        other => return Err(format!("version {other} of the PROXY protocol is not known")),
    })
}

pub(super) fn decode_policy(wire: WirePolicy) -> Result<UpstreamPolicy, String> {
    // First, so that the client's key is in custody whatever else is wrong.
    let tls = wire.tls.map(decode_tls).transpose()?;
    let (tries_max, budget_percent) = (wire.tries_max, wire.budget_percent);
    Ok(UpstreamPolicy {
        balance: decode_balance(wire.balance, wire.hash_name)?,
        sticky: wire.sticky.map(decode_sticky).transpose()?,
        protocol: match wire.protocol {
            0 => Protocol::Http1,
            1 => Protocol::Http2,
            other => return Err(format!("protocol {other} is not known to this version")),
        },
        tls,
        proxy_protocol: decode_proxy_protocol(wire.proxy_protocol)?,
        check: wire.check.map(decode_check).transpose()?,
        ejection: wire.ejection.map(|WireEjection { failures, for_ms }| Ejection { failures, for_ms }),
        slow_start_ms: wire.slow_start_ms,
        in_flight_max: wire.in_flight_max,
        retry: RetryPolicy {
            tries_max: tries_max.map_or(Ok(RETRY_ABSENT.tries_max), |tries| small(tries, "tries_max"))?,
            budget_percent: budget_percent
                .map_or(Ok(RETRY_ABSENT.budget_percent), |percent| small(percent, "budget_percent"))?,
        },
    })
}

fn small(number: u32, field: &str) -> Result<u8, String> {
    u8::try_from(number).map_err(|_| format!("{field}: {number} is too large"))
}

fn decode_balance(balance: u32, name: String) -> Result<Balance, String> {
    if !matches!(balance, 4 | 5) && !name.is_empty() {
        return Err("a balance that hashes no named value has a name".to_owned());
    }
    Ok(match balance {
        0 => Balance::RoundRobin,
        1 => Balance::LeastConnections,
        2 => Balance::PowerOfTwo,
        3 => Balance::Hash(HashKey::Address),
        4 => Balance::Hash(HashKey::Cookie(name.into_boxed_str())),
        5 => Balance::Hash(HashKey::Header(name.into_boxed_str())),
        other => return Err(format!("balance {other} is not known to this version")),
    })
}

fn encode_sticky(sticky: &Sticky) -> WireSticky {
    match sticky {
        Sticky::Cookie { name, max_age_seconds } => {
            WireSticky { name: name.to_string(), seconds: *max_age_seconds, ..WireSticky::default() }
        }
        Sticky::Learned(learned) => WireSticky {
            kind: 1,
            name: learned.header.to_string(),
            seconds: learned.expire_seconds,
            path: encode_prefix(&learned.path),
            field: learned.field.into(),
            keys_max: learned.keys_max,
        },
    }
}

fn decode_sticky(wire: WireSticky) -> Result<Sticky, String> {
    let name = wire.name.into_boxed_str();
    match wire.kind {
        0 => Ok(Sticky::Cookie { name, max_age_seconds: wire.seconds }),
        1 => Ok(Sticky::Learned(Learned {
            header: name,
            path: decode_prefix(&wire.path).map_err(in_field("sticky.path"))?,
            field: small(wire.field, "sticky.field")?,
            expire_seconds: wire.seconds,
            keys_max: wire.keys_max,
        })),
        other => Err(format!("stickiness {other} is not known to this version")),
    }
}

fn encode_tls(tls: &UpstreamTls) -> WireTls {
    let (verify, authorities, fingerprint) = match &tls.verify {
        Verify::System => (0, Vec::new(), Vec::new()),
        Verify::Authorities(authorities) => (1, authorities.to_vec(), Vec::new()),
        Verify::Fingerprint(fingerprint) => (2, Vec::new(), fingerprint.to_vec()),
        Verify::Nothing => (3, Vec::new(), Vec::new()),
    };
    WireTls {
        verify,
        authorities,
        fingerprint,
        server_name: tls.server_name.as_ref().map(ToString::to_string).unwrap_or_default(),
        client: tls
            .client
            .as_ref()
            .map(|client| WireClient { chain: client.chain.to_vec(), key: client.key.expose().clone() }),
    }
}

fn decode_tls(wire: WireTls) -> Result<UpstreamTls, String> {
    let client = wire.client.map(|WireClient { chain, key }| ClientIdentity {
        chain: chain.into_boxed_slice(),
        key: Secret::new(key),
    });
    Ok(UpstreamTls {
        verify: match wire.verify {
            0 => Verify::System,
            1 => Verify::Authorities(wire.authorities.into_boxed_slice()),
            2 => {
                Verify::Fingerprint(wire.fingerprint.try_into().map_err(|wrong: Vec<u8>| {
                    format!("a fingerprint has 32 bytes, this one {}", wrong.len())
                })?)
            }
            3 => Verify::Nothing,
            other => return Err(format!("verification {other} is not known to this version")),
        },
        server_name: decode_host(&wire.server_name).map_err(in_field("server_name"))?,
        client,
    })
}

fn decode_host(text: &str) -> Result<Option<HostName>, crate::name::NameError> {
    if text.is_empty() { Ok(None) } else { HostName::parse(text).map(Some) }
}

fn encode_check(check: &ActiveCheck) -> WireCheck {
    let asks = WireCheck {
        interval_ms: check.interval_ms,
        timeout_ms: check.timeout_ms,
        rise: check.rise.into(),
        fall: check.fall.into(),
        ..WireCheck::default()
    };
    match &check.probe {
        Probe::Http { path, host, statuses } => WireCheck {
            path: path.to_string(),
            host: host.as_ref().map(ToString::to_string).unwrap_or_default(),
            statuses: statuses.iter().flat_map(|(first, last)| [*first, *last]).map(u32::from).collect(),
            ..asks
        },
        Probe::Tcp => WireCheck { probe: 1, ..asks },
    }
}

fn decode_check(wire: WireCheck) -> Result<ActiveCheck, String> {
    let probe = match wire.probe {
        0 => {
            let (ranges, rest) = wire.statuses.as_chunks::<2>();
            if !rest.is_empty() {
                return Err("a range of statuses has no end".to_owned());
            }
            let range = |[first, last]: &[u32; 2]| Ok::<_, String>((status(*first)?, status(*last)?));
            Probe::Http {
                path: wire.path.into_boxed_str(),
                host: decode_host(&wire.host).map_err(in_field("check.host"))?,
                statuses: ranges.iter().map(range).collect::<Result<_, _>>()?,
            }
        }
        1 => Probe::Tcp,
        other => return Err(format!("probe {other} is not known to this version")),
    };
    Ok(ActiveCheck {
        probe,
        interval_ms: wire.interval_ms,
        timeout_ms: wire.timeout_ms,
        rise: small(wire.rise, "check.rise")?,
        fall: small(wire.fall, "check.fall")?,
    })
}

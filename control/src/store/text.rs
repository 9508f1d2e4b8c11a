//! The text forms of values in rows, and the way back. A row that does not read is damage, and named.

use std::fmt::Display;

use config::snapshot::{FlowPolicy, ProxyProtocol, TlsMode, Transport};

use super::{Error, Row};

/// Reads one column through `parse`.
pub(super) fn parsed<T, E: Display>(
    row: &Row,
    table: &'static str,
    column: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Error> {
    let text = row.text(column)?;
    parse(&text).map_err(|why| Error::Damaged {
        table,
        id: row.text("id").unwrap_or_default(),
        why: format!("{column}: {why}"),
    })
}

/// Reads one BIGINT column into a narrower number.
pub(super) fn narrow<T: TryFrom<i64>>(
    row: &Row,
    table: &'static str,
    column: &'static str,
) -> Result<T, Error> {
    let wide = row.int(column)?;
    T::try_from(wide).map_err(|_| Error::Damaged {
        table,
        id: row.text("id").unwrap_or_default(),
        why: format!("{column}: {wide} is out of range"),
    })
}

/// `keep`, `cut` or `drain 30s`.
pub fn policy_text(policy: FlowPolicy) -> String {
    match policy {
        FlowPolicy::Keep => "keep".into(),
        FlowPolicy::Cut => "cut".into(),
        FlowPolicy::Drain { ms } if ms % 1000 == 0 => format!("drain {}s", ms / 1000),
        FlowPolicy::Drain { ms } => format!("drain {ms}ms"),
    }
}

/// Reads [`policy_text`]; the message says how it is written.
pub fn policy(text: &str) -> Result<FlowPolicy, String> {
    match text.trim() {
        "keep" => Ok(FlowPolicy::Keep),
        "cut" => Ok(FlowPolicy::Cut),
        other => {
            let wrong = || {
                format!("{text:?} is no policy; write keep, cut or drain with a time, as in \"drain 30s\"")
            };
            let time = other.strip_prefix("drain ").ok_or_else(wrong)?.trim();
            let ms = match time.strip_suffix("ms") {
                Some(digits) => digits.parse::<u64>().map_err(|_| wrong())?,
                None => crate::auth::duration::parse(time)
                    .map_err(|error| error.to_string())?
                    .saturating_mul(1000),
            };
            match u32::try_from(ms) {
                Ok(ms) if u64::from(ms) <= DRAIN_MS_MAX => Ok(FlowPolicy::Drain { ms }),
                Ok(_) | Err(_) => Err(format!("{text:?}: a drain lasts at most 24h")),
            }
        }
    }
}

/// As long as the longest idle tunnel.
const DRAIN_MS_MAX: u64 = config::limits::TUNNEL_IDLE_MS;

/// `off`, `self-signed`, `upload`, `acme` or `passthrough`.
pub const fn tls_text(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::Off => "off",
        TlsMode::SelfSigned => "self-signed",
        TlsMode::Upload => "upload",
        TlsMode::Acme => "acme",
        TlsMode::Passthrough => "passthrough",
    }
}

/// Reads [`tls_text`].
pub fn tls(text: &str) -> Result<TlsMode, String> {
    match text {
        "off" => Ok(TlsMode::Off),
        "self-signed" => Ok(TlsMode::SelfSigned),
        "upload" => Ok(TlsMode::Upload),
        "acme" => Ok(TlsMode::Acme),
        "passthrough" => Ok(TlsMode::Passthrough),
        other => {
            Err(format!("{other:?} is no TLS mode; modes are off, self-signed, upload, acme and passthrough"))
        }
    }
}

/// `tcp` or `udp`.
pub const fn transport_text(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

/// Reads [`transport_text`], without regard to case.
pub fn transport(text: &str) -> Result<Transport, String> {
    match text {
        _ if text.eq_ignore_ascii_case("tcp") => Ok(Transport::Tcp),
        _ if text.eq_ignore_ascii_case("udp") => Ok(Transport::Udp),
        other => {
            let shown: String = other.chars().take(40).collect();
            Err(format!("{shown:?} is not forwarded; protocols are tcp and udp"))
        }
    }
}

/// `v1` or `v2`.
pub const fn proxy_protocol_text(version: ProxyProtocol) -> &'static str {
    match version {
        ProxyProtocol::V1 => "v1",
        ProxyProtocol::V2 => "v2",
    }
}

/// Reads [`proxy_protocol_text`].
pub fn proxy_protocol(text: &str) -> Result<ProxyProtocol, &'static str> {
    match text {
        "v1" => Ok(ProxyProtocol::V1),
        "v2" => Ok(ProxyProtocol::V2),
        _ => Err("off, v1 or v2"),
    }
}

/// Bytes as text.
pub fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

/// Text as bytes.
pub fn unbase64(text: &str) -> Result<Vec<u8>, String> {
    data_encoding::BASE64.decode(text.as_bytes()).map_err(|error| error.to_string())
}

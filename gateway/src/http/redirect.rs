//! From plain HTTP to https, for routes that ask for it.

use config::snapshot::{Route, TlsMode};

use super::client::Client;
use crate::listener::Kind;
use crate::worker::Shared;

/// Where certificate authorities look for answers over plain HTTP (RFC 8555 § 8.3): never redirected.
const ACME_PREFIX: &[u8] = b"/.well-known/acme-challenge/";

/// Whether a request for `path` is sent to https instead of being served.
pub(super) fn applies(route: &Route, client: &Client, path: &[u8]) -> bool {
    let is_protected = match route.tls {
        TlsMode::Off => false,
        TlsMode::SelfSigned => true,
    };
    is_protected && route.redirect_https && !client.is_secured && !path.starts_with(ACME_PREFIX)
}

/// Scheme and authority of the https twin of `host`.
pub(super) fn origin(shared: &Shared, host: &str) -> String {
    match https_port(shared) {
        Some(port) if port != 443 => format!("https://{host}:{port}"),
        _ => format!("https://{host}"),
    }
}

fn https_port(shared: &Shared) -> Option<u16> {
    let listeners = shared.listeners.load();
    let https = listeners.iter().find(|listed| listed.kind == Kind::Https && listed.paused.is_none())?;
    Some(https.address.port())
}

/// 301 where every client repeats the request as it is; 308 keeps method and body (RFC 9110 § 15.4.9).
pub(super) fn status(method: &[u8]) -> u16 {
    if matches!(method, b"GET" | b"HEAD") { 301 } else { 308 }
}

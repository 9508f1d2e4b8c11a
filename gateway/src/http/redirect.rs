//! Where else a client is sent: from plain HTTP to https, or where the route says.

use std::io::Write as _;

use config::snapshot::{Redirect, Route, TlsMode};

use super::client::Client;
use super::filters::path::{below, one_slash};
use crate::listener::Kind;
use crate::worker::Shared;

/// Where certificate authorities look for answers over plain HTTP (RFC 8555 § 8.3): never redirected.
const ACME_PREFIX: &[u8] = b"/.well-known/acme-challenge/";

/// Whether a request for `path` is sent to https instead of being served. A challenge is not, unless the route asks for
/// passwords: those are never asked for in clear, and authorities follow redirects.
pub(super) fn applies(route: &Route, client: &Client, path: &[u8]) -> bool {
    let is_protected = route.tls != TlsMode::Off;
    let asks_password = route.filters.as_ref().is_some_and(|filters| filters.basic_auth.is_some());
    is_protected && route.redirect_https && !client.is_secured && (asks_password || !is_challenge(path))
}

/// One token below the prefix and nothing else: a path that climbs is no way around https.
fn is_challenge(path: &[u8]) -> bool {
    challenge_token(path).is_some()
}

/// The token that an authority looks for at `path`.
pub(super) fn challenge_token(path: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let token = path.strip_prefix(ACME_PREFIX).filter(|token| token.iter().all(is_plain))?;
    std::str::from_utf8(token).ok()
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

/// Writes where `redirect` sends a request for `path` and `query`.
///
/// A place on the same host begins with exactly one slash, whatever the request adds: two would name another host.
pub(super) fn location(out: &mut Vec<u8>, redirect: &Redirect, route: &Route, path: &[u8], query: &[u8]) {
    let (to, fragment) = split_before(redirect.to.as_bytes(), b'#');
    let (to, own_query) = split_before(to, b'?');
    let is_exact = route.matchers.as_ref().is_some_and(|matchers| matchers.path_exact);
    let rest = below(&route.path, path).filter(|_| redirect.keeps_rest && !is_exact).unwrap_or_default();
    let is_path = to.starts_with(b"/");
    let to = if is_path { one_slash(to) } else { to };
    let to = if rest.is_empty() { to } else { to.strip_suffix(b"/").unwrap_or(to) };
    put(out, to);
    put(out, if is_path && to.is_empty() { one_slash(rest) } else { rest });
    put(out, own_query);
    if redirect.keeps_rest && !query.is_empty() {
        out.push(if own_query.is_empty() { b'?' } else { b'&' });
        put(out, query);
    }
    put(out, fragment);
}

fn split_before(text: &[u8], mark: u8) -> (&[u8], &[u8]) {
    text.split_at(memchr::memchr(mark, text).unwrap_or(text.len()))
}

/// What could end the line, or is no ASCII, goes percent-encoded.
fn put(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        if byte.is_ascii_graphic() {
            out.push(*byte);
        } else {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use config::id::RouteId;
    use config::name::{HostPattern, Namespace, PathPrefix};
    use config::snapshot::{Action, FlowPolicy, Matchers};

    use super::*;

    fn route(path: &str) -> Route {
        Route {
            id: RouteId::from_bytes([1; 16]),
            namespace: Namespace::parse("default").unwrap(),
            host: HostPattern::parse("app.example").unwrap(),
            path: PathPrefix::parse(path).unwrap(),
            matchers: None,
            filters: None,
            timeouts: None,
            tls_policy: None,
            tls: TlsMode::Off,
            redirect_https: false,
            hsts_seconds: None,
            websocket: false,
            action: Action::Redirect(Redirect { status: 302, to: "/".into(), keeps_rest: true }),
            on_change: FlowPolicy::Keep,
            on_delete: FlowPolicy::Keep,
        }
    }

    fn sent(route: &Route, to: &str, keeps_rest: bool, target: &str) -> String {
        let redirect = Redirect { status: 302, to: to.into(), keeps_rest };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut out = Vec::new();
        location(&mut out, &redirect, route, path.as_bytes(), query.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_rest_of_the_request_goes_along_where_it_is_kept() {
        let old = route("/old");
        for (to, keeps_rest, target, expected) in [
            ("https://new.example", true, "/old/a?b=c", "https://new.example/a?b=c"),
            ("https://new.example/", true, "/old/a", "https://new.example/a"),
            ("https://new.example/base/", true, "/old", "https://new.example/base/"),
            ("https://new.example/base", true, "/old/", "https://new.example/base/"),
            ("https://new.example/?x=y#z", true, "/old/a?b=c", "https://new.example/a?x=y&b=c#z"),
            ("https://new.example/x", false, "/old/a?b=c", "https://new.example/x"),
            ("/new", true, "/old/a%2Fb?c", "/new/a%2Fb?c"),
            ("/", true, "/old", "/"),
            ("/new", false, "/old/a?b", "/new"),
        ] {
            assert_eq!(sent(&old, to, keeps_rest, target), expected, "{to} {target}");
        }
        let exact =
            Route { matchers: Some(Box::new(Matchers { path_exact: true, ..Matchers::default() })), ..old };
        assert_eq!(sent(&exact, "/new", true, "/old?a"), "/new?a");
    }

    #[test]
    fn no_request_leads_to_a_host_that_the_route_does_not_name() {
        let old = route("/old");
        for target in ["/old//evil.example", "/old///evil.example/x", "/old////"] {
            let sent = sent(&old, "/", true, target);
            assert!(sent.starts_with('/') && !sent.starts_with("//"), "{target}: {sent}");
        }
        let root = route("/");
        assert_eq!(sent(&root, "/", true, "//evil.example"), "/evil.example");
        assert_eq!(
            sent(&root, "https://new.example", true, "//evil.example"),
            "https://new.example//evil.example"
        );
        assert_eq!(sent(&root, "https://new.example", true, ""), "https://new.example");
        assert_eq!(sent(&root, "//other.example", true, "/a"), "/other.example/a");
        assert_eq!(sent(&root, "/a\r\nX: y", true, "/b"), "/a%0D%0AX:%20y/b");
        assert_eq!(sent(&root, "/ä", false, "/"), "/%C3%A4");
    }

    #[test]
    fn only_a_token_is_a_challenge() {
        assert!(is_challenge(b"/.well-known/acme-challenge/aB-_9"));
        for path in ["/.well-known/acme-challenge/../../admin", "/.well-known/acme-challenge/a/b", "/a"] {
            assert!(!is_challenge(path.as_bytes()), "{path}");
        }
    }
}

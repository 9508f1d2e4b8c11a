//! What a handshake for a host meets, as far as the caller may see.

use config::name::{HostName, HostPattern};
use config::snapshot::{Identity, Kind, Route, Snapshot, TlsMode, TlsVersion, Value};
use serde::Serialize;
use utoipa::ToSchema;

/// What a handshake for the host meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TlsView {
    /// `off`, `self-signed`, `upload`, `acme` or `passthrough`.
    pub mode: String,
    /// Who answers the handshake: `gateway`, or `target` where the bytes pass through.
    pub ends_at: String,
    /// The certificate that is shown, by id; null where the gateway has none for the name, or shows none.
    pub identity: Option<String>,
    /// The names of that certificate.
    pub names: Vec<String>,
    /// The oldest version that is spoken: the strictest of the host's routes, since a handshake knows no path. Null where the
    /// gateway does not answer.
    pub min_version: Option<String>,
    /// Whether this route lets only clients with a certificate in.
    pub client_certificate: bool,
    /// Whether plain HTTP is answered with a redirect to https.
    pub redirect_https: bool,
}

/// Explains the handshake of `route` for `host`.
pub(super) fn of(snapshot: &Snapshot, route: &Route, host: &str) -> TlsView {
    let is_terminated = route.tls.is_terminated();
    let identity = if route.tls == TlsMode::Passthrough { None } else { shown(snapshot, host) };
    let answers = is_terminated || identity.is_some();
    TlsView {
        mode: crate::store::text::tls_text(route.tls).to_owned(),
        ends_at: if route.tls == TlsMode::Passthrough { "target" } else { "gateway" }.to_owned(),
        identity: identity.as_ref().map(|identity| identity.id.to_string()),
        names: identity.iter().flat_map(|identity| &identity.names).map(ToString::to_string).collect(),
        min_version: answers.then(|| {
            match strictest(snapshot, &route.host) {
                TlsVersion::Tls12 => "1.2",
                TlsVersion::Tls13 => "1.3",
            }
            .to_owned()
        }),
        client_certificate: route.tls_policy.as_ref().is_some_and(|policy| policy.clients.is_some()),
        redirect_https: is_terminated && route.redirect_https,
    }
}

/// Whether gateways have an identity that was made for this name.
pub(in crate::app) fn has_identity(snapshot: &Snapshot, host: &str) -> bool {
    shown(snapshot, host).is_some()
}

/// The identity of a name: exact before wildcard, and what somebody brought or an authority signed before our own.
fn shown(snapshot: &Snapshot, host: &str) -> Option<Identity> {
    let host = HostName::parse(host).ok()?;
    let above = host.as_str().split_once('.').map(|(_, above)| above);
    let rank = |identity: &Identity| {
        let fits = |name: &HostPattern| match name {
            HostPattern::Exact(name) => (*name == host).then_some(2),
            HostPattern::Wildcard(suffix) => (Some(suffix.as_str()) == above).then_some(1),
            HostPattern::CatchAll => None,
        };
        let best = identity.names.iter().filter_map(fits).max()?;
        Some((best, identity.preferred))
    };
    let identities = snapshot.objects().filter(|object| object.key().kind == Kind::IDENTITY);
    let decoded = identities.filter_map(|object| match object.decode() {
        Ok(Value::Identity(identity)) => Some(identity),
        _ => None,
    });
    decoded
        .filter_map(|identity| Some((rank(&identity)?, identity)))
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, identity)| identity)
}

fn strictest(snapshot: &Snapshot, host: &HostPattern) -> TlsVersion {
    let routes = snapshot.objects().filter(|object| object.key().kind == Kind::ROUTE);
    let decoded = routes.filter_map(|object| match object.decode() {
        Ok(Value::Route(route)) if route.host == *host => Some(route),
        _ => None,
    });
    decoded.filter_map(|route| Some(route.tls_policy?.min_version)).max().unwrap_or_default()
}

//! How a route is shown.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::page::time;
use super::target;
use crate::api::schema::options::{
    FilterOptions, MatchOptions, RedirectOptions, RespondOptions, TimeoutOptions, TlsPolicyOptions,
    UpstreamOptions,
};
use crate::options::action::{self, Answer};
use crate::options::upstream::scheme::Scheme;
use crate::options::{filters, matchers, timeouts, tls_policy, upstream};
use crate::store::route::{EndpointRow, RouteRow};
use crate::store::text;

/// A route.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RouteView {
    /// Its id.
    pub id: String,
    /// The tenant that owns it.
    pub namespace: String,
    /// Exact name, `*.` wildcard, or `*`.
    pub host: String,
    /// Path prefix on segment boundaries.
    pub path: String,
    /// Where it leads, as `SCHEME://HOST:PORT`, `SCHEME://vm:NAME.NAMESPACE:PORT` or a service.
    pub targets: Vec<String>,
    /// The same with ids.
    pub endpoints: Vec<EndpointView>,
    /// Where the client is sent instead.
    #[schema(value_type = Option<RedirectOptions>)]
    pub redirect: Option<Value>,
    /// What the client gets instead.
    #[schema(value_type = Option<RespondOptions>)]
    pub respond: Option<Value>,
    /// What a request has to be, besides host and path.
    #[schema(value_type = Option<MatchOptions>)]
    pub r#match: Option<Value>,
    /// What the route does to requests and answers; without passwords.
    #[schema(value_type = Option<FilterOptions>)]
    pub filters: Option<Value>,
    /// How the endpoints share requests, are spoken to and looked after; without keys.
    #[schema(value_type = Option<UpstreamOptions>)]
    pub upstream: Option<Value>,
    /// How long the route waits.
    #[schema(value_type = Option<TimeoutOptions>)]
    pub timeouts: Option<Value>,
    /// `off`, `self-signed`, `upload`, `acme` or `passthrough`.
    pub tls: String,
    /// The id of the certificate it is served with, where one was uploaded or ordered.
    pub certificate: Option<String>,
    /// What it asks of handshakes.
    #[schema(value_type = Option<TlsPolicyOptions>)]
    pub tls_policy: Option<Value>,
    /// Whether plain HTTP is sent to https.
    pub redirect_https: bool,
    /// `Strict-Transport-Security`, in seconds.
    pub hsts_seconds: Option<u32>,
    /// Whether upgrades pass.
    pub websocket: bool,
    /// What a change does to open flows: `keep`, `cut` or `drain 30s`.
    pub on_change: String,
    /// What the deletion does to them.
    pub on_delete: String,
    /// Whether it is published.
    pub enabled: bool,
    /// Free text.
    pub note: String,
    /// Who made it.
    pub owner: Option<String>,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// One address of a route.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EndpointView {
    /// Its id; new when the target changes.
    pub id: String,
    /// As it is written.
    pub target: String,
    /// The VM it belongs to.
    pub vm: Option<String>,
    /// Whether root set a loopback address.
    pub loopback_ok: bool,
    /// Its share against the other endpoints'.
    pub weight: u16,
    /// Whether it gets no new requests but those that stick to it.
    pub draining: bool,
}

/// Shows a route.
pub fn of(row: &RouteRow) -> RouteView {
    let scheme = Scheme::of(row.policy.as_deref());
    let targets = match row.service {
        Some(service) => vec![service.as_str().to_owned()],
        None => row.endpoints.iter().map(|row| target::text(row, scheme)).collect(),
    };
    let (redirect, respond) = match &row.answer {
        Some(Answer::Redirect(redirect)) => (Some(action::show_redirect(redirect)), None),
        Some(Answer::Respond(respond)) => (None, Some(action::show_respond(respond))),
        None => (None, None),
    };
    RouteView {
        id: row.id.to_string(),
        namespace: row.namespace.to_string(),
        host: row.host.to_string(),
        path: row.path.to_string(),
        targets,
        endpoints: row.endpoints.iter().map(|row| endpoint(row, scheme)).collect(),
        redirect,
        respond,
        r#match: row.matchers.as_deref().map(matchers::show),
        filters: row.filters.as_deref().map(filters::show),
        upstream: row.policy.as_deref().map(upstream::show),
        timeouts: row.timeouts.as_deref().map(timeouts::show),
        tls: text::tls_text(row.tls).to_owned(),
        certificate: row.certificate.map(|id| id.to_string()),
        tls_policy: row.tls_policy.as_deref().map(tls_policy::show),
        redirect_https: row.redirect_https,
        hsts_seconds: row.hsts_seconds,
        websocket: row.websocket,
        on_change: text::policy_text(row.on_change),
        on_delete: text::policy_text(row.on_delete),
        enabled: row.enabled,
        note: row.note.clone(),
        owner: row.owner.clone(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
        updated_at: time(row.stamp.updated_at),
    }
}

/// Shows one endpoint of a route.
pub fn endpoint_of(row: &RouteRow, one: &EndpointRow) -> EndpointView {
    endpoint(one, Scheme::of(row.policy.as_deref()))
}

fn endpoint(row: &EndpointRow, scheme: Scheme) -> EndpointView {
    EndpointView {
        id: row.id.to_string(),
        target: target::text(row, scheme),
        vm: row.vm.as_ref().map(|vm| vm.id.to_string()),
        loopback_ok: row.vm.as_ref().map_or(row.loopback_ok, |vm| vm.loopback_ok),
        weight: row.weight,
        draining: row.draining,
    }
}

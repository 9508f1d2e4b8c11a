//! What is asked about the whole: health, figures, status, who am I, explain, audit.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Filters};
use super::layer::is_passed_on;
use super::problem::Problem;
use super::respond::Answer;
use super::schema::AuthorityInput;
use crate::app::audit::{self, AuditView};
use crate::app::authority::{self, AuthorityView};
use crate::app::explain::{self, ExplainView, Question};
use crate::app::page::Page;
use crate::app::system::{self, StatsView, StatusView, WhoamiView};
use crate::app::{App, Caller};
use crate::store::audit::Filter;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(whoami))
        .routes(routes!(whoami_short))
        .routes(routes!(stats))
        .routes(routes!(stats_v1))
        .routes(routes!(livez))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(status))
        .routes(routes!(ca, import_ca))
        .routes(routes!(explain))
        .routes(routes!(audits))
}

/// Who the caller is.
#[utoipa::path(
    get, path = "/api/v1/whoami", tag = "system", operation_id = "whoami",
    responses((status = 200, body = WhoamiView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn whoami(caller: Caller) -> Answer {
    Ok(Json(system::whoami(&caller)?).into_response())
}

/// The same, where the reference has it.
#[utoipa::path(
    get, path = "/whoami", tag = "system", operation_id = "whoamiShort",
    responses((status = 200, body = WhoamiView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn whoami_short(caller: Caller) -> Answer {
    whoami(caller).await
}

/// The health check of the reference: no credentials, 200 while the store answers; counts for those who may see them.
#[utoipa::path(
    get, path = "/api/system/stats", tag = "system", operation_id = "stats",
    responses((status = 200, body = StatsView), (status = 503, body = Problem))
)]
async fn stats(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    Ok(Json(system::stats(&app, &caller).await?).into_response())
}

/// The same among its kind.
#[utoipa::path(
    get, path = "/api/v1/system/stats", tag = "system", operation_id = "statsV1",
    responses((status = 200, body = StatsView), (status = 503, body = Problem))
)]
async fn stats_v1(app: State<Arc<App>>, caller: Caller) -> Answer {
    stats(app, caller).await
}

/// Whether the process runs.
#[utoipa::path(get, path = "/livez", tag = "system", operation_id = "livez", responses((status = 200)))]
async fn livez() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Whether the process runs.
#[utoipa::path(get, path = "/healthz", tag = "system", operation_id = "healthz", responses((status = 200)))]
async fn healthz() -> Response {
    livez().await
}

/// Whether control can do its work.
#[utoipa::path(
    get, path = "/readyz", tag = "system", operation_id = "readyz",
    responses((status = 200), (status = 503, body = Problem))
)]
async fn readyz(State(app): State<Arc<App>>) -> Response {
    match system::ready(&app).await {
        Ok(()) => Json(json!({ "status": "ready" })).into_response(),
        Err(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

/// Whether a program of this machine asks for itself. Through a gateway on this machine, and from a web page whose name
/// was made to lead here (DNS rebinding), every peer is loopback as well; their fields give them away.
fn is_direct(headers: &HeaderMap) -> bool {
    const TOLD_BY: [&str; 3] = ["origin", "referer", "sec-fetch-site"];
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    let is_told = TOLD_BY.iter().any(|name| headers.contains_key(*name));
    !is_told && !is_passed_on(headers) && host.is_none_or(is_this_machine)
}

/// Whether a Host names this machine without the help of DNS.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

/// Prometheus figures; by token, or from this machine itself.
#[utoipa::path(
    get, path = "/metrics", tag = "system", operation_id = "metrics",
    responses((status = 200, content_type = "text/plain", body = String), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn metrics(State(app): State<Arc<App>>, caller: Caller, headers: HeaderMap) -> Answer {
    let text = system::metrics(&app, &caller, is_direct(&headers)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// The newest generation and how far each gateway is.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "system", operation_id = "status",
    responses((status = 200, body = StatusView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn status(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    Ok(Json(system::status(&app, &caller)?).into_response())
}

/// The certificate that users trust: the internal authority's, or that of the one that was imported.
#[utoipa::path(
    get, path = "/api/v1/ca", tag = "system", operation_id = "ca",
    responses((status = 200, content_type = "application/x-pem-file", body = String))
)]
async fn ca(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    let pem = system::authority(&app, &caller).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-pem-file")], pem).into_response())
}

/// Imports an authority that signs the leaves of self-signed routes from now on; those there are are issued anew in one
/// generation. The gateways' stream and join tokens stay with the internal authority.
#[utoipa::path(
    post, path = "/api/v1/ca", tag = "system", operation_id = "importCa", request_body = AuthorityInput,
    responses((status = 200, body = AuthorityView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn import_ca(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    Ok(Json(authority::import(&app, &caller, body).await?).into_response())
}

/// Why a URL goes where it goes.
#[utoipa::path(
    get, path = "/api/v1/explain", tag = "system", operation_id = "explain",
    params(("url" = String, Query), ("method" = Option<String>, Query), ("client" = Option<String>, Query),
        ("header" = Option<Vec<String>>, Query)),
    responses((status = 200, body = ExplainView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn explain(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let question = Question {
        url: filters.take("url").unwrap_or_default(),
        method: filters.take("method"),
        client: filters.take("client"),
        headers: filters.take_headers(),
    };
    filters.page()?;
    Ok(Json(explain::explain(&app, &caller, &question)?).into_response())
}

/// What was done, newest first.
#[utoipa::path(
    get, path = "/api/v1/audits", tag = "system", operation_id = "listAudits",
    params(
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("actor" = Option<String>, Query),
        ("action" = Option<String>, Query), ("object_kind" = Option<String>, Query),
        ("object_id" = Option<String>, Query), ("namespace" = Option<String>, Query),
    ),
    responses((status = 200, body = Page<AuditView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn audits(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let filter = Filter {
        actor: filters.take("actor"),
        action: filters.take("action"),
        object_kind: filters.take("object_kind"),
        object_id: filters.take("object_id"),
        namespace: filters.take("namespace"),
    };
    Ok(Json(audit::list(&app, &caller, &filter, &filters.page()?).await?).into_response())
}

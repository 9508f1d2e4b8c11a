//! `/api/v1/sessions`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Filters;
use super::problem::Problem;
use super::respond::{Answer, gone};
use crate::app::session::{self, Filter, SessionView, SessionsPage};
use crate::app::{App, Caller};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, end))
}

/// Lists the open sessions of all gateways that the caller may see; a gateway that is away is named in `away`.
#[utoipa::path(
    get, path = "/api/v1/sessions", tag = "sessions", operation_id = "listSessions",
    params(
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query),
        ("gateway" = Option<String>, Query, description = "name or id"),
        ("kind" = Option<String>, Query, description = "tunnel, console, tcp, udp, ssh or passthrough"),
        ("namespace" = Option<String>, Query), ("user" = Option<String>, Query, description = "name or id"),
        ("vm" = Option<String>, Query, description = "name, NAME.NAMESPACE or id"),
    ),
    responses((status = 200, body = SessionsPage), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let filter = Filter {
        gateway: filters.take("gateway"),
        kind: filters.take("kind"),
        namespace: filters.take("namespace"),
        user: filters.take("user"),
        vm: filters.take("vm"),
    };
    Ok(Json(session::list(&app, &caller, &filter, &filters.page()?).await?).into_response())
}

/// Shows one open session.
#[utoipa::path(
    get, path = "/api/v1/sessions/{id}", tag = "sessions", operation_id = "showSession",
    params(("id" = String, Path)),
    responses((status = 200, body = SessionView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    Ok(Json(session::show(&app, &caller, &id).await?).into_response())
}

/// Ends one session at once.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{id}", tag = "sessions", operation_id = "endSession",
    params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn end(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    session::end(&app, &caller, &id).await.map(gone)
}

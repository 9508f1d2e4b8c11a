//! `/api/v1/gateways` and their join tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Filters};
use super::problem::Problem;
use super::respond::{Answer, created, gone, secret, shown};
use super::schema::JoinTokenInput;
use crate::app::gateway::{self, GatewayView};
use crate::app::join_token::{self, JoinTokenView, NewJoinToken};
use crate::app::page::Page;
use crate::app::{App, Caller};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, delete))
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(delete_token))
}

/// Lists the gateways with the generation each serves.
#[utoipa::path(
    get, path = "/api/v1/gateways", tag = "gateways", operation_id = "listGateways",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<GatewayView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let name = filters.take("name");
    let mut page = gateway::list(&app, &caller, &filters.page()?).await?;
    if let Some(name) = name {
        page.items.retain(|gateway| gateway.name == name);
    }
    Ok(Json(page).into_response())
}

/// Shows a gateway, by id or name.
#[utoipa::path(
    get, path = "/api/v1/gateways/{id}", tag = "gateways", operation_id = "showGateway",
    params(("id" = String, Path)),
    responses((status = 200, body = GatewayView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = gateway::show(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// Revokes a gateway.
#[utoipa::path(
    delete, path = "/api/v1/gateways/{id}", tag = "gateways", operation_id = "deleteGateway",
    params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    gateway::delete(&app, &caller, &id).await.map(gone)
}

/// Lists join tokens.
#[utoipa::path(
    get, path = "/api/v1/gateways/tokens", tag = "gateways", operation_id = "listJoinTokens",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<JoinTokenView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list_tokens(State(app): State<Arc<App>>, caller: Caller, filters: Filters) -> Answer {
    Ok(Json(join_token::list(&app, &caller, &filters.page()?).await?).into_response())
}

/// Makes a join token; its text is shown this once.
#[utoipa::path(
    post, path = "/api/v1/gateways/tokens", tag = "gateways", operation_id = "createJoinToken",
    request_body = JoinTokenInput,
    responses((status = 201, body = NewJoinToken), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create_token(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let new = join_token::create(&app, &caller, body).await?;
    Ok(secret(created(&new, 1, &format!("/api/v1/gateways/tokens/{}", new.view.id))))
}

/// Takes a join token back.
#[utoipa::path(
    delete, path = "/api/v1/gateways/tokens/{id}", tag = "gateways", operation_id = "deleteJoinToken",
    params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete_token(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    join_token::delete(&app, &caller, &id).await.map(gone)
}

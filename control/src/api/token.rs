//! `/api/v1/tokens` and the setup of the first start.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Filters};
use super::problem::Problem;
use super::respond::{Answer, created, gone, secret};
use super::schema::{SetupInput, TokenInput};
use crate::app::page::Page;
use crate::app::token::{self, NewToken, TokenView};
use crate::app::{App, Caller, setup};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete)).routes(routes!(first_run))
}

/// Lists the tokens that have not ended: all for root, one's own for others.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", operation_id = "listTokens",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<TokenView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, filters: Filters) -> Answer {
    Ok(Json(token::list(&app, &caller, &filters.page()?).await?).into_response())
}

/// Makes a token; its text is shown this once.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", operation_id = "createToken", request_body = TokenInput,
    responses((status = 201, body = NewToken), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let new = token::create(&app, &caller, body).await?;
    Ok(secret(created(&new, 1, &format!("/api/v1/tokens/{}", new.view.id))))
}

/// Revokes a token.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{id}", tag = "tokens", operation_id = "deleteToken",
    params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    token::delete(&app, &caller, &id).await.map(gone)
}

/// Makes the first root user; once, with the token that the first start printed.
#[utoipa::path(
    post, path = "/api/v1/setup", tag = "tokens", operation_id = "setup", request_body = SetupInput,
    responses((status = 201, body = NewToken), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn first_run(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let new = setup::run(&app, &caller, body).await?;
    Ok(secret(created(&new, 1, &format!("/api/v1/users/{}", new.view.user))))
}

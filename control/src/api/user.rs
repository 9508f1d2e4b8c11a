//! `/api/v1/users` and the keys below each.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Filters, IfMatch};
use super::problem::Problem;
use super::respond::{Answer, created, gone, shown};
use super::schema::{UserInput, UserKeyImportInput, UserKeyInput, UserPatch};
use crate::app::page::Page;
use crate::app::user::{self, UserView};
use crate::app::user_key::{self, UserKeyImport, UserKeyView};
use crate::app::{App, Caller};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(list_keys, create_key))
        .routes(routes!(delete_key))
        .routes(routes!(import_keys))
}

/// Lists users: all for root, oneself for others.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "users", operation_id = "listUsers",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("name" = Option<String>, Query)),
    responses((status = 200, body = Page<UserView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let name = filters.take("name");
    Ok(Json(user::list(&app, &caller, name.as_deref(), &filters.page()?).await?).into_response())
}

/// Makes a user.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "users", operation_id = "createUser", request_body = UserInput,
    responses((status = 201, body = UserView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let view = user::create(&app, &caller, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/users/{}", view.id)))
}

/// Shows a user, by id or name.
#[utoipa::path(
    get, path = "/api/v1/users/{id}", tag = "users", operation_id = "showUser", params(("id" = String, Path)),
    responses((status = 200, body = UserView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = user::show(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// Merges a change into a user.
#[utoipa::path(
    patch, path = "/api/v1/users/{id}", tag = "users", operation_id = "updateUser",
    params(("id" = String, Path), ("If-Match" = String, Header)), request_body = UserPatch,
    responses((status = 200, body = UserView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
    Body(body): Body,
) -> Answer {
    let view = user::update(&app, &caller, &id, &precondition, body).await?;
    Ok(shown(&view, view.revision))
}

/// Takes a user away, with keys and tokens.
#[utoipa::path(
    delete, path = "/api/v1/users/{id}", tag = "users", operation_id = "deleteUser",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
) -> Answer {
    user::delete(&app, &caller, &id, &precondition).await.map(gone)
}

/// Lists a user's SSH public keys.
#[utoipa::path(
    get, path = "/api/v1/users/{id}/keys", tag = "users", operation_id = "listUserKeys",
    params(("id" = String, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<UserKeyView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list_keys(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    filters: Filters,
) -> Answer {
    Ok(Json(user_key::list(&app, &caller, &id, &filters.page()?).await?).into_response())
}

/// Adds an SSH public key to a user.
#[utoipa::path(
    post, path = "/api/v1/users/{id}/keys", tag = "users", operation_id = "createUserKey",
    params(("id" = String, Path)), request_body = UserKeyInput,
    responses((status = 201, body = UserKeyView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    let view = user_key::create(&app, &caller, &id, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/users/{}/keys/{}", view.user, view.id)))
}

/// Adds every key of an authorized_keys file, or none.
#[utoipa::path(
    post, path = "/api/v1/users/{id}/keys/import", tag = "users", operation_id = "importUserKeys",
    params(("id" = String, Path)), request_body = UserKeyImportInput,
    responses((status = 200, body = UserKeyImport), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn import_keys(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    Ok(Json(user_key::import(&app, &caller, &id, body).await?).into_response())
}

/// Takes an SSH public key away.
#[utoipa::path(
    delete, path = "/api/v1/users/{id}/keys/{key}", tag = "users", operation_id = "deleteUserKey",
    params(("id" = String, Path), ("key" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, key)): Path<(String, String)>,
) -> Answer {
    user_key::delete(&app, &caller, &id, &key).await.map(gone)
}

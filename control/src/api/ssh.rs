//! `/api/v1/ssh-cas`, `/api/v1/ssh-host-keys`, and the SSH grants below each user.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Body;
use super::problem::Problem;
use super::respond::{Answer, created, gone, shown};
use super::schema::{SshCaInput, SshCaRevocation, SshCertification, SshGrantInput, SshRotation};
use crate::app::page::Page;
use crate::app::ssh::ca::{self, SshCaView};
use crate::app::ssh::grant::{self, SshGrantView};
use crate::app::ssh::host_key::{self, SshHostKeysView};
use crate::app::{App, Caller};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_cas, create_ca))
        .routes(routes!(delete_ca))
        .routes(routes!(revoke))
        .routes(routes!(show_host_keys))
        .routes(routes!(rotate))
        .routes(routes!(certify))
        .routes(routes!(list_grants, create_grant))
        .routes(routes!(delete_grant))
}

/// Lists the authorities whose certificates log people in.
#[utoipa::path(
    get, path = "/api/v1/ssh-cas", tag = "ssh", operation_id = "listSshCas",
    responses((status = 200, body = Page<SshCaView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list_cas(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    Ok(Json(Page { items: ca::list(&app, &caller).await?, next: None }).into_response())
}

/// Believes an authority: its certificates log people in as the users whose names stand in them.
#[utoipa::path(
    post, path = "/api/v1/ssh-cas", tag = "ssh", operation_id = "createSshCa", request_body = SshCaInput,
    responses((status = 201, body = SshCaView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create_ca(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let view = ca::create(&app, &caller, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/ssh-cas/{}", view.id)))
}

/// Believes an authority no longer.
#[utoipa::path(
    delete, path = "/api/v1/ssh-cas/{id}", tag = "ssh", operation_id = "deleteSshCa", params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete_ca(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    ca::delete(&app, &caller, &id).await.map(gone)
}

/// Says that certificates are no longer good.
#[utoipa::path(
    post, path = "/api/v1/ssh-cas/{id}/revoke", tag = "ssh", operation_id = "revokeSshCertificates",
    params(("id" = String, Path)), request_body = SshCaRevocation,
    responses((status = 200, body = SshCaView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    let view = ca::revoke(&app, &caller, &id, body).await?;
    Ok(shown(&view, view.revision))
}

/// Shows the gate's SSH host keys and what vouches for them.
#[utoipa::path(
    get, path = "/api/v1/ssh-host-keys", tag = "ssh", operation_id = "showSshHostKeys",
    responses((status = 200, body = SshHostKeysView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show_host_keys(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    Ok(Json(host_key::show(&app, &caller).await?).into_response())
}

/// Announces the next host key, or puts it in the place of the current one.
#[utoipa::path(
    post, path = "/api/v1/ssh-host-keys/rotate", tag = "ssh", operation_id = "rotateSshHostKey",
    request_body = SshRotation,
    responses((status = 200, body = SshHostKeysView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn rotate(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    Ok(Json(host_key::rotate(&app, &caller, body).await?).into_response())
}

/// Certifies the host keys for the names that people type.
#[utoipa::path(
    post, path = "/api/v1/ssh-host-keys/certify", tag = "ssh", operation_id = "certifySshHostKeys",
    request_body = SshCertification,
    responses((status = 200, body = SshHostKeysView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn certify(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    Ok(Json(host_key::certify(&app, &caller, body).await?).into_response())
}

/// Lists what a user reaches by SSH beyond the role.
#[utoipa::path(
    get, path = "/api/v1/users/{id}/ssh-grants", tag = "ssh", operation_id = "listSshGrants",
    params(("id" = String, Path)),
    responses((status = 200, body = Page<SshGrantView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list_grants(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    Ok(Json(Page { items: grant::list(&app, &caller, &id).await?, next: None }).into_response())
}

/// Gives a user a right to reach ports of machines by SSH.
#[utoipa::path(
    post, path = "/api/v1/users/{id}/ssh-grants", tag = "ssh", operation_id = "createSshGrant",
    params(("id" = String, Path)), request_body = SshGrantInput,
    responses((status = 201, body = SshGrantView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create_grant(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    let view = grant::create(&app, &caller, &id, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/users/{}/ssh-grants/{}", view.user, view.id)))
}

/// Takes a right away; sessions that need it are cut.
#[utoipa::path(
    delete, path = "/api/v1/users/{id}/ssh-grants/{grant}", tag = "ssh", operation_id = "deleteSshGrant",
    params(("id" = String, Path), ("grant" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete_grant(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, grant)): Path<(String, String)>,
) -> Answer {
    grant::delete(&app, &caller, &id, &grant).await.map(gone)
}

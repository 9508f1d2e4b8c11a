//! `/api/v1/acme/accounts`: accounts with ACME authorities.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Filters, IfMatch};
use super::problem::Problem;
use super::respond::{Answer, created, gone, shown};
use super::schema::AcmeAccountInput;
use crate::app::acme::account::{self, AccountView};
use crate::app::page::Page;
use crate::app::{App, Caller};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, delete))
}

/// Lists the accounts.
#[utoipa::path(
    get, path = "/api/v1/acme/accounts", tag = "acme", operation_id = "listAcmeAccounts",
    params(("name" = Option<String>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<AccountView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let name = filters.take("name");
    Ok(Json(account::list(&app, &caller, name.as_deref(), &filters.page()?).await?).into_response())
}

/// Makes an account known; the authority is asked at the first order.
#[utoipa::path(
    post, path = "/api/v1/acme/accounts", tag = "acme", operation_id = "createAcmeAccount",
    request_body = AcmeAccountInput,
    responses((status = 201, body = AccountView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let view = account::create(&app, &caller, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/acme/accounts/{}", view.id)))
}

/// Shows an account, by id or name.
#[utoipa::path(
    get, path = "/api/v1/acme/accounts/{id}", tag = "acme", operation_id = "showAcmeAccount",
    params(("id" = String, Path)),
    responses((status = 200, body = AccountView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = account::show(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// Takes an account away.
#[utoipa::path(
    delete, path = "/api/v1/acme/accounts/{id}", tag = "acme", operation_id = "deleteAcmeAccount",
    params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
) -> Answer {
    account::delete(&app, &caller, &id, &precondition).await.map(gone)
}

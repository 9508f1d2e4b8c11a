//! `/api/v1/vms`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Filters, IfMatch};
use super::problem::Problem;
use super::respond::{Answer, created, gone, shown};
use super::schema::{VmInput, VmPatch};
use crate::app::page::Page;
use crate::app::vm::{self, VmView};
use crate::app::{App, Caller};
use crate::store::vm::Filter;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, update, delete))
}

/// Lists the VMs that the caller may see.
#[utoipa::path(
    get, path = "/api/v1/vms", tag = "vms", operation_id = "listVms",
    params(
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("name" = Option<String>, Query),
        ("namespace" = Option<String>, Query), ("network" = Option<String>, Query),
        ("address" = Option<String>, Query),
    ),
    responses((status = 200, body = Page<VmView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let filter = Filter {
        name: filters.take("name"),
        namespace: filters.take("namespace"),
        network: filters.take("network"),
        address: filters.take("address"),
    };
    Ok(Json(vm::list(&app, &caller, &filter, &filters.page()?).await?).into_response())
}

/// Makes a VM; jumps reach it a moment later.
#[utoipa::path(
    post, path = "/api/v1/vms", tag = "vms", operation_id = "createVm",
    request_body = VmInput,
    responses((status = 201, body = VmView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let view = vm::create(&app, &caller, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/vms/{}", view.id)))
}

/// Shows a VM.
#[utoipa::path(
    get, path = "/api/v1/vms/{id}", tag = "vms", operation_id = "showVm",
    params(("id" = String, Path)),
    responses((status = 200, body = VmView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = vm::show(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// Merges a change into a VM.
#[utoipa::path(
    patch, path = "/api/v1/vms/{id}", tag = "vms", operation_id = "updateVm",
    params(("id" = String, Path), ("If-Match" = String, Header)), request_body = VmPatch,
    responses((status = 200, body = VmView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
    Body(body): Body,
) -> Answer {
    let view = vm::update(&app, &caller, &id, &precondition, body).await?;
    Ok(shown(&view, view.revision))
}

/// Takes a VM away.
#[utoipa::path(
    delete, path = "/api/v1/vms/{id}", tag = "vms", operation_id = "deleteVm",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
) -> Answer {
    vm::delete(&app, &caller, &id, &precondition).await.map(gone)
}

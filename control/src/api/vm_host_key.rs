//! `/api/v1/vms/{id}/host-keys`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Body;
use super::problem::Problem;
use super::respond::Answer;
use super::schema::VmHostKeyInput;
use crate::app::vm_host_key::{self, VmHostKeyView};
use crate::app::{App, Caller};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, judge))
}

/// Lists the SSH host keys that a VM has shown to terminals in the browser.
#[utoipa::path(
    get, path = "/api/v1/vms/{id}/host-keys", tag = "vms", operation_id = "listVmHostKeys",
    params(("id" = String, Path)),
    responses((status = 200, body = [VmHostKeyView]), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    Ok(Json(vm_host_key::list(&app, &caller, &id).await?).into_response())
}

/// Says whether a host key is the VM's.
#[utoipa::path(
    post, path = "/api/v1/vms/{id}/host-keys", tag = "vms", operation_id = "judgeVmHostKey",
    params(("id" = String, Path)), request_body = VmHostKeyInput,
    responses((status = 200, body = [VmHostKeyView]), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn judge(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    Ok(Json(vm_host_key::judge(&app, &caller, &id, body).await?).into_response())
}

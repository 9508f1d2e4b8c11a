//! `/api/v1/forwards`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use config::id::VmId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Csv, Filters, IfMatch};
use super::problem::Problem;
use super::respond::{Answer, created, gone, shown};
use super::schema::{ForwardInput, ForwardPatch};
use crate::app::forward::diagnose::{self, Diagnosis};
use crate::app::forward::import::{self, ImportView};
use crate::app::forward::{self, ForwardView, GatewayState};
use crate::app::page::Page;
use crate::app::{App, Caller, Error, Violation};
use crate::store::forward::Filter;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(import_csv))
        .routes(routes!(export_csv))
        .routes(routes!(show, update, delete))
        .routes(routes!(gateways))
        .routes(routes!(diagnose_one))
}

/// Lists the forwards that the caller may see.
#[utoipa::path(
    get, path = "/api/v1/forwards", tag = "forwards", operation_id = "listForwards",
    params(
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("namespace" = Option<String>, Query),
        ("protocol" = Option<String>, Query), ("host_port" = Option<u16>, Query, description = "among its ports"),
        ("vm" = Option<String>, Query, description = "name or id"), ("enabled" = Option<bool>, Query),
        ("note" = Option<String>, Query), ("owner" = Option<String>, Query),
    ),
    responses((status = 200, body = Page<ForwardView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let filter = filter(&mut filters)?;
    Ok(Json(forward::list(&app, &caller, &filter, &filters.page()?).await?).into_response())
}

fn filter(filters: &mut Filters) -> Result<Filter, Error> {
    let host_port = filters.take("host_port").map(|text| text.parse::<u16>()).transpose();
    let host_port = host_port.map_err(|_| unparsable("host_port", "host_port is a port"))?;
    let enabled = truth(filters, "enabled")?;
    let vm = filters.take("vm");
    let is_id = vm.as_deref().is_some_and(|vm| vm.parse::<VmId>().is_ok());
    let (vm_id, vm_name) = if is_id { (vm.map(|id| id.to_ascii_lowercase()), None) } else { (None, vm) };
    Ok(Filter {
        namespace: filters.take("namespace"),
        protocol: filters.take("protocol").map(|protocol| protocol.to_ascii_lowercase()),
        host_port: host_port.map(i64::from),
        vm_id,
        vm_name,
        enabled,
        note: filters.take("note"),
        owner: filters.take("owner"),
    })
}

fn truth(filters: &mut Filters, name: &str) -> Result<Option<bool>, Error> {
    match filters.take(name).as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(unparsable(name, &format!("{name} is true or false"))),
    }
}

fn unparsable(name: &str, message: &str) -> Error {
    Error::Unparsable(vec![Violation::new(name, "unparsable", message)])
}

/// Makes a forward; its ports are open at the gateways a moment later.
#[utoipa::path(
    post, path = "/api/v1/forwards", tag = "forwards", operation_id = "createForward",
    request_body = ForwardInput,
    responses((status = 201, body = ForwardView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let view = forward::create(&app, &caller, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/forwards/{}", view.id)))
}

/// Shows a forward, and what each gateway says of it.
#[utoipa::path(
    get, path = "/api/v1/forwards/{id}", tag = "forwards", operation_id = "showForward",
    params(("id" = String, Path)),
    responses((status = 200, body = ForwardView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = forward::show(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// What each gateway says of a forward: whether its ports are open, and after its deletion whether they are closed.
#[utoipa::path(
    get, path = "/api/v1/forwards/{id}/gateways", tag = "forwards", operation_id = "listForwardGateways",
    params(("id" = String, Path)),
    responses((status = 200, body = Page<GatewayState>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn gateways(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    Ok(Json(forward::gateways(&app, &caller, &id).await?).into_response())
}

/// Merges a change into a forward.
#[utoipa::path(
    patch, path = "/api/v1/forwards/{id}", tag = "forwards", operation_id = "updateForward",
    params(("id" = String, Path), ("If-Match" = String, Header)), request_body = ForwardPatch,
    responses((status = 200, body = ForwardView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
    Body(body): Body,
) -> Answer {
    let view = forward::update(&app, &caller, &id, &precondition, body).await?;
    Ok(shown(&view, view.revision))
}

/// Takes a forward away; its ports are closed at the gateways a moment later.
#[utoipa::path(
    delete, path = "/api/v1/forwards/{id}", tag = "forwards", operation_id = "deleteForward",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
) -> Answer {
    forward::delete(&app, &caller, &id, &precondition).await.map(gone)
}

/// Makes the forwards of a CSV file, all of them or none: `protocol,host_port,vm_ip,vm_port,note`.
#[utoipa::path(
    post, path = "/api/v1/forwards/import", tag = "forwards", operation_id = "importForwards",
    params(
        ("dry_run" = Option<bool>, Query, description = "make nothing, show what would be made"),
        ("namespace" = Option<String>, Query),
    ),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, body = ImportView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn import_csv(
    State(app): State<Arc<App>>,
    caller: Caller,
    mut filters: Filters,
    Csv(bytes): Csv,
) -> Answer {
    let dry_run = truth(&mut filters, "dry_run")?.unwrap_or(false);
    let asked = import::Asked { namespace: filters.take("namespace"), dry_run };
    filters.done()?;
    Ok(Json(import::import(&app, &caller, &asked, &bytes).await?).into_response())
}

/// All forwards that the caller may see, in the form that an import reads.
#[utoipa::path(
    get, path = "/api/v1/forwards/export", tag = "forwards", operation_id = "exportForwards",
    params(("namespace" = Option<String>, Query), ("protocol" = Option<String>, Query), ("vm" = Option<String>, Query)),
    responses((status = 200, body = String, content_type = "text/csv"), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn export_csv(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let filter = filter(&mut filters)?;
    filters.done()?;
    let bytes = import::export(&app, &caller, &filter).await?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], bytes).into_response())
}

/// Looks into a forward: whether it is published, listened on and answered.
#[utoipa::path(
    get, path = "/api/v1/forwards/{id}/diagnosis", tag = "forwards", operation_id = "diagnoseForward",
    params(("id" = String, Path)),
    responses((status = 200, body = Diagnosis), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn diagnose_one(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    Ok(Json(diagnose::diagnose(&app, &caller, &id).await?).into_response())
}

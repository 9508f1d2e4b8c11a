//! `/api/v1/consoles`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use config::id::VmId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Filters, IfMatch};
use super::problem::Problem;
use super::respond::{Answer, created, gone, secret, shown};
use super::schema::{ConsoleInput, ConsolePatch, TicketInput};
use crate::app::console::ticket::{self, TicketView};
use crate::app::console::{self, ConsoleView};
use crate::app::page::Page;
use crate::app::{App, Caller};
use crate::store::console::Filter;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(issue))
}

/// Lists the consoles that the caller may see.
#[utoipa::path(
    get, path = "/api/v1/consoles", tag = "consoles", operation_id = "listConsoles",
    params(
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("namespace" = Option<String>, Query),
        ("kind" = Option<String>, Query), ("vm" = Option<String>, Query, description = "name or id"),
        ("owner" = Option<String>, Query),
    ),
    responses((status = 200, body = Page<ConsoleView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let vm = filters.take("vm");
    let is_id = vm.as_deref().is_some_and(|vm| vm.parse::<VmId>().is_ok());
    let (vm_id, vm_name) = if is_id { (vm.map(|id| id.to_ascii_lowercase()), None) } else { (None, vm) };
    let filter = Filter {
        namespace: filters.take("namespace"),
        kind: filters.take("kind"),
        vm_id,
        vm_name,
        owner: filters.take("owner"),
    };
    Ok(Json(console::list(&app, &caller, &filter, &filters.page()?).await?).into_response())
}

/// Makes a console known.
#[utoipa::path(
    post, path = "/api/v1/consoles", tag = "consoles", operation_id = "createConsole",
    request_body = ConsoleInput,
    responses((status = 201, body = ConsoleView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let view = console::create(&app, &caller, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/consoles/{}", view.id)))
}

/// Shows a console.
#[utoipa::path(
    get, path = "/api/v1/consoles/{id}", tag = "consoles", operation_id = "showConsole",
    params(("id" = String, Path)),
    responses((status = 200, body = ConsoleView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = console::show(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// Merges a change into a console.
#[utoipa::path(
    patch, path = "/api/v1/consoles/{id}", tag = "consoles", operation_id = "updateConsole",
    params(("id" = String, Path), ("If-Match" = String, Header)), request_body = ConsolePatch,
    responses((status = 200, body = ConsoleView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
    Body(body): Body,
) -> Answer {
    let view = console::update(&app, &caller, &id, &precondition, body).await?;
    Ok(shown(&view, view.revision))
}

/// Takes a console away; what becomes of its open sessions says its `on_delete`.
#[utoipa::path(
    delete, path = "/api/v1/consoles/{id}", tag = "consoles", operation_id = "deleteConsole",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
) -> Answer {
    console::delete(&app, &caller, &id, &precondition).await.map(gone)
}

/// Makes a ticket, which opens the console once and within a minute.
#[utoipa::path(
    post, path = "/api/v1/consoles/{id}/tickets", tag = "consoles", operation_id = "createConsoleTicket",
    params(("id" = String, Path)), request_body = TicketInput,
    responses((status = 201, body = TicketView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn issue(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    let view = ticket::issue(&app, &caller, &id, body).await?;
    Ok(secret((StatusCode::CREATED, Json(view)).into_response()))
}

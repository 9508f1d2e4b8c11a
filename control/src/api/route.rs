//! `/api/v1/routes`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Filters, IfMatch};
use super::problem::Problem;
use super::respond::{Answer, created, gone, shown};
use super::schema::{EndpointPatch, RouteInput, RoutePatch};
use crate::app::page::Page;
use crate::app::route::view::EndpointView;
use crate::app::route::{self, RouteView};
use crate::app::{App, Caller};
use crate::store::route::Filter;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(show_endpoint, update_endpoint))
}

/// Lists the routes that the caller may see.
#[utoipa::path(
    get, path = "/api/v1/routes", tag = "routes", operation_id = "listRoutes",
    params(
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("host" = Option<String>, Query),
        ("path" = Option<String>, Query), ("namespace" = Option<String>, Query), ("owner" = Option<String>, Query),
    ),
    responses((status = 200, body = Page<RouteView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let filter = Filter {
        host: filters.take("host"),
        path: filters.take("path"),
        namespace: filters.take("namespace"),
        owner: filters.take("owner"),
    };
    Ok(Json(route::list(&app, &caller, filter, &filters.page()?).await?).into_response())
}

/// Makes a route; it is in force at the gateways a moment later.
#[utoipa::path(
    post, path = "/api/v1/routes", tag = "routes", operation_id = "createRoute",
    request_body = RouteInput,
    responses((status = 201, body = RouteView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let view = route::create(&app, &caller, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/routes/{}", view.id)))
}

/// Shows a route.
#[utoipa::path(
    get, path = "/api/v1/routes/{id}", tag = "routes", operation_id = "showRoute",
    params(("id" = String, Path)),
    responses((status = 200, body = RouteView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = route::show(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// Merges a change into a route.
#[utoipa::path(
    patch, path = "/api/v1/routes/{id}", tag = "routes", operation_id = "updateRoute",
    params(("id" = String, Path), ("If-Match" = String, Header)), request_body = RoutePatch,
    responses((status = 200, body = RouteView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
    Body(body): Body,
) -> Answer {
    let view = route::update(&app, &caller, &id, &precondition, body).await?;
    Ok(shown(&view, view.revision))
}

/// Takes a route away.
#[utoipa::path(
    delete, path = "/api/v1/routes/{id}", tag = "routes", operation_id = "deleteRoute",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
) -> Answer {
    route::delete(&app, &caller, &id, &precondition).await.map(gone)
}

/// Shows one endpoint of a route; its ETag is the route's.
#[utoipa::path(
    get, path = "/api/v1/routes/{id}/endpoints/{endpoint}", tag = "routes", operation_id = "showRouteEndpoint",
    params(("id" = String, Path), ("endpoint" = String, Path)),
    responses((status = 200, body = EndpointView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show_endpoint(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, endpoint)): Path<(String, String)>,
) -> Answer {
    let (view, revision) = route::endpoint::show(&app, &caller, &id, &endpoint).await?;
    Ok(shown(&view, revision))
}

/// Changes the share of one endpoint, or drains it.
#[utoipa::path(
    patch, path = "/api/v1/routes/{id}/endpoints/{endpoint}", tag = "routes", operation_id = "updateRouteEndpoint",
    params(("id" = String, Path), ("endpoint" = String, Path), ("If-Match" = String, Header)),
    request_body = EndpointPatch,
    responses((status = 200, body = EndpointView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn update_endpoint(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, endpoint)): Path<(String, String)>,
    IfMatch(precondition): IfMatch,
    Body(body): Body,
) -> Answer {
    let place = (id.as_str(), endpoint.as_str());
    let (view, revision) = route::endpoint::update(&app, &caller, place, &precondition, body).await?;
    Ok(shown(&view, revision))
}

//! `/api/v1/acme/orders`: orders of certificates, with their logs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Filters;
use super::problem::Problem;
use super::respond::{Answer, gone, shown};
use crate::app::acme::order::{self, OrderView};
use crate::app::page::Page;
use crate::app::{App, Caller, Error, Violation};
use crate::store::acme_order::Filter;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, cancel)).routes(routes!(retry))
}

/// Lists orders, newest first.
#[utoipa::path(
    get, path = "/api/v1/acme/orders", tag = "acme", operation_id = "listAcmeOrders",
    params(("certificate" = Option<String>, Query), ("state" = Option<String>, Query, description = "`open` or `ended`"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<OrderView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let open = match filters.take("state").as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("ended") => Some(false),
        Some(_) => {
            let message = "state is open or ended";
            return Err(Error::Unparsable(vec![Violation::new("state", "invalid", message)]));
        }
    };
    let filter = Filter { certificate: filters.take("certificate"), open };
    Ok(Json(order::list(&app, &caller, &filter, &filters.page()?).await?).into_response())
}

/// Shows an order with its log.
#[utoipa::path(
    get, path = "/api/v1/acme/orders/{id}", tag = "acme", operation_id = "showAcmeOrder",
    params(("id" = String, Path)),
    responses((status = 200, body = OrderView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = order::show(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// Takes the next step of an order now.
#[utoipa::path(
    post, path = "/api/v1/acme/orders/{id}/retry", tag = "acme", operation_id = "retryAcmeOrder",
    params(("id" = String, Path)),
    responses((status = 200, body = OrderView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn retry(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = order::retry(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// Gives an order up; what the certificate has is served on.
#[utoipa::path(
    delete, path = "/api/v1/acme/orders/{id}", tag = "acme", operation_id = "cancelAcmeOrder",
    params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn cancel(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    order::cancel(&app, &caller, &id).await.map(gone)
}

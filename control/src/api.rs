//! The admin API over HTTP: one file a resource, each only reads the request and writes the answer.
//!
//! Conventions (DESIGN §12): lists are `{items, next}`; POST answers 201 with ETag and Location; PATCH is a merge and
//! wants `If-Match`; errors are RFC 9457 problems with every violation at once ([`problem`]). Rules are `app`'s.

mod acme;
mod acme_order;
mod certificate;
mod console;
pub mod extract;
mod forward;
mod gateway;
pub mod layer;
pub mod problem;
mod respond;
mod route;
pub mod schema;
mod session;
mod ssh;
mod system;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token;
mod user;
mod vm;
mod vm_host_key;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::{Json, Router};
use config::limits::API_BODY_BYTES_MAX;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::problem::Problem;
use crate::app::App;

#[derive(OpenApi)]
#[openapi(info(
    title = "Gatehouse",
    description = "Routes, VMs, users and gateways of one Gatehouse. Errors are RFC 9457 problems.",
    license(name = "Apache-2.0")
))]
struct Document;

/// Where the OpenAPI document is.
const DOCUMENT: &str = "/api/v1/openapi.json";

fn resources() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(route::router())
        .merge(certificate::router())
        .merge(vm::router())
        .merge(vm_host_key::router())
        .merge(forward::router())
        .merge(console::router())
        .merge(session::router())
        .merge(user::router())
        .merge(ssh::router())
        .merge(token::router())
        .merge(gateway::router())
        .merge(acme::router())
        .merge(acme_order::router())
        .merge(system::router())
}

/// The OpenAPI document of the API.
pub fn document() -> utoipa::openapi::OpenApi {
    resources().into_openapi()
}

/// The whole API. Listeners add [`crate::auth::Origin`], and the unix socket's [`crate::auth::Actor::Local`], as
/// request extensions.
pub fn router(app: Arc<App>) -> Router {
    let (router, document) = resources().split_for_parts();
    router
        .route(DOCUMENT, axum::routing::get(move || async move { Json(document.clone()) }))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "nothing is here"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this method does nothing here; see Allow")
        })
        .layer(DefaultBodyLimit::max(API_BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&app), layer::surround))
        .with_state(app)
}

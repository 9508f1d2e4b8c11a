//! `/api/v1/certificates`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Filters, IfMatch};
use super::problem::Problem;
use super::respond::{Answer, created, gone, shown};
use super::schema::{
    CertificateInput, CertificateLoad, CertificatePatch, CertificateRenewal, CertificateRevocation,
};
use crate::app::certificate::{self, CertificateView};
use crate::app::input::Input;
use crate::app::page::Page;
use crate::app::{App, Caller, Error, Violation};
use crate::store::identity::Filter;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(load))
        .routes(routes!(renew))
        .routes(routes!(revoke))
}

/// Lists the certificates that the caller may see.
#[utoipa::path(
    get, path = "/api/v1/certificates", tag = "certificates", operation_id = "listCertificates",
    params(
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("name" = Option<String>, Query),
        ("source" = Option<String>, Query), ("status" = Option<String>, Query), ("namespace" = Option<String>, Query),
        ("days" = Option<u32>, Query),
    ),
    responses((status = 200, body = Page<CertificateView>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn list(State(app): State<Arc<App>>, caller: Caller, mut filters: Filters) -> Answer {
    let days = match filters.take("days").map(|days| days.parse::<u32>()) {
        None => None,
        Some(Ok(days)) => Some(days),
        Some(Err(_)) => {
            let message = "days is a whole number: those that end within so many";
            return Err(Error::Unparsable(vec![Violation::new("days", "invalid", message)]));
        }
    };
    let filter = Filter {
        name: filters.take("name"),
        source: filters.take("source"),
        status: filters.take("status"),
        namespace: filters.take("namespace"),
        ends_before: days.map(|days| certificate::ends_before(&app, days)),
    };
    Ok(Json(certificate::list(&app, &caller, &filter, &filters.page()?).await?).into_response())
}

/// Makes a certificate: uploads one, makes a request for one, or orders one. The answer has no key.
#[utoipa::path(
    post, path = "/api/v1/certificates", tag = "certificates", operation_id = "createCertificate",
    request_body = CertificateInput,
    responses((status = 201, body = CertificateView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn create(State(app): State<Arc<App>>, caller: Caller, Body(body): Body) -> Answer {
    let view = certificate::create(&app, &caller, body).await?;
    Ok(created(&view, view.revision, &format!("/api/v1/certificates/{}", view.id)))
}

/// Shows a certificate, never its key.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}", tag = "certificates", operation_id = "showCertificate",
    params(("id" = String, Path)),
    responses((status = 200, body = CertificateView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let view = certificate::show(&app, &caller, &id).await?;
    Ok(shown(&view, view.revision))
}

/// Merges a change into a certificate, or replaces its chain and key.
#[utoipa::path(
    patch, path = "/api/v1/certificates/{id}", tag = "certificates", operation_id = "updateCertificate",
    params(("id" = String, Path), ("If-Match" = String, Header)), request_body = CertificatePatch,
    responses((status = 200, body = CertificateView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
    Body(body): Body,
) -> Answer {
    let view = certificate::update(&app, &caller, &id, &precondition, body).await?;
    Ok(shown(&view, view.revision))
}

/// Takes a certificate away; one that routes use only with `force=true`.
#[utoipa::path(
    delete, path = "/api/v1/certificates/{id}", tag = "certificates", operation_id = "deleteCertificate",
    params(("id" = String, Path), ("force" = Option<bool>, Query), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
    mut filters: Filters,
) -> Answer {
    let is_forced = match filters.take("force").as_deref() {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(_) => {
            let message = "force is true or false";
            return Err(Error::Unparsable(vec![Violation::new("force", "invalid", message)]));
        }
    };
    filters.page()?;
    certificate::delete(&app, &caller, &id, (&precondition, is_forced)).await.map(gone)
}

/// Loads the chain that was signed for a request of ours.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/load", tag = "certificates", operation_id = "loadCertificate",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = CertificateLoad,
    responses((status = 200, body = CertificateView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn load(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(precondition): IfMatch,
    Body(body): Body,
) -> Answer {
    let view = certificate::load(&app, &caller, &id, &precondition, body).await?;
    Ok(shown(&view, view.revision))
}

/// Renews a certificate that ends soon; with `force` any.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/renew", tag = "certificates", operation_id = "renewCertificate",
    params(("id" = String, Path)), request_body = CertificateRenewal,
    responses((status = 200, body = CertificateView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn renew(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    let mut input = Input::new(body);
    let is_forced = input.truth("force").or(false);
    input.finish(&["force"])?;
    let view = certificate::renew(&app, &caller, &id, is_forced).await?;
    Ok(shown(&view, view.revision))
}

/// Has the ACME authority that signed a certificate declare that it must not be trusted any more.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/revoke", tag = "certificates", operation_id = "revokeCertificate",
    params(("id" = String, Path)),
    request_body = CertificateRevocation,
    responses((status = 200, body = CertificateView), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    let mut input = Input::new(body);
    let reason = input.text("reason").some();
    input.finish(&["reason"])?;
    let view = certificate::revoke(&app, &caller, &id, reason.as_deref()).await?;
    Ok(shown(&view, view.revision))
}

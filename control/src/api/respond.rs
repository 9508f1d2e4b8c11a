//! Answers: 200 with an ETag, 201 with a place, 204.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::Error;

/// 200 and the object's ETag.
pub(super) fn shown<T: Serialize>(view: &T, revision: i64) -> Response {
    tagged((StatusCode::OK, Json(view)).into_response(), revision)
}

/// 201, the object's ETag and its place.
pub(super) fn created<T: Serialize>(view: &T, revision: i64, place: &str) -> Response {
    let mut response = tagged((StatusCode::CREATED, Json(view)).into_response(), revision);
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// 204.
pub(super) fn gone((): ()) -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Something that must not be kept by anyone on the way: a new token.
pub(super) fn secret(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn tagged(mut response: Response, revision: i64) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// What a handler gives.
pub(super) type Answer = Result<Response, Error>;

//! Errors as RFC 9457 problems. The one place that knows status codes.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{Error, Violation};
use crate::store;

/// A problem (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// The status code.
    pub status: u16,
    /// What sort of problem.
    pub title: String,
    /// What happened, for people.
    pub detail: String,
    /// Everything that is wrong with the input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

/// One thing that is wrong with an input.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The field, as the input names it.
    pub field: String,
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Problem {
    /// A problem without fields.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem").to_owned();
        Self { status: status.as_u16(), title, detail: detail.into(), errors: Vec::new() }
    }

    fn fields(status: StatusCode, violations: Vec<Violation>) -> Self {
        let messages: Vec<&str> = violations.iter().map(|violation| violation.message.as_str()).collect();
        let mut problem = Self::new(status, messages.join("; "));
        problem.errors = violations
            .into_iter()
            .map(|violation| FieldProblem {
                field: violation.field,
                code: violation.code.to_owned(),
                message: violation.message,
            })
            .collect();
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        problem(self).into_response()
    }
}

fn problem(error: Error) -> Problem {
    let text = error.to_string();
    match error {
        Error::Unparsable(violations) => Problem::fields(StatusCode::BAD_REQUEST, violations),
        Error::Invalid(violations) => Problem::fields(StatusCode::UNPROCESSABLE_ENTITY, violations),
        Error::Unauthenticated(why) => Problem::new(StatusCode::UNAUTHORIZED, why),
        Error::Denied(denied) if denied.anonymous => Problem::new(
            StatusCode::UNAUTHORIZED,
            "nobody is signed in; send Authorization: Bearer with a token of `gatehouse token create`",
        ),
        Error::Denied(_) | Error::Over(_) => Problem::new(StatusCode::FORBIDDEN, text),
        Error::NotFound { .. } => Problem::new(StatusCode::NOT_FOUND, text),
        Error::Conflict { field, message } => {
            Problem::fields(StatusCode::CONFLICT, vec![Violation::new(field, "taken", message)])
        }
        Error::PreconditionRequired => Problem::new(StatusCode::PRECONDITION_REQUIRED, text),
        Error::PreconditionFailed { .. } => Problem::new(StatusCode::PRECONDITION_FAILED, text),
        Error::Store(store::Error::Unique { ref constraint }) => {
            // The rules look first and name the holder; here a second control was faster.
            tracing::info!(constraint, "two writers wanted the same");
            Problem::new(StatusCode::CONFLICT, "somebody else took the same name a moment ago; look again")
        }
        Error::Store(ref cause) => {
            tracing::error!(error = cause as &dyn std::error::Error, "the database failed a request");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, text)
        }
        Error::Internal(cause) => {
            tracing::error!(cause, "an internal error failed a request");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, text)
        }
    }
}

//! What handlers take from a request: who asks, the body, the page, the precondition.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use config::limits::{API_BODY_BYTES_MAX, API_BODY_DEADLINE_MS};

use super::problem::Problem;
use crate::app::input::Members;
use crate::app::page::{Asked, Precondition};
use crate::app::{Caller, Error, Violation};
use crate::auth::rbac::Denied;
use crate::auth::{Actor, Origin};

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or_else(|| Self {
            actor: Actor::Anonymous,
            // A listener that says nothing is taken for the least trusted.
            origin: Origin::Peer(std::net::SocketAddr::from(([0, 0, 0, 0], 0))),
            reached: None,
            machine: None,
            request_id: String::new(),
        }))
    }
}

/// Where the first root user is made.
const SETUP: &str = "/api/v1/setup";

/// A JSON object in the body.
#[derive(Debug)]
pub struct Body(pub Members);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let is_json = is_one_of(request.headers(), &["application/json", "application/merge-patch+json"]);
        let wanted = (!is_json).then_some("the body is JSON; send Content-Type: application/json");
        let bytes = body(request, state, wanted).await?;
        Members::parse(&bytes).map(Self).map_err(IntoResponse::into_response)
    }
}

/// A CSV file in the body.
#[derive(Debug)]
pub struct Csv(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Csv {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let is_csv = is_one_of(request.headers(), &["text/csv"]);
        let wanted = (!is_csv).then_some("the body is a CSV file; send Content-Type: text/csv");
        body(request, state, wanted).await.map(Self)
    }
}

/// Reads a body of somebody who may be somebody; `wrong` is what is wrong with its type.
async fn body<S: Send + Sync>(request: Request, state: &S, wrong: Option<&str>) -> Result<Bytes, Response> {
    let nobody = |caller: &Caller| matches!(caller.actor, Actor::Anonymous);
    if request.extensions().get().is_none_or(nobody) && request.uri().path() != SETUP {
        // Nobody has a body read, but for the setup, whose token may stand in it.
        return Err(Error::Denied(Denied { missing: String::new(), anonymous: true }).into_response());
    }
    if let Some(detail) = wrong {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into_response());
    }
    let bytes = read(request, state, Duration::from_millis(API_BODY_DEADLINE_MS)).await;
    bytes.map_err(IntoResponse::into_response)
}

async fn read<S: Send + Sync>(request: Request, state: &S, deadline: Duration) -> Result<Bytes, Problem> {
    let Ok(read) = tokio::time::timeout(deadline, Bytes::from_request(request, state)).await else {
        let detail = format!("the body did not come within {} seconds", deadline.as_secs());
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
    };
    read.map_err(|rejection| {
        let status = rejection.into_response().status();
        let detail = match status {
            StatusCode::PAYLOAD_TOO_LARGE => format!("the body is longer than {API_BODY_BYTES_MAX} bytes"),
            _ => "the body cannot be read".to_owned(),
        };
        Problem::new(status, detail)
    })
}

fn is_one_of(headers: &HeaderMap, kinds: &[&str]) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kinds.contains(&kind.as_str())
}

/// The query of a list: each name once, and only names that the list knows.
#[derive(Debug)]
pub struct Filters {
    named: BTreeMap<String, String>,
    headers: Vec<String>,
}

/// The one name that may be repeated: a request has several fields.
const HEADER: &str = "header";

impl<S: Sync + Send> FromRequestParts<S> for Filters {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let wrong = |message: String| {
            Error::Unparsable(vec![Violation::new("query", "unparsable", message)]).into_response()
        };
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| wrong(rejection.body_text()))?;
        let mut named = BTreeMap::new();
        let mut headers = Vec::new();
        for (name, value) in pairs {
            if name == HEADER {
                headers.push(value);
                continue;
            }
            if named.contains_key(&name) {
                return Err(wrong(format!("{name} is given twice")));
            }
            named.insert(name, value);
        }
        Ok(Self { named, headers })
    }
}

impl Filters {
    /// Takes one value.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.named.remove(name)
    }

    /// Takes every `header`.
    pub fn take_headers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.headers)
    }

    /// Takes the page, and refuses what nobody took.
    ///
    /// Errors: a name that this list does not know; it would otherwise filter nothing in silence.
    pub fn page(mut self) -> Result<Asked, Error> {
        let asked = Asked { limit: self.take("limit"), cursor: self.take("cursor") };
        self.done().map(|()| asked)
    }

    /// Refuses what nobody took, where there are no pages.
    pub fn done(self) -> Result<(), Error> {
        let unknown = |name: &String| {
            let shown: String = name.chars().take(80).collect();
            Violation::new(shown.clone(), "unknown", format!("{shown:?} is no filter of this list"))
        };
        let header = (!self.headers.is_empty()).then(|| HEADER.to_owned());
        let violations: Vec<_> = self.named.keys().chain(&header).map(unknown).collect();
        if violations.is_empty() { Ok(()) } else { Err(Error::Unparsable(violations)) }
    }
}

/// `If-Match`.
#[derive(Debug)]
pub struct IfMatch(pub Precondition);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let mut revisions = Vec::new();
        let mut is_given = false;
        for value in parts.headers.get_all(header::IF_MATCH) {
            is_given = true;
            for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                if tag == "*" {
                    return Ok(Self(Precondition::Any));
                }
                // A weak tag never matches here (RFC 9110 § 13.1.1); what is no tag of ours matches nothing.
                let number = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                revisions.extend(number.and_then(|tag| tag.parse::<i64>().ok()));
            }
        }
        Ok(Self(if is_given { Precondition::Revisions(revisions) } else { Precondition::None }))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// A body whose first byte does not come.
    struct Never;

    impl hyper::body::Body for Never {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let request = Request::new(axum::body::Body::new(Never));
        let problem = read(request, &(), Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(problem.status, 408);
    }
}

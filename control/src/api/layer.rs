//! What surrounds every handler: the request id, who asks, and that a change is not left half-way.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::app::{App, Caller, Error, audit};
use crate::auth::{Actor, Origin, token};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Finds out who asks, runs the handler, and writes down what was refused.
pub async fn surround(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let known = request.extensions().get::<Actor>().cloned().unwrap_or(Actor::Anonymous);
    let origin = request.extensions().get::<Origin>().copied();
    let origin = origin.unwrap_or(Origin::Peer(std::net::SocketAddr::from(([0, 0, 0, 0], 0))));
    let mut response = match actor(&app, request.headers(), known).await {
        Ok(_) if has_nul(request.uri()) => {
            Problem::new(StatusCode::BAD_REQUEST, "the path or query has a NUL").into_response()
        }
        Ok(actor) => {
            let reached = reached(&request, origin);
            let machine = machine(request.headers(), origin);
            let caller = Caller { actor, origin, reached, machine, request_id: id.clone() };
            request.extensions_mut().insert(caller.clone());
            handle(app, caller, request, next).await
        }
        Err(error) => error.into_response(),
    };
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if response.status().is_client_error() && kind.is_none_or(|kind| kind.starts_with("text/plain")) {
        // The framework's own refusals, a path that is no UTF-8 for one, are problems as well.
        response = Problem::new(response.status(), "the request cannot be read").into_response();
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// PostgreSQL compares no text that has a NUL: it would look like a database that fails.
fn has_nul(uri: &Uri) -> bool {
    uri.path().contains("%00") || uri.query().is_some_and(|query| query.contains("%00"))
}

/// The host that a request over the network was sent to.
fn reached(request: &Request, origin: Origin) -> Option<String> {
    if origin == Origin::Socket {
        return None;
    }
    let field = || request.headers().get(header::HOST)?.to_str().ok()?.parse().ok();
    let authority: Authority = request.uri().authority().cloned().or_else(field)?;
    Some(authority.host().to_owned())
}

/// The machine that a request came from, unless it is this one or a proxy.
fn machine(headers: &HeaderMap, origin: Origin) -> Option<IpAddr> {
    let Origin::Peer(peer) = origin else { return None };
    let ip = peer.ip().to_canonical();
    let is_known = !ip.is_loopback() && !ip.is_unspecified() && !is_passed_on(headers);
    is_known.then_some(ip)
}

/// Whether a proxy passed a request on and says so.
pub(super) fn is_passed_on(headers: &HeaderMap) -> bool {
    const TOLD_BY: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];
    TOLD_BY.iter().any(|name| headers.contains_key(*name))
}

async fn handle(app: Arc<App>, caller: Caller, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    if method.is_safe() {
        return next.run(request).await;
    }
    let path = request.uri().path().to_owned();
    // A task of its own: a client that hangs up must not stop a change between its commit and its generation.
    let response = match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed").into_response(),
    };
    let status = response.status();
    if status == StatusCode::FORBIDDEN || status == StatusCode::CONFLICT {
        audit::refused(&app, &caller, action(&method), &path, status.as_str()).await;
    }
    response
}

fn action(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PATCH | Method::PUT => "update",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// The id that the caller brought, if it is short and plain; a new one otherwise.
fn request_id(headers: &HeaderMap) -> String {
    let brought = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_plain = |id: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
    };
    brought.filter(is_plain).map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

/// Who asks: a token counts before the socket, so that less than root can be tried there.
async fn actor(app: &App, headers: &HeaderMap, known: Actor) -> Result<Actor, Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), rest) = (values.next(), values.next()) else { return Ok(known) };
    let refused = |why: &str| Err(Error::Unauthenticated(why.to_owned()));
    if rest.is_some() {
        return refused("Authorization is given twice");
    }
    match value.to_str().ok().and_then(|value| value.split_once(' ')) {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("bearer") => {
            token::authenticate(app, text.trim()).await
        }
        _ => refused("Authorization is not a bearer token"),
    }
}

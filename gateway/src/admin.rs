//! The gateway's own admin endpoint, on loopback: health, readiness, metrics, generation, listeners, port forwards, sessions.
//!
//! It needs no credentials, so it listens on loopback alone and answers only requests addressed to loopback: a web page
//! that points its own name at 127.0.0.1 gets nothing.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use config::id::SessionId;
use config::limits;
use config::snapshot::Forward;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::forward;
use crate::telemetry::page;
use crate::worker::Shared;

type Answer = Response<Full<Bytes>>;

/// Serves until it is dropped.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(&shared, request.method(), request.uri().path(), host(&request));
                async { Ok::<_, Infallible>(answer) }
            });
            let deadline = Duration::from_millis(limits::ADMIN_REQUEST_DEADLINE_MS);
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(deadline).max_buf_size(limits::BUFFER_BYTES);
            // The other end going away is its own affair.
            let _ = http.serve_connection(TokioIo::new(tcp), service).await;
        });
    }
}

/// Why the gateway is not ready, if it is not.
pub fn unready(shared: &Shared) -> Option<&'static str> {
    if shared.drain.is_draining() {
        Some("draining")
    } else if shared.current.pin().is_none() {
        Some("no generation in force: neither control nor a checkpoint gave one yet")
    } else {
        None
    }
}

fn host(request: &Request<Incoming>) -> Option<&str> {
    request.headers().get(HOST)?.to_str().ok()
}

/// Whether a `Host` field means this machine by a name that nobody else can own.
fn is_loopback(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse().is_ok_and(|ip: Ipv6Addr| ip.is_loopback());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
}

fn answer(shared: &Shared, method: &Method, path: &str, host: Option<&str>) -> Answer {
    if !host.is_some_and(is_loopback) {
        return text(StatusCode::FORBIDDEN, "this endpoint answers to localhost alone\n".into());
    }
    let id = path.strip_prefix("/sessions/");
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/livez") => text(StatusCode::OK, "ok\n".into()),
        (&Method::GET | &Method::HEAD, "/readyz" | "/healthz" | "/ping") => match unready(shared) {
            None => text(StatusCode::OK, "ok\n".into()),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        (&Method::GET, "/metrics") => {
            let mut answer = text(StatusCode::OK, page::render(shared));
            let form = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            answer.headers_mut().insert(CONTENT_TYPE, form);
            answer
        }
        (&Method::GET, "/generation") => json(StatusCode::OK, &generation(shared)),
        (&Method::GET, "/listeners") => json(StatusCode::OK, &listeners(shared)),
        (&Method::GET, "/forwards") => json(StatusCode::OK, &forwards(shared)),
        (&Method::GET, "/sessions") => json(StatusCode::OK, &json!({ "items": shared.sessions.list() })),
        (&Method::DELETE, _) if id.is_some() => end_session(shared, id.unwrap_or_default()),
        (
            _,
            "/livez" | "/readyz" | "/healthz" | "/ping" | "/metrics" | "/generation" | "/listeners"
            | "/forwards" | "/sessions",
        ) => text(StatusCode::METHOD_NOT_ALLOWED, "this resource has no such method\n".into()),
        _ => text(StatusCode::NOT_FOUND, "there is nothing here\n".into()),
    }
}

fn end_session(shared: &Shared, id: &str) -> Answer {
    match id.parse::<SessionId>() {
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        Ok(id) if shared.sessions.end(id) => text(StatusCode::NO_CONTENT, String::new()),
        Ok(id) => text(StatusCode::NOT_FOUND, format!("no session {id} is open\n")),
    }
}

fn generation(shared: &Shared) -> Value {
    let live = shared.current.pin();
    let lineage = live.as_ref().map(|live| data_encoding::HEXLOWER.encode(&live.snapshot.lineage().0));
    json!({
        "generation": live.as_ref().map(|live| live.snapshot.generation().0),
        "lineage": lineage,
        "digest": live.as_ref().map(|live| format!("{:?}", live.snapshot.digest())),
        "routes": live.as_ref().map(|live| live.table.routes_len()),
        "objects": live.as_ref().map(|live| live.snapshot.len()),
        "control_connected": shared.gauges.control_connected(),
        "control_away_because": shared.gauges.link_down(),
        "snapshot_age_seconds": shared.gauges.snapshot_age().map(|age| age.as_secs()),
        "degraded": shared.degraded(),
        "draining": shared.drain.is_draining(),
    })
}

fn listeners(shared: &Shared) -> Value {
    let listed = shared.listeners.load();
    let items: Vec<Value> = listed
        .iter()
        .map(|one| {
            json!({ "kind": one.kind.name(), "address": one.address.to_string(), "paused": one.paused,
                    "open_connections": shared.metrics.open(one.kind) })
        })
        .collect();
    json!({ "items": items })
}

/// Every port forward, open or paused, with what came in by it.
fn forwards(shared: &Shared) -> Value {
    let paused = shared.forwards.paused.load();
    let live = shared.current.pin();
    let mut all: Vec<_> = live.iter().flat_map(|live| live.forwards.iter()).collect();
    all.sort_unstable_by_key(|forward| forward.id);
    let item = |forward: &Arc<Forward>| {
        let flows = shared.forwards.of(forward.id);
        let [up, down] = flows.bytes.each_ref().map(|bytes| bytes.load(Relaxed));
        json!({ "id": forward.id.to_string(), "namespace": forward.namespace.as_str(),
                "protocol": forward::name(forward.transport), "listen": forward.listen,
                "first_port": forward.ports.first, "last_port": forward.ports.last,
                "target": forward.endpoint.target.to_string(), "paused": paused.get(&forward.id),
                "open_flows": flows.open(), "flows": flows.begun.load(Relaxed),
                "bytes_up": up, "bytes_down": down })
    };
    json!({ "items": all.into_iter().map(item).collect::<Vec<_>>() })
}

fn text(status: StatusCode, body: String) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn json(status: StatusCode, body: &Value) -> Answer {
    with_type(status, "application/json", format!("{body}\n"))
}

fn with_type(status: StatusCode, form: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(form));
    answer
}

#[cfg(test)]
mod tests;

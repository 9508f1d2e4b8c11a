//! Requests to the router without a listener.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::app::testing::Fixture;
use crate::auth::{Actor, Origin};

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// `field code` of each violation.
    #[track_caller]
    pub(crate) fn violations(&self) -> Vec<String> {
        let json = self.json();
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
        json["errors"].as_array().map_or_else(Vec::new, |items| {
            items.iter().map(|item| format!("{} {}", text(item, "field"), text(item, "code"))).collect()
        })
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

/// How a request is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct As<'a> {
    pub(crate) token: Option<&'a str>,
    pub(crate) local: bool,
    pub(crate) if_match: Option<&'a str>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) fields: Vec<(&'static str, &'a str)>,
}

pub(crate) const LOCAL: As<'static> =
    As { token: None, local: true, if_match: None, peer: None, fields: Vec::new() };
pub(crate) const NOBODY: As<'static> =
    As { token: None, local: false, if_match: None, peer: None, fields: Vec::new() };

pub(crate) fn token(text: &str) -> As<'_> {
    As { token: Some(text), ..As::default() }
}

impl Fixture {
    pub(crate) async fn raw(&self, who: As<'_>, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        if let Some(token) = who.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(tag) = who.if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        let kind_is_said = who.fields.iter().any(|(name, _)| *name == "content-type");
        for (name, value) in who.fields {
            request = request.header(name, value);
        }
        if !kind_is_said {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let peer = who.peer.unwrap_or_else(|| "203.0.113.9:4000".parse().unwrap());
        request = request.extension(if who.local { Origin::Socket } else { Origin::Peer(peer) });
        if who.local {
            request = request.extension(Actor::Local);
        }
        let request = request.body(body.into()).unwrap();
        let response = super::router(std::sync::Arc::clone(&self.app)).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub(crate) async fn call(&self, who: As<'_>, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.raw(who, method, path, body).await
    }

    pub(crate) async fn get(&self, who: As<'_>, path: &str) -> Answer {
        self.call(who, "GET", path, Value::Null).await
    }

    pub(crate) async fn post(&self, who: As<'_>, path: &str, body: Value) -> Answer {
        self.call(who, "POST", path, body).await
    }

    /// A user with these grants, and a token for it.
    pub(crate) async fn user(&self, name: &str, grant: &str) -> String {
        self.post(LOCAL, "/api/v1/users", json!({"name": name, "grant": grant})).await.expect(201);
        let made =
            self.post(LOCAL, "/api/v1/tokens", json!({"subject": name, "duration": "10m"})).await.expect(201);
        made.json()["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn vm(&self, name: &str, namespace: &str, address: &str) -> Value {
        let body = json!({"name": name, "namespace": namespace, "address": address});
        self.post(LOCAL, "/api/v1/vms", body).await.expect(201).json()
    }
}

//! The address that a ticket comes with, where no route leads to the consoles.

use config::id::GatewayId;
use config::sync::message::{Hello, Listening};
use serde_json::{Value, json};

use super::certificates::{route, uploaded};
use super::sessions::enrolled;
use crate::api::testing::{As, LOCAL, token};
use crate::app::testing::Fixture;

/// A console of this kind, at a gateway whose listener of screens has one address and of terminals all of them.
async fn console(fixture: &Fixture, kind: &str) -> String {
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let body = json!({"vm": "web01.ns1", "kind": kind});
    let made = fixture.post(LOCAL, "/api/v1/consoles", body).await.expect(201).json();
    let gateway: GatewayId = enrolled(fixture, 1, "gw1").await;
    let at = |kind: &str, address: &str| Listening { kind: kind.into(), address: address.parse().unwrap() };
    let listeners = vec![at("novnc", "192.0.2.1:6080"), at("ttyd", "0.0.0.0:7681")];
    fixture.app.gateways.introduced(gateway, 0, &Hello { listeners, ..Hello::default() });
    format!("/api/v1/consoles/{}/tickets", made["id"].as_str().unwrap())
}

/// A certificate that gateways have, since a route is served with it.
async fn identity(fixture: &Fixture, host: &str) {
    uploaded(fixture, &[host]).await;
    route(fixture, host, json!({"tls": "upload"})).await.expect(201);
}

async fn urls(fixture: &Fixture, who: As<'_>, tickets: &str, body: Value) -> [String; 2] {
    let made = fixture.post(who, tickets, body).await.expect(201).json();
    ["url", "websocket_url"].map(|name| {
        let url = made[name].as_str().unwrap();
        url.split_once("/console/").unwrap().0.to_owned()
    })
}

#[tokio::test]
async fn a_host_with_an_identity_is_asked_over_tls() {
    let fixture = Fixture::new().await;
    let tickets = console(&fixture, "vnc").await;
    identity(&fixture, "gate.example.com").await;
    identity(&fixture, "*.wild.example.com").await;
    for (host, is_secured) in [
        ("gate.example.com", true),
        ("GATE.example.com", true),
        ("one.wild.example.com", true),
        ("a.b.wild.example.com", false),
        ("other.example.com", false),
        ("192.0.2.1", false),
    ] {
        let [url, websocket] = urls(&fixture, LOCAL, &tickets, json!({"host": host})).await;
        let (page, socket) = if is_secured { ("https", "wss") } else { ("http", "ws") };
        let host = host.to_ascii_lowercase();
        assert_eq!([url, websocket], [format!("{page}://{host}:6080"), format!("{socket}://{host}:6080")]);
    }
}

#[tokio::test]
async fn a_listener_of_every_address_is_where_the_api_was_reached() {
    let fixture = Fixture::new().await;
    let tickets = console(&fixture, "ttyd").await;
    let operator = fixture.user("usr-o", "operator:ns1").await;
    let by = |host| As { fields: vec![("host", host)], ..token(&operator) };
    for (host, wanted) in [
        ("gate.example.com:1880", "http://gate.example.com:7681"),
        ("192.0.2.7:1880", "http://192.0.2.7:7681"),
        ("[2001:db8::1]:1880", "http://[2001:db8::1]:7681"),
        ("no host at all", "http://localhost:7681"),
    ] {
        let [url, _] = urls(&fixture, by(host), &tickets, json!({})).await;
        assert_eq!(url, wanted, "{host}");
    }
    // Over the socket nobody says by which name the machine is known.
    assert_eq!(urls(&fixture, LOCAL, &tickets, json!({})).await[0], "http://localhost:7681");
    let [url, _] =
        urls(&fixture, by("control.example.com"), &tickets, json!({"host": "gate.example.com"})).await;
    assert_eq!(url, "http://gate.example.com:7681", "what a person says comes first");
    identity(&fixture, "control.example.com").await;
    let [_, websocket] = urls(&fixture, by("control.example.com"), &tickets, json!({})).await;
    assert_eq!(websocket, "wss://control.example.com:7681");
}

#[tokio::test]
async fn a_listener_of_one_address_is_there_and_nowhere_else() {
    let fixture = Fixture::new().await;
    let tickets = console(&fixture, "vnc").await;
    let operator = fixture.user("usr-o", "operator:ns1").await;
    let who = As { fields: vec![("host", "gate.example.com")], ..token(&operator) };
    assert_eq!(urls(&fixture, who, &tickets, json!({})).await[0], "http://192.0.2.1:6080");
}

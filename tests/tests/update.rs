//! Route updates from the API to what gateways serve, in one process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use serde_json::json;
use tests::client::{self, Connection};
use tests::origin::Origin;
use tests::ports;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a_route_serves_after_it_is_created_and_stops_after_it_is_deleted() {
    let stack = Stack::start().await;
    let origin = Origin::start("one").await;

    let id = stack.api.route("app.example.com", &origin.url()).await;

    stack.serves(0, "app.example.com", "one").await;
    stack.api.delete(&format!("/api/v1/routes/{id}")).await;
    stack.answers(0, "app.example.com", 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_gateway_serves_the_same_generation() {
    let mut stack = Stack::start().await;
    let origin = Origin::start("one").await;
    stack.api.route("early.example.com", &origin.url()).await;

    stack.join("gate2").await;

    stack.api.route("late.example.com", &origin.url()).await;
    for gateway in 0..stack.gateways() {
        stack.serves(gateway, "early.example.com", "one").await;
        stack.serves(gateway, "late.example.com", "one").await;
    }
    let listed = stack.api.get("/api/v1/gateways").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_serve_while_control_restarts_and_catch_up_afterwards() {
    let mut stack = Stack::start().await;
    let origin = Origin::start("one").await;
    stack.api.route("app.example.com", &origin.url()).await;
    stack.serves(0, "app.example.com", "one").await;
    let mut kept = Connection::open(stack.http(0)).await;
    kept.get("app.example.com", "/").await.unwrap();

    stack.restart_control().await;

    assert_eq!(kept.get("app.example.com", "/").await.unwrap().text(), "one");
    stack.api.route("later.example.com", &origin.url()).await;
    stack.serves(0, "later.example.com", "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_target_takes_effect_on_a_connection_that_stays_open() {
    let stack = Stack::start().await;
    let (one, two) = (Origin::start("one").await, Origin::start("two").await);
    let id = stack.api.route("app.example.com", &one.url()).await;
    stack.serves(0, "app.example.com", "one").await;
    let mut kept = Connection::open(stack.http(0)).await;
    assert_eq!(kept.get("app.example.com", "/").await.unwrap().text(), "one");
    let path = format!("/api/v1/routes/{id}");
    let etag = stack.api.call("GET", &path, None).await.field("etag").unwrap();

    let body = json!({ "target": two.url() });
    let changed = stack.api.call_with("PATCH", &path, &[("If-Match", &etag)], Some(&body)).await;

    assert_eq!(changed.status, 200, "{}", changed.text());
    stack.serves(0, "app.example.com", "two").await;
    assert_eq!(kept.get("app.example.com", "/").await.unwrap().text(), "two");
    let stale = stack.api.call_with("PATCH", &path, &[("If-Match", &etag)], Some(&body)).await;
    assert_eq!(stale.status, 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_origin_hurts_only_its_own_route_and_names_no_internal_address() {
    let stack = Stack::start().await;
    let origin = Origin::start("one").await;
    let dead = ports::refusing();
    stack.api.route("dead.example.com", &format!("http://{dead}")).await;
    stack.api.route("app.example.com", &origin.url()).await;
    stack.serves(0, "app.example.com", "one").await;

    let answer = client::get(stack.http(0), "dead.example.com", "/").await.unwrap();

    assert_eq!(answer.status, 502);
    let id = answer.field("x-request-id").expect("a request id");
    let page = answer.text();
    assert!(page.contains(&id), "{page}");
    assert!(!page.contains("127.0.0.1") && !page.contains(&dead.port().to_string()), "{page}");
    stack.serves(0, "app.example.com", "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_host_and_path_twice_is_refused_naming_the_first_and_changes_nothing() {
    let stack = Stack::start().await;
    let (one, two) = (Origin::start("one").await, Origin::start("two").await);
    let first = stack.api.route("app.example.com", &one.url()).await;
    stack.serves(0, "app.example.com", "one").await;
    let before = stack.api.get("/api/v1/status").await["generation"].clone();

    let body = json!({ "host": "APP.example.com.", "target": two.url() });
    let refused = stack.api.call("POST", "/api/v1/routes", Some(&body)).await;

    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains(&first), "{}", refused.text());
    assert_eq!(stack.api.get("/api/v1/status").await["generation"], before);
    stack.serves(0, "app.example.com", "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_services_are_published_by_name() {
    let stack = Stack::start().await;
    stack.api.route("panel.example.com", "control").await;
    let body = json!({ "host": "panel.example.com", "path": "/websockify", "target": "novnc" });
    stack.api.post("/api/v1/routes", body).await;
    stack.answers(0, "panel.example.com", 404).await;

    let stats = client::get(stack.http(0), "panel.example.com", "/api/system/stats").await.unwrap();
    assert_eq!(stats.status, 200, "{}", stats.text());
    let console = client::get(stack.http(0), "panel.example.com", "/websockify").await.unwrap();
    assert_eq!(console.status, 308, "the files of the page are below it: {}", console.text());
    let console = client::get(stack.http(0), "panel.example.com", "/websockify/").await.unwrap();
    assert_eq!(console.status, 401, "{}", console.text());
    let body = json!({ "host": "loop.example.com", "target": format!("http://{}", stack.http(0)) });
    let loops = stack.api.call("POST", "/api/v1/routes", Some(&body)).await;
    if loops.status == 201 {
        // Control may not know every gateway's addresses; the gateway refuses at the dial.
        stack.answers(0, "loop.example.com", 502).await;
    } else {
        assert_eq!(loops.status, 422, "{}", loops.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_fields_are_the_gateways_own() {
    let stack = Stack::start().await;
    let origin = Origin::start("one").await;
    stack.api.route("app.example.com", &origin.url()).await;
    stack.serves(0, "app.example.com", "one").await;
    let mut connection = Connection::open(stack.http(0)).await;

    connection
        .send(
            b"GET /echo?q=1 HTTP/1.1\r\nHost: app.example.com\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
              X-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\r\n",
        )
        .await
        .unwrap();
    let head = connection.answer(false).await.unwrap().text().to_lowercase();

    assert!(head.starts_with("get /echo?q=1 http/1.1\r\nhost: app.example.com\r\n"), "{head}");
    for field in ["x-real-ip: 127.0.0.1", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"] {
        assert!(head.contains(&format!("{field}\r\n")), "{field} is missing: {head}");
    }
    assert!(!head.contains("6.6.6.6") && !head.contains("x-secret"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_route_serves_over_tls_and_redirects_plain_requests() {
    let stack = Stack::start().await;
    let origin = Origin::start("one").await;
    let body = json!({ "host": "app.example.com", "target": origin.url(), "tls": "self-signed" });
    stack.api.post("/api/v1/routes", body).await;
    stack.answers(0, "app.example.com", 301).await;
    let authority = stack.api.call("GET", "/api/v1/ca", None).await.text();

    let mut connection = Connection::open_tls(stack.https(0), "app.example.com", &authority).await.unwrap();
    let answer = connection.get("app.example.com", "/").await.unwrap();

    assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
    assert!(answer.field("strict-transport-security").is_none(), "HSTS only where asked");
    let plain = client::get(stack.http(0), "app.example.com", "/a/b?c=d").await.unwrap();
    let location = plain.field("location").unwrap();
    assert!(location.starts_with("https://app.example.com") && location.ends_with("/a/b?c=d"), "{location}");
}

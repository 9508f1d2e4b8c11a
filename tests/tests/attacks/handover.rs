//! Smuggling where a connection changes hands or a client is sent elsewhere: expectations, upgrades, redirects.

use serde_json::json;

use crate::world::{AFTER, HOST, SMUGGLED, World};

#[tokio::test(flavor = "multi_thread")]
async fn an_expectation_hides_no_request() {
    let world = World::start().await;
    for value in ["100-continue, x", "x", "", "100 continue", "200-ok", "100-continue;x", "\"100-continue\""]
    {
        let bytes = format!(
            "POST /attack HTTP/1.1\r\nHost: {HOST}\r\nExpect: {value}\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        );
        world.refuses(value, bytes.as_bytes()).await;
    }
    for (name, lines) in [
        ("folded", "Expect:\r\n 100-continue"),
        ("in the name", "Expect : 100-continue"),
        ("with two framings", "Expect: 100-continue\r\nTransfer-Encoding: chunked"),
    ] {
        let bytes = format!(
            "POST /attack HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        );
        world.refuses(name, bytes.as_bytes()).await;
    }
    // The body comes without waiting, before anybody has said that it may.
    for value in ["100-continue", "100-CONTINUE"] {
        let bytes = format!(
            "POST /attack HTTP/1.1\r\nHost: {HOST}\r\nExpect: {value}\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        );
        let request = world.passes(value, bytes.as_bytes()).await;
        assert_eq!(request.body, SMUGGLED.as_bytes());
    }
    // Without a body: nothing is awaited, and what follows is a request.
    let bytes = format!("GET /attack HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\n\r\n");
    world.passes("an expectation without a body", bytes.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_an_upgrade_that_did_not_happen_are_requests_or_nothing() {
    let world = World::start().await;
    let socket = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    // Refused before the origin: the route allows no upgrade.
    for (line, status) in [
        ("Upgrade: websocket", 426),
        ("Upgrade: WebSocket", 426),
        ("Upgrade: foo", 501),
        ("Upgrade: websocket, foo", 501),
    ] {
        let bytes =
            format!("GET /attack HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\n{line}\r\n{socket}\r\n");
        let mut all = bytes.into_bytes();
        all.extend_from_slice(AFTER.as_bytes());
        let answers = world.converse(&all).await;
        assert_eq!(answers[0].status, status, "{line}: {answers:?}");
        let targets: Vec<String> = world.reached(line).into_iter().map(|request| request.target).collect();
        assert!(targets.is_empty() || targets == ["/after"], "{line}: {targets:?}");
        assert_eq!(answers.len(), 1 + targets.len(), "{line}");
    }
    // Not taken up: an origin that never hears of it answers as ever.
    for lines in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "Connection: HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "Connection: Upgrade\r\nUpgrade: h2c",
        "Connection: Upgrade\r\nUpgrade: H2C",
        "Connection: Upgrade\r\nUpgrade: h2c, websocket",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0",
        "Connection: Upgrade\r\nUpgrade: HTTP/2.0",
        "Connection: Upgrade\r\nUpgrade: h2",
        "Upgrade: websocket",
        "Connection: Upgrade",
    ] {
        let bytes = format!("GET /attack HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n{socket}\r\n");
        let request = world.passes(lines, bytes.as_bytes()).await;
        assert!(
            request.fields("upgrade").is_empty() && request.fields("connection").is_empty(),
            "{}",
            request.head
        );
        assert!(request.fields("http2-settings").is_empty(), "{}", request.head);
    }
    for lines in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
        let bytes = format!(
            "GET /attack HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{socket}{lines}\r\n\r\n3\r\n"
        );
        world.refuses("an upgrade with a body", bytes.as_bytes()).await;
    }
}

/// The origin refuses the WebSocket; a client that was told so must not have a tunnel (the "websocket smuggling" of
/// Emelianov, 2019).
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_the_origin_refuses_is_no_tunnel() {
    let world = World::with(json!({ "websocket": true })).await;
    for version in ["13", "1337", "0", ""] {
        let bytes = format!(
            "GET /attack HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {version}\r\n\r\nGET /internal HTTP/1.1\r\nHost: evil.example\r\n\r\n"
        );
        let answers = world.converse(bytes.as_bytes()).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert!(matches!(statuses[..], [200] | [200, 404]), "{version}: {statuses:?}");
        let targets: Vec<String> =
            world.reached("a refused WebSocket").into_iter().map(|request| request.target).collect();
        assert_eq!(targets, ["/attack"], "{version}");
        world.canary("a refused WebSocket").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_is_made_of_nothing_that_splits_it() {
    let world = World::start().await;
    let body = json!({ "host": "move.example", "path": "/old",
        "redirect": { "to": "https://new.example/base", "keeps_rest": true } });
    world.stack.api.post("/api/v1/routes", body).await;
    world.stack.answers(0, "move.example", 404).await;
    tests::wait::wait_for("the redirect is in force", || async {
        let answer = tests::client::get_if_open(world.http(), "move.example", "/old").await?;
        (answer.status == 301).then_some(())
    })
    .await;
    for rest in [
        "/%0d%0aSet-Cookie:%20a=b",
        "/%0aX:%20y",
        "/%0D%0A%0D%0Abody",
        "?a=%0d%0aX:%20y",
        "//evil.example",
        "/\\evil",
        "/..//evil.example",
        "/../../..//evil.example/x",
        "/%2f%2fevil.example",
        "@evil.example",
        ".evil.example",
        "/%e5%98%8a%e5%98%8dX: y",
        "/\u{560a}\u{560d}X:y",
        "/;@evil",
        "/%5cevil.example",
        "?//evil.example",
    ] {
        let bytes = format!("GET /old{rest} HTTP/1.1\r\nHost: move.example\r\nConnection: close\r\n\r\n");
        for answer in world.converse(bytes.as_bytes()).await {
            assert!(
                answer.field("set-cookie").is_none() && answer.field("x").is_none(),
                "{rest}: {}",
                answer.head
            );
            if let Some(location) = answer.field("location") {
                assert!(location.starts_with("https://new.example/base"), "{rest} leads to {location}");
                let after = location["https://new.example/base".len()..].chars().next();
                assert!(matches!(after, None | Some('/' | '?')), "{rest} leads to {location}");
            }
        }
    }
    assert!(world.reached("redirects").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_https_keeps_to_the_host_of_the_route() {
    let world = World::start().await;
    let body = json!({ "host": "safe.example", "target": world.origin.url(), "tls": "self-signed" });
    world.stack.api.post("/api/v1/routes", body).await;
    tests::wait::wait_for("the redirect is in force", || async {
        let answer = tests::client::get_if_open(world.http(), "safe.example", "/").await?;
        matches!(answer.status, 301 | 308).then_some(())
    })
    .await;
    for (target, host) in [
        ("/", "safe.example"),
        ("//evil.example/", "safe.example"),
        ("/\\evil", "safe.example"),
        ("http://safe.example/", "safe.example"),
        ("http://safe.example//evil.example", "safe.example"),
        ("/%0d%0aX:y", "safe.example"),
        ("/", "safe.example:81"),
        ("/", "SAFE.example."),
        ("*", "safe.example"),
        ("http://safe.example?x", "safe.example"),
        ("http://safe.example", "safe.example"),
    ] {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        let bytes = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: evil\r\nConnection: close\r\n\r\n"
        );
        for answer in world.converse(bytes.as_bytes()).await {
            assert!(answer.field("x").is_none(), "{}", answer.head);
            if let Some(location) = answer.field("location") {
                let rest = location.strip_prefix("https://safe.example").unwrap_or("none");
                let rest = rest.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit());
                assert!(rest.starts_with('/'), "{target} {host} leads to {location}");
            }
        }
    }
    assert!(world.reached("redirects").is_empty());
}

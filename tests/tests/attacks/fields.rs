//! Smuggling by fields that do not frame: which host is meant, what a hop takes away, who is said to ask.

use crate::world::{AFTER, HOST, World};

#[tokio::test(flavor = "multi_thread")]
async fn one_host_names_where_a_request_goes_or_it_goes_nowhere() {
    let world = World::start().await;
    for (first, hosts) in [
        ("GET /attack HTTP/1.1", ""),
        ("GET /attack HTTP/1.0", ""),
        ("GET /attack HTTP/1.1", "Host:\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example\r\nHost: app.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example\r\nHost: evil.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: evil.example\r\nHost: app.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example\r\nhOST:\r\n"),
        ("GET /attack HTTP/1.1", "Host : app.example\r\n"),
        ("GET /attack HTTP/1.1", " Host: app.example\r\nHost: app.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example,evil.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example evil.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example\tevil.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: evil@app.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example@evil\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example/evil\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example#evil\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example?evil\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example\\evil\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example:80:81\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example:99999\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example:-1\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example:80@evil\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example%00\r\n"),
        ("GET /attack HTTP/1.1", "Host: app%2eexample\r\n"),
        ("GET /attack HTTP/1.1", "Host: app..example\r\n"),
        ("GET /attack HTTP/1.1", "Host: .app.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example..\r\n"),
        ("GET /attack HTTP/1.1", "Host: \u{ff41}pp.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: [::1\r\n"),
        ("GET /attack HTTP/1.1", "Host: [::1]evil\r\n"),
        ("GET /attack HTTP/1.1", "Host: [v1.x]\r\n"),
        ("GET /attack HTTP/1.1", "Host: http://app.example\r\n"),
        ("GET /attack HTTP/1.1", "Host: app.example\"\r\n"),
        ("GET /attack HTTP/1.1", "Host: {app.example}\r\n"),
        ("GET http://app.example/attack HTTP/1.1", ""),
        ("GET http://app.example/attack HTTP/1.1", "Host: evil.example\r\n"),
        ("GET http://evil.example/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET http://app.example:80/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET http://evil@app.example/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET http://app.example@evil/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET http://app.example\\@evil/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET http:///attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET http:/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET http:app.example/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET ftp://app.example/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET file:///etc/passwd HTTP/1.1", "Host: app.example\r\n"),
        ("GET gopher://app.example/ HTTP/1.1", "Host: app.example\r\n"),
        ("GET app.example/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET app.example:80 HTTP/1.1", "Host: app.example\r\n"),
        ("GET @evil/attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET * HTTP/1.1", "Host: app.example\r\n"),
        ("GET ?attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET attack HTTP/1.1", "Host: app.example\r\n"),
        ("GET \\attack HTTP/1.1", "Host: app.example\r\n"),
        ("OPTIONS *x HTTP/1.1", "Host: app.example\r\n"),
        ("GET /attack#fragment HTTP/1.1", "Host: app.example\r\n"),
        ("GET /attack?a#b HTTP/1.1", "Host: app.example\r\n"),
        ("GET /att%00ack HTTP/1.1", "Host: app.example\r\n"),
        ("GET /att%0 HTTP/1.1", "Host: app.example\r\n"),
        ("GET /att\u{7f}ack HTTP/1.1", "Host: app.example\r\n"),
        ("GET /att\u{e4}ck HTTP/1.1", "Host: app.example\r\n"),
        ("GET /attack HTTP/1.1", "Connection: Host\r\nHost: app.example\r\n"),
        ("GET /attack HTTP/1.1", "Connection: close, hOST\r\nHost: app.example\r\n"),
    ] {
        let bytes = format!("{first}\r\n{hosts}\r\n");
        world.refuses(&format!("{bytes:?}"), bytes.as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absolute_targets_reach_the_origin_as_paths_of_the_same_host() {
    let world = World::start().await;
    for first in ["http://app.example/attack", "HTTP://APP.EXAMPLE/attack", "http://app.example/attack"] {
        let bytes = format!("GET {first} HTTP/1.1\r\nHost: app.example\r\nX-Host: evil.example\r\n\r\n");
        let request = world.passes(first, bytes.as_bytes()).await;
        assert_eq!(request.fields("host"), ["app.example"]);
    }
}

/// What a client names in `Connection` goes; what frames, addresses or is written by us stays.
#[tokio::test(flavor = "multi_thread")]
async fn connection_options_take_no_field_away_that_somebody_relies_on() {
    let world = World::start().await;
    for option in [
        "X-Forwarded-For",
        "x-forwarded-proto",
        "X-Forwarded-Host",
        "X-Real-IP",
        "X-Request-Id",
        "Forwarded",
        "close, X-Real-IP",
        "keep-alive, x-forwarded-for, x-forwarded-for",
    ] {
        let bytes = format!(
            "GET /attack HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nConnection: {option}\r\n\r\n"
        );
        let bytes = bytes.replace("close, ", "x, ");
        let request = world.passes(option, bytes.as_bytes()).await;
        for (field, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", HOST),
        ] {
            assert_eq!(request.fields(field), [value], "{option}: {}", request.head);
        }
        assert_eq!(request.fields("x-request-id").len(), 1, "{option}");
    }
    let bytes = format!(
        "GET /attack HTTP/1.1\r\nHost: {HOST}\r\nConnection: X-One, x-two\r\nX-One: 1\r\nX-Two: 2\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: s\r\nTE: gzip\r\nHTTP2-Settings: AAA\r\nUpgrade: h2c\r\nX-Three: 3\r\n\r\n"
    );
    let request = world.passes("named fields", bytes.as_bytes()).await;
    for gone in [
        "x-one",
        "x-two",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "http2-settings",
        "upgrade",
        "connection",
    ] {
        assert!(request.fields(gone).is_empty(), "{gone} passed: {}", request.head);
    }
    assert_eq!(request.fields("x-three"), ["3"]);
}

/// A name that becomes another one where servers turn blanks or underscores into hyphens (CGI's `HTTP_X_REAL_IP`).
#[tokio::test(flavor = "multi_thread")]
async fn a_disguised_forwarding_field_does_not_pass() {
    let world = World::start().await;
    for name in [
        "X_Forwarded_For",
        "X-Forwarded_For",
        "x_real_ip",
        "X_FORWARDED_PROTO",
        "X_Forwarded_Host",
        "Content_Length",
        "X_Request_Id",
        "Proxy",
        "X_Forwarded-For",
    ] {
        let bytes = format!("GET /attack HTTP/1.1\r\nHost: {HOST}\r\n{name}: 6\r\n\r\n");
        let request = world.passes(name, bytes.as_bytes()).await;
        assert!(request.fields(name).is_empty(), "{name} passed: {}", request.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_says_about_itself_does_not_pass() {
    let world = World::start().await;
    let bytes = format!(
        "GET /attack HTTP/1.1\r\nHost: {HOST}\r\nForwarded: for=6.6.6.6;host=evil\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Server: evil\r\nX-Forwarded-Prefix: /evil\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: evil\u{1f}\r\n\r\n"
    );
    world.refuses("a control character in a request id", bytes.as_bytes()).await;
    let bytes = bytes.replace('\u{1f}', "\u{e4}");
    let request = world.passes("forged fields", bytes.as_bytes()).await;
    assert!(!request.head.contains("6.6.6.6") && !request.head.contains("7.7.7.7"), "{}", request.head);
    assert!(!request.head.contains("evil"), "{}", request.head);
    assert!(request.fields("forwarded").is_empty(), "{}", request.head);
    for id in ["a b", "x\u{e4}", &"a".repeat(9_000), "\";alert(1)", "../../etc", "%0d%0aX: y", "<x>"] {
        let bytes = format!("GET /attack HTTP/1.1\r\nHost: {HOST}\r\nX-Request-Id: {id}\r\n\r\n");
        let request = world.passes("an odd request id", bytes.as_bytes()).await;
        let ids = request.fields("x-request-id");
        assert!(ids.len() == 1 && ids[0] != id && ids[0].len() <= 128, "{ids:?}");
    }
    for traceparent in
        ["00-\u{e4}-x", &"0".repeat(5_000), "00-00000000000000000000000000000000-0000000000000000-01"]
    {
        let bytes = format!(
            "GET /attack HTTP/1.1\r\nHost: {HOST}\r\ntraceparent: {traceparent}\r\ntraceparent: {traceparent}\r\n\r\n"
        );
        let mut all = bytes.into_bytes();
        all.extend_from_slice(AFTER.as_bytes());
        let answers = world.converse(&all).await;
        assert_eq!(answers.len(), 2, "{answers:?}");
        world.reached("an odd traceparent");
    }
}

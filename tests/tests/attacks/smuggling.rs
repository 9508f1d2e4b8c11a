//! Request smuggling: two readers of one stream that see other requests in it (CL.TE, TE.CL, TE.TE, CL.0, and what
//! comes by other fields than those that frame).

use serde_json::json;
use tests::client::Connection;

use crate::mutations::{BY_HAND, LEGAL, OTHER_FIELDS, with_odd_bytes};
use crate::world::{AFTER, HOST, SMUGGLED, World};

/// A body that ends at once as chunks, with a request behind it: whoever reads the length sees a body.
fn by_length(line: &[u8]) -> Vec<u8> {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let head = format!("POST /attack HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n", body.len());
    [head.as_bytes(), line, b"\r\n\r\n", body.as_bytes()].concat()
}

/// A chunk that holds a request: whoever reads the length sees that request.
fn by_chunks(line: &[u8]) -> Vec<u8> {
    let body = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let length = body.find("\r\n").unwrap() + 2;
    let head = format!("POST /attack HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n");
    [head.as_bytes(), line, b"\r\n\r\n", body.as_bytes()].concat()
}

/// No length at all.
fn alone(line: &[u8]) -> Vec<u8> {
    let body = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let head = format!("POST /attack HTTP/1.1\r\nHost: {HOST}\r\n");
    [head.as_bytes(), line, b"\r\n\r\n", body.as_bytes()].concat()
}

/// Before the other fields, where some readers stop looking.
fn first(line: &[u8]) -> Vec<u8> {
    let head = format!("\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}");
    [b"POST /attack HTTP/1.1\r\n", line, head.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn length_beside_chunks_is_refused_in_every_spelling() {
    let world = World::start().await;
    for line in BY_HAND.iter().chain(LEGAL) {
        for bytes in [by_length(line.as_bytes()), by_chunks(line.as_bytes()), first(line.as_bytes())] {
            world.refuses(line, &bytes).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_that_is_not_plainly_chunked_is_refused() {
    let world = World::start().await;
    for line in BY_HAND {
        world.refuses(line, &alone(line.as_bytes())).await;
        let old = String::from_utf8(alone(line.as_bytes()))
            .unwrap()
            .replace("HTTP/1.1\r\nHost", "HTTP/1.0\r\nHost");
        world.refuses(line, old.as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_odd_byte_hides_a_coding() {
    let world = World::start().await;
    for line in with_odd_bytes() {
        let attack = format!("{:?}", String::from_utf8_lossy(&line));
        world.refuses(&attack, &alone(&line)).await;
        world.refuses(&attack, &by_length(&line)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_coding_passes_whatever_its_case() {
    let world = World::start().await;
    for line in LEGAL {
        let request = world.passes(line, &alone(line.as_bytes())).await;
        assert_eq!(request.body, SMUGGLED.as_bytes(), "{line}");
        assert_eq!(request.fields("transfer-encoding"), ["chunked"], "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_look_like_a_coding_frame_nothing() {
    let world = World::start().await;
    for line in OTHER_FIELDS {
        let request = world.passes(line, &by_length(line.as_bytes())).await;
        assert!(request.body.ends_with(SMUGGLED.as_bytes()), "{line}");
        let head = request.head.to_ascii_lowercase();
        assert!(!head.contains("\r\ntransfer_encoding"), "some servers read it as the real one: {head}");
        assert!(request.fields("te").iter().all(|value| *value == "trailers"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_or_repeated_length_is_refused() {
    let world = World::start().await;
    let ln = SMUGGLED.len();
    for lines in [
        "Content-Length: 0\r\nContent-Length: LEN",
        "Content-Length: LEN\r\nContent-Length: 0",
        "Content-Length: LEN\r\nContent-Length: LEN",
        "Content-Length: LEN\r\ncontent-length: LEN",
        "Content-Length: LEN, LEN",
        "Content-Length: LEN,",
        "Content-Length: ,LEN",
        "Content-Length: 0, LEN",
        "Content-Length: +LEN",
        "Content-Length: -LEN",
        "Content-Length: -0",
        "Content-Length: 0xLEN",
        "Content-Length: LEN.0",
        "Content-Length: LENe0",
        "Content-Length: 1_0",
        "Content-Length: L EN",
        "Content-Length: LEN 0",
        "Content-Length: LEN;",
        "Content-Length: \"LEN\"",
        "Content-Length: 'LEN'",
        "Content-Length:",
        "Content-Length: ",
        "Content-Length : LEN",
        "Content-Length\t: LEN",
        " Content-Length: LEN",
        "Content-Length:\r\n LEN",
        "Content-Length: LEN\r\n 0",
        "Content-Length: \u{b}LEN",
        "Content-Length: LEN\u{c}",
        "Content-Length: LEN\0",
        "Content-Length: \u{0661}",
        "Content-Length: 18446744073709551616",
        "Content-Length: 18446744073709551615",
        "Content-Length: 9223372036854775808",
        "Content-Length: 4294967296000000000000000000LEN",
        "Content-Length: 00000000000000000000000000000LEN",
        "Content-Length: chunked",
        "Content-Length: LEN\rX: y",
        "Content-Length: LEN\nX: y",
        "X: y\nContent-Length: LEN",
        "Connection: Content-Length\r\nContent-Length: LEN",
        "Connection: close, content-length\r\nContent-Length: LEN",
        "Connection: keep-alive\r\nConnection: CONTENT-length\r\nContent-Length: LEN",
    ] {
        let line = lines.replace("LEN", &ln.to_string());
        let bytes = format!("POST /attack HTTP/1.1\r\nHost: {HOST}\r\n{line}\r\n\r\n{SMUGGLED}");
        world.refuses(&line, bytes.as_bytes()).await;
    }
}

/// CL.0: a method that some take to have no body. The body is the body whatever the method.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_belongs_to_its_request_whatever_the_method() {
    let world = World::start().await;
    for method in
        ["GET", "DELETE", "OPTIONS", "POST", "PUT", "PATCH", "TRACE", "QUERY", "get", "PROPFIND", "X-Y"]
    {
        let bytes = format!(
            "{method} /attack HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        );
        let request = world.passes(method, bytes.as_bytes()).await;
        assert_eq!(request.body, SMUGGLED.as_bytes(), "{method}");
        assert!(request.head.starts_with(&format!("{method} ")), "{}", request.head);
    }
}

/// The gateway answers by itself, and the body must not become the next request.
#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_request_that_we_answer_ourselves_is_no_request() {
    let world = World::start().await;
    for (host, options) in [
        ("redirect.example", json!({ "redirect": { "to": "https://elsewhere.example/" } })),
        ("fixed.example", json!({ "respond": { "body": "fixed" } })),
        ("denied.example", json!({ "target": world.origin.url(), "filters": { "deny": ["127.0.0.0/8"] } })),
        ("closed.example", json!({ "target": world.origin.url(), "filters": { "maintenance": true } })),
        ("small.example", json!({ "target": world.origin.url(), "filters": { "body_max": "1B" } })),
        (
            "pass.example",
            json!({ "target": world.origin.url(), "filters": {
            "basic_auth": { "users": [{ "name": "a", "password": "a long enough password" }] } } }),
        ),
        ("gone.example", json!({ "target": "http://127.0.0.1:1" })),
    ] {
        let mut body = options;
        body["host"] = json!(host);
        world.stack.api.post("/api/v1/routes", body).await;
        tests::wait::wait_for("the route is in force", || async {
            let answer = tests::client::get_if_open(world.http(), host, "/").await?;
            (answer.status != 404).then_some(())
        })
        .await;
        world.reached(host);
        let chunked =
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
        let length = format!("Content-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len());
        let expects = format!("Expect: 100-continue\r\n{length}");
        for framed in [chunked, length, expects] {
            let bytes = format!("POST /attack HTTP/1.1\r\nHost: {host}\r\n{framed}{AFTER}");
            let answers = world.converse(bytes.as_bytes()).await;
            let texts: Vec<String> = answers.iter().map(|answer| answer.text()).collect();
            assert!(!texts.iter().any(|text| text.contains("/smuggled")), "{host}: {texts:?}");
            let targets: Vec<String> =
                world.reached(host).into_iter().map(|request| request.target).collect();
            assert!(targets.is_empty() || targets == ["/after"], "{host}: {targets:?}");
            assert_eq!(answers.len(), 1 + targets.len(), "{host}: {texts:?}");
            world.canary(host).await;
        }
    }
    let bytes = format!("POST /attack HTTP/1.1\r\nHost: no.example\r\nContent-Length: 5\r\n\r\n{SMUGGLED}");
    let answers = world.converse(bytes.as_bytes()).await;
    assert!(answers.len() <= 2 && world.reached("no route").is_empty(), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_other_than_crlf_are_refused() {
    let world = World::start().await;
    for bytes in [
        "GET /attack HTTP/1.1\nHost: app.example\n\n",
        "GET /attack HTTP/1.1\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\n\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\n\nGET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\n\nGET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.1\rHost: app.example\r\r",
        "GET /attack HTTP/1.1\rHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\rX: y\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\r\n\r\n",
        "GET /attack HTTP/1.1\r\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\nX: a\r\n b\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\n\r \n\r\n",
        "GET /attack HTTP/1.1\r\n Host: app.example\r\n\r\n",
        "GET /attack HTTP/1.1\r\n\r\nHost: app.example\r\n\r\n",
        "\nGET /attack HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "\rGET /attack HTTP/1.1\r\nHost: app.example\r\n\r\n",
        " GET /attack HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "\r\n\r\nGET /attack HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\nX\0: y\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\nX: y\0z\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\nX: \u{1b}[2J\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\n: y\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\nno colon\r\n\r\n",
        "GET /attack HTTP/1.1\r\nHost: app.example\r\nX y: z\r\n\r\n",
        "GET  /attack HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack  HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET\t/attack\tHTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.1 \r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.1 HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack\u{b}HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack\u{a0}HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/0.9\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.2\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/2.0\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.10\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/01.1\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1,1\r\nHost: app.example\r\n\r\n",
        "GET /attack http/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTPS/1.1\r\nHost: app.example\r\n\r\n",
        "GET /attack HTTP/1.1\u{0}\r\nHost: app.example\r\n\r\n",
        "GE(T /attack HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "CONNECT app.example:80 HTTP/1.1\r\nHost: app.example:80\r\n\r\n",
        "CONNECT /attack HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n",
        "{}\r\n\r\n",
    ] {
        world.refuses(&format!("{bytes:?}"), bytes.as_bytes()).await;
    }
}

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
    for line in ["Upgrade: websocket", "Upgrade: WebSocket", "Upgrade: foo", "Upgrade: websocket, foo"] {
        let bytes =
            format!("GET /attack HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\n{line}\r\n{socket}\r\n");
        let mut all = bytes.into_bytes();
        all.extend_from_slice(AFTER.as_bytes());
        let answers = world.converse(&all).await;
        assert_eq!(answers[0].status, 426, "{line}: {answers:?}");
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

/// After a refusal nothing that was sent with it is looked at, and the connection is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_ends_with_its_first_refusal() {
    let world = World::start().await;
    let good = |number: usize| format!("GET /good-{number} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: app.example\r\n\r\n",
        "\0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ] {
        let bytes = format!("{}{}{bad}{}{}", good(1), good(2), good(3), good(4));
        let answers = world.converse(bytes.as_bytes()).await;
        let texts: Vec<String> = answers.iter().take(2).map(|answer| answer.text()).collect();
        assert_eq!(texts, ["/good-1", "/good-2"], "{bad:?}");
        assert!(answers.len() == 3 && answers[2].status >= 400, "{bad:?}: {answers:?}");
        assert_eq!(answers[2].field("connection"), Some("close"), "{bad:?}");
        let targets: Vec<String> = world.reached(bad).into_iter().map(|request| request.target).collect();
        assert_eq!(targets, ["/good-1", "/good-2"], "{bad:?}");
    }
}

/// Attacks cut into single bytes are judged as those that come whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_attack_that_drips_is_refused_all_the_same() {
    let world = World::start().await;
    for line in
        ["Transfer-Encoding : chunked", "Transfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked"]
    {
        let mut connection = Connection::open(world.http()).await;
        for byte in by_length(line.as_bytes()) {
            if connection.send(&[byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let answer = connection.answer(false).await.unwrap();
        assert_eq!(answer.status, 400, "{line}");
        assert!(world.reached(line).is_empty());
        world.canary(line).await;
    }
}

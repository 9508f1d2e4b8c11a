//! Request smuggling: two readers of one stream that see other requests in it (CL.TE, TE.CL, TE.TE, CL.0).

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

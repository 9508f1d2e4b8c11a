//! The strict door over a socket: exact status, connection closed, and the origin saw nothing.

use super::stage::{GET, OK, field, on_a_worker, status};

#[test]
fn what_is_ambiguous_is_answered_closed_and_never_forwarded() {
    let host = "Host: app.example\r\n";
    let long_target = format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(9_000));
    let large_head = format!("GET / HTTP/1.1\r\n{host}A: {}\r\n\r\n", "b".repeat(70_000));
    let many_fields = format!("GET / HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(100));
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\n{host}{fields}\r\n{body}");
    let get = |line: &str| format!("{line}\r\n{host}\r\n");
    let table = [
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost: app.example:x\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: app example\r\n\r\n".into(), 400),
        (get("GET http://other.example/ HTTP/1.1"), 400),
        (get("GET ftp://app.example/ HTTP/1.1"), 400),
        (post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400),
        (post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 400),
        (post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), 400),
        (post("Content-Length: +3\r\n", "abc"), 400),
        (post("Content-Length: 3, 3\r\n", "abc"), 400),
        (post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "5\r\nhello0\r\n\r\n"), 400),
        (format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        ("GET / HTTP/1.1\nHost: app.example\n\n".into(), 400),
        (format!("GET / HTTP/1.1\r\n{host}A: b\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A: b\rc\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A: b\0c\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A: b\r\n c\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A : b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Connection: host\r\n\r\n"), 400),
        (get("GET  / HTTP/1.1"), 400),
        (get("G{T / HTTP/1.1"), 400),
        (get("GET /\u{7f} HTTP/1.1"), 400),
        (get("GET /a#b HTTP/1.1"), 400),
        (get("GET /%00 HTTP/1.1"), 400),
        (get("GET * HTTP/1.1"), 400),
        (get("GET / HTTX/1.1"), 400),
        (get("GET / HTTP/2.0"), 505),
        (get("CONNECT app.example:443 HTTP/1.1"), 501),
        (format!("POST / HTTP/1.1\r\n{host}Expect: tea\r\nContent-Length: 1\r\n\r\n"), 501),
        (long_target, 414),
        (large_head, 431),
        (many_fields, 431),
    ];
    on_a_worker(async |stage| {
        for (raw, expected) in &table {
            let mut client = stage.connect().await;
            client.send(raw).await;
            let (head, body) = client.message().await;
            let shown = raw.get(..90).unwrap_or(raw);
            assert_eq!(status(&head), *expected, "{shown:?}");
            assert_eq!(field(&head, "connection"), Some("close"), "{shown:?}");
            assert!(body.contains(field(&head, "x-request-id").unwrap()), "{body}");
            assert_eq!(client.rest().await, "", "{shown:?}");
            assert!(stage.origin_is_untouched().await, "{shown:?}");
        }
        assert_eq!(
            stage.worker.counters.refused_requests.load(std::sync::atomic::Ordering::Relaxed),
            table.len() as u64 - 3,
            "broken chunks are found after the door"
        );
    });
}

#[test]
fn a_path_that_leads_to_two_routes_is_refused_and_one_that_does_not_passes_as_sent() {
    on_a_worker(async |stage| {
        stage.routes([stage.route("app.example", "/"), stage.route("app.example", "/admin")]);
        for path in ["/x/../admin", "/%61dmin", "//admin", "/x/%2e%2e/admin/y", "/admin/..", "/admin%2fx"] {
            let mut client = stage.connect().await;
            let (head, _) = client.ask(&format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n")).await;
            assert_eq!(status(&head), 400, "{path}");
            assert!(stage.origin_is_untouched().await, "{path}");
        }
        let mut client = stage.connect().await;
        client.send("GET /a/./b%2Fc//d HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
        let mut origin = stage.accept().await;
        assert!(origin.message().await.0.starts_with("GET /a/./b%2Fc//d HTTP/1.1\r\n"));
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    });
}

#[test]
fn a_request_after_a_refused_one_is_never_read() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: x\r\n\r\n{GET}")).await;
        assert_eq!(client.rest().await.matches("HTTP/1.1 ").count(), 1);
        assert!(stage.origin_is_untouched().await);
    });
}

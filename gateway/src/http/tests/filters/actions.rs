//! Routes that answer themselves.

use config::snapshot::{ErrorPage, Maintenance, TlsMode};

use super::super::stage::{GET, OK, field, on_a_worker, status};
use super::{content, filtered, get, post, redirect, respond};

#[test]
fn a_fixed_answer_comes_with_its_type_and_the_connection_goes_on() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.action = respond(404, "<b>own</b>");
        stage.routes([route]);
        let mut client = stage.connect().await;
        for request in [get("/a", ""), post("Content-Length: 5\r\n", "hello"), get("/b", "")] {
            let (head, body) = client.ask(&request).await;
            assert_eq!((status(&head), body.as_str()), (404, "<b>own</b>"), "{request}");
            assert_eq!(
                (field(&head, "content-type"), field(&head, "connection")),
                (Some("text/x-own"), None)
            );
        }
        let chunked = post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(field(&client.ask(&chunked).await.0, "connection"), None);
        client.send(get("/", "").replace("GET", "HEAD")).await;
        let head = client.until("\r\n\r\n").await;
        assert_eq!(field(&head, "content-length"), Some("10"), "as for a GET, and no body follows:");
        assert_eq!(client.ask(GET).await.1, "<b>own</b>");

        let (head, _) = client.ask(&post("Content-Length: 5\r\n", "he")).await;
        assert_eq!(field(&head, "connection"), Some("close"), "the rest is not awaited");
        assert_eq!(client.rest().await, "");
        assert!(stage.origin_is_untouched().await);
    });
}

#[test]
fn an_old_client_learns_that_the_connection_stays() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.action = respond(200, "own");
        stage.routes([route]);
        let mut client = stage.connect().await;
        let old = "GET / HTTP/1.0\r\nHost: app.example\r\nConnection: keep-alive\r\n\r\n";
        for _ in 0..2 {
            let (head, body) = client.ask(old).await;
            assert_eq!((field(&head, "connection"), body.as_str()), (Some("keep-alive"), "own"));
        }
    });
}

#[test]
fn answers_without_a_body_are_their_head_alone() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        for code in [204, 304] {
            route.action = respond(code, "");
            stage.routes([route.clone()]);
            let mut client = stage.connect().await;
            client.send(get("/", "Connection: close\r\n")).await;
            let answer = client.rest().await;
            assert!(answer.ends_with("\r\n\r\n") && status(&answer) == code, "{answer}");
            assert_eq!(field(&answer, "content-length"), None);
        }
    });
}

#[test]
fn a_redirect_keeps_the_rest_and_leads_to_no_other_host() {
    on_a_worker(async |stage| {
        let mut old = stage.route("app.example", "/old");
        old.action = redirect(307, "https://new.example/base");
        let mut top = stage.route("app.example", "/top");
        top.action = redirect(308, "/");
        stage.routes([old, top]);
        let mut client = stage.connect().await;
        for (path, code, location) in [
            ("/old/a%2Fb?c=d", 307, "https://new.example/base/a%2Fb?c=d"),
            ("/old", 307, "https://new.example/base"),
            ("/top//evil.example/x", 308, "/evil.example/x"),
            ("/top/%2F/evil.example", 308, "/%2F/evil.example"),
            ("/top?//evil.example", 308, "/?//evil.example"),
            ("/old/a%0d%0aX:%20y", 307, "https://new.example/base/a%0d%0aX:%20y"),
        ] {
            let (head, _) = client.ask(&get(path, "")).await;
            assert_eq!((status(&head), field(&head, "location")), (code, Some(location)), "{path}");
        }
        let absolute = "GET http://app.example/old/x HTTP/1.1\r\nHost: app.example\r\n\r\n";
        assert_eq!(field(&client.ask(absolute).await.0, "location"), Some("https://new.example/base/x"));
        for path in ["/old/a/../b", "/old/%2e%2e/old/b", "/old/..;/b"] {
            let (head, _) = stage.connect().await.ask(&get(path, "")).await;
            assert_eq!(status(&head), 400, "{path}");
        }
    });
}

#[test]
fn maintenance_shows_its_page_and_when_to_come_back() {
    on_a_worker(async |stage| {
        let page = content("text/html", "<h1>later</h1>");
        let maintenance = Maintenance { page: Some(page), retry_after_seconds: 600 };
        stage.routes([filtered(&stage, |filters| filters.maintenance = Some(maintenance.clone()))]);
        let mut client = stage.connect().await;
        let (head, body) = client.ask(GET).await;
        assert_eq!((status(&head), body.as_str()), (503, "<h1>later</h1>"));
        assert_eq!(
            (field(&head, "retry-after"), field(&head, "content-type")),
            (Some("600"), Some("text/html"))
        );

        let plain = Maintenance { page: None, ..maintenance };
        stage.routes([filtered(&stage, |filters| filters.maintenance = Some(plain))]);
        let (head, body) = client.ask(GET).await;
        assert!(
            body.contains("maintenance") && body.contains(field(&head, "x-request-id").unwrap()),
            "{body}"
        );

        stage.routes([stage.route("app.example", "/")]);
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok", "the same connection, once it is over");
    });
}

#[test]
fn an_error_page_stands_for_our_answers_and_not_for_the_origins() {
    on_a_worker(async |stage| {
        let page = |status| ErrorPage {
            statuses: [status].into(),
            content: content("text/html", "oh no"),
            replaces_origin: false,
        };
        let dead = "127.0.0.1:1".parse().unwrap();
        let filters = filtered(&stage, |filters| filters.error_pages = [page(404), page(502)].into()).filters;
        let mut gone = stage.route_to("gone.example", "/", &[dead]);
        gone.filters.clone_from(&filters);
        let mut alive = stage.route("app.example", "/");
        alive.filters = filters;
        stage.routes([gone, alive]);
        let mut client = stage.connect().await;
        let (head, body) = client.ask(&GET.replace("app.", "gone.")).await;
        assert_eq!((status(&head), body.as_str()), (502, "oh no"));
        assert!(field(&head, "x-request-id").is_some());
        client.send(GET.replace("app.", "gone.").replace("GET", "HEAD")).await;
        assert_eq!(field(&client.until("\r\n\r\n").await, "content-length"), Some("5"));

        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nmine").await;
        assert_eq!(client.message().await.1, "mine");
    });
}

#[test]
fn https_goes_before_passwords_and_before_what_the_route_does() {
    on_a_worker(async |stage| {
        let mut route = filtered(&stage, |filters| filters.basic_auth = Some(super::access::auth()));
        route.tls = TlsMode::SelfSigned;
        route.redirect_https = true;
        route.action = respond(200, "own");
        stage.routes([route]);
        let mut client = stage.connect().await;
        for path in ["/a", "/.well-known/acme-challenge/token", "/.well-known/acme-challenge/../a"] {
            let (head, _) = client.ask(&get(path, "")).await;
            assert_eq!(status(&head), 301, "{path}");
            assert_eq!(field(&head, "www-authenticate"), None, "{path}");
        }
    });
}

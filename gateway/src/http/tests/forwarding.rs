//! What the origin sees, and how connections are kept on both sides.

use super::stage::{GET, HTTP, OK, field, on_a_worker, status};

#[test]
fn the_origin_sees_the_request_with_forwarding_fields_and_without_those_of_one_hop() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client
            .send(
                "GET /a?b=c HTTP/1.1\r\nhost: App.Example:80\r\nConnection: x-gone, keep-alive\r\nX-Gone: 1\r\n\
                 X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: gopher\r\n\
                 X-Forwarded-Server: x\r\nX-Request-Id: id-1\r\nTE: gzip\r\nCookie:  a=b \r\n\r\n",
            )
            .await;
        let (head, _) = stage.accept().await.message().await;
        let trace = field(&head, "traceparent").unwrap();
        let head = head.replace(&format!("traceparent: {trace}\r\n"), "");
        assert_eq!(
            head,
            "GET /a?b=c HTTP/1.1\r\nhost: App.Example:80\r\nCookie:  a=b \r\nX-Real-IP: 127.0.0.1\r\n\
             X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: App.Example:80\r\n\
             X-Request-Id: id-1\r\n\r\n"
        );
    });
}

#[test]
fn a_trusted_proxys_fields_count_and_are_appended_to() {
    on_a_worker(async |stage| {
        let mut client = stage.connect_by(HTTP, "127.0.0.9").await;
        client
            .send(
                "GET / HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n\
                 X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Request-Id: \"odd\"\r\n\r\n",
            )
            .await;
        let (head, _) = stage.accept().await.message().await;
        assert_eq!(field(&head, "x-forwarded-for"), Some("6.6.6.6, 203.0.113.9, 127.0.0.9"));
        assert_eq!(field(&head, "x-real-ip"), Some("203.0.113.9"));
        assert_eq!(field(&head, "x-forwarded-proto"), Some("https"));
        assert_eq!(field(&head, "x-forwarded-host"), Some("shop.example"));
        assert_eq!(field(&head, "x-request-id").unwrap().len(), 32, "an odd id is replaced");
    });
}

#[test]
fn an_absolute_target_reaches_the_origin_as_a_path() {
    on_a_worker(async |stage| {
        for (target, seen) in
            [("http://app.example", "/"), ("http://APP.example?q", "/?q"), ("https://app.example/x", "/x")]
        {
            let mut client = stage.connect().await;
            client.send(format!("GET {target} HTTP/1.1\r\nHost: app.example\r\n\r\n")).await;
            let (head, _) = stage.accept().await.message().await;
            assert!(head.starts_with(&format!("GET {seen} HTTP/1.1\r\n")), "{head}");
        }
    });
}

#[test]
fn the_client_sees_the_response_without_fields_of_one_hop() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin
            .send(
                "HTTP/1.1 200 Fine\r\nServer: s\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                 Strict-Transport-Security: max-age=1\r\nContent-Length: 2\r\nset-cookie: a\r\nset-cookie: b\r\n\r\nok",
            )
            .await;
        let (head, body) = client.message().await;
        assert_eq!(
            head,
            "HTTP/1.1 200 Fine\r\nServer: s\r\nContent-Length: 2\r\nset-cookie: a\r\nset-cookie: b\r\n\r\n"
        );
        assert_eq!(body, "ok");
    });
}

#[test]
fn connections_are_kept_on_both_sides_and_shared_between_clients() {
    on_a_worker(async |stage| {
        let mut first = stage.connect().await;
        let mut second = stage.connect().await;
        first.send(GET).await;
        let mut origin = stage.accept().await;
        for turn in 0..6 {
            if turn > 0 {
                (if turn % 2 == 0 { &mut first } else { &mut second }).send(GET).await;
            }
            origin.message().await;
            origin.send(OK).await;
            assert_eq!((if turn % 2 == 0 { &mut first } else { &mut second }).message().await.1, "ok");
        }
        assert!(stage.origin_is_untouched().await, "one upstream connection is enough");
        assert_eq!(stage.worker.upstream.idle_len(), 1);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        let request = |path: &str, body: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: app.example\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        client.send([request("/1", "one"), request("/2", ""), request("/3", "three")].concat()).await;
        let mut origin = stage.accept().await;
        for (path, body) in [("/1", "one"), ("/2", ""), ("/3", "three")] {
            let (head, seen) = origin.message().await;
            assert!(head.starts_with(&format!("POST {path} ")), "{head}");
            assert_eq!(seen, body);
            origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{path}")).await;
        }
        for path in ["/1", "/2", "/3"] {
            assert_eq!(client.message().await.1, path);
        }
    });
}

#[test]
fn an_idempotent_request_is_sent_again_when_the_reused_connection_was_closing() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut closing = stage.accept().await;
        closing.message().await;
        closing.send(OK).await;
        client.message().await;

        client.send(GET).await;
        closing.message().await;
        drop(closing);
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    });
}

#[test]
fn a_request_that_may_have_been_acted_on_is_not_sent_again() {
    on_a_worker(async |stage| {
        let post = "POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\n\r\nx";
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut closing = stage.accept().await;
        closing.message().await;
        closing.send(OK).await;
        client.message().await;

        client.send(post).await;
        closing.message().await;
        drop(closing);
        assert_eq!(status(&client.message().await.0), 502);
        assert!(stage.origin_is_untouched().await);
    });
}

#[test]
fn a_connection_that_died_idle_is_noticed_before_it_is_used() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        client.message().await;
        drop(origin);
        stage.close_is_heard().await;

        client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\n\r\nx").await;
        let mut origin = stage.accept().await;
        assert_eq!(origin.message().await.1, "x");
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    });
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    on_a_worker(async |stage| {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        stage.routes([stage.route_to("app.example", "/", &[gone, stage.origin.local_addr().unwrap()])]);
        for _ in 0..2 {
            let mut client = stage.connect().await;
            client
                .send(
                    "POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
                )
                .await;
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
            assert_eq!(client.message().await.1, "ok");
        }
    });
}

#[test]
fn a_change_of_generation_keeps_connections_and_sends_new_requests_to_the_new_endpoint() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut old = stage.accept().await;
        old.message().await;
        old.send(OK).await;
        client.message().await;

        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        stage.routes([stage.route_to("app.example", "/", &[other.local_addr().unwrap()])]);
        client.send(GET).await;
        let (mut io, _) = super::stage::within(other.accept()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut io, OK.as_bytes()).await.unwrap();
        assert_eq!(client.message().await.1, "ok");
    });
}

#[test]
fn a_connection_whose_endpoint_left_meanwhile_is_not_kept() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        stage.generation(8, []);
        origin.send(OK).await;
        assert_eq!(status(&client.message().await.0), 200);
        assert!(origin.is_closed().await);
        assert_eq!(stage.worker.upstream.idle_len(), 0);
    });
}

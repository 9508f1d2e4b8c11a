//! How much.

use std::sync::atomic::Ordering::Relaxed;

use config::snapshot::{RateKey, RateLimit, Value};

use super::super::stage::{GET, HTTP, OK, field, on_a_worker, status};
use super::{filtered, get, post, respond};

const HOURLY: RateLimit = RateLimit { requests: 1, per_ms: 3_600_000, burst: 2, key: RateKey::Client };

#[test]
fn a_rate_is_the_clients_own_and_outlives_generations() {
    on_a_worker(async |stage| {
        let with = |number, rate| {
            let mut route = filtered(&stage, |filters| filters.rate = Some(rate));
            route.action = respond(200, "in");
            stage.generation(number, [Value::Route(route)]);
        };
        with(8, HOURLY);
        let mut client = stage.connect().await;
        assert_eq!(status(&client.ask(GET).await.0), 200);
        assert_eq!(status(&client.ask(GET).await.0), 200);
        let (head, _) = client.ask(GET).await;
        assert_eq!((status(&head), field(&head, "retry-after")), (429, Some("3600")));
        assert_eq!(field(&head, "connection"), None);
        with(9, HOURLY);
        assert_eq!(status(&stage.connect().await.ask(GET).await.0), 429, "by another connection too");
        assert_eq!(status(&stage.connect_by(HTTP, "127.0.0.2").await.ask(GET).await.0), 200);
        assert_eq!(stage.worker.counters.ratelimit_rejected.load(Relaxed), 2);

        with(10, RateLimit { burst: 3, ..HOURLY });
        assert_eq!(status(&client.ask(GET).await.0), 200, "one more, at once");
        assert_eq!(status(&client.ask(GET).await.0), 429);
        with(11, RateLimit { key: RateKey::Route, burst: 1, ..HOURLY });
        assert_eq!(status(&client.ask(GET).await.0), 200);
        assert_eq!(status(&stage.connect_by(HTTP, "127.0.0.3").await.ask(GET).await.0), 429, "all together");
    });
}

#[test]
fn a_full_route_is_503_until_a_request_ends() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| filters.in_flight_max = Some(1))]);
        let mut first = stage.connect().await;
        first.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        let mut second = stage.connect().await;
        let (head, body) = second.ask(GET).await;
        assert_eq!((status(&head), field(&head, "retry-after")), (503, Some("5")), "{body}");

        origin.send(OK).await;
        assert_eq!(first.message().await.1, "ok");
        second.send(GET).await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(second.message().await.1, "ok");
    });
}

#[test]
fn a_tunnel_keeps_its_place_until_it_ends() {
    on_a_worker(async |stage| {
        let mut route = filtered(&stage, |filters| filters.in_flight_max = Some(1));
        route.websocket = true;
        stage.routes([route]);
        let mut tunnel = stage.connect().await;
        tunnel.send(get("/", "Connection: upgrade\r\nUpgrade: websocket\r\n")).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        assert_eq!(status(&tunnel.until("\r\n\r\n").await), 101);
        let mut other = stage.connect().await;
        assert_eq!(status(&other.ask(GET).await.0), 503);

        drop((tunnel, origin));
        loop {
            other.send(GET).await;
            let answered = tokio::select! {
                answer = other.message() => Some(status(&answer.0)),
                mut origin = stage.accept() => { origin.message().await; None }
            };
            if answered.is_none() {
                break;
            }
            assert_eq!(answered, Some(503));
        }
    });
}

#[test]
fn a_body_that_is_said_to_be_too_large_is_refused_before_it_is_read() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| filters.body_bytes_max = Some(10))]);
        for body in ["", "12345678901"] {
            let mut client = stage.connect().await;
            let (head, _) = client.ask(&post("Content-Length: 11\r\n", body)).await;
            assert_eq!((status(&head), field(&head, "connection")), (413, Some("close")));
            assert_eq!(client.rest().await, "");
        }
        assert!(stage.origin_is_untouched().await);
        let mut client = stage.connect().await;
        client.send(post("Content-Length: 10\r\n", "1234567890")).await;
        assert_eq!(stage.accept().await.message().await.1, "1234567890");
    });
}

#[test]
fn chunks_are_counted_and_the_origin_never_sees_a_last_one() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| filters.body_bytes_max = Some(10))]);
        let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
        let mut client = stage.connect().await;
        let (head, _) = client.ask(&chunked("6\r\nabcdef\r\n5\r\nghijk\r\n0\r\n\r\n")).await;
        assert_eq!((status(&head), field(&head, "connection")), (413, Some("close")));
        assert!(stage.origin_is_untouched().await, "all of it was there: nothing goes out");

        let mut client = stage.connect().await;
        client.send(chunked("6\r\nabcdef\r\n")).await;
        let mut origin = stage.accept().await;
        origin.until("abcdef\r\n").await;
        client.send("5\r\nghijk\r\n0\r\n\r\n").await;
        assert_eq!(status(&client.message().await.0), 413);
        let rest = origin.rest().await;
        assert!(!rest.contains("0\r\n") && !rest.contains("ghijk"), "{rest:?}");

        let mut client = stage.connect().await;
        client.send(chunked("6;x=y\r\nabcdef\r\n4;x\r\nghij\r\n0\r\n\r\n")).await;
        let seen = stage.accept().await.until("0\r\n\r\n").await;
        assert!(seen.ends_with("6\r\nabcdef\r\n4\r\nghij\r\n0\r\n\r\n"), "{seen}");
    });
}

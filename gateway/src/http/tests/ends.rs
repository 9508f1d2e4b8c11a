//! How connections end: by the client, half, by the origin, by the gateway's own stop.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::stage::{GET, OK, field, on_a_worker, status};

#[test]
fn a_client_that_leaves_cancels_what_it_asked_for() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.half_closed_ms = 20);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        drop(client);
        assert!(origin.is_closed().await);
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_cancels_the_request() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 100\r\n\r\nhalf").await;
        let mut origin = stage.accept().await;
        origin.until("half").await;
        drop(client);
        assert!(origin.is_closed().await);
    });
}

#[test]
fn a_client_that_only_stops_sending_gets_its_answers() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send([GET, GET].concat()).await;
        client.io.shutdown().await.unwrap();
        let mut origin = stage.accept().await;
        for _ in 0..2 {
            origin.message().await;
            origin.send(OK).await;
        }
        let answer = client.rest().await;
        assert_eq!(answer, [OK, OK].concat());
    });
}

#[test]
fn a_client_that_stops_reading_a_response_lets_go_of_the_origin() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nbegin").await;
        client.until("begin").await;
        drop(client);
        let block = [b'x'; 64 * 1024];
        while super::stage::within(origin.io.write_all(&block)).await.is_ok() {}
    });
}

#[test]
fn a_stop_closes_idle_connections_and_lets_requests_finish() {
    on_a_worker(async |stage| {
        let mut busy = stage.connect().await;
        busy.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        let mut idle = stage.connect().await;

        stage.worker.shared.drain.begin();

        assert_eq!(idle.rest().await, "");
        origin.send(OK).await;
        let answer = busy.rest().await;
        assert_eq!((status(&answer), field(&answer, "connection")), (200, Some("close")));
    });
}

#[test]
fn a_response_that_is_dropped_at_the_end_of_a_drain_does_not_end_in_order() {
    on_a_worker(async |stage| {
        for (answer, sent) in [
            ("HTTP/1.1 200 OK\r\n\r\nhalf", "half"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "half"),
        ] {
            let (mut client, serving) = stage.connect_and_hold().await;
            client.send(GET).await;
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send(answer).await;
            let head = client.until("\r\n\r\n").await;
            client.until(sent).await;
            stage.worker.shared.drain.begin();

            serving.abort();

            let (rest, end) = client.rest_and_end().await;
            let is_told = head.contains("hunked") || head.contains("ontent-Length");
            assert!(end.is_err() || is_told, "{answer:?} ended in order");
            assert_eq!(rest, "", "no last chunk");
        }
    });
}

#[test]
fn a_response_that_ends_with_its_connection_ends_in_order_when_it_is_whole() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\n\r\nwhole").await;
        drop(origin);
        let (answer, end) = client.rest_and_end().await;
        assert!(answer.ends_with("\r\n\r\nwhole") && end.is_ok(), "{answer:?} {end:?}");
    });
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        client.message().await;
        tokio::task::yield_now().await;
        let kept = stage.worker.buffers.kept_len();
        let mut other = stage.connect().await;
        other.send(GET).await;
        origin.message().await;
        origin.send(OK).await;
        other.message().await;
        tokio::task::yield_now().await;
        assert_eq!(
            stage.worker.buffers.kept_len(),
            kept,
            "the second connection used the first one's buffers"
        );
    });
}

#[test]
fn an_idle_connection_is_small() {
    on_a_worker(async |stage| {
        let (near, _far) = tokio::io::duplex(1);
        let peer = "127.0.0.1:1".parse().unwrap();
        let meta = crate::http::ConnMeta {
            peer,
            local: peer,
            kind: crate::listener::Kind::Http,
            secured: None,
            protocol: crate::http::Protocol::Http1,
        };
        let permit = stage.worker.shared.guard.admit_connection(peer.ip()).unwrap();
        let task = crate::http::serve(std::rc::Rc::clone(&stage.worker), near, meta, permit);
        // Together with the timer and the socket's registration this stays under 2 KiB (PERF.md).
        assert!(size_of_val(&task) <= 1_024, "{} bytes", size_of_val(&task));
    });
}

#[test]
fn a_connection_that_was_quiet_for_a_while_is_served_again_and_ends_when_idle_too_long() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| {
            deadlines.quiet_ms = 1;
            deadlines.keep_alive_ms = 100;
        });
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
        // Longer than it takes to become quiet.
        assert!(tokio::time::timeout(Duration::from_millis(10), client.exactly(1)).await.is_err());
        client.send(GET).await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
        assert_eq!(client.rest().await, "");
    });
}

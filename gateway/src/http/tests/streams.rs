//! Bodies: both ways at once, no faster than they are taken, and ended where they end.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stage::{GET, OK, field, on_a_worker, status, within};

const CHUNKED_POST: &str = "POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn the_response_may_begin_before_the_request_ends() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(CHUNKED_POST).await;
        let mut origin = stage.accept().await;
        origin.until("\r\n\r\n").await;
        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.until("\r\n\r\n").await;
        for word in ["one", "two", "three"] {
            let chunk = format!("{:x}\r\n{word}\r\n", word.len());
            client.send(&chunk).await;
            assert_eq!(origin.until(&chunk).await, chunk);
            origin.send(&chunk).await;
            assert_eq!(client.until(&chunk).await, chunk);
        }
        client.send("0\r\n\r\n").await;
        origin.until("0\r\n\r\n").await;
        origin.send("0\r\n\r\n").await;
        client.until("0\r\n\r\n").await;
        client.send(GET).await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    });
}

#[test]
fn large_bodies_pass_both_ways_whole() {
    const LEN: usize = 8 * 1024 * 1024;
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: {LEN}\r\n\r\n")).await;
        let mut origin = stage.accept().await;
        origin.until("\r\n\r\n").await;
        origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n")).await;
        client.until("\r\n\r\n").await;
        let pattern: Vec<u8> = (0..LEN).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect();
        let (mut far_read, mut far_write) = origin.io.split();
        let (mut near_read, mut near_write) = client.io.split();
        let mut back = vec![0; LEN];
        let echo = tokio::io::copy(&mut far_read, &mut far_write);
        tokio::select! {
            done = within(async {
                tokio::try_join!(near_write.write_all(&pattern), near_read.read_exact(&mut back))
            }) => { done.unwrap(); }
            ended = echo => panic!("the origin's side ended: {ended:?}"),
        }
        assert!(back == pattern, "what comes back is what went");
    });
}

#[test]
fn an_origin_is_read_no_faster_than_the_client_reads() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let block = [b'x'; 64 * 1024];
        let mut taken = 0;
        while let Ok(written) =
            tokio::time::timeout(Duration::from_millis(200), origin.io.write(&block)).await
        {
            taken += written.unwrap();
            assert!(taken < 64 * 1024 * 1024, "more than sockets hold went into the gate");
        }
        client.until("\r\n\r\n").await;
        client.exactly(taken).await;
        assert!(within(origin.io.write(&block)).await.unwrap() > 0, "and it goes on when the client reads");
    });
}

#[test]
fn an_early_answer_of_an_origin_that_closes_reaches_a_client_that_still_sends() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1000000000\r\n\r\n").await;
        let mut origin = stage.accept().await;
        origin.until("\r\n\r\n").await;
        client.send("x".repeat(10_000)).await;
        origin.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").await;
        drop(origin);
        let (head, body) = client.message().await;
        assert_eq!((status(&head), body.as_str()), (413, "big"));
        assert_eq!(field(&head, "connection"), Some("close"));
        assert_eq!(client.rest().await, "");
        assert_eq!(stage.worker.upstream.idle_len(), 0);
    });
}

#[test]
fn the_rest_of_a_request_is_still_taken_where_the_origin_keeps_the_connection() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 6\r\n\r\nabc").await;
        let mut origin = stage.accept().await;
        origin.until("abc").await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
        client.send(format!("def{GET}")).await;
        origin.until("def").await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    });
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        let mut origin = None;
        for (method, answer) in [
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
            ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\n\r\n"),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
            ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ] {
            client.send(format!("{method} / HTTP/1.1\r\nHost: app.example\r\n\r\n")).await;
            if origin.is_none() {
                origin = Some(stage.accept().await);
            }
            let origin = origin.as_mut().unwrap();
            origin.message().await;
            origin.send(answer).await;
            let head = client.until("\r\n\r\n").await;
            assert_eq!(status(&head), status(answer));
        }
    });
}

#[test]
fn a_body_that_ends_with_the_connection_ends_the_clients_as_well() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
        drop(origin);
        let answer = client.rest().await;
        assert_eq!(field(&answer, "connection"), Some("close"));
        assert!(answer.ends_with("\r\n\r\nuntil the end"));
    });
}

#[test]
fn an_old_client_gets_no_chunks() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send("GET / HTTP/1.0\r\nHost: app.example\r\nConnection: keep-alive\r\n\r\n").await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
        let answer = client.rest().await;
        assert!(
            answer.ends_with("\r\n\r\nhello") && field(&answer, "transfer-encoding").is_none(),
            "{answer}"
        );

        let mut client = stage.connect().await;
        for _ in 0..2 {
            client.send("GET / HTTP/1.0\r\nHost: app.example\r\nConnection: keep-alive\r\n\r\n").await;
            origin.message().await;
            origin.send(OK).await;
            assert_eq!(field(&client.message().await.0, "connection"), Some("keep-alive"));
        }
    });
}

#[test]
fn a_response_cut_short_is_cut_for_the_client_too() {
    on_a_worker(async |stage| {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ] {
            let mut client = stage.connect().await;
            client.send(GET).await;
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send(answer).await;
            client.until("half").await;
            drop(origin);
            let rest = client.rest().await;
            assert!(!rest.contains('0'), "no end that was not the origin's: {rest:?}");
        }
    });
}

#[test]
fn an_expectation_and_its_interim_answer_pass() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client
            .send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            .await;
        let mut origin = stage.accept().await;
        assert_eq!(field(&origin.until("\r\n\r\n").await, "expect"), Some("100-continue"));
        origin.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(client.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body").await;
        origin.until("body").await;
        origin.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await;
        origin.send(OK).await;
        assert_eq!(status(&client.until("\r\n\r\n").await), 103);
        assert_eq!(client.message().await.1, "ok");
    });
}

#[test]
fn a_final_answer_to_an_expectation_ends_the_connection() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client
            .send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            .await;
        let mut origin = stage.accept().await;
        origin.until("\r\n\r\n").await;
        origin.send("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(status(&client.rest().await), 401, "whether the body comes is anybody's guess");
    });
}

#[test]
fn a_connection_with_bytes_after_the_response_is_not_used_again() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 6\r\n\r\nabc").await;
        let mut origin = stage.accept().await;
        origin.until("abc").await;
        // Long enough for the larger buffer, and half a response of nobody's behind it.
        let body = "x".repeat(66_000);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 66000\r\n\r\n";
        origin.send(format!("{head}{body}HTTP/1.1 200 OK\r\nContent-Le")).await;
        assert_eq!(client.message().await.1.len(), body.len());
        client.send("def").await;
        assert!(client.is_closed().await);
        assert_eq!(stage.worker.upstream.idle_len(), 0);
    });
}

#[test]
fn a_continue_that_nobody_awaits_says_nothing_and_other_interim_answers_pass() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await;
        assert_eq!(status(&client.until("\r\n\r\n").await), 103);
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    });
}

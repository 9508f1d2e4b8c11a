//! Requests and responses of every shape, to an origin of HTTP/1.1.

use bytes::Bytes;
use http::Request;
use tokio::io::AsyncWriteExt as _;

use super::super::stage::{OK, on_a_worker, within};
use super::{Client, plain, told, whole};

const URL: &str = "http://app.example/a?b";

#[test]
fn a_request_goes_to_the_origin_as_http_1_and_its_answer_comes_back() {
    on_a_worker(async |stage| {
        let mut client = Client::of(&stage).await;
        let response = client.get(URL).await;
        let mut origin = stage.accept().await;
        let (head, _) = origin.message().await;
        assert!(head.starts_with("GET /a?b HTTP/1.1\r\nhost: app.example\r\n"), "{head}");
        assert!(head.contains("X-Forwarded-Proto: http\r\n"), "{head}");
        origin
            .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nX-Y: z\r\n\r\nok")
            .await;

        let (head, body, _) = whole(response).await;

        assert_eq!((head.status().as_u16(), body.as_str()), (200, "ok"));
        assert_eq!(head.headers()["x-y"], "z");
        assert_eq!(head.headers()["content-length"], "2");
        assert!(head.headers().get("connection").is_none());

        // The origin's connection is used again, by another stream.
        let response = client.get(URL).await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(whole(response).await.1, "ok");
    });
}

#[test]
fn streams_of_one_connection_do_not_wait_for_each_other() {
    on_a_worker(async |stage| {
        let mut client = Client::of(&stage).await;
        let first = client.get(URL).await;
        let mut slow = stage.accept().await;
        slow.message().await;
        let second = client.get(URL).await;
        let mut quick = stage.accept().await;
        quick.message().await;
        quick.send(OK).await;
        assert_eq!(whole(second).await.1, "ok");
        slow.send(OK).await;
        assert_eq!(whole(first).await.1, "ok");
    });
}

#[test]
fn a_body_of_known_length_and_one_in_pieces_arrive_whole() {
    on_a_worker(async |stage| {
        let client = Client::of(&stage).await;
        for (length, framed) in [(Some("5"), "hello"), (None, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")] {
            let mut request = Request::post(URL);
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let mut send = within(client.send.clone().ready()).await.unwrap();
            let (response, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
            body.send_data(Bytes::from_static(b"he"), false).unwrap();
            body.send_data(Bytes::from_static(b"llo"), true).unwrap();
            let mut origin = stage.accept().await;
            let head = origin.until("\r\n\r\n").await;
            assert_eq!(head.contains("Transfer-Encoding: chunked\r\n"), length.is_none(), "{head}");
            assert_eq!(origin.exactly(framed.len()).await, framed);
            origin.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
            assert_eq!(told(response).await, Ok(200));
        }
    });
}

#[test]
fn a_large_body_passes_both_ways_with_windows_of_any_size() {
    on_a_worker(async |stage| {
        for window in [65_535, 1_000, 4 * 1024 * 1024] {
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(window);
            let client = Client::with(&mut builder, plain(&stage).await).await;
            let mut send = within(client.send.clone().ready()).await.unwrap();
            let (response, mut body) =
                send.send_request(Request::post(URL).body(()).unwrap(), false).unwrap();
            let sent = "0123456789abcdef".repeat(40_000);
            body.send_data(Bytes::from(sent.clone()), true).unwrap();
            let mut origin = stage.accept().await;
            origin.until("\r\n\r\n").await;
            let chunked = origin.until("\r\n0\r\n\r\n").await;
            assert!(chunked.len() > sent.len());
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", sent.len());
            origin.send(answer).await;
            let echo = tokio::task::spawn_local({
                let sent = sent.clone();
                async move { origin.send(sent).await }
            });
            assert!(whole(response).await.1 == sent, "window {window}");
            within(echo).await.unwrap();
        }
    });
}

#[test]
fn chunks_and_a_body_that_ends_with_the_connection_become_data() {
    on_a_worker(async |stage| {
        let mut client = Client::of(&stage).await;
        for answer in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello!",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello!",
        ] {
            let response = client.get(URL).await;
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send(answer).await;
            drop(origin);
            let (head, body, _) = whole(response).await;
            assert_eq!((head.status().as_u16(), body.as_str()), (200, "hello!"), "{answer}");
            assert!(head.headers().get("transfer-encoding").is_none());
        }
    });
}

#[test]
fn a_response_that_is_cut_short_resets_its_stream_alone() {
    on_a_worker(async |stage| {
        let mut client = Client::of(&stage).await;
        for answer in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        ] {
            let response = client.get(URL).await;
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send(answer).await;
            let mut body = within(response).await.unwrap().into_body();
            assert_eq!(within(body.data()).await.unwrap().unwrap(), "hello");
            drop(origin);
            let error = within(body.data()).await.expect("not the end").unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{answer}");
        }
        let response = client.get(URL).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(whole(response).await.1, "ok");
    });
}

#[test]
fn a_client_that_resets_its_stream_has_the_origins_request_cancelled() {
    on_a_worker(async |stage| {
        let client = Client::of(&stage).await;
        let mut send = within(client.send.clone().ready()).await.unwrap();
        let (response, mut body) = send.send_request(Request::get(URL).body(()).unwrap(), true).unwrap();
        let mut origin = stage.accept().await;
        origin.message().await;
        body.send_reset(h2::Reason::CANCEL);
        assert!(origin.is_closed().await);
        drop(response);
    });
}

#[test]
fn interim_responses_arrive_before_the_last() {
    on_a_worker(async |stage| {
        let client = Client::of(&stage).await;
        let mut send = within(client.send.clone().ready()).await.unwrap();
        let request =
            Request::post(URL).header("expect", "100-continue").header("content-length", 2).body(()).unwrap();
        let (mut response, mut body) = send.send_request(request, false).unwrap();
        let mut origin = stage.accept().await;
        let head = origin.until("\r\n\r\n").await;
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        origin.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
        for status in [103, 100] {
            let interim = std::future::poll_fn(|context| response.poll_informational(context));
            assert_eq!(within(interim).await.unwrap().unwrap().status(), status);
        }
        body.send_data(Bytes::from_static(b"ok"), true).unwrap();
        assert_eq!(origin.exactly(2).await, "ok");
        origin.send(OK).await;
        assert_eq!(whole(response).await.1, "ok");
    });
}

#[test]
fn an_answer_before_the_request_is_whole_arrives_and_the_rest_is_not_wanted() {
    on_a_worker(async |stage| {
        stage.routes([]);
        let client = Client::of(&stage).await;
        let mut send = within(client.send.clone().ready()).await.unwrap();
        let (response, mut body) = send.send_request(Request::post(URL).body(()).unwrap(), false).unwrap();
        let (head, text, _) = whole(response).await;
        assert_eq!(head.status(), 404);
        assert!(text.contains(head.headers()["x-request-id"].to_str().unwrap()), "{text}");
        let reason = within(std::future::poll_fn(|context| body.poll_reset(context))).await.unwrap();
        assert_eq!(reason, h2::Reason::NO_ERROR);
    });
}

#[test]
fn the_answer_to_head_has_its_length_and_no_body() {
    on_a_worker(async |stage| {
        let mut client = Client::of(&stage).await;
        let response = client.request(Request::head(URL).body(()).unwrap()).await;
        let mut origin = stage.accept().await;
        assert!(origin.message().await.0.starts_with("HEAD "));
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await;
        let response = within(response).await.unwrap();
        assert_eq!(response.headers()["content-length"], "7");
        assert!(response.body().is_end_stream());
    });
}

#[test]
fn the_preface_is_known_however_it_is_cut_and_nothing_behind_it_is_lost() {
    on_a_worker(async |stage| {
        let mut io = plain(&stage).await;
        let mut bytes = crate::http::h2::PREFACE.to_vec();
        bytes.extend_from_slice(&super::raw::settings());
        bytes.extend_from_slice(&super::raw::get(1, "app.example", "/"));
        for byte in bytes {
            io.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut origin = stage.accept().await;
        assert!(origin.message().await.0.starts_with("GET / HTTP/1.1\r\n"));
    });
}

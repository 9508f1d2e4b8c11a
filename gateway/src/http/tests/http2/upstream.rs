//! Endpoints of HTTP/2, and every pair of protocols through the gateway.

use bytes::Bytes;
use config::snapshot::{Action, Protocol, Route, UpstreamPolicy};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::mpsc;

use super::super::stage::{GET, OK, Stage, field, on_a_worker, status, within};
use super::{Client, told, whole};

const URL: &str = "http://app.example/a?b";

/// A route whose endpoint speaks HTTP/2.
fn route(stage: &Stage) -> Route {
    let mut route = stage.route("app.example", "/");
    if let Action::Forward(upstream) = &mut route.action {
        upstream.policy =
            Some(Box::new(UpstreamPolicy { protocol: Protocol::Http2, ..UpstreamPolicy::default() }));
    }
    route
}

type Came = (Request<RecvStream>, SendResponse<Bytes>);

/// One connection that the gateway made, at its other end.
struct Origin {
    came: mpsc::Receiver<Came>,
    leave: Option<mpsc::Sender<()>>,
}

impl Origin {
    async fn of(stage: &Stage) -> Self {
        Self::with(stage, Builder::new()).await
    }

    async fn with(stage: &Stage, builder: Builder) -> Self {
        let io = stage.accept().await.io;
        let (requests, came) = mpsc::channel(200);
        let (leave, mut leaving) = mpsc::channel(1);
        tokio::task::spawn_local(async move {
            let mut connection = builder.handshake(io).await.unwrap();
            loop {
                tokio::select! {
                    came = connection.accept() => match came {
                        Some(Ok(came)) => requests.send(came).await.unwrap(),
                        _ => return,
                    },
                    Some(()) = leaving.recv() => connection.graceful_shutdown(),
                }
            }
        });
        Self { came, leave: Some(leave) }
    }

    async fn next(&mut self) -> Came {
        within(self.came.recv()).await.expect("a request")
    }

    /// Answers the next request.
    async fn answer(&mut self, text: &'static str) {
        let (_, mut respond) = self.next().await;
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from_static(text.as_bytes()), true).unwrap();
    }
}

async fn read(body: &mut RecvStream) -> (String, HeaderMap) {
    let mut bytes = Vec::new();
    while let Some(piece) = within(body.data()).await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    (String::from_utf8(bytes).unwrap(), super::trailers(body).await)
}

fn grpc_status(code: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    trailers
}

#[test]
fn requests_share_a_connection_and_do_not_wait_for_each_other() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let mut client = Client::of(&stage).await;
        let first = client.get(URL).await;
        let mut origin = Origin::of(&stage).await;
        let (request, mut slow) = origin.next().await;
        assert_eq!(request.uri(), "http://app.example/a?b");
        assert_eq!(request.headers()["x-forwarded-proto"], "http");
        assert!(request.headers().get("connection").is_none() && request.headers().get("host").is_none());
        assert!(request.body().is_end_stream());
        let second = client.get(URL).await;
        origin.answer("quick").await;
        assert_eq!(whole(second).await.1, "quick");
        slow.send_response(Response::new(()), true).unwrap();
        let (head, body, _) = whole(first).await;
        assert_eq!((head.status().as_u16(), body.as_str()), (200, ""));
        assert!(stage.origin_is_untouched().await, "one connection did");
    });
}

#[test]
fn grpc_passes_with_its_trailers_and_te() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let client = Client::of(&stage).await;
        let mut send = within(client.send.clone().ready()).await.unwrap();
        let request = Request::post("http://app.example/pkg.Service/Call")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let (response, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from_static(b"ping"), false).unwrap();
        let mut origin = Origin::of(&stage).await;
        let (mut request, mut respond) = origin.next().await;
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.headers()["content-type"], "application/grpc");

        // Both directions at once, before either is over.
        assert_eq!(within(request.body_mut().data()).await.unwrap().unwrap(), "ping");
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        answer.send_data(Bytes::from_static(b"pong"), false).unwrap();
        let mut response = within(response).await.unwrap();
        assert_eq!(within(response.body_mut().data()).await.unwrap().unwrap(), "pong");
        body.send_data(Bytes::from_static(b"more"), true).unwrap();
        assert_eq!(read(request.body_mut()).await.0, "more");
        answer.send_trailers(grpc_status("0")).unwrap();

        let (rest, trailers) = read(response.body_mut()).await;
        assert_eq!((rest.as_str(), trailers["grpc-status"].to_str().unwrap()), ("", "0"));
    });
}

#[test]
fn an_answer_that_is_trailers_alone_ends_with_its_head() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let mut client = Client::of(&stage).await;
        let response = client.get(URL).await;
        let mut origin = Origin::of(&stage).await;
        let (_, mut respond) = origin.next().await;
        let head = Response::builder().header("grpc-status", "12").body(()).unwrap();
        respond.send_response(head, true).unwrap();
        let response = within(response).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.body().is_end_stream());
    });
}

#[test]
fn an_http_1_client_speaks_to_an_http_2_origin() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let mut client = stage.connect().await;
        client
            .send("POST / HTTP/1.1\r\nHost: app.example\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        client.send("5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n").await;
        let mut origin = Origin::of(&stage).await;
        let (mut request, mut respond) = origin.next().await;
        let (body, trailers) = read(request.body_mut()).await;
        assert_eq!((body.as_str(), trailers["x-sum"].to_str().unwrap()), ("hello", "7"));
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        answer.send_data(Bytes::from_static(b"world"), false).unwrap();
        answer.send_trailers(grpc_status("0")).unwrap();

        let head = client.until("\r\n\r\n").await;
        assert_eq!(status(&head), 200);
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(client.until("\r\n\r\n").await, "5\r\nworld\r\n0\r\ngrpc-status: 0\r\n\r\n");

        // The client's connection goes on, and so does the origin's.
        client.send(GET).await;
        origin.answer("again").await;
        let head = client.until("\r\n\r\n").await;
        assert_eq!(status(&head), 200);
        assert_eq!(client.until("0\r\n\r\n").await, "5\r\nagain\r\n0\r\n\r\n");
    });
}

#[test]
fn an_http_2_client_gets_the_trailers_of_an_http_1_origin_and_sends_its_own() {
    on_a_worker(async |stage| {
        let client = Client::of(&stage).await;
        let mut send = within(client.send.clone().ready()).await.unwrap();
        let request = Request::post(URL).header("te", "trailers").body(()).unwrap();
        let (response, mut body) = send.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"hello"), false).unwrap();
        body.send_trailers(grpc_status("9")).unwrap();
        let mut origin = stage.accept().await;
        let head = origin.until("\r\n\r\n").await;
        assert!(head.contains("TE: trailers\r\n"), "{head}");
        assert_eq!(origin.until("\r\n\r\n").await, "5\r\nhello\r\n0\r\ngrpc-status: 9\r\n\r\n");
        origin
            .send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n",
            )
            .await;
        let (_, text, trailers) = whole(response).await;
        assert_eq!((text.as_str(), trailers["grpc-status"].to_str().unwrap()), ("ok", "0"));
    });
}

#[test]
fn a_large_body_passes_both_ways() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let client = Client::of(&stage).await;
        let mut send = within(client.send.clone().ready()).await.unwrap();
        let (response, mut body) = send.send_request(Request::post(URL).body(()).unwrap(), false).unwrap();
        let sent = "0123456789abcdef".repeat(60_000);
        body.send_data(Bytes::from(sent.clone()), true).unwrap();
        let mut origin = Origin::of(&stage).await;
        let (mut request, mut respond) = origin.next().await;
        let (received, _) = read(request.body_mut()).await;
        assert!(received == sent);
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        answer.send_data(Bytes::from(received), true).unwrap();
        assert!(whole(response).await.1 == sent);
    });
}

#[test]
fn a_connection_without_room_is_joined_by_another() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let mut client = Client::of(&stage).await;
        let warm = client.get(URL).await;
        let mut builder = Builder::new();
        builder.max_concurrent_streams(1);
        let mut first = Origin::with(&stage, builder).await;
        first.answer("warm").await;
        assert_eq!(whole(warm).await.1, "warm");
        let one = client.get(URL).await;
        let (_, mut held) = first.next().await;
        let two = client.get(URL).await;
        let mut second = Origin::of(&stage).await;
        second.answer("second").await;
        assert_eq!(whole(two).await.1, "second");
        held.send_response(Response::new(()), true).unwrap();
        assert_eq!(told(one).await, Ok(200));
    });
}

#[test]
fn a_request_that_the_origin_refused_is_sent_again_and_one_that_it_began_is_not() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let mut client = Client::of(&stage).await;
        let response = client.request(Request::post(URL).body(()).unwrap()).await;
        let mut origin = Origin::of(&stage).await;
        let (_, mut respond) = origin.next().await;
        respond.send_reset(Reason::REFUSED_STREAM);
        let mut other = Origin::of(&stage).await;
        other.answer("again").await;
        assert_eq!(whole(response).await.1, "again");

        let response = client.request(Request::post(URL).body(()).unwrap()).await;
        let (_, mut respond) = tokio::select! {
            came = origin.came.recv() => came.unwrap(),
            came = other.came.recv() => came.unwrap(),
        };
        respond.send_reset(Reason::INTERNAL_ERROR);
        assert_eq!(told(response).await, Ok(502));
    });
}

#[test]
fn a_connection_that_says_goodbye_gets_no_more_requests() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let mut client = Client::of(&stage).await;
        let first = client.get(URL).await;
        let mut origin = Origin::of(&stage).await;
        origin.answer("one").await;
        assert_eq!(whole(first).await.1, "one");
        origin.leave.take().unwrap().send(()).await.unwrap();
        assert!(within(origin.came.recv()).await.is_none(), "the gateway lets it end");
        let second = client.get(URL).await;
        let mut origin = Origin::of(&stage).await;
        origin.answer("two").await;
        assert_eq!(whole(second).await.1, "two");
    });
}

#[test]
fn a_client_that_leaves_has_its_stream_cancelled_and_nothing_else() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let client = Client::of(&stage).await;
        let mut send = within(client.send.clone().ready()).await.unwrap();
        let (response, mut body) = send.send_request(Request::get(URL).body(()).unwrap(), true).unwrap();
        let mut origin = Origin::of(&stage).await;
        let (_, mut respond) = origin.next().await;
        body.send_reset(Reason::CANCEL);
        drop(response);
        let reason = within(std::future::poll_fn(|context| respond.poll_reset(context))).await.unwrap();
        assert_eq!(reason, Reason::CANCEL);
        let mut client = client;
        let next = client.get(URL).await;
        origin.answer("next").await;
        assert_eq!(whole(next).await.1, "next");
    });
}

#[test]
fn a_response_cut_short_is_cut_for_the_client_too() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let mut client = Client::of(&stage).await;
        let response = client.get(URL).await;
        let mut origin = Origin::of(&stage).await;
        let (_, mut respond) = origin.next().await;
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        answer.send_data(Bytes::from_static(b"half"), false).unwrap();
        let mut body = within(response).await.unwrap().into_body();
        assert_eq!(within(body.data()).await.unwrap().unwrap(), "half");
        answer.send_reset(Reason::INTERNAL_ERROR);
        assert!(within(body.data()).await.unwrap().is_err());
    });
}

#[test]
fn interim_responses_and_answers_to_head_pass() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let mut client = stage.connect().await;
        client.send("HEAD / HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
        let mut origin = Origin::of(&stage).await;
        let (_, mut respond) = origin.next().await;
        let hints = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
        respond.send_informational(hints).unwrap();
        assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 103 "));
        let head = Response::builder().header("content-length", "7").body(()).unwrap();
        respond.send_response(head, true).unwrap();
        let head = client.until("\r\n\r\n").await;
        assert_eq!((status(&head), field(&head, "content-length")), (200, Some("7")));
    });
}

#[test]
fn an_endpoint_that_speaks_http_1_after_all_is_a_bad_gateway() {
    on_a_worker(async |stage| {
        stage.routes([route(&stage)]);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.send(OK).await;
        let (head, _) = client.message().await;
        assert_eq!(status(&head), 502);
    });
}

//! WebSockets over HTTP/2 (RFC 8441), translated to an upgrade of HTTP/1.1, by the client of the `h2` crate.

use bytes::Bytes;
use config::snapshot::{FlowPolicy, Timeouts};
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::super::filters::respond;
use super::super::stage::{Peer, Stage, field, on_a_worker, within};
use super::{Client, told};

/// A route that lets WebSockets through.
fn with_websocket(stage: &Stage) {
    let mut route = stage.route("app.example", "/");
    route.websocket = true;
    route.on_delete = FlowPolicy::Cut;
    stage.routes([route]);
}

async fn knock(
    client: &Client,
    protocol: &'static str,
    fields: &[(&str, &str)],
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut send = within(client.send.clone().ready()).await.unwrap();
    within(async {
        while !send.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://app.example/chat?room=1")
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static(protocol));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    send.send_request(request.body(()).unwrap(), false).unwrap()
}

/// What the origin answers when it accepts.
fn switching(head: &str, more: &str) -> String {
    let accept = derive_accept_key(field(head, "sec-websocket-key").unwrap().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// An open tunnel: the response with its body, the way up, the origin.
async fn open(stage: &Stage, client: &Client, more: &str) -> (Response<RecvStream>, SendStream<Bytes>, Peer) {
    let (response, up) = knock(client, "websocket", &[]).await;
    let mut origin = stage.accept().await;
    let head = origin.until("\r\n\r\n").await;
    origin.send(switching(&head, more)).await;
    (within(response).await.unwrap(), up, origin)
}

/// So many bytes of a stream, whose window is opened for them.
async fn hear(body: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let piece = within(body.data()).await.expect("more").unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        heard.extend_from_slice(&piece);
    }
    heard
}

/// Waits for the end, before which nothing more comes.
async fn ends_in_order(body: &mut RecvStream) {
    while let Some(piece) = within(body.data()).await {
        // The end may come with a frame of its own.
        assert!(piece.unwrap().is_empty());
    }
}

/// Waits until no session is open any more.
async fn all_ended(stage: &Stage) {
    within(async {
        while !stage.worker.shared.sessions.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn an_extended_connect_becomes_an_upgrade_and_its_101_a_200() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        let client = Client::of(&stage).await;
        let offers = [
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
            ("sec-websocket-protocol", "chat, binary"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ("cookie", "a=b"),
        ];
        let (response, mut up) = knock(&client, "websocket", &offers).await;
        let mut origin = stage.accept().await;
        let head = origin.until("\r\n\r\n").await;
        assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
        for (name, value) in [
            ("host", "app.example"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
            ("sec-websocket-protocol", "chat, binary"),
            ("cookie", "a=b"),
        ] {
            assert_eq!(field(&head, name), Some(value), "{head}");
        }
        assert_eq!(head.matches("sec-websocket-key").count(), 1, "{head}");
        assert_ne!(field(&head, "sec-websocket-key"), Some("AAAAAAAAAAAAAAAAAAAAAA=="), "it is ours");

        let granted = "Sec-WebSocket-Protocol: binary\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
        origin.send(format!("{}glued", switching(&head, granted))).await;

        let mut response = within(response).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["sec-websocket-protocol"], "binary");
        assert_eq!(response.headers()["sec-websocket-extensions"], "permessage-deflate");
        for none in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
            assert!(!response.headers().contains_key(none), "{none}");
        }
        assert_eq!(hear(response.body_mut(), 5).await, b"glued");
        up.send_data(Bytes::from_static(b"\0\x01up"), false).unwrap();
        assert_eq!(origin.exactly(4).await, "\0\u{1}up");
        assert_eq!(stage.worker.shared.sessions.len(), 1);
    });
}

#[test]
fn each_direction_has_an_end_of_its_own() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        let client = Client::of(&stage).await;
        let (mut response, mut up, mut origin) = open(&stage, &client, "").await;
        up.send_data(Bytes::from_static(b"last"), true).unwrap();
        assert_eq!(origin.rest().await, "last");
        origin.send("after the half close").await;
        drop(origin);
        let body = response.body_mut();
        assert_eq!(hear(body, 20).await, b"after the half close");
        ends_in_order(body).await;
        all_ended(&stage).await;

        let (mut response, mut up, mut origin) = open(&stage, &client, "").await;
        tokio::io::AsyncWriteExt::shutdown(&mut origin.io).await.unwrap();
        ends_in_order(response.body_mut()).await;
        up.send_data(Bytes::from_static(b"still"), true).unwrap();
        assert_eq!(origin.rest().await, "still");
        all_ended(&stage).await;
    });
}

#[test]
fn an_abort_of_either_side_is_one_for_the_other() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        let client = Client::of(&stage).await;
        let (_response, mut up, mut origin) = open(&stage, &client, "").await;
        up.send_reset(Reason::CANCEL);
        assert!(origin.rest_and_end().await.1.is_err(), "a reset, no end");
        all_ended(&stage).await;

        let (mut response, _up, origin) = open(&stage, &client, "").await;
        socket2::SockRef::from(&origin.io).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(origin);
        let error = within(response.body_mut().data()).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        all_ended(&stage).await;
    });
}

#[test]
fn a_tunnel_that_was_silent_too_long_ends_and_one_that_was_not_does_not() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.websocket = true;
        route.timeouts = Some(Timeouts { tunnel_ms: Some(1_000), ..Timeouts::default() }.into());
        stage.routes([route]);
        let client = Client::of(&stage).await;
        let (mut silent, _up, mut unheard) = open(&stage, &client, "").await;
        let (mut busy, mut up, mut origin) = open(&stage, &client, "").await;
        let ended =
            tokio::task::spawn_local(
                async move { within(silent.body_mut().data()).await.unwrap().unwrap_err() },
            );
        while !ended.is_finished() {
            up.send_data(Bytes::from_static(b"x"), false).unwrap();
            assert_eq!(origin.exactly(1).await, "x");
            origin.send("y").await;
            assert_eq!(hear(busy.body_mut(), 1).await, b"y");
        }
        assert_eq!(ended.await.unwrap().reason(), Some(Reason::CANCEL));
        assert!(unheard.rest_and_end().await.1.is_err(), "a reset, no end");
        origin.send("y").await;
        assert_eq!(hear(busy.body_mut(), 1).await, b"y");
    });
}

#[test]
fn a_change_cuts_a_tunnel_and_leaves_the_connection() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        let client = Client::of(&stage).await;
        let (mut response, _up, mut origin) = open(&stage, &client, "").await;
        stage.generation(8, []);
        let error = within(response.body_mut().data()).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        assert!(origin.is_closed().await);
        let (response, _) = knock(&client, "websocket", &[]).await;
        assert_eq!(told(response).await, Ok(404));
    });
}

#[test]
fn what_is_no_websocket_is_refused_and_no_origin_hears_of_it() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        let client = Client::of(&stage).await;
        for protocol in ["connect-udp", "webtransport", "h2c", ""] {
            let (response, _up) = knock(&client, protocol, &[]).await;
            assert_eq!(told(response).await, Ok(501), "{protocol}");
        }
        let (response, _up) = knock(&client, "websocket", &[("content-length", "3")]).await;
        assert!(!matches!(told(response).await, Ok(200)));

        stage.routes([stage.route("app.example", "/")]);
        let (response, _up) = knock(&client, "websocket", &[]).await;
        assert_eq!(told(response).await, Ok(501), "on a route without");
        assert!(stage.origin_is_untouched().await);
    });
}

#[test]
fn a_success_that_is_no_tunnel_is_none_to_the_client() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        let client = Client::of(&stage).await;
        let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let upgrade = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        for (answer, status) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), 502),
            ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 502),
            ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(), 403),
            (format!("{upgrade}\r\n"), 502),
            (format!("{upgrade}{accept}\r\n"), 502),
            (format!("{upgrade}{accept}{accept}\r\n"), 502),
        ] {
            let (response, _up) = knock(&client, "websocket", &[]).await;
            let mut origin = stage.accept().await;
            origin.until("\r\n\r\n").await;
            origin.send(&answer).await;
            assert_eq!(told(response).await, Ok(status), "{answer}");
        }

        let mut route = stage.route("app.example", "/");
        (route.websocket, route.action) = (true, respond(200, "in"));
        stage.routes([route]);
        let (response, _up) = knock(&client, "websocket", &[]).await;
        assert_eq!(told(response).await, Ok(501), "an answer of ours");
    });
}

#[test]
fn who_does_not_read_stops_the_other_in_either_direction() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        let client = Client::of(&stage).await;
        let (mut response, mut up, mut origin) = open(&stage, &client, "").await;
        // The origin floods a client that opens no window.
        let much = vec![b'd'; 1 << 16];
        let mut sent = 0;
        while let Ok(Ok(count)) = tokio::time::timeout(
            std::time::Duration::from_millis(200),
            tokio::io::AsyncWriteExt::write(&mut origin.io, &much),
        )
        .await
        {
            sent += count;
        }
        assert!(sent < 32 << 20, "{sent}");
        // It reads after all: every byte is there.
        assert_eq!(hear(response.body_mut(), sent).await.len(), sent);

        // The client floods an origin that does not read.
        let mut gone = 0;
        loop {
            up.reserve_capacity(1 << 16);
            let room = std::future::poll_fn(|context| up.poll_capacity(context));
            let Ok(room) = tokio::time::timeout(std::time::Duration::from_millis(200), room).await else {
                break;
            };
            let room = room.unwrap().unwrap();
            up.send_data(Bytes::from(vec![b'u'; room]), false).unwrap();
            gone += room;
        }
        assert!(gone < 32 << 20, "{gone}");
        up.send_data(Bytes::from_static(b"."), true).unwrap();
        assert_eq!(origin.rest().await.len(), gone + 1);
    });
}

//! Upgrades: asked for, granted, refused, and relayed as bytes.

use tokio::io::AsyncWriteExt as _;

use config::snapshot::FlowPolicy;

use super::stage::{OK, Stage, field, on_a_worker, status};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n";

fn with_websocket(stage: &Stage) {
    let mut route = stage.route("app.example", "/");
    route.websocket = true;
    stage.routes([route]);
}

#[test]
fn an_upgrade_becomes_bytes_with_what_was_glued_to_the_handshake() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        let mut client = stage.connect().await;
        client.send(format!("{HANDSHAKE}early")).await;
        let mut origin = stage.accept().await;
        let head = origin.until("\r\n\r\n").await;
        assert_eq!(field(&head, "connection"), Some("upgrade"));
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(field(&head, "sec-websocket-key"), Some("k"));

        origin.send(format!("{SWITCHING}glued")).await;

        let head = client.until("\r\n\r\n").await;
        assert_eq!((status(&head), field(&head, "connection")), (101, Some("upgrade")));
        assert_eq!(field(&head, "sec-websocket-accept"), Some("a"));
        assert_eq!(client.exactly(5).await, "glued");
        assert_eq!(origin.exactly(5).await, "early");
        client.send("\0\u{1}up").await;
        assert_eq!(origin.exactly(4).await, "\0\u{1}up");
        assert_eq!(stage.worker.shared.sessions.len(), 1);

        client.io.shutdown().await.unwrap();
        assert_eq!(origin.rest().await, "");
        origin.send("after the half close").await;
        drop(origin);
        assert_eq!(client.rest().await, "after the half close");
    });
}

#[test]
fn an_upgrade_on_a_route_without_is_426_and_the_origin_is_not_asked() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        let (head, _) = client.ask(HANDSHAKE).await;
        assert_eq!((status(&head), field(&head, "upgrade")), (426, Some("websocket")));
        assert_eq!(field(&head, "connection"), Some("upgrade"));
        assert!(stage.origin_is_untouched().await);
    });
}

#[test]
fn an_origin_that_declines_an_upgrade_answers_as_ever() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        let mut client = stage.connect().await;
        client.send(HANDSHAKE).await;
        let mut origin = stage.accept().await;
        for _ in 0..2 {
            origin.message().await;
            origin.send(OK).await;
            assert_eq!(client.message().await.1, "ok");
            client.send("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
        }
        let (head, _) = origin.message().await;
        assert_eq!(field(&head, "connection"), None, "only an upgrade says so");
    });
}

#[test]
fn an_offer_of_http2_in_clear_is_left_aside() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client
            .send(
                "GET / HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAMAAABk\r\n\r\n",
            )
            .await;
        let (head, _) = stage.accept().await.message().await;
        assert!(field(&head, "upgrade").is_none() && field(&head, "http2-settings").is_none(), "{head}");
    });
}

#[test]
fn http2_hidden_behind_another_offer_is_left_aside_too() {
    on_a_worker(async |stage| {
        with_websocket(&stage);
        for offer in ["websocket, h2c", "x\r\nUpgrade: h2c", "x, HTTP/2.0", "x, TLS/1.3", "h2c-14", "x,H2C"] {
            let mut client = stage.connect().await;
            client
                .send(format!(
                    "GET / HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: {offer}\r\n\r\n"
                ))
                .await;
            let (head, _) = stage.accept().await.message().await;
            assert!(field(&head, "upgrade").is_none() && field(&head, "connection").is_none(), "{head}");
        }
    });
}

#[test]
fn an_upgrade_whose_route_went_while_the_origin_thought_about_it_is_cut() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.websocket = true;
        route.on_delete = FlowPolicy::Cut;
        stage.routes([route]);
        let mut client = stage.connect().await;
        client.send(HANDSHAKE).await;
        let mut origin = stage.accept().await;
        origin.until("\r\n\r\n").await;

        stage.generation(8, []);
        origin.send(SWITCHING).await;

        assert_eq!(status(&client.until("\r\n\r\n").await), 101);
        assert!(client.is_closed().await && origin.is_closed().await);
        assert_eq!(stage.worker.shared.sessions.len(), 0);
    });
}

#[test]
fn a_switch_to_a_protocol_that_was_not_asked_for_is_502() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.websocket = true;
        stage.routes([route]);
        for fields in ["Upgrade: other\r\n", "Upgrade: websocket, other\r\n", ""] {
            let mut client = stage.connect().await;
            client.send(HANDSHAKE).await;
            let mut origin = stage.accept().await;
            origin.until("\r\n\r\n").await;
            origin.send(format!("HTTP/1.1 101 Switching\r\n{fields}Connection: upgrade\r\n\r\n")).await;
            assert_eq!(status(&client.until("\r\n\r\n").await), 502, "{fields}");
        }
    });
}

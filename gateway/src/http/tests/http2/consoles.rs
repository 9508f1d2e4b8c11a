//! Consoles by extended CONNECT: one that the gate bridges, and one that speaks WebSocket itself.

use bytes::Bytes;
use config::snapshot::{Action, Console, ConsoleKind, ConsoleWire, Service, Value};
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::super::consoles::{World, with_console};
use super::super::stage::{Stage, field, on_a_worker, within};
use super::{Client, told};

/// A console below a path of a host, and its ticket.
fn with_route(stage: &Stage, service: Service, change: impl FnOnce(&mut Console)) -> (World, String) {
    let world = with_console(stage, change);
    let mut route = stage.route("app.example", "/screens");
    route.action = Action::Service(service);
    let mut values = world.values();
    values.push(Value::Route(route));
    stage.values(values);
    let ticket = world.ticket(&world.claims(1));
    (world, ticket)
}

async fn knock(client: &Client, path: &str, protocols: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let mut send = within(client.send.clone().ready()).await.unwrap();
    within(async {
        while !send.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://app.example{path}"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", protocols)
        .extension(Protocol::from_static("websocket"));
    send.send_request(request.body(()).unwrap(), false).unwrap()
}

async fn hear(body: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let piece = within(body.data()).await.expect("more").unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        heard.extend_from_slice(&piece);
    }
    heard
}

/// A frame of a browser: masked, with a mask that changes nothing.
fn masked(bytes: &[u8]) -> Bytes {
    let length = u8::try_from(bytes.len()).unwrap();
    [&[0x82, 0x80 | length, 0, 0, 0, 0][..], bytes].concat().into()
}

#[test]
fn a_screen_is_bridged_and_its_end_is_told_in_its_own_words() {
    on_a_worker(async |stage| {
        let (_world, ticket) = with_route(&stage, Service::Novnc, |_| {});
        let client = Client::of(&stage).await;
        let (response, mut up) = knock(&client, &format!("/screens/console/{ticket}"), "binary").await;
        let mut server = stage.accept().await.io;
        let mut response = within(response).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["sec-websocket-protocol"], "binary");
        for none in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!response.headers().contains_key(none), "{none}");
        }
        server.write_all(b"RFB 003.008\n").await.unwrap();
        let frame = [&[0x82, 12][..], b"RFB 003.008\n"].concat();
        assert_eq!(hear(response.body_mut(), 14).await, frame);
        up.send_data(masked(b"RFB 003.008\n"), false).unwrap();
        let mut heard = [0; 12];
        within(server.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"RFB 003.008\n");
        let session = stage.worker.shared.sessions.list().remove(0);
        assert_eq!((session.bytes_up, session.bytes_down), (12, 12));

        drop(server);
        let close = hear(response.body_mut(), 4).await;
        assert_eq!((close[0], &close[2..4]), (0x88, &1000_u16.to_be_bytes()[..]));

        let (response, _up) = knock(&client, "/screens/console/nonsense", "binary").await;
        assert_eq!(told(response).await, Ok(403));
        let (response, _up) = knock(&client, "/screens/console/", "binary").await;
        assert_eq!(told(response).await, Ok(401));
    });
}

#[test]
fn a_terminal_that_speaks_websocket_itself_passes_untouched() {
    on_a_worker(async |stage| {
        let (world, ticket) = with_route(&stage, Service::Ttyd, |console| {
            console.kind = ConsoleKind::Ttyd;
            console.wire = ConsoleWire::WebSocket { path: "/ws?arg=1".into() };
        });
        let client = Client::of(&stage).await;
        let (response, mut up) = knock(&client, &format!("/screens/console/{ticket}"), "tty").await;
        let mut server = stage.accept().await;
        let head = server.until("\r\n\r\n").await;
        assert!(head.starts_with("GET /ws?arg=1 HTTP/1.1\r\n") && !head.contains(&ticket), "{head}");
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(field(&head, "sec-websocket-protocol"), Some("tty"));
        let accept = derive_accept_key(field(&head, "sec-websocket-key").unwrap().as_bytes());
        server
            .send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: tty\r\n\r\nglued"
            ))
            .await;
        let mut response = within(response).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["sec-websocket-protocol"]),
            (200, &"tty".parse().unwrap())
        );
        assert_eq!(hear(response.body_mut(), 5).await, b"glued");
        up.send_data(masked(b"ls\n"), false).unwrap();
        server.until_bytes(b"\x82\x83\0\0\0\0ls\n").await;

        // The person goes, and the console with them; the connection stays for other requests.
        let mut values = world.values();
        values.retain(|value| !matches!(value, Value::Principal(_)));
        stage.generation(9, values);
        assert!(within(response.body_mut().data()).await.unwrap().is_err());
        assert!(server.is_closed().await);
        let (response, _up) = knock(&client, "/screens/console/x", "tty").await;
        assert_eq!(told(response).await, Ok(404), "its route went, too");
    });
}

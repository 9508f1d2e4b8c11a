//! Serial lines: bytes, which a terminal page is told in its own messages.

use config::snapshot::ConsoleKind;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::consoles::{TTYD, bytes, closed, upgrade, with_console};
use super::stage::{Stage, field, on_a_worker, status, within};

const HELLO: &[u8] = br#"{"AuthToken":"","columns":80,"rows":24,"secret":"a-page-that-may-come-again"}"#;

async fn line(stage: &Stage, number: u8, protocol: &str) -> (WebSocketStream<TcpStream>, TcpStream) {
    let world = with_console(stage, |console| console.kind = ConsoleKind::Serial);
    let ticket = world.ticket(&world.claims(number));
    let mut client = stage.connect_by(TTYD, "127.0.0.1").await;
    let fields = format!("Sec-WebSocket-Protocol: {protocol}\r\n");
    client.send(upgrade(&format!("/console/{ticket}"), &fields)).await;
    let head = client.until("\r\n\r\n").await;
    let agreed = protocol.split(", ").find(|one| *one == "tty").unwrap_or("binary");
    assert_eq!((status(&head), field(&head, "sec-websocket-protocol")), (101, Some(agreed)));
    let server = stage.accept().await.io;
    (WebSocketStream::from_raw_socket(client.io, Role::Client, None).await, server)
}

async fn say(socket: &mut WebSocketStream<TcpStream>, what: &[u8]) {
    within(socket.send(Message::binary(what.to_vec()))).await.unwrap();
}

async fn heard(server: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut heard = vec![0; count];
    within(server.read_exact(&mut heard)).await.unwrap();
    heard
}

#[test]
fn a_page_is_told_that_a_silent_line_is_open_and_both_hear_what_is_for_them() {
    on_a_worker(async |stage| {
        let (mut page, mut server) = line(&stage, 1, "binary, tty").await;
        say(&mut page, HELLO).await;
        assert_eq!(bytes(&mut page, 1).await, b"0");
        for message in [&b"0root\r"[..], b"1{\"columns\":90,\"rows\":30}", b"0", b"0\0\xff"] {
            say(&mut page, message).await;
        }
        assert_eq!(heard(&mut server, 7).await, b"root\r\0\xff");
        server.write_all(b"login: ").await.unwrap();
        assert_eq!(bytes(&mut page, 8).await, b"0login: ");
        drop(server);
        assert_eq!(closed(&mut page).await.0, 1000);
    });
}

#[test]
fn a_page_that_cannot_keep_up_gets_nothing_until_it_says_so() {
    on_a_worker(async |stage| {
        let (mut page, mut server) = line(&stage, 1, "tty").await;
        say(&mut page, HELLO).await;
        assert_eq!(bytes(&mut page, 1).await, b"0");
        // What the line hears after the wish for a pause shows that the gate has read it.
        say(&mut page, b"2").await;
        say(&mut page, b"0x").await;
        heard(&mut server, 1).await;
        server.write_all(b"while it draws").await.unwrap();
        let pause = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(pause, page.next()).await.is_err(), "it gets something");
        say(&mut page, b"0y").await;
        assert_eq!(heard(&mut server, 1).await, b"y", "and is heard all the same");
        say(&mut page, b"3").await;
        assert_eq!(bytes(&mut page, 15).await, b"0while it draws");
    });
}

#[test]
fn what_is_no_terminal_page_is_told_and_who_wants_bytes_gets_bytes() {
    on_a_worker(async |stage| {
        for (number, (said, why)) in [
            (&b"0root\r"[..], "the first message of a terminal is a JSON object"),
            (b"[]", "the first message of a terminal is a JSON object"),
        ]
        .into_iter()
        .enumerate()
        {
            let (mut page, mut server) = line(&stage, number as u8 + 1, "tty").await;
            say(&mut page, said).await;
            assert_eq!(closed(&mut page).await, (1002, why.to_owned()));
            drop(page);
            let mut rest = Vec::new();
            let _ = within(server.read_to_end(&mut rest)).await;
            assert_eq!(rest, b"");
        }
        let (mut page, _server) = line(&stage, 3, "tty").await;
        say(&mut page, HELLO).await;
        say(&mut page, b"root\r").await;
        loop {
            if let Message::Close(frame) = within(page.next()).await.unwrap().unwrap() {
                assert_eq!(u16::from(frame.unwrap().code), 1002);
                break;
            }
        }
        stage.deadlines(|deadlines| deadlines.rfb_ms = 20);
        let (mut silent, _server) = line(&stage, 4, "tty").await;
        let late = "the page of the terminal said nothing in time".to_owned();
        assert_eq!(closed(&mut silent).await, (1002, late));

        let (mut raw, mut server) = line(&stage, 5, "binary").await;
        server.write_all(b"login: ").await.unwrap();
        assert_eq!(bytes(&mut raw, 7).await, b"login: ");
        say(&mut raw, b"2root\r").await;
        assert_eq!(heard(&mut server, 6).await, b"2root\r");
    });
}

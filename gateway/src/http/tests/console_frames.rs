//! Browsers that break the rules of WebSocket (RFC 6455 § 5) in a console that the gate bridges.

use config::secret::Secret;
use futures_util::SinkExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::consoles::{browser, bytes, closed, show, with_console};
use super::stage::{on_a_worker, within};

const VERSION: &[u8] = b"RFB 003.008\n";

/// A frame as a client masks it; the mask is nothing, which is a mask as well.
fn frame(first: u8, length: &[u8], rest: &[u8]) -> Vec<u8> {
    let (short, long) = length.split_at(1);
    [&[first, 0x80 | short[0]], long, &[0; 4], rest].concat()
}

/// Each way to be wrong, and the code that it is closed with.
fn broken() -> Vec<(&'static str, Vec<u8>, u16)> {
    let whole = |first: u8, rest: &[u8]| frame(first, &[rest.len() as u8], rest);
    let long_ping = frame(0x89, &[126, 0, 126], &[7; 126]);
    let endless: Vec<u8> = (0..20)
        .flat_map(|nth| frame(if nth == 0 { 0x02 } else { 0x00 }, &[126, 0xff, 0xff], &[7; 0xffff]))
        .collect();
    vec![
        ("no mask", vec![0x82, 3, 1, 2, 3], 1002),
        ("a bit that no extension was agreed on for", whole(0xC2, b"x"), 1002),
        ("another one", whole(0x92, b"x"), 1002),
        ("a kind of data that is none", whole(0x83, b"x"), 1002),
        ("a kind of control that is none", whole(0x8B, b"x"), 1002),
        ("a ping in pieces", whole(0x09, b"x"), 1002),
        ("a ping that is too long", long_ping, 1002),
        ("the rest of nothing", whole(0x80, b"x"), 1002),
        ("a message within a message", [whole(0x02, b"x"), whole(0x82, b"x")].concat(), 1002),
        ("text", whole(0x81, b"x"), 1002),
        ("text that is none", whole(0x81, b"\xff"), 1002),
        ("a closing frame with half a code", whole(0x88, b"\x03"), 1002),
        (
            "more than there is",
            frame(0x82, &[127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], b"x"),
            1009,
        ),
        ("a message without end", endless, 1009),
    ]
}

#[test]
fn a_frame_that_is_wrong_in_any_way_ends_the_console_in_words_and_never_arrives() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        for ((how, frames, code), number) in broken().into_iter().zip(1..) {
            let (mut client, head) = show(&stage, &world.ticket(&world.claims(number)), "127.0.0.1").await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            let mut server = stage.accept().await.io;
            // The gate stops reading where it sees what is wrong.
            let _ = within(client.io.write_all(&frames)).await;
            let mut socket = WebSocketStream::from_raw_socket(client.io, Role::Client, None).await;
            assert_eq!(closed(&mut socket).await.0, code, "{how}");
            drop(socket);
            let mut heard = Vec::new();
            let _ = within(server.read_to_end(&mut heard)).await;
            assert_eq!(heard, b"", "{how}");
        }
        within(async {
            while !stage.worker.shared.sessions.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    });
}

#[test]
fn a_frame_that_is_wrong_while_the_gate_shakes_hands_is_told_as_well() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| console.secret = Some(Secret::new("passw0rd".to_owned())));
        for ((how, frames, code), number) in broken().into_iter().zip(1..) {
            let mut socket = browser(&stage, &world.ticket(&world.claims(number))).await;
            let mut server = stage.accept().await.io;
            server.write_all(&[VERSION, &[1, 2], &[7; 16], &[0; 4]].concat()).await.unwrap();
            assert_eq!(bytes(&mut socket, 12).await, VERSION);
            let _ = within(socket.get_mut().write_all(&frames)).await;
            assert_eq!(closed(&mut socket).await.0, code, "{how}");
        }
        // What is a frame and no RFB.
        let mut socket = browser(&stage, &world.ticket(&world.claims(99))).await;
        let mut server = stage.accept().await.io;
        server.write_all(&[VERSION, &[1, 2], &[7; 16], &[0; 4]].concat()).await.unwrap();
        within(socket.send(Message::binary(&b"GET / HTTP/1.1\r\n"[..]))).await.unwrap();
        let told = closed(&mut socket).await;
        assert_eq!(told, (1008, "this console speaks RFB, the browser does not".to_owned()));
    });
}

//! VNC servers that do not keep to RFB, at a console whose password the gate has.

use std::time::Duration;

use config::secret::Secret;
use futures_util::SinkExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::consoles::{World, browser, bytes, closed, with_console};
use super::stage::{Stage, on_a_worker, within};

const PASSWORD: &str = "passw0rd";
const VERSION: &[u8] = b"RFB 003.008\n";

fn with_password(stage: &Stage) -> World {
    with_console(stage, |console| console.secret = Some(Secret::new(PASSWORD.to_owned())))
}

#[test]
fn a_server_that_breaks_the_handshake_is_told_and_hears_no_password() {
    on_a_worker(async |stage| {
        let world = with_password(&stage);
        let after = |rest: &[u8]| [VERSION, rest].concat();
        let none_known = "offers no way to log in that the gate knows";
        for ((said, why), number) in [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "does not speak VNC"),
            (b"RFB 9999999\n".to_vec(), "does not speak VNC"),
            (VERSION[..7].to_vec(), "closed the connection while it was opened"),
            (after(&[0, 0, 0, 0, 4, b'b', b'u', b's', b'y']), "refused the gate: busy"),
            (after(&[&[0, 255, 255, 255, 255][..], &[b'x'; 5_000]].concat()), "refused the gate: xxx"),
            (after(&[0]), "refused the gate: it gave no reason"),
            (after(&[1, 99]), none_known),
            (after(&[255; 256]), none_known),
            (after(&[2, 2, 1, 7, 7]), "closed the connection while it was opened"),
            (after(&[&[1, 2][..], &[7; 16], &[0, 0, 0, 1]].concat()), "refused the VNC password"),
            (after(&[&[1, 2][..], &[7; 16], &[255; 4]].concat()), "refused the VNC password"),
            (b"RFB 003.003\n\0\0\x01\x02".to_vec(), none_known),
        ]
        .into_iter()
        .zip(1..)
        {
            let mut socket = browser(&stage, &world.ticket(&world.claims(number))).await;
            let mut server = stage.accept().await.io;
            server.write_all(&said).await.unwrap();
            server.shutdown().await.unwrap();
            let (code, reason) = closed(&mut socket).await;
            assert!(code == 1011 && reason.contains(why), "{code} {reason:?} does not say {why:?}");
            assert!(!reason.contains(PASSWORD) && reason.len() <= 123);
            let mut heard = Vec::new();
            // By a reset where the gate left something of it unread.
            let _ = within(server.read_to_end(&mut heard)).await;
            assert!(!heard.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()));
        }
        within(async {
            while !stage.worker.shared.sessions.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    });
}

/// A browser and a server that are through their handshakes.
async fn entered(
    stage: &Stage,
    world: &World,
) -> (tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>, tokio::net::TcpStream) {
    let mut socket = browser(stage, &world.ticket(&world.claims(1))).await;
    let mut server = stage.accept().await.io;
    server.write_all(&[VERSION, &[1, 2], &[7; 16], &[0; 4]].concat()).await.unwrap();
    let mut heard = [0; 12 + 1 + 16];
    within(server.read_exact(&mut heard)).await.unwrap();
    assert_eq!(bytes(&mut socket, 12).await, VERSION);
    for (said, answer) in [(VERSION, 2), (&[1][..], 4)] {
        within(socket.send(Message::binary(said.to_vec()))).await.unwrap();
        bytes(&mut socket, answer).await;
    }
    within(socket.send(Message::binary(vec![1]))).await.unwrap();
    assert_eq!(within(server.read_u8()).await.unwrap(), 1);
    (socket, server)
}

#[test]
fn garbage_after_the_handshake_is_the_browsers_and_stays_as_it_is() {
    on_a_worker(async |stage| {
        let world = with_password(&stage);
        let (mut socket, mut server) = entered(&stage, &world).await;
        let garbage: Vec<u8> = (0..100_000_u32).map(|number| (number * 7 + number / 251) as u8).collect();
        server.write_all(&garbage).await.unwrap();
        assert_eq!(bytes(&mut socket, garbage.len()).await, garbage);
        within(socket.send(Message::binary(garbage.clone()))).await.unwrap();
        let mut heard = vec![0; garbage.len()];
        within(server.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, garbage);
        drop(server);
        assert_eq!(closed(&mut socket).await.0, 1000);
    });
}

#[test]
fn who_is_silent_or_drips_is_not_waited_for_longer_than_a_handshake_takes() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.rfb_ms = 100);
        let world = with_password(&stage);
        let late = (1011, "the console of the VM was not opened in time".to_owned());

        let mut socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        let _silent = stage.accept().await;
        assert_eq!(closed(&mut socket).await, late);

        let mut socket = browser(&stage, &world.ticket(&world.claims(2))).await;
        let mut server = stage.accept().await.io;
        let drips = tokio::task::spawn_local(async move {
            for byte in [VERSION, &[255; 256]].concat() {
                if server.write_all(&[byte]).await.is_err() {
                    return;
                }
                let _ = tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await;
            }
        });
        assert_eq!(closed(&mut socket).await, late);
        drips.abort();

        // A browser that takes its time keeps no server open either.
        let mut socket = browser(&stage, &world.ticket(&world.claims(3))).await;
        let mut server = stage.accept().await.io;
        server.write_all(&[VERSION, &[1, 2], &[7; 16], &[0; 4]].concat()).await.unwrap();
        assert_eq!(closed(&mut socket).await, late);
    });
}

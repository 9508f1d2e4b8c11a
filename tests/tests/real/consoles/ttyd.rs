//! A stand-in for ttyd 1.7, byte for byte on the wire: Debian 12 has none.
//!
//! As `src/protocol.c` does it: title and preferences first, nothing started before the JSON, then one byte of command
//! before each message, all of them binary; the process is one that echoes.

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What it saw.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// The path that was asked for.
    pub(crate) path: String,
    pub(crate) hello: Value,
    /// All of the input, in order.
    pub(crate) input: Vec<u8>,
    /// Sizes, the newest last.
    pub(crate) sizes: Vec<(u64, u64)>,
    pub(crate) pauses: usize,
    pub(crate) resumes: usize,
    /// Bytes of output that were sent.
    pub(crate) sent: usize,
}

pub(crate) struct Ttyd {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Ttyd {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let told = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&told)));
            }
        });
        Self { port, seen }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

#[expect(clippy::result_large_err, reason = "the library's own shape of a refusal")]
fn tty(request: &Request, mut response: Response, seen: &Mutex<Seen>) -> Result<Response, ErrorResponse> {
    seen.lock().unwrap().path = request.uri().to_string();
    let asked = request.headers().get("sec-websocket-protocol").cloned();
    if let Some(asked) = asked.filter(|asked| asked == "tty") {
        response.headers_mut().insert("sec-websocket-protocol", asked);
        return Ok(response);
    }
    // libwebsockets closes on a sub-protocol that it does not have.
    Err(ErrorResponse::new(Some("no such protocol".to_owned())))
}

#[expect(clippy::result_large_err, reason = "the library's own shape of a refusal")]
async fn serve(stream: TcpStream, seen: Arc<Mutex<Seen>>) -> Option<()> {
    let answer = |request: &Request, response: Response| tty(request, response, &seen);
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, answer).await.ok()?;
    send(&mut socket, b'1', b"sh (machine)").await?;
    send(&mut socket, b'2', br#"{ "fontSize": 15, "theme": { "background": "red" } }"#).await?;
    let hello = socket.next().await?.ok()?.into_data();
    seen.lock().unwrap().hello = serde_json::from_slice(&hello).unwrap();
    send(&mut socket, b'0', "gr\u{fc}n \u{1f7e2} \u{1b}[32mready\u{1b}[0m\r\n$ ".as_bytes()).await?;
    loop {
        let message = socket.next().await?.ok()?.into_data();
        let Some((command, rest)) = message.split_first() else { continue };
        match command {
            b'0' => {
                seen.lock().unwrap().input.extend_from_slice(rest);
                match rest {
                    b"\x04" => return end(socket, 1000).await,
                    // A program that fails is told by a code that RFC 6455 reserves.
                    b"\x1c" => return end(socket, 1006).await,
                    b"F" => flood(&mut socket, &seen).await?,
                    rest => send(&mut socket, b'0', &echo(rest)).await?,
                }
            }
            b'1' => {
                let size: Value = serde_json::from_slice(rest).unwrap();
                let pair = (size["columns"].as_u64().unwrap(), size["rows"].as_u64().unwrap());
                seen.lock().unwrap().sizes.push(pair);
            }
            b'2' | b'3' => {}
            other => panic!("no command of ttyd: {other}"),
        }
    }
}

/// As a terminal in canonical mode: a return goes to a new line with a prompt.
fn echo(input: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(input).replace('\u{1b}', "^[").replace('\r', "\r\n$ ");
    text.into_bytes()
}

/// Six MiB of output, with pauses heeded.
async fn flood(socket: &mut WebSocketStream<TcpStream>, seen: &Mutex<Seen>) -> Option<()> {
    let block = b"0123456789 abcdefghijklmnopqrstuvwxyz\r\n".repeat(400);
    let mut left = 400;
    let mut is_paused = false;
    while left > 0 {
        if !is_paused {
            send(socket, b'0', &block).await?;
            left -= 1;
            seen.lock().unwrap().sent += block.len();
        }
        let next = std::time::Duration::from_micros(if is_paused { 20_000_000 } else { 50 });
        let Ok(message) = tokio::time::timeout(next, socket.next()).await else { continue };
        match message?.ok()?.into_data().first() {
            Some(b'2') => {
                is_paused = true;
                seen.lock().unwrap().pauses += 1;
            }
            Some(b'3') => {
                is_paused = false;
                seen.lock().unwrap().resumes += 1;
            }
            Some(_) | None => {}
        }
    }
    send(socket, b'0', b"\r\nend of the flood\r\n").await
}

async fn end(mut socket: WebSocketStream<TcpStream>, code: u16) -> Option<()> {
    let frame = CloseFrame { code: code.into(), reason: "".into() };
    socket.close(Some(frame)).await.ok()?;
    while socket.next().await.is_some() {}
    Some(())
}

async fn send(socket: &mut WebSocketStream<TcpStream>, command: u8, rest: &[u8]) -> Option<()> {
    let message = [&[command], rest].concat();
    socket.send(Message::binary(message)).await.ok()
}

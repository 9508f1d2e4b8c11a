//! A fake origin: answers with its name, echoes heads and bodies, speaks WebSocket, and remembers what it saw.
//!
//! Written on raw sockets, so that a test sees the very bytes the gateway sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A running origin. Ends when dropped.
pub struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Origin {
    /// Starts one on loopback that answers with `name`.
    ///
    /// `/echo` answers with the request head as it came and then the body, `/ws` echoes WebSocket messages, `/slow`
    /// sends a head and never the body, `/close` closes without an answer, `/infrastructures?X` tells `InfID: X`;
    /// everything else answers `name`.
    pub async fn start(name: &str) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), name).await
    }

    /// Starts one on this address.
    pub async fn start_on(address: SocketAddr, name: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (name, log) = (name.to_owned(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            // Its connections end with it, as those of a program that was killed do.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                connections.spawn(connection(stream, name.clone(), Arc::clone(&log)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, seen, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address`, as a route's target.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request head so far, as it came.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(mut stream: TcpStream, name: String, seen: Arc<Mutex<Vec<String>>>) {
    let mut buffer = Vec::new();
    while let Some((head, rest)) = read_head(&mut stream, buffer).await {
        seen.lock().unwrap().push(head.clone());
        let target = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let path = path.to_owned();
        if path == "/ws" {
            echo_websocket(stream, &head).await;
            return;
        }
        let Some((body, left)) = read_body(&mut stream, &head, rest).await else { return };
        buffer = left;
        let answer = match path.as_str() {
            "/infrastructures" => with_field(&format!("InfID: {query}"), name.as_bytes()),
            "/close" => return,
            "/slow" => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_vec(),
            "/echo" => response(&[head.as_bytes(), &body].concat()),
            "/chunked" => {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec()
            }
            _ => response(name.as_bytes()),
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn response(body: &[u8]) -> Vec<u8> {
    with_field("X-Origin: test", body)
}

fn with_field(field: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

async fn read_head(stream: &mut TcpStream, mut buffer: Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            return Some((String::from_utf8_lossy(&buffer).into_owned(), rest));
        }
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// The body and what came after it.
async fn read_body(stream: &mut TcpStream, head: &str, mut buffer: Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    if field("transfer-encoding").is_some() {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                match buffer.windows(2).position(|window| window == b"\r\n") {
                    Some(end) => break end,
                    None if stream.read_buf(&mut buffer).await.ok()? == 0 => return None,
                    None => {}
                }
            };
            let size =
                usize::from_str_radix(std::str::from_utf8(&buffer[..line_end]).ok()?.trim(), 16).ok()?;
            while buffer.len() < line_end + 2 + size + 2 {
                if stream.read_buf(&mut buffer).await.ok()? == 0 {
                    return None;
                }
            }
            body.extend_from_slice(&buffer[line_end + 2..line_end + 2 + size]);
            buffer.drain(..line_end + 2 + size + 2);
            if size == 0 {
                return Some((body, buffer));
            }
        }
    }
    let length: usize = field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
    let left = buffer.split_off(length);
    Some((buffer, left))
}

async fn echo_websocket(mut stream: TcpStream, head: &str) {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    let Some(key) = key else { return };
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

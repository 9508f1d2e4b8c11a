//! One open flow of each kind through a real gate: a WebSocket, a forwarded connection, a client's datagrams, a console.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tests::binaries::{Up, bin};
use tests::wait::{wait_for, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::program::free_port;

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// A machine that says back what it hears.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// A machine that says back each datagram, with who it heard it from.
pub(crate) fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut datagram = [0; 2_000];
        while let Ok((count, from)) = socket.recv_from(&mut datagram) {
            let text = format!("{} {from}", String::from_utf8_lossy(&datagram[..count]));
            let _ = socket.send_to(text.as_bytes(), from);
        }
    });
    address
}

/// A forward of a free port; its id and the port.
pub(crate) fn forward(up: &Up, protocol: &str, to: SocketAddr, more: &[&str]) -> (String, u16) {
    let port = free_port();
    let (port_text, to) = (port.to_string(), to.to_string());
    let words = ["forward", "add", protocol, &port_text, &to, "--bind", "127.0.0.1", "-o", "json"];
    let made: Value = serde_json::from_str(&up.cli(&[&words, more].concat())).unwrap();
    (made["id"].as_str().unwrap().to_owned(), port)
}

/// A connection by a forward, that has carried something.
pub(crate) async fn connected(port: u16) -> TcpStream {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert!(is_alive(&mut tcp).await);
    tcp
}

/// Whether something comes back; `false` is the end of it.
pub(crate) async fn is_alive(tcp: &mut TcpStream) -> bool {
    let mut back = [0; 5];
    tcp.write_all(b"alive").await.is_ok()
        && within("an echo or an end", tcp.read_exact(&mut back)).await.is_ok()
        && &back == b"alive"
}

/// A client of datagrams.
pub(crate) struct Datagrams(pub(crate) UdpSocket);

impl Datagrams {
    pub(crate) fn to(port: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(socket)
    }

    /// What comes back: the datagram, and who the machine sees.
    pub(crate) fn ask(&self, what: &str) -> std::io::Result<String> {
        self.0.send(what.as_bytes())?;
        let mut answer = [0; 2_000];
        let count = self.0.recv(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
    }
}

/// Whether a WebSocket carries; `false` is the end of it.
pub(crate) async fn echoes(socket: &mut Socket) -> bool {
    if socket.send(Message::text("alive")).await.is_err() {
        return false;
    }
    loop {
        match within("an echo or an end", socket.next()).await {
            Some(Ok(Message::Text(text))) => return text.as_str() == "alive",
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(_) | Err(_)) | None => return false,
        }
    }
}

/// A machine with a screen that says back what it hears, known to the gate by this name.
pub(crate) async fn screen(up: &Up, vm: &str) {
    let port = echo().await.port().to_string();
    up.cli(&["vm", "add", vm, "127.0.0.1"]);
    up.cli(&["console", "add", vm, "vnc", "--port", &port]);
}

/// A ticket for it; of a person where there is their token.
pub(crate) fn ticket(up: &Up, vm: &str, token: Option<&str>) -> String {
    let address = match token {
        None => up.cli(&["console", "open", vm]),
        Some(token) => {
            let url = format!("http://{}", up.address("admin"));
            let mut command = Command::new(bin("gatehouse"));
            let command =
                command.args(["--url", &url, "console", "open", vm]).env("GATEHOUSE_TOKEN", token.trim());
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        }
    };
    address.trim().rsplit('/').next().unwrap().to_owned()
}

/// Shows a ticket; the stream behind the head of the answer, and the whole answer where it is none.
pub(crate) async fn show(gate: SocketAddr, ticket: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(gate).await.unwrap();
    let request = format!(
        "GET /console/{ticket} HTTP/1.1\r\nHost: {gate}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         User-Agent: b\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: binary\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("an answer", stream.read_u8()).await.unwrap());
    }
    let mut text = String::from_utf8(head).unwrap();
    if !text.starts_with("HTTP/1.1 101 ") {
        let length = text.to_ascii_lowercase();
        let length =
            length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().to_owned();
        let mut body = vec![0; length.trim().parse().unwrap()];
        within("a body", stream.read_exact(&mut body)).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&body));
    }
    (stream, text)
}

/// An open console, that has carried something.
pub(crate) async fn console(gate: SocketAddr, ticket: &str) -> Socket {
    let (stream, head) = show(gate, ticket).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    assert!(shows(&mut socket).await);
    socket
}

/// Whether a console carries; `false` is the end of it.
pub(crate) async fn shows(socket: &mut Socket) -> bool {
    if socket.send(Message::binary(&b"alive"[..])).await.is_err() {
        return false;
    }
    let mut heard = Vec::new();
    while heard.len() < 5 {
        match within("a picture or an end", socket.next()).await {
            Some(Ok(Message::Binary(bytes))) => heard.extend_from_slice(&bytes),
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(_) | Err(_)) | None => return false,
        }
    }
    heard == b"alive"
}

/// How a console ended: the closing code.
pub(crate) async fn closed(socket: &mut Socket) -> u16 {
    loop {
        match within("the end", socket.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => {}
            other => panic!("no closing frame: {other:?}"),
        }
    }
}

/// What `session ls` lists.
pub(crate) fn sessions(up: &Up, more: &[&str]) -> Vec<Value> {
    let said = up.cli(&[&["session", "ls", "-o", "json"], more].concat());
    let listed: Value = serde_json::from_str(&said).unwrap();
    listed.as_array().unwrap().clone()
}

/// The only session of a kind, once it is there.
pub(crate) async fn session(up: &Up, kind: &str) -> Value {
    wait_for(kind, || async {
        let mut found = sessions(up, &["--kind", kind]);
        assert!(found.len() <= 1, "{found:?}");
        found.pop()
    })
    .await
}

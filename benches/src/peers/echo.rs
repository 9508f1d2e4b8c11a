//! What tunnels and forwarded datagrams lead to: this process gives every byte back. Its CPU is nobody's in the figures.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The key that every upgrade of ours is asked with, that of RFC 6455. The gateway asks with its own for a client of HTTP/2.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The longest head of an upgrade that is understood.
const HEAD_BYTES: usize = 4096;
/// Holds a large message whole.
const CHUNK_BYTES: usize = 80 * 1024;

/// Where it listens. It runs until the process ends.
#[derive(Debug, Clone, Copy)]
pub struct Echo {
    /// Upgrades to a WebSocket, then bytes.
    pub tcp: SocketAddr,
    /// Datagrams.
    pub udp: SocketAddr,
}

/// Starts it in a thread of its own.
pub fn start() -> Result<Echo> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    socket.set_nonblocking(true)?;
    let echo = Echo { tcp: listener.local_addr()?, udp: socket.local_addr()? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("echo".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let both = (TcpListener::from_std(listener), UdpSocket::from_std(socket));
                let (Ok(listener), Ok(socket)) = both else { return };
                tokio::join!(tunnels(listener), datagrams(socket));
            });
        })
        .context("no thread for the echo")?;
    Ok(echo)
}

async fn tunnels(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A client that goes away is how each of them ends.
            let _ = tunnel(stream).await;
        });
    }
}

async fn tunnel(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key_of(&head).as_bytes())
    );
    drop(head);
    stream.write_all(answer.as_bytes()).await?;
    drop(answer);
    // An idle one costs this process no buffer.
    stream.readable().await?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}

fn key_of(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let key = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    key.map_or(String::new(), |(_, key)| key.trim().to_owned())
}

async fn datagrams(socket: UdpSocket) {
    let mut buffer = vec![0; 2048];
    loop {
        // An error here is one datagram's: a port that nobody has any longer.
        let Ok((read, from)) = socket.recv_from(&mut buffer).await else { continue };
        let _ = socket.send_to(buffer.get(..read).unwrap_or_default(), from).await;
    }
}

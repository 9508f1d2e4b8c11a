//! Clients that see raw bytes: one request, a kept-alive connection, TLS with an authority, a WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;

use crate::wait::within;

/// An answer, its head as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    /// The body, decoded.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the first field with this name.
    pub fn field(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// A connection that requests are sent on one after the other.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl Connection<TcpStream> {
    /// Connects in the clear.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = within("connect", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl Connection<TlsStream<TcpStream>> {
    /// Connects over TLS, trusting `authority_pem` alone, and asks for `name` by SNI.
    pub async fn open_tls(address: SocketAddr, name: &str, authority_pem: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Ok(Self::over(connector(authority_pem).connect(name, stream).await?))
    }

    /// The leaf certificate the other side showed, in DER.
    pub fn peer_leaf(&self) -> Vec<u8> {
        self.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Uses a stream that is open.
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// `GET path` and its answer. `Err` when the connection broke instead.
    pub async fn get(&mut self, host: &str, path: &str) -> std::io::Result<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
        self.answer(false).await
    }

    /// Sends these bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads one answer; `head_only` for an answer to HEAD or a 101.
    pub async fn answer(&mut self, head_only: bool) -> std::io::Result<Answer> {
        within("an answer", self.read_answer(head_only)).await
    }

    /// Whether the other side closes now, with nothing more to say.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        self.buffer.is_empty() && matches!(within("close", self.stream.read(&mut byte)).await, Ok(0) | Err(_))
    }

    async fn read_answer(&mut self, head_only: bool) -> std::io::Result<Answer> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, head, body: Vec::new() };
        if !head_only && status != 204 && status != 304 && status >= 200 {
            answer.body = self.read_body(&answer).await?;
        }
        Ok(answer)
    }

    async fn read_body(&mut self, answer: &Answer) -> std::io::Result<Vec<u8>> {
        if answer.field("transfer-encoding").is_some() {
            return self.read_chunks().await;
        }
        match answer.field("content-length") {
            Some(length) => {
                let length: usize = length.parse().unwrap();
                while self.buffer.len() < length {
                    self.fill().await?;
                }
                Ok(self.buffer.drain(..length).collect())
            }
            None => {
                self.stream.read_to_end(&mut self.buffer).await?;
                Ok(std::mem::take(&mut self.buffer))
            }
        }
    }

    async fn read_chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                    break end;
                }
                self.fill().await?;
            };
            let size =
                usize::from_str_radix(std::str::from_utf8(&self.buffer[..line]).unwrap().trim(), 16).unwrap();
            while self.buffer.len() < line + 2 + size + 2 {
                self.fill().await?;
            }
            body.extend_from_slice(&self.buffer[line + 2..line + 2 + size]);
            self.buffer.drain(..line + 2 + size + 2);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn fill(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// One request on a connection of its own.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> std::io::Result<Answer> {
    Connection::open(address).await.get(host, path).await
}

/// A WebSocket through the gateway.
pub async fn websocket(address: SocketAddr, host: &str, path: &str) -> WebSocketStream<TcpStream> {
    let stream = within("connect", TcpStream::connect(address)).await.unwrap();
    let url = format!("ws://{host}{path}");
    within("the upgrade", tokio_tungstenite::client_async(url, stream)).await.unwrap().0
}

fn connector(authority_pem: &str) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// One request, or `None` when nobody listens or the connection breaks.
pub async fn get_if_open(address: SocketAddr, host: &str, path: &str) -> Option<Answer> {
    let stream = TcpStream::connect(address).await.ok()?;
    Connection::over(stream).get(host, path).await.ok()
}

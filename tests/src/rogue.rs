//! An origin that answers with any bytes, in any pieces, and ends its connections in any way.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a connection ends after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It does not: the next request is read.
    Stay,
    /// In order.
    Close,
    /// By a reset, once what was sent was taken.
    Reset,
}

/// What is answered to one request.
#[derive(Debug, Clone)]
pub struct Act {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What follows.
    pub then: Then,
}

impl Act {
    /// These bytes, and the connection goes on.
    pub fn stay(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Stay }
    }

    /// These bytes, and the end.
    pub fn close(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Close }
    }

    /// These bytes, and a reset.
    pub fn reset(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::Reset }
    }
}

/// A running rogue. Ends when dropped.
pub struct Rogue {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Rogue {
    /// Starts one that answers each request head as `script` says.
    pub async fn start(script: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                connections.spawn(connection(stream, Arc::clone(&script)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, task }
    }

    /// `http://address`, as a route's target.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(mut stream: TcpStream, script: Arc<impl Fn(&str) -> Act>) {
    let mut buffer = Vec::new();
    loop {
        while let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end + 4]).into_owned();
            buffer.drain(..end + 4);
            let act = script(&head);
            if stream.write_all(&act.bytes).await.is_err() {
                return;
            }
            match act.then {
                Then::Stay => {}
                Then::Close => return,
                Then::Reset => {
                    // A reset throws away what the other end has not read yet; the test is of what it has.
                    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
                    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).ok();
                    return;
                }
            }
        }
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

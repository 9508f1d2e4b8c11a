//! An origin that answers every request with a body that never ends, as fast as it is taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::wait::wait_for;

/// Looks in a row that have to see no byte more, before it counts as held up.
const QUIET_LOOKS: u32 = 30;

/// A running one. Ends when dropped.
pub struct Firehose {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Firehose {
    /// Starts one on loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, answers) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (count, begun) = (Arc::clone(&sent), Arc::clone(&answers));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(flow(stream, Arc::clone(&count), Arc::clone(&begun)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, sent, answers, task }
    }

    /// `http://address`, as a route's target.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes of bodies that were taken so far, by the gateway or the kernel.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Waits until so many answers flow and nobody takes a byte more of them.
    pub async fn is_held_up(&self, answers: u64) {
        wait_for("the answers begin", || async { (self.answers.load(Relaxed) >= answers).then_some(()) })
            .await;
        let (mut before, mut quiet) = (0, 0);
        wait_for("nobody takes more of the answers", || {
            let now = self.sent();
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
            std::future::ready((quiet >= QUIET_LOOKS).then_some(()))
        })
        .await;
    }
}

impl Drop for Firehose {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn flow(mut stream: TcpStream, sent: Arc<AtomicU64>, answers: Arc<AtomicU64>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    let begin = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000000000000\r\n\r\n";
    if stream.write_all(begin).await.is_err() {
        return;
    }
    answers.fetch_add(1, Relaxed);
    let water = vec![b'w'; 64 * 1024];
    while let Ok(count @ 1..) = stream.write(&water).await {
        sent.fetch_add(count as u64, Relaxed);
    }
}

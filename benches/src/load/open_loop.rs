//! Requests at a fixed rate, whatever the proxy does: a slow answer does not slow the next question down, so waiting is
//! measured and not hidden.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use crate::peers::HOST;

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// From the moment a request was due to the end of its answer, in milliseconds.
    pub latency_ms: Vec<f64>,
    /// Requests without a whole answer of status 200.
    pub failed: usize,
}

#[derive(Default)]
struct Due {
    queue: RefCell<VecDeque<Instant>>,
    news: Notify,
    is_over: Cell<bool>,
}

/// Sends `rate` requests a second for `seconds` over `connections`.
pub fn run(address: SocketAddr, rate: f64, seconds: u32, connections: usize) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, drive(address, rate, seconds, connections))
}

async fn drive(address: SocketAddr, rate: f64, seconds: u32, connections: usize) -> Result<Outcome> {
    let due = Rc::new(Due::default());
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let senders: Vec<_> = (0..connections)
        .map(|_| tokio::task::spawn_local(send(address, Rc::clone(&due), Rc::clone(&outcome))))
        .collect();
    let begin = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sent = 0.0;
    while begin.elapsed() < Duration::from_secs(u64::from(seconds)) {
        let now = tick.tick().await;
        let should = (now - begin).as_secs_f64() * rate;
        while sent < should {
            due.queue.borrow_mut().push_back(now);
            due.news.notify_one();
            sent += 1.0;
        }
    }
    due.is_over.set(true);
    due.news.notify_waiters();
    for sender in senders {
        sender.await.context("a sender panicked")?;
    }
    Ok(Rc::try_unwrap(outcome).unwrap_or_default().into_inner())
}

async fn send(address: SocketAddr, due: Rc<Due>, outcome: Rc<RefCell<Outcome>>) {
    let mut io = None;
    loop {
        // Registered before the queue is looked at, so that the last word is not missed.
        let news = due.news.notified();
        let next = due.queue.borrow_mut().pop_front();
        let Some(at) = next else {
            if due.is_over.get() {
                return;
            }
            news.await;
            continue;
        };
        let asked = tokio::time::timeout(Duration::from_secs(10), ask(&mut io, address)).await;
        let mut outcome = outcome.borrow_mut();
        match asked {
            Ok(Ok(())) => outcome.latency_ms.push(at.elapsed().as_secs_f64() * 1000.0),
            Ok(Err(_)) | Err(_) => {
                outcome.failed += 1;
                io = None;
            }
        }
    }
}

async fn ask(io: &mut Option<TcpStream>, address: SocketAddr) -> Result<()> {
    if io.is_none() {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        *io = Some(tcp);
    }
    let io = io.as_mut().context("there is a connection")?;
    io.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let read = io.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        anyhow::ensure!(read > 0, "closed");
        filled += read;
        let so_far = buffer.get(..filled).unwrap_or_default();
        let Some(end) = so_far.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        anyhow::ensure!(so_far.starts_with(b"HTTP/1.1 200"), "not a 200");
        if filled >= end + 4 + 1024 {
            return Ok(());
        }
    }
}

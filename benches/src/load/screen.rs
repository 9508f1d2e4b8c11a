//! Messages to a VNC server by WebSockets, through whatever bridges them.

use std::net::SocketAddr;

use anyhow::Result;

use super::websocket::{WebSocket, message};
use crate::peers::screen::request;

/// What is sent over each of several WebSockets.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    /// Messages of all of them together.
    pub count: usize,
    /// Bytes of each to the server.
    pub length: u16,
    /// Bytes of the answer to each.
    pub answer: u32,
    /// Whether each waits for the answer to the one before; else one answer, to the last, is waited for.
    pub waits: bool,
}

/// Sends them, by a WebSocket for each of these paths. Gives the messages that were sent and answered.
pub fn run(address: SocketAddr, paths: Vec<String>, messages: Messages) -> Result<f64> {
    let (sockets, each) = (paths.len(), messages.count.div_ceil(paths.len().max(1)));
    let threads: Vec<_> = paths
        .into_iter()
        .map(|path| std::thread::spawn(move || one(address, &path, each, messages)))
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??;
    }
    Ok((each * sockets) as f64)
}

fn one(address: SocketAddr, path: &str, count: usize, messages: Messages) -> Result<()> {
    let mut socket = WebSocket::open(address, path, "binary")?;
    let waiting = message(&request(messages.length, messages.answer));
    let silent = message(&request(messages.length, 0));
    for left in (0..count).rev() {
        let is_answered = messages.waits || left == 0;
        socket.send(if is_answered { &waiting } else { &silent })?;
        if is_answered {
            socket.take(messages.answer as usize)?;
        }
    }
    Ok(())
}

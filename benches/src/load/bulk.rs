//! Large bodies in both directions.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::{ClientConnection, StreamOwned};

use crate::peers::{BULK_BYTES, HOST};

/// Which way the body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the client.
    Down,
    /// To the origin.
    Up,
}

/// Moves `transfers` bodies of [`BULK_BYTES`] one after the other on each of `connections`. Gives the bytes moved.
pub fn run(
    address: SocketAddr,
    is_tls: bool,
    way: Direction,
    (connections, transfers): (usize, usize),
) -> Result<f64> {
    let threads: Vec<_> = (0..connections)
        .map(|_| std::thread::spawn(move || one_connection(address, is_tls, way, transfers)))
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??;
    }
    Ok((connections * transfers * BULK_BYTES) as f64)
}

fn one_connection(address: SocketAddr, is_tls: bool, way: Direction, transfers: usize) -> Result<()> {
    let tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
    if is_tls {
        let client = ClientConnection::new(super::tls()?, super::server_name()?)?;
        return transfer_all(&mut StreamOwned::new(client, tcp), way, transfers);
    }
    transfer_all(&mut { tcp }, way, transfers)
}

fn transfer_all<S: Read + Write>(io: &mut S, way: Direction, transfers: usize) -> Result<()> {
    let chunk: Arc<[u8]> = vec![b'u'; 256 * 1024].into();
    for _ in 0..transfers {
        match way {
            Direction::Down => {
                io.write_all(format!("GET /big HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())?;
                io.flush()?;
                read_response(io, BULK_BYTES)?;
            }
            Direction::Up => {
                let head =
                    format!("POST /up HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {BULK_BYTES}\r\n\r\n");
                io.write_all(head.as_bytes())?;
                for _ in 0..BULK_BYTES / chunk.len() {
                    io.write_all(&chunk)?;
                }
                io.flush()?;
                read_response(io, 1024)?;
            }
        }
    }
    Ok(())
}

/// Reads a response whose body has `length` bytes.
pub(super) fn read_response<S: Read>(io: &mut S, length: usize) -> Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut filled = 0;
    let head = loop {
        let read = io.read(buffer.get_mut(filled..).unwrap_or_default())?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        filled += read;
        let so_far = buffer.get(..filled).unwrap_or_default();
        if let Some(end) = so_far.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let start = String::from_utf8_lossy(buffer.get(..head).unwrap_or_default()).into_owned();
    if !start.starts_with("HTTP/1.1 200") {
        bail!("the answer was {start}");
    }
    let mut left = length.checked_sub(filled - head).context("the answer is longer than it should be")?;
    while left > 0 {
        let most = left.min(buffer.len());
        let read = io.read(buffer.get_mut(..most).unwrap_or_default())?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        left -= read;
    }
    Ok(())
}

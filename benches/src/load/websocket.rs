//! A WebSocket of a client that waits for what it asked for.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use super::tunnel::masked;
use crate::peers::echo::KEY;

/// The longest head of an answer that is read.
const HEAD_BYTES: usize = 8_192;
/// More than any message that is asked for.
const MESSAGE_BYTES: usize = 1 << 20;
const MASK: [u8; 4] = [0x5b, 0xd1, 0xe9, 0x95];

/// An open one.
pub struct WebSocket {
    io: BufReader<TcpStream>,
    message: Vec<u8>,
}

impl WebSocket {
    /// Opens one at a path, with a sub-protocol.
    ///
    /// Errors: the answer is none of 101.
    pub fn open(address: SocketAddr, path: &str, protocol: &str) -> Result<Self> {
        let tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(super::PATIENCE))?;
        let mut socket = Self { io: BufReader::with_capacity(128 * 1024, tcp), message: Vec::new() };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        socket.io.get_mut().write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        // What follows the head is a message already.
        while !answer.ends_with(b"\r\n\r\n") && answer.len() < HEAD_BYTES {
            let mut byte = [0];
            socket.io.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        if !answer.starts_with(b"HTTP/1.1 101") {
            bail!("the handshake was answered {}", String::from_utf8_lossy(&answer));
        }
        Ok(socket)
    }

    /// Sends bytes that [`message`] made.
    pub fn send(&mut self, framed: &[u8]) -> Result<()> {
        Ok(self.io.get_mut().write_all(framed)?)
    }

    /// The next message with bytes in it; pings are passed over, for whoever speaks is seen to be there.
    pub fn receive(&mut self) -> Result<&[u8]> {
        loop {
            let mut head = [0; 2];
            self.io.read_exact(&mut head)?;
            let [first, length] = head;
            let length = match length & 0x7f {
                126 => {
                    let mut long = [0; 2];
                    self.io.read_exact(&mut long)?;
                    usize::from(u16::from_be_bytes(long))
                }
                127 => {
                    let mut long = [0; 8];
                    self.io.read_exact(&mut long)?;
                    usize::try_from(u64::from_be_bytes(long))?
                }
                short => usize::from(short),
            };
            if length > MESSAGE_BYTES {
                bail!("a message has {length} bytes");
            }
            self.message.resize(length, 0);
            self.io.read_exact(&mut self.message)?;
            match first & 0x0f {
                8 => bail!("closed: {}", String::from_utf8_lossy(self.message.get(2..).unwrap_or_default())),
                9 | 10 => {}
                _ => return Ok(&self.message),
            }
        }
    }

    /// Reads messages until so many bytes came.
    pub fn take(&mut self, bytes: usize) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            let came = self.receive()?.len();
            left = left.checked_sub(came).context("more came than was asked for")?;
        }
        Ok(())
    }
}

/// A whole binary message, as a client sends it.
pub fn message(payload: &[u8]) -> Vec<u8> {
    masked(payload, MASK)
}

//! WebSocket messages through a proxy, each echoed before the next one goes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, bail};
use rustls::{ClientConnection, StreamOwned};

use crate::peers::echo::KEY;
use crate::peers::{HOST, TUNNEL_PATH};

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    /// Tunnels at once.
    pub connections: usize,
    /// Messages of all of them together.
    pub count: usize,
    /// Payload of each in bytes.
    pub length: usize,
}

/// Tunnels that stay open and silent until this is dropped.
pub struct Held {
    plain: Vec<TcpStream>,
    secured: Vec<StreamOwned<ClientConnection, TcpStream>>,
}

impl Held {
    /// How many of them do not echo any more.
    pub fn broken(&mut self) -> usize {
        let frame = frame(32, mask(0));
        let mut echoed = vec![0; frame.len()];
        let plain = self.plain.iter_mut().filter_map(|io| exchange(io, &frame, &mut echoed).err()).count();
        let secured = self.secured.iter_mut().filter_map(|io| exchange(io, &frame, &mut echoed).err());
        plain + secured.count()
    }
}

/// Sends the messages and waits for each echo. Gives the messages that came back.
pub fn run(address: SocketAddr, is_tls: bool, messages: Messages) -> Result<f64> {
    let each = messages.count.div_ceil(messages.connections.max(1));
    let threads: Vec<_> = (0..messages.connections)
        .map(|number| {
            let frame = frame(messages.length, mask(number));
            std::thread::spawn(move || one_tunnel(address, is_tls, &frame, each))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??;
    }
    Ok((each * messages.connections) as f64)
}

/// Opens `count` tunnels, has one message echoed by each and keeps them.
pub fn open(address: SocketAddr, is_tls: bool, count: usize) -> Result<Held> {
    let mut held = Held { plain: Vec::new(), secured: Vec::new() };
    for number in 0..count {
        let frame = frame(32, mask(number));
        let mut tcp = super::connect_nth(address, number)?;
        if is_tls {
            let mut io = secured(tcp)?;
            converse(&mut io, &frame, 1)?;
            held.secured.push(io);
        } else {
            converse(&mut tcp, &frame, 1)?;
            held.plain.push(tcp);
        }
    }
    Ok(held)
}

fn one_tunnel(address: SocketAddr, is_tls: bool, frame: &[u8], count: usize) -> Result<()> {
    let mut tcp = connect(address)?;
    if is_tls { converse(&mut secured(tcp)?, frame, count) } else { converse(&mut tcp, frame, count) }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(super::PATIENCE))?;
    Ok(tcp)
}

fn secured(tcp: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    Ok(StreamOwned::new(ClientConnection::new(super::tls()?, super::server_name()?)?, tcp))
}

fn converse<S: Read + Write>(io: &mut S, frame: &[u8], count: usize) -> Result<()> {
    upgrade(io)?;
    let mut echoed = vec![0; frame.len()];
    (0..count).try_for_each(|_| exchange(io, frame, &mut echoed))
}

/// Has one message echoed; `echoed` is as long as it is.
pub(super) fn exchange<S: Read + Write>(io: &mut S, frame: &[u8], echoed: &mut [u8]) -> Result<()> {
    io.write_all(frame)?;
    io.flush()?;
    io.read_exact(echoed)?;
    if echoed != frame {
        bail!("the echo is not what was sent");
    }
    Ok(())
}

fn upgrade<S: Read + Write>(io: &mut S) -> Result<()> {
    let head = format!(
        "GET {TUNNEL_PATH} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    io.write_all(head.as_bytes())?;
    io.flush()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    // The echo says nothing of its own: what follows the head would be a fault.
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = io.read(&mut chunk)?;
        answer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if read == 0 || answer.len() > 8192 {
            break;
        }
    }
    if !answer.starts_with(b"HTTP/1.1 101") || !answer.ends_with(b"\r\n\r\n") {
        bail!("the upgrade was answered {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

fn mask(number: usize) -> [u8; 4] {
    (number as u32).wrapping_mul(0x9E37_79B9).wrapping_add(0x5BD1_E995).to_be_bytes()
}

/// A whole binary message of so many bytes.
fn frame(length: usize, mask: [u8; 4]) -> Vec<u8> {
    let payload: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
    masked(&payload, mask)
}

/// A whole binary message in one frame, masked as a client's has to be.
pub(super) fn masked(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let length = payload.len();
    let mut frame = vec![0x82];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => frame.push(0x80 | short),
        (_, Ok(medium)) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn a_frame_says_its_length_and_is_masked() {
        let small = frame(32, [1, 2, 3, 4]);
        assert!(small.starts_with(&[0x82, 0x80 | 32, 1, 2, 3, 4, 1, 1 ^ 2]));
        assert_eq!(small.len(), 6 + 32);
        let large = frame(64 * 1024, [0; 4]);
        assert!(large.starts_with(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]));
        assert_eq!(large.len(), 14 + 64 * 1024);
    }
}

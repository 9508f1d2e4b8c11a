//! WebSockets that stay open: a third in the clear, a third over TLS, a third over HTTP/2 (RFC 8441), a hundred of those
//! on each connection.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use super::tunnel;
use crate::peers::{HOST, TUNNEL_PATH};

/// Streams of one connection of HTTP/2; the gateway takes 128.
const STREAMS: u32 = 100;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SAID: &[u8] = b"still there, and you?";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` of the static table, at the beginning of a header block (RFC 7541 Appendix A).
const STATUS_200: u8 = 0x88;
/// The longest frame that is taken: what HTTP/2 begins with.
const FRAME_BYTES: usize = 16_384;

/// Tunnels that stay open until this is dropped.
pub struct Held {
    plain: tunnel::Held,
    secured: tunnel::Held,
    multiplexed: Vec<Multiplexed>,
}

/// How many tunnels of each kind there are, or are broken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// HTTP/1.1 in the clear.
    pub plain: usize,
    /// HTTP/1.1 over TLS.
    pub secured: usize,
    /// Streams of HTTP/2.
    pub multiplexed: usize,
}

impl Counts {
    /// `count` by thirds.
    pub fn of(count: usize) -> Self {
        let third = count / 3;
        Self { plain: third, secured: third, multiplexed: count - 2 * third }
    }

    /// All kinds together.
    pub fn all(self) -> usize {
        self.plain + self.secured + self.multiplexed
    }
}

impl Held {
    /// Opens so many, each of which had something echoed.
    pub fn open(http: SocketAddr, https: SocketAddr, counts: Counts) -> Result<Self> {
        let plain = tunnel::open(http, false, counts.plain)?;
        let secured = tunnel::open(https, true, counts.secured)?;
        let mut multiplexed = Vec::new();
        let mut left = counts.multiplexed;
        while left > 0 {
            let streams = left.min(STREAMS as usize);
            multiplexed.push(Multiplexed::open(http, u32::try_from(streams)?)?);
            left -= streams;
        }
        Ok(Self { plain, secured, multiplexed })
    }

    /// How many of each kind do not echo any more.
    pub fn broken(&mut self) -> Counts {
        Counts {
            plain: self.plain.broken(),
            secured: self.secured.broken(),
            multiplexed: self.multiplexed.iter_mut().map(Multiplexed::broken).sum(),
        }
    }
}

/// One connection of HTTP/2 with tunnels on it.
struct Multiplexed {
    io: BufReader<TcpStream>,
    streams: Vec<u32>,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Multiplexed {
    fn open(address: SocketAddr, count: u32) -> Result<Self> {
        let mut io = BufReader::new(super::connect_nth(address, 0)?);
        io.get_mut().write_all(PREFACE)?;
        let mut one = Self { io, streams: Vec::new() };
        one.send(SETTINGS, 0, 0, &[])?;
        for nth in 0..count {
            let stream = 2 * nth + 1;
            one.send(HEADERS, END_HEADERS, stream, &connect())?;
            let answer = one.next_of(stream)?;
            if answer.kind != HEADERS || answer.payload.first() != Some(&STATUS_200) {
                bail!("stream {stream} was answered by frame {} {:?}", answer.kind, answer.payload);
            }
            one.exchange(stream)?;
            one.streams.push(stream);
        }
        Ok(one)
    }

    fn broken(&mut self) -> usize {
        let streams = self.streams.clone();
        streams.into_iter().filter_map(|stream| self.exchange(stream).err()).count()
    }

    /// Has something echoed by one tunnel.
    fn exchange(&mut self, stream: u32) -> Result<()> {
        self.send(DATA, 0, stream, SAID)?;
        let mut heard = Vec::new();
        while heard.len() < SAID.len() {
            let frame = self.next_of(stream)?;
            if frame.kind != DATA || frame.flags & END_STREAM != 0 {
                bail!("stream {stream} ended");
            }
            heard.extend(frame.payload);
        }
        if heard != SAID {
            bail!("the echo is not what was said");
        }
        Ok(())
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        let length = u32::try_from(payload.len())?.to_be_bytes();
        let mut frame = length.get(1..).unwrap_or_default().to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        Ok(self.io.get_mut().write_all(&frame)?)
    }

    /// The next headers, data or end of a stream. What is said of the connection is answered as it has to be.
    fn next_of(&mut self, stream: u32) -> Result<Frame> {
        loop {
            let frame = read(&mut self.io)?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[])?,
                PING if frame.flags & ACK == 0 => self.send(PING, ACK, 0, &frame.payload)?,
                RST_STREAM => bail!("stream {} was reset", frame.stream),
                HEADERS | DATA if frame.stream == stream => return Ok(frame),
                DATA if frame.flags & END_STREAM == 0 => bail!("stream {} speaks out of turn", frame.stream),
                // Windows, which are far from used up, and that the gateway leaves: what is open stays.
                _ => {}
            }
        }
    }
}

fn read(io: &mut impl Read) -> Result<Frame> {
    let mut head = [0; 9];
    io.read_exact(&mut head).context("a connection of HTTP/2 ended")?;
    let [a, b, c, kind, flags, s @ ..] = head;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if length > FRAME_BYTES {
        bail!("a frame of {length} bytes");
    }
    let mut payload = vec![0; length];
    io.read_exact(&mut payload)?;
    Ok(Frame { kind, flags, stream: u32::from_be_bytes(s), payload })
}

/// The header block of an extended CONNECT, in literals.
fn connect() -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", TUNNEL_PATH),
        (":authority", HOST),
        ("sec-websocket-version", "13"),
    ] {
        block.push(0);
        for text in [name, value] {
            // Each is shorter than the 127 bytes that one byte can tell.
            block.push(u8::try_from(text.len()).unwrap_or_default());
            block.extend(text.as_bytes());
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_are_divided_by_thirds_and_none_is_lost() {
        let counts = Counts::of(10_000);
        assert_eq!((counts.plain, counts.secured, counts.multiplexed), (3_333, 3_333, 3_334));
        assert_eq!(counts.all(), 10_000);
    }

    #[test]
    fn a_frame_is_read_as_it_is_written() -> Result<()> {
        let bytes = [0, 0, 2, DATA, END_STREAM, 0, 0, 0, 7, b'h', b'i'];
        let frame = read(&mut bytes.as_slice())?;
        assert_eq!((frame.kind, frame.flags, frame.stream), (DATA, END_STREAM, 7));
        assert_eq!(frame.payload, b"hi");
        Ok(())
    }
}

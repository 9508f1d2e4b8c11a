//! HTTP/2 by hand: frames and literal header blocks that no client library would send (RFC 9113 § 4.1, RFC 7541).

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::within;

/// Kinds of frames.
pub mod kind {
    #![allow(missing_docs, reason = "the names are those of RFC 9113 § 6")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The stream ends here.
pub const END_STREAM: u8 = 1;
/// An answer to SETTINGS or PING.
pub const ACK: u8 = 1;
/// The header block ends here.
pub const END_HEADERS: u8 = 4;

/// A field of a header block.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![len[1], len[2], len[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literals without indexing and without Huffman codes.
pub fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            if text.len() < 127 {
                block.push(u8::try_from(text.len()).unwrap());
            } else {
                block.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).unwrap());
            }
            block.extend_from_slice(text);
        }
    }
    block
}

/// A whole header block as HEADERS and as many CONTINUATIONs as it takes.
pub fn headers(flags: u8, stream: u32, fields: &[Field<'_>]) -> Vec<u8> {
    let block = block(fields);
    let mut pieces: Vec<&[u8]> = block.chunks(16_384).collect();
    let last = pieces.pop().unwrap_or_default();
    let mut bytes = Vec::new();
    let mut kind = kind::HEADERS;
    let mut flags = flags & END_STREAM;
    for piece in pieces {
        bytes.extend(frame(kind, flags, stream, piece));
        (kind, flags) = (kind::CONTINUATION, 0);
    }
    bytes.extend(frame(kind, flags | END_HEADERS, stream, last));
    bytes
}

/// `GET path` of a host, whole.
pub fn get(stream: u32, host: &str, path: &str) -> Vec<u8> {
    let fields: [Field<'_>; 4] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", host.as_bytes()),
        (b":path", path.as_bytes()),
    ];
    headers(END_STREAM, stream, &fields)
}

/// A frame that came.
#[derive(Debug)]
pub struct Came {
    /// Its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Came {
    /// A number in the payload.
    pub fn word(&self, at: usize) -> u32 {
        self.payload.get(at..at + 4).map_or(0, |word| u32::from_be_bytes(word.try_into().unwrap()))
    }
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Fate {
    /// A whole answer: its status if it is one of the static table's, 599 for all others, and its body.
    Answer(u16, Vec<u8>),
    /// A reset with this code, after as much of a body.
    Reset(u32, Vec<u8>),
    /// The end of the connection with this code.
    Goaway(u32),
    /// The end of the connection without a word.
    Closed,
}

impl Fate {
    /// Whether it is an error of any kind.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Answer(status, _) => *status >= 400,
            Self::Reset(code, _) | Self::Goaway(code) => *code != 0,
            Self::Closed => true,
        }
    }
}

/// A connection with prior knowledge, after its preface.
pub struct Frames {
    io: TcpStream,
}

impl Frames {
    /// Connects, and sends preface and empty SETTINGS.
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &[]).await
    }

    /// The same with this payload of the SETTINGS.
    pub async fn open_with(address: SocketAddr, settings: &[u8]) -> Self {
        let mut io = within("connect", TcpStream::connect(address)).await.unwrap();
        io.set_nodelay(true).unwrap();
        io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        io.write_all(&frame(kind::SETTINGS, 0, 0, settings)).await.unwrap();
        Self { io }
    }

    /// Sends as they are; false if the other end left.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.io.write_all(bytes).await.is_ok()
    }

    /// Sends again and again, reading meanwhile, until the other end leaves or so often was sent. Gives the code it
    /// left with; `None` is an end without a word.
    pub async fn flood(self, rounds: usize, bytes: impl Fn(usize) -> Vec<u8>) -> Flooded {
        let (mut from, mut to) = self.io.into_split();
        let send = async {
            for round in 0..rounds {
                if to.write_all(&bytes(round)).await.is_err() {
                    return round;
                }
            }
            // Whoever lets all of it pass must end, too, when it is over.
            to.shutdown().await.ok();
            rounds
        };
        let read = async {
            let mut code = None;
            while let Some(came) = read_frame(&mut from).await {
                if came.kind == kind::GOAWAY {
                    code = Some(came.word(4));
                }
            }
            code
        };
        let (sent, code) = within("the end of a flood", async { tokio::join!(send, read) }).await;
        Flooded { sent, code }
    }

    /// The next frame; `None` at the connection's end.
    pub async fn next(&mut self) -> Option<Came> {
        within("a frame", read_frame(&mut self.io)).await
    }

    /// The next headers, data or end of a stream; what is said of others and of the connection is passed over, but for
    /// its questions, which are answered.
    pub async fn next_of(&mut self, stream: u32) -> Option<Came> {
        loop {
            let came = self.next().await?;
            match came.kind {
                kind::SETTINGS | kind::PING if came.flags & ACK == 0 => {
                    let payload = if came.kind == kind::PING { came.payload } else { Vec::new() };
                    self.send(&frame(came.kind, ACK, 0, &payload)).await;
                }
                kind::HEADERS | kind::DATA | kind::RST_STREAM if came.stream == stream => return Some(came),
                _ => {}
            }
        }
    }

    /// Reads what becomes of a stream.
    pub async fn fate(&mut self, stream: u32) -> Fate {
        let (mut status, mut body) = (0, Vec::new());
        while let Some(came) = self.next().await {
            let ends = came.flags & END_STREAM != 0;
            match came.kind {
                kind::HEADERS if came.stream == stream => {
                    if status == 0 {
                        status = status_of(&came.payload);
                    }
                    if ends {
                        return Fate::Answer(status, body);
                    }
                }
                kind::DATA if came.stream == stream => {
                    body.extend_from_slice(&came.payload);
                    if ends {
                        return Fate::Answer(status, body);
                    }
                }
                kind::RST_STREAM if came.stream == stream => return Fate::Reset(came.word(0), body),
                kind::GOAWAY => return Fate::Goaway(came.word(4)),
                _ => {}
            }
        }
        Fate::Closed
    }
}

/// How a flood ended.
#[derive(Debug, Clone, Copy)]
pub struct Flooded {
    /// Rounds that went out.
    pub sent: usize,
    /// The code of the GOAWAY.
    pub code: Option<u32>,
}

fn status_of(block: &[u8]) -> u16 {
    match block {
        [index @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)],
        _ => 599,
    }
}

async fn read_frame(io: &mut (impl AsyncReadExt + Unpin)) -> Option<Came> {
    let mut head = [0; 9];
    io.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    io.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Some(Came { kind: head[3], flags: head[4], stream, payload })
}

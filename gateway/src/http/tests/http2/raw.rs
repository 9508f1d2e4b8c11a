//! Frames by hand (RFC 9113 § 4.1).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::stage::{Stage, within};
use super::plain;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![len[1], len[2], len[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub(super) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

/// A header block of literal fields without indexing and without Huffman codes (RFC 7541 § 6.2.2).
pub(super) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            let len = text.len();
            if len < 127 {
                block.push(u8::try_from(len).unwrap());
            } else {
                block.push(127);
                let mut rest = len - 127;
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

pub(super) fn headers(stream: u32, fields: &[(&str, &[u8])]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields))
}

pub(super) fn get(stream: u32, authority: &str, path: &str) -> Vec<u8> {
    headers(
        stream,
        &[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":authority", authority.as_bytes()),
            (":path", path.as_bytes()),
        ],
    )
}

/// A frame that came.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Came {
    /// A number in the payload.
    pub(super) fn word(&self, at: usize) -> u32 {
        self.payload.get(at..at + 4).map_or(0, |word| u32::from_be_bytes(word.try_into().unwrap()))
    }

    /// The status of a response head, if it is one of the table's (RFC 7541, appendix A); 599 for all others.
    pub(super) fn status(&self) -> u16 {
        match (self.kind, self.payload.as_slice()) {
            (HEADERS, [index @ 0x88..=0x8e, ..]) => {
                [200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)]
            }
            (HEADERS, _) => 599,
            _ => 0,
        }
    }
}

/// A connection after its preface.
pub(super) struct Raw {
    pub(super) io: TcpStream,
}

impl Raw {
    pub(super) async fn of(stage: &Stage) -> Self {
        Self::on(plain(stage).await).await
    }

    pub(super) async fn on(mut io: TcpStream) -> Self {
        io.write_all(crate::http::h2::PREFACE).await.unwrap();
        io.write_all(&settings()).await.unwrap();
        Self { io }
    }

    /// Sends; the other end may have left.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        within(self.io.write_all(bytes)).await.is_ok()
    }

    /// The next frame; `None` at the connection's end.
    pub(super) async fn next(&mut self) -> Option<Came> {
        let mut head = [0; 9];
        within(self.io.read_exact(&mut head)).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        within(self.io.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Came { kind: head[3], stream, payload })
    }

    /// The next frame of this kind; `None` if the connection ends before.
    pub(super) async fn until(&mut self, kind: u8) -> Option<Came> {
        loop {
            let came = self.next().await?;
            if came.kind == kind {
                return Some(came);
            }
        }
    }

    /// The error that the connection ends with; `None` if it ends without a word, as after a reset of the socket.
    pub(super) async fn goaway(&mut self) -> Option<u32> {
        let mut last = None;
        while let Some(came) = self.next().await {
            if came.kind == GOAWAY {
                last = Some(came.word(4));
            }
        }
        last
    }

    /// What a stream ends with: the status of its answer, or the error of its reset, or of the connection's end.
    pub(super) async fn verdict(&mut self, stream: u32) -> Verdict {
        while let Some(came) = self.next().await {
            match came.kind {
                HEADERS if came.stream == stream => return Verdict::Status(came.status()),
                RST_STREAM if came.stream == stream => return Verdict::Reset(came.word(0)),
                GOAWAY => return Verdict::Goaway(came.word(4)),
                _ => {}
            }
        }
        Verdict::Closed
    }
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Verdict {
    Status(u16),
    Reset(u32),
    Goaway(u32),
    Closed,
}

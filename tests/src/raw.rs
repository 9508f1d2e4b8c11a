//! A client that sends any bytes and reads answers strictly: what follows an answer, and how the connection ended, is
//! part of what it saw.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::within;

/// How the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// By the end of its stream.
    End,
    /// By a reset.
    Reset,
}

/// One answer as its framing says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Its head.
    pub head: String,
    /// As much of the body as came.
    pub body: Vec<u8>,
    /// Whether a client may take the body for whole.
    pub is_whole: bool,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the first field with this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends `bytes`, closes the sending half, and reads to the end.
pub async fn converse(address: SocketAddr, bytes: &[u8]) -> (Vec<u8>, Close) {
    within("a conversation", async {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut from, mut to) = stream.into_split();
        let send = async {
            // A refusal may come, and with it the end, before all is sent.
            if to.write_all(bytes).await.is_ok() {
                to.shutdown().await.ok();
            }
        };
        let mut came = Vec::new();
        let read = async {
            loop {
                match from.read_buf(&mut came).await {
                    Ok(0) => return Close::End,
                    Ok(_) => {}
                    Err(_) => return Close::Reset,
                }
            }
        };
        let ((), close) = tokio::join!(send, read);
        (came, close)
    })
    .await
}

/// Takes a stream of answers apart; interim ones are left out. Panics at bytes that are no answer.
pub fn answers(bytes: &[u8], close: Close) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (answer, used) = answer(rest, close);
        rest = &rest[used..];
        if answer.status >= 200 {
            answers.push(answer);
        }
    }
    answers
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn answer(bytes: &[u8], close: Close) -> (Answer, usize) {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
    assert!(bytes.starts_with(b"HTTP/1."), "bytes that are no answer: {:?}", shown());
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        let head = shown();
        return (Answer { status: 999, head, body: Vec::new(), is_whole: false }, bytes.len());
    };
    let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let mut answer = Answer { status, head, body: Vec::new(), is_whole: true };
    let body = &bytes[end + 4..];
    if status < 200 || status == 204 || status == 304 {
        return (answer, end + 4);
    }
    let is_chunked = answer.field("transfer-encoding").is_some();
    let length: Option<usize> = answer.field("content-length").map(|length| length.parse().unwrap());
    assert!(!(is_chunked && length.is_some()), "two framings: {}", answer.head);
    let used = match length {
        _ if is_chunked => unchunk(body, &mut answer),
        Some(length) => {
            answer.is_whole = body.len() >= length;
            answer.body = body[..length.min(body.len())].to_vec();
            answer.body.len()
        }
        None => {
            answer.is_whole = close == Close::End;
            answer.body = body.to_vec();
            body.len()
        }
    };
    (answer, end + 4 + used)
}

fn unchunk(bytes: &[u8], answer: &mut Answer) -> usize {
    let mut at = 0;
    answer.is_whole = false;
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return bytes.len() };
        let line = std::str::from_utf8(&bytes[at..at + end]).unwrap();
        let size = usize::from_str_radix(line, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        at += end + 2;
        if size == 0 {
            let Some(end) = find(&bytes[at - 2..], b"\r\n\r\n") else { return bytes.len() };
            answer.is_whole = true;
            return at - 2 + end + 4;
        }
        let data = bytes.get(at..at + size).unwrap_or(&bytes[at..]);
        answer.body.extend_from_slice(data);
        if bytes.len() < at + size + 2 {
            return bytes.len();
        }
        at += size + 2;
    }
}

//! An origin that judges what reaches it: it reads requests more strictly than any origin does, remembers each, and
//! answers with the target that was asked for, so that an answer shows whose it is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running recorder. Ends when dropped.
pub struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

/// What came since it was last taken.
#[derive(Debug, Default)]
pub struct Seen {
    /// Whole requests in the order they ended.
    pub requests: Vec<Request>,
    /// What no gateway may send.
    pub violations: Vec<String>,
}

/// One whole request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its head as it came.
    pub head: String,
    /// Its target.
    pub target: String,
    /// Its body, decoded.
    pub body: Vec<u8>,
}

impl Request {
    /// The values of all fields with this name.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        fields(&self.head).filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

impl Recorder {
    /// Starts one on loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                connections.spawn(connection(stream, Arc::clone(&log)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, seen, task }
    }

    /// `http://address`, as a route's target.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes what came so far.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(mut stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    let mut buffer = Vec::new();
    loop {
        match request(&buffer) {
            Ok(Some((request, used))) => {
                buffer.drain(..used);
                let answer = answer(&request);
                seen.lock().unwrap().requests.push(request);
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Ok(None) => match stream.read_buf(&mut buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => {
                    // A body may be cut, which the origin can tell. A head is sent whole or not at all.
                    if !buffer.is_empty() && find(&buffer, b"\r\n\r\n").is_none() {
                        let text = String::from_utf8_lossy(&buffer).into_owned();
                        seen.lock().unwrap().violations.push(format!("half a head: {text:?}"));
                    }
                    return;
                }
            },
            Err(rule) => {
                let text = String::from_utf8_lossy(&buffer).into_owned();
                seen.lock().unwrap().violations.push(format!("{rule}: {text:?}"));
                return;
            }
        }
    }
}

fn answer(request: &Request) -> String {
    let body = if request.head.starts_with("HEAD ") { "" } else { request.target.as_str() };
    let length = request.target.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Origin: recorder\r\n\r\n{body}")
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn fields(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim_matches([' ', '\t'])))
}

/// Reads one request by the letter of RFC 9112, refusing even what that lets pass.
fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, &'static str> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end + 4])
        .or_else(|_| if bytes[..end].is_ascii() { Err("") } else { Ok("") })
        .unwrap_or_default();
    // Bytes above 127 may stand in values; the text is then read without loss of structure.
    let head = if head.is_empty() {
        String::from_utf8_lossy(&bytes[..end + 4]).into_owned()
    } else {
        head.to_owned()
    };
    let lines = &head[..head.len() - 4];
    if lines.replace("\r\n", "").contains(|c: char| c.is_control() && c != '\t') {
        return Err("a control character");
    }
    let first = lines.split("\r\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return Err("an odd request line") };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err("an odd method");
    }
    if !(target.starts_with('/') || target == "*")
        || target.contains('#')
        || !target.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err("an odd target");
    }
    for line in lines.split("\r\n").skip(1) {
        let Some((name, _)) = line.split_once(':') else { return Err("a line without a colon") };
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("an odd field name");
        }
    }
    let all = |wanted: &str| -> Vec<&str> {
        fields(&head).filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value).collect()
    };
    if all("host").len() != 1 {
        return Err("not one Host");
    }
    let start = end + 4;
    let framed = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Some((Vec::new(), start)),
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| "a huge length")?;
            bytes.get(start..start + length).map(|body| (body.to_vec(), start + length))
        }
        ([], ["chunked"]) => chunks(bytes, start)?,
        _ => return Err("two framings, or an odd one"),
    };
    let target = target.to_owned();
    Ok(framed.map(|(body, used)| (Request { head, target, body }, used)))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

type Framed = Option<(Vec<u8>, usize)>;

fn chunks(bytes: &[u8], mut at: usize) -> Result<Framed, &'static str> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else {
            return if bytes.len() - at > 18 { Err("a long chunk size") } else { Ok(None) };
        };
        let line = &bytes[at..at + end];
        if line.is_empty() || line.len() > 16 || !line.iter().all(u8::is_ascii_hexdigit) {
            return Err("an odd chunk size");
        }
        let size =
            usize::from_str_radix(std::str::from_utf8(line).unwrap(), 16).map_err(|_| "a huge chunk")?;
        at += end + 2;
        if size == 0 {
            return trailers(bytes, at).map(|end| end.map(|end| (body, end)));
        }
        let Some(data) = at.checked_add(size).and_then(|end| bytes.get(at..end)) else { return Ok(None) };
        body.extend_from_slice(data);
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Err("a chunk that does not end where it says"),
            None => return Ok(None),
        }
    }
}

fn trailers(bytes: &[u8], mut at: usize) -> Result<Option<usize>, &'static str> {
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        at += end + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if name.is_empty() || name.len() == line.len() || !name.iter().copied().all(is_token) {
            return Err("an odd trailer field");
        }
        let framing: [&[u8]; 4] = [b"transfer-encoding", b"content-length", b"host", b"authorization"];
        if framing.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return Err("a trailer field that decides about the message");
        }
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err("a control character in a trailer field");
        }
    }
}

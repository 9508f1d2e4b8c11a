//! A small blocking HTTP/1.1 client on one kept-alive connection, over TCP or a unix socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection that requests are sent on one after the other.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl Connection<TcpStream> {
    /// Connects over TCP.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, buffer: Vec::new() })
    }
}

impl Connection<UnixStream> {
    /// Connects to the admin API of a data directory.
    pub fn admin(data: &Path) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(data.join("control.sock"))?, buffer: Vec::new() })
    }
}

impl<S: Read + Write> Connection<S> {
    /// One request; the status and the body.
    pub fn call(&mut self, method: &str, host: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        // What changes something of the API says of which state; any will do here.
        let state = if method == "PATCH" { "If-Match: *\r\n" } else { "" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{kind}{state}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default()).into_owned();
        self.buffer.drain(..end);
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse::<usize>().ok())
            .unwrap_or(0);
        while self.buffer.len() < length {
            self.fill()?;
        }
        let body: Vec<u8> = self.buffer.drain(..length).collect();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend(chunk.iter().take(read));
        Ok(())
    }
}

//! What stands behind a VNC console, and Debian's websockify before it.
//!
//! The server is told by each request how much to answer, so that requests are pointers and keys, and answers pieces of a
//! screen. Neither bridge reads what passes: the gateway does for consoles with a password or to look at alone.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::gate::Gate;
use super::{Proxy, free_address, pinned, wait_until_open};

/// The shortest request: its length and that of its answer.
const REQUEST_BYTES: usize = 6;
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A request of `length` bytes for an answer of `answer` bytes.
pub fn request(length: u16, answer: u32) -> Vec<u8> {
    let mut bytes = [&length.to_be_bytes()[..], &answer.to_be_bytes()].concat();
    bytes.resize(usize::from(length).max(REQUEST_BYTES), b'p');
    bytes
}

/// Starts the server. It runs until the process ends.
pub fn server() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is how each of them ends.
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut to = stream.try_clone()?;
    let mut from = BufReader::with_capacity(64 * 1024, stream);
    let mut rest = vec![0; usize::from(u16::MAX)];
    let screen = vec![b's'; ANSWER_BYTES_MAX];
    loop {
        let (mut length, mut answer) = ([0; 2], [0; 4]);
        from.read_exact(&mut length)?;
        from.read_exact(&mut answer)?;
        let more = usize::from(u16::from_be_bytes(length)).saturating_sub(REQUEST_BYTES);
        from.read_exact(rest.get_mut(..more).unwrap_or_default())?;
        let answer = u32::from_be_bytes(answer) as usize;
        to.write_all(screen.get(..answer).unwrap_or_default())?;
    }
}

/// websockify before the server, on core 0: a process for each client.
pub fn websockify(server: SocketAddr) -> Result<Proxy> {
    let address = free_address()?;
    let running = pinned("0", "websockify", &[&address.to_string(), &server.to_string()], &[])?;
    wait_until_open(address).context("websockify is needed")?;
    Ok(Proxy {
        name: "websockify",
        http: address,
        https: address,
        pid: running.0.id(),
        data: None,
        _running: Some(running),
    })
}

/// The gateway's console of that server: its proxy, and the console.
pub fn console(gate: &Gate, server: SocketAddr) -> Result<(Proxy, String)> {
    gate.make("/api/v1/vms", &json!({ "name": "screen", "address": server.ip().to_string() }))?;
    let console = json!({ "vm": "screen", "kind": "vnc", "port": server.port() });
    let console = gate.make_id("/api/v1/consoles", &console)?;
    let address = gate.address("novnc")?;
    let proxy =
        Proxy { name: "gatehouse", http: address, https: address, pid: gate.pid, data: None, _running: None };
    Ok((proxy, console))
}

/// A ticket that opens a console once.
pub fn ticket(gate: &Gate, console: &str) -> Result<String> {
    let made = gate.make(&format!("/api/v1/consoles/{console}/tickets"), &json!({}))?;
    Ok(made.get("ticket").and_then(Value::as_str).context("no ticket")?.to_owned())
}

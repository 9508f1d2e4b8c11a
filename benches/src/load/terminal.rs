//! Keys pressed in a terminal of a machine, each after the echo of the one before.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::ssh::Talk;
use super::websocket::{WebSocket, message};

/// Makes the terminal one that says back each key by a program, as an editor does, and says so.
const ECHOING: &str = "stty raw -echo; printf 'rea''dy'; exec cat";
const READY: &[u8] = b"ready";
/// More than a shell says before it is ready.
const GREETING_BYTES: usize = 64 * 1024;
/// From the echo of a key to the next key. Nobody types so fast, but the processor has gone to rest meanwhile as it has for
/// people.
const PAUSE: Duration = Duration::from_millis(2);

/// A terminal that echoes.
pub enum Terminal {
    /// Of the browser's page.
    Page(Box<WebSocket>),
    /// By `ssh -tt`.
    Ssh(Box<Client>),
}

/// A client of OpenSSH.
pub struct Client(Talk);

impl Terminal {
    /// The one that a ticket opens at the gateway.
    pub fn page(gate: SocketAddr, ticket: &str) -> Result<Self> {
        let mut socket = WebSocket::open(gate, &format!("/ws?token={ticket}"), "tty")?;
        socket.send(&message(br#"{"AuthToken":"","columns":80,"rows":24}"#))?;
        socket.send(&message(format!("0{ECHOING}\r").as_bytes()))?;
        let mut printed = Vec::new();
        while !printed.ends_with(READY) {
            let came = socket.receive()?;
            if let Some((b'0', text)) = came.split_first() {
                printed.extend_from_slice(text);
            }
            within(&printed)?;
        }
        Ok(Self::Page(Box::new(socket)))
    }

    /// The one that a command of `ssh` opens.
    pub fn ssh(command: &mut Command) -> Result<Self> {
        let mut talk = Talk::start(command.args(["-tt"]).arg(ECHOING))?;
        let mut printed = Vec::new();
        while !printed.ends_with(READY) {
            let mut byte = [0];
            talk.from.read_exact(&mut byte).context("the terminal ended")?;
            printed.extend(byte);
            within(&printed)?;
        }
        Ok(Self::Ssh(Box::new(Client(talk))))
    }

    /// Presses so many keys; gives the time to each echo in microseconds.
    #[expect(clippy::disallowed_methods, reason = "the rate of the keys")]
    pub fn press(&mut self, keys: usize) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(keys);
        for key in (b'a'..=b'z').cycle().take(keys) {
            std::thread::sleep(PAUSE);
            let begun = Instant::now();
            let echoed = self.echo(key)?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
            if echoed != key {
                bail!("{:?} was echoed for {:?}", char::from(echoed), char::from(key));
            }
        }
        Ok(times)
    }

    fn echo(&mut self, key: u8) -> Result<u8> {
        match self {
            Self::Page(socket) => {
                socket.send(&message(&[b'0', key]))?;
                loop {
                    if let [b'0', echoed] = socket.receive()? {
                        return Ok(*echoed);
                    }
                }
            }
            Self::Ssh(client) => {
                let mut echoed = [0];
                client.0.to.write_all(&[key])?;
                client.0.from.read_exact(&mut echoed)?;
                let [echoed] = echoed;
                Ok(echoed)
            }
        }
    }
}

fn within(printed: &[u8]) -> Result<()> {
    if printed.len() > GREETING_BYTES {
        bail!("the shell says too much: {}", String::from_utf8_lossy(printed));
    }
    Ok(())
}

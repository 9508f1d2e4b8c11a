//! Datagrams through a forward, each echoed before the next one goes.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, bail};

/// Payload of each.
const BYTES: usize = 512;
/// How often one is sent again before the forward is given up: ten seconds in all.
const TRIES: usize = 40;

/// Sends `count` datagrams from `sockets` sockets and waits for each echo. Gives the echoes.
pub fn run(address: SocketAddr, sockets: usize, count: usize) -> Result<f64> {
    let each = count.div_ceil(sockets.max(1));
    let threads: Vec<_> =
        (0..sockets).map(|_| std::thread::spawn(move || one_socket(address, each))).collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??;
    }
    Ok((each * sockets) as f64)
}

fn one_socket(address: SocketAddr, count: usize) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(250)))?;
    socket.connect(address)?;
    for number in 0..count {
        let mut sent = [0; BYTES];
        for (byte, value) in sent.iter_mut().zip((number as u64).to_be_bytes()) {
            *byte = value;
        }
        exchange(&socket, &sent)?;
    }
    Ok(())
}

fn exchange(socket: &UdpSocket, sent: &[u8; BYTES]) -> Result<()> {
    let mut echoed = [0; BYTES];
    for _ in 0..TRIES {
        // What fails here is a refusal of the datagram before; nothing comes then, and it is sent again.
        let _ = socket.send(sent);
        loop {
            match socket.recv(&mut echoed) {
                Ok(_) if echoed == *sent => return Ok(()),
                // The echo of one that was sent twice.
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                // Not open yet, or between two sessions (socat binds its port anew for each): the wait goes on.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    bail!("no echo after {TRIES} tries")
}

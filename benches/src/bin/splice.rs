//! The least that a TCP forward can be: two threads and two pipes for each connection, and splice(2). `compare` measures
//! the gateway against it.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::Result;
use clap::Parser;
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};

/// Carries the connections of one port to an address.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    listen: SocketAddr,
    /// Where they lead.
    target: SocketAddr,
}

/// As large as the system gives to everybody.
const PIPE_BYTES: usize = 1024 * 1024;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind(arguments.listen)?;
    loop {
        let (client, _) = listener.accept()?;
        let target = TcpStream::connect(arguments.target)?;
        client.set_nodelay(true)?;
        target.set_nodelay(true)?;
        let (client_again, target_again) = (client.try_clone()?, target.try_clone()?);
        std::thread::spawn(move || carry(&client, &target));
        std::thread::spawn(move || carry(&target_again, &client_again));
    }
}

/// Until one side ends; an error is an end, too.
fn carry(from: &TcpStream, to: &TcpStream) {
    let _ = pump(from, to);
    let _ = to.shutdown(Shutdown::Write);
}

fn pump(from: &TcpStream, to: &TcpStream) -> Result<()> {
    let (reader, writer) = pipe()?;
    // A smaller one carries as well.
    let _ = fcntl_setpipe_size(&writer, PIPE_BYTES);
    loop {
        let mut held = splice(from, None, &writer, None, PIPE_BYTES, SpliceFlags::MOVE)?;
        if held == 0 {
            return Ok(());
        }
        while held > 0 {
            held -= splice(&reader, None, to, None, held, SpliceFlags::MOVE)?;
        }
    }
}

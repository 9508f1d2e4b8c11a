//! Many connections that have made one request and wait.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use anyhow::Result;
use rustls::{ClientConnection, StreamOwned};

use super::bulk::read_response;
use crate::peers::HOST;

/// Connections that stay open until this is dropped.
pub struct Held {
    _plain: Vec<TcpStream>,
    _secured: Vec<StreamOwned<ClientConnection, TcpStream>>,
}

/// Opens `count` connections, makes one request on each and keeps them.
pub fn open(address: SocketAddr, is_tls: bool, count: usize) -> Result<Held> {
    let mut held = Held { _plain: Vec::new(), _secured: Vec::new() };
    let config = super::tls()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for nth in 0..count {
        let mut tcp = super::connect_nth(address, nth)?;
        if is_tls {
            let mut io = StreamOwned::new(ClientConnection::new(config.clone(), super::server_name()?)?, tcp);
            io.write_all(request.as_bytes())?;
            io.flush()?;
            read_response(&mut io, 1024)?;
            held._secured.push(io);
        } else {
            tcp.write_all(request.as_bytes())?;
            read_response(&mut tcp, 1024)?;
            held._plain.push(tcp);
        }
    }
    Ok(held)
}

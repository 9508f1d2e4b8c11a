//! Ports that are taken, and ports that nobody listens on.

use std::net::{SocketAddr, TcpListener};

/// A port that something else holds for as long as this lives.
pub struct Occupied(TcpListener);

impl Occupied {
    /// Takes any free port on loopback.
    pub fn port() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The address that is taken.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// An address on loopback that refuses connections: it was free a moment ago.
pub fn refusing() -> SocketAddr {
    Occupied::port().address()
}

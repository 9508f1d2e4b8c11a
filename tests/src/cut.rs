//! A network that can be cut, and may lead elsewhere: a relay of TCP on loopback between a client and a server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A relay to one address. Its connections end with it.
pub struct Cut {
    address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    /// Counts cuts; `None` lets nobody through.
    passes: Arc<watch::Sender<Option<u64>>>,
}

impl Cut {
    /// Relays to `server`.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passes = Arc::new(watch::Sender::new(Some(0)));
        let seen = Arc::clone(&passes);
        let server = Arc::new(Mutex::new(server));
        let leads = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = *leads.lock().unwrap();
                tokio::spawn(relay(client, server, seen.subscribe()));
            }
        });
        Self { address, server, passes }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection, and leads new ones to this server.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = server;
        self.cut();
    }

    /// Breaks every connection, and lets new ones through.
    pub fn cut(&self) {
        self.passes.send_modify(|passes| *passes = Some(passes.unwrap_or_default() + 1));
    }

    /// Breaks every connection, and each new one at once.
    pub fn close(&self) {
        self.passes.send_replace(None);
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.close();
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, mut passes: watch::Receiver<Option<u64>>) {
    if passes.borrow_and_update().is_none() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = passes.changed() => {}
    }
}

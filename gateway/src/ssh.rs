//! The jump host: public key to principal, `direct-tcpip` to granted VMs, everything else refused by construction.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use crate::guard::Permit;
use crate::worker::Worker;

/// Serves one SSH connection to its end. Without a generation in force, or without a host key in it, it is closed.
pub async fn serve(worker: Rc<Worker>, tcp: TcpStream, peer: SocketAddr, permit: Permit) {
    let _ = (worker, tcp, peer, permit);
}

//! A new connection, under a deadline, only to addresses that may be dialled.

use std::net::SocketAddr;
use std::time::Duration;

use config::{limits, target};
use tokio::net::TcpStream;

use crate::fault::{Cause, Fault, Kind, Retry};

/// Opens a connection to one address. Checked right before the connect, so a name that has come to mean something else
/// gets nowhere.
///
/// Errors: an upstream fault that is safe to try elsewhere.
pub async fn dial_address(
    address: SocketAddr,
    loopback_ok: bool,
    own: &[SocketAddr],
) -> Result<TcpStream, Fault> {
    if let Err(forbidden) = target::check(address, loopback_ok, own) {
        return Err(Fault::upstream(Kind::Forbidden, Retry::Safe, std::io::Error::other(forbidden)));
    }
    let deadline = Duration::from_millis(limits::CONNECT_DEADLINE_MS);
    let io = match tokio::time::timeout(deadline, TcpStream::connect(address)).await {
        Ok(Ok(io)) => io,
        Ok(Err(cause)) => return Err(Fault::upstream(kind(&cause), Retry::Safe, cause)),
        Err(_) => {
            return Err(Fault::upstream(
                Kind::Timeout,
                Retry::Safe,
                Cause::Rule("the connect took too long"),
            ));
        }
    };
    let ends = io.local_addr().and_then(|local| Ok((local, io.peer_addr()?)));
    let (local, peer) = ends.map_err(|cause| Fault::upstream(Kind::Refused, Retry::Safe, cause))?;
    if let Err(forbidden) = target::check_connected(local, peer, own) {
        return Err(Fault::upstream(Kind::Forbidden, Retry::Safe, std::io::Error::other(forbidden)));
    }
    io.set_nodelay(true).map_err(|cause| Fault::upstream(Kind::Refused, Retry::Safe, cause))?;
    Ok(io)
}

/// Tries several addresses of one endpoint in order.
pub(super) async fn first_of(
    addresses: &[SocketAddr],
    loopback_ok: bool,
    own: &[SocketAddr],
) -> Result<TcpStream, Fault> {
    let mut last = Fault::upstream(Kind::Unresolved, Retry::Safe, Cause::Rule("the name has no address"));
    for address in addresses {
        match dial_address(*address, loopback_ok, own).await {
            Ok(io) => return Ok(io),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has more ways to fail than we have answers")]
fn kind(cause: &std::io::Error) -> Kind {
    match cause.kind() {
        std::io::ErrorKind::TimedOut => Kind::Timeout,
        _ => Kind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_of_our_own_is_not_dialled_even_where_root_allowed_loopback() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();

        let fault = dial_address(address, true, &[address]).await.unwrap_err();

        assert_eq!((fault.kind, fault.retry), (Kind::Forbidden, Retry::Safe));
    }

    #[tokio::test]
    async fn loopback_is_dialled_only_where_root_allowed_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();

        assert_eq!(dial_address(address, false, &[]).await.unwrap_err().kind, Kind::Forbidden);
        assert!(dial_address(address, true, &[]).await.unwrap().nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);

        assert_eq!(dial_address(address, true, &[]).await.unwrap_err().kind, Kind::Refused);
    }
}

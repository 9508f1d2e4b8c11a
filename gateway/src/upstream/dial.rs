//! A new connection, under a deadline, only to addresses that may be dialled.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use config::{limits, target};
use socket2::{SockRef, TcpKeepalive};
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
    prepare(&io).map_err(|cause| Fault::upstream(Kind::Refused, Retry::Safe, cause))?;
    Ok(io)
}

/// Small writes go at once; a peer that is gone without a word is found out, which matters to tunnels.
fn prepare(io: &TcpStream) -> std::io::Result<()> {
    io.set_nodelay(true)?;
    let (idle_ms, interval_ms, probes) = limits::UPSTREAM_KEEPALIVE;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_millis(idle_ms))
        .with_interval(Duration::from_millis(interval_ms))
        .with_retries(probes);
    SockRef::from(io).set_tcp_keepalive(&keepalive)
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<TcpStream, Fault>> + 'a>>;

/// Tries several addresses of one endpoint: in order, each with a head start over the next (RFC 8305 § 5), and the first
/// that answers wins. Returns the address too.
pub(super) async fn first_of(
    addresses: &[SocketAddr],
    loopback_ok: bool,
    own: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), Fault> {
    let mut waiting = addresses.iter();
    let mut racing: Vec<(SocketAddr, Attempt<'_>)> = Vec::new();
    let mut last = Fault::upstream(Kind::Unresolved, Retry::Safe, Cause::Rule("the name has no address"));
    loop {
        match waiting.next() {
            Some(address) => racing.push((*address, Box::pin(dial_address(*address, loopback_ok, own)))),
            None if racing.is_empty() => return Err(last),
            None => {}
        }
        let head_start = Duration::from_millis(limits::ADDRESS_HEAD_START_MS);
        tokio::select! {
            biased;
            (address, result) = first_done(&mut racing) => match result {
                Ok(io) => return Ok((io, address)),
                Err(fault) => last = fault,
            },
            () = tokio::time::sleep(head_start), if waiting.len() > 0 => {}
        }
    }
}

/// Waits for one of the attempts, and takes it out.
async fn first_done(racing: &mut Vec<(SocketAddr, Attempt<'_>)>) -> (SocketAddr, Result<TcpStream, Fault>) {
    std::future::poll_fn(|context| {
        for (at, (_, attempt)) in racing.iter_mut().enumerate() {
            if let Poll::Ready(result) = attempt.as_mut().poll(context) {
                let (address, _) = racing.remove(at);
                return Poll::Ready((address, result));
            }
        }
        Poll::Pending
    })
    .await
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

    #[tokio::test]
    async fn an_address_that_does_not_work_gives_way_to_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // Refused at once; forbidden; and one that never answers a connect.
        let gone = { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
        let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&full).listen(0).unwrap();
        let silent = full.local_addr().unwrap();
        let _queued = [std::net::TcpStream::connect(silent).unwrap()];

        for bad in [gone, "0.0.0.0:80".parse().unwrap(), silent] {
            let (io, address) = first_of(&[bad, good], true, &[]).await.unwrap();
            assert_eq!((address, io.peer_addr().unwrap()), (good, good));
        }
        assert_eq!(first_of(&[gone], true, &[]).await.unwrap_err().kind, Kind::Refused);
        assert_eq!(first_of(&[], true, &[]).await.unwrap_err().kind, Kind::Unresolved);
    }

    #[tokio::test]
    async fn a_dead_peer_is_found_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let io = dial_address(listener.local_addr().unwrap(), true, &[]).await.unwrap();
        assert!(SockRef::from(&io).keepalive().unwrap());
    }
}

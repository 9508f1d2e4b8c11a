//! Connections from proxies that say by the PROXY protocol who asks, before anything else is spoken.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use config::limits;
use ipnet::IpNet;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::proxy_protocol::{Broken, Progress, parse};

/// Why a connection that has to begin with a header is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// What came is no header.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The connection failed or ended.
    #[error("the connection ended inside its PROXY protocol header")]
    Ended(#[from] io::Error),
    /// It did not come in time.
    #[error("the PROXY protocol header took longer than {} ms", limits::PROXY_HEADER_DEADLINE_MS)]
    Late,
}

/// Whether connections from `peer` have to begin with a header.
pub(super) fn is_expected(networks: &[IpNet], peer: SocketAddr) -> bool {
    let ip = peer.ip().to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

/// Takes the header, and not a byte more. Returns who asks; `None` is the proxy itself.
pub(super) async fn source(tcp: &mut TcpStream) -> Result<Option<SocketAddr>, Refused> {
    source_within(tcp, Duration::from_millis(limits::PROXY_HEADER_DEADLINE_MS)).await
}

async fn source_within(tcp: &mut TcpStream, time: Duration) -> Result<Option<SocketAddr>, Refused> {
    timeout(time, read(tcp)).await.map_err(|_| Refused::Late)?
}

async fn read(tcp: &mut TcpStream) -> Result<Option<SocketAddr>, Refused> {
    let mut head = Vec::new();
    let mut piece = [0; limits::PROXY_LINE_BYTES_MAX];
    loop {
        // Looked at before it is taken: what follows the header belongs to TLS, HTTP or SSH.
        let seen = tcp.peek(&mut piece).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let before = head.len();
        head.extend_from_slice(piece.get(..seen).unwrap_or_default());
        let (progress, taken) = match parse(&head)? {
            Progress::Complete { len, source } => (Some(source), len.saturating_sub(before)),
            Progress::Partial => (None, seen),
        };
        tcp.read_exact(piece.get_mut(..taken).unwrap_or_default()).await?;
        if let Some(source) = progress {
            return Ok(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn not_a_byte_behind_the_header_is_taken_however_it_comes() {
        let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n".to_vec();
        let mut long =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x01\x0f\xc0\0\x02\x01\x0a\0\0\x01\x12\x67\x01\xbb".to_vec();
        long.extend_from_slice(&[4, 1, 0]);
        long.resize(16 + 0x10f, 7);
        for header in [line, long] {
            for cut in [0, 1, 13, header.len() - 1, header.len()] {
                let (mut near, mut far) = pair().await;
                near.set_nodelay(true).unwrap();
                near.write_all(&header[..cut]).await.unwrap();
                let rest = header[cut..].to_vec();
                let later = async {
                    tokio::task::yield_now().await;
                    near.write_all(&[&rest[..], b"GET"].concat()).await.unwrap();
                };
                let (source, ()) = tokio::join!(source(&mut far), later);
                assert_eq!(source.unwrap(), Some("192.0.2.1:4711".parse().unwrap()));
                let mut next = [0; 3];
                far.read_exact(&mut next).await.unwrap();
                assert_eq!(&next, b"GET");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_and_what_ends_inside_one_is_refused() {
        for (bytes, is_broken) in
            [(&b"GET / HTTP/1.1\r\n"[..], true), (b"PROXY TCP4 192.", false), (b"", false)]
        {
            let (mut near, mut far) = pair().await;
            near.write_all(bytes).await.unwrap();
            near.shutdown().await.unwrap();
            let refused = source(&mut far).await.unwrap_err();
            assert_eq!(matches!(refused, Refused::Broken(_)), is_broken, "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_says_nothing_is_not_waited_for() {
        let (_near, mut far) = pair().await;
        let refused = source_within(&mut far, Duration::from_millis(10)).await.unwrap_err();
        assert!(matches!(refused, Refused::Late));
    }

    #[test]
    fn only_the_networks_named_have_to_introduce_themselves() {
        let networks = ["10.0.0.0/8".parse().unwrap()];
        assert!(is_expected(&networks, "10.1.2.3:5".parse().unwrap()));
        assert!(is_expected(&networks, "[::ffff:10.1.2.3]:5".parse().unwrap()));
        assert!(!is_expected(&networks, "192.0.2.1:5".parse().unwrap()));
    }
}

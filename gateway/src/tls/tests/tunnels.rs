//! WebSockets on a route over TLS: bytes, ends, aborts and silence, and TLS to the origin as well.
//!
//! An end with `close_notify` is a half-close, and the other direction goes on. A connection that ends without one was
//! cut off (RFC 8446 § 6.1): what comes of it is a reset for the other side, never an end in order.

use std::sync::Arc;
use std::time::Duration;

use certs::self_signed::SubjectName;
use config::id::EndpointId;
use config::name::{HostName, HostPattern};
use config::snapshot::{
    Action, Endpoint, Route, Timeouts, Upstream, UpstreamPolicy, UpstreamTls, Value, Verify,
};
use config::target::Target;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::now;
use super::site::{ClientStream, Site, on_a_worker, route};

const HOST: &str = "app.example";
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
                         Sec-WebSocket-Protocol: chat, binary\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: a\r\nSec-WebSocket-Protocol: binary\r\n\
                         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

struct Tunnels {
    site: Site,
    origin: TcpListener,
}

impl Tunnels {
    async fn new(change: impl FnOnce(&Site, &mut Route)) -> Self {
        let site = Site::new();
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint {
            id: EndpointId::from_bytes([1; 16]),
            target: Target::Address(origin.local_addr().unwrap()),
            loopback_ok: true,
            vm: None,
            weight: 1,
            draining: false,
        };
        let mut secured = route(1, HOST, "/");
        secured.websocket = true;
        secured.action = Action::Forward(Upstream { endpoints: [endpoint].into(), policy: None });
        change(&site, &mut secured);
        assert!(site.put([site.identity(1, &[HOST]), Value::Route(secured)]).is_empty());
        Self { site, origin }
    }

    /// A client's side of a tunnel, once the origin has agreed.
    async fn open(&self) -> (ClientStream, TcpStream) {
        let client = Arc::new(self.site.client());
        let mut client = self.site.connect(&client, HOST).await.unwrap();
        client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        let mut origin = self.origin.accept().await.unwrap().0;
        agree(&mut client, &mut origin).await;
        (client, origin)
    }

    async fn all_ended(&self) {
        while !self.site.worker.shared.sessions.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

/// The rest of the handshake, with what extensions and sub-protocols are offered and taken.
async fn agree(client: &mut ClientStream, origin: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let asked = head(origin).await;
    for line in [
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol: chat, binary",
    ] {
        assert!(asked.lines().any(|one| one == line), "{asked}");
    }
    origin.write_all(SWITCHING.as_bytes()).await.unwrap();
    origin.flush().await.unwrap();
    let granted = head(client).await;
    assert!(granted.starts_with("HTTP/1.1 101 "), "{granted}");
    for line in ["Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: binary"] {
        assert!(granted.lines().any(|one| one == line), "{granted}");
    }
}

/// A head, byte by byte: what follows is the tunnel's.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Sends so many bytes from one end and asserts that the other gets them.
async fn carries(from: &mut (impl AsyncWrite + Unpin), to: &mut (impl AsyncRead + Unpin), count: usize) {
    let sent: Vec<u8> = (0..count).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    let mut heard = vec![0; count];
    let send = async {
        from.write_all(&sent).await.unwrap();
        from.flush().await.unwrap();
    };
    let ((), read) = tokio::join!(send, to.read_exact(&mut heard));
    read.unwrap();
    assert!(heard == sent, "{count} bytes came out otherwise");
}

/// How a stream ended: what was still read, and whether in order.
async fn end_of(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, bool) {
    let mut rest = Vec::new();
    let is_ordered = stream.read_to_end(&mut rest).await.is_ok();
    (rest, is_ordered)
}

#[test]
fn a_tunnel_over_tls_is_bytes_and_close_notify_ends_one_direction() {
    on_a_worker(async || {
        let tunnels = Tunnels::new(|_, _| {}).await;
        let (mut client, mut origin) = tunnels.open().await;
        for count in [1, 125, 16_384, 16_385, 1_000_000] {
            carries(&mut client, &mut origin, count).await;
            carries(&mut origin, &mut client, count).await;
        }
        client.shutdown().await.unwrap();
        assert_eq!(end_of(&mut origin).await, (Vec::new(), true));
        carries(&mut origin, &mut client, 70_000).await;
        drop(origin);
        assert_eq!(end_of(&mut client).await, (Vec::new(), true), "the gate says close_notify, too");
        tunnels.all_ended().await;

        let (mut client, mut origin) = tunnels.open().await;
        origin.shutdown().await.unwrap();
        assert_eq!(end_of(&mut client).await, (Vec::new(), true));
        carries(&mut client, &mut origin, 70_000).await;
        client.shutdown().await.unwrap();
        assert_eq!(end_of(&mut origin).await, (Vec::new(), true));
        tunnels.all_ended().await;
    });
}

#[test]
fn an_end_without_close_notify_is_a_reset_for_the_other_side() {
    on_a_worker(async || {
        let tunnels = Tunnels::new(|_, _| {}).await;
        let (mut client, mut origin) = tunnels.open().await;
        carries(&mut client, &mut origin, 100).await;
        // The bare connection closes in order; TLS says nothing.
        drop(client.into_inner().0);
        assert_eq!(end_of(&mut origin).await, (Vec::new(), false), "whoever cuts a tunnel ends no message");
        tunnels.all_ended().await;

        let (mut client, origin) = tunnels.open().await;
        socket2::SockRef::from(&origin).set_linger(Some(Duration::ZERO)).unwrap();
        drop(origin);
        assert_eq!(end_of(&mut client).await, (Vec::new(), false), "no close_notify");
        tunnels.all_ended().await;
    });
}

#[test]
fn a_tunnel_over_tls_ends_when_it_was_silent_too_long_and_not_before() {
    on_a_worker(async || {
        let brief = Timeouts { tunnel_ms: Some(1_000), ..Timeouts::default() };
        let tunnels = Tunnels::new(|_, route| route.timeouts = Some(Box::new(brief))).await;
        let (mut silent, mut unheard) = tunnels.open().await;
        let (mut busy, mut origin) = tunnels.open().await;
        let ended = tokio::task::spawn_local(async move { end_of(&mut silent).await });
        while !ended.is_finished() {
            carries(&mut busy, &mut origin, 10).await;
        }
        assert_eq!(ended.await.unwrap(), (Vec::new(), false));
        assert_eq!(end_of(&mut unheard).await, (Vec::new(), false));
        carries(&mut busy, &mut origin, 10).await;
    });
}

#[test]
fn a_client_that_never_reads_stops_the_origin() {
    on_a_worker(async || {
        let tunnels = Tunnels::new(|_, _| {}).await;
        let (mut client, mut origin) = tunnels.open().await;
        let much = vec![b'd'; 1 << 16];
        let mut sent = 0;
        while let Ok(Ok(count)) = tokio::time::timeout(Duration::from_millis(200), origin.write(&much)).await
        {
            sent += count;
            assert!(sent < 32 << 20, "the gate takes everything");
        }
        // It reads after all: every byte is there.
        let mut heard = vec![0; sent];
        client.read_exact(&mut heard).await.unwrap();
        assert!(heard.iter().all(|byte| *byte == b'd'));
    });
}

#[test]
fn a_change_cuts_a_tunnel_over_tls_without_an_end_in_order() {
    on_a_worker(async || {
        let tunnels = Tunnels::new(|_, _| {}).await;
        let (mut client, mut origin) = tunnels.open().await;
        carries(&mut client, &mut origin, 10).await;
        tunnels.site.put([]);
        assert_eq!(end_of(&mut client).await, (Vec::new(), false));
        assert_eq!(end_of(&mut origin).await, (Vec::new(), false));
    });
}

#[test]
fn a_tunnel_goes_on_to_an_origin_that_speaks_tls_itself() {
    on_a_worker(async || {
        let tunnels = Tunnels::new(|site, route| {
            let authority = CertificateDer::from(site.authority.certificate_der()).to_vec();
            let tls = UpstreamTls {
                verify: Verify::Authorities([authority].into()),
                server_name: Some(HostName::parse("origin.example").unwrap()),
                client: None,
            };
            if let Action::Forward(upstream) = &mut route.action {
                upstream.policy = Some(UpstreamPolicy { tls: Some(tls), ..UpstreamPolicy::default() }.into());
            }
        })
        .await;
        let name = SubjectName::Host(HostPattern::parse("origin.example").unwrap());
        let leaf = tunnels.site.authority.issue_server(&[name], now(), 30).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = leaf.chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::try_from(leaf.key.expose().clone()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let open = async || {
            let client = Arc::new(tunnels.site.client());
            let mut client = tunnels.site.connect(&client, HOST).await.unwrap();
            client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
            let mut origin = acceptor.accept(tunnels.origin.accept().await.unwrap().0).await.unwrap();
            agree(&mut client, &mut origin).await;
            (client, origin)
        };
        let (mut client, mut origin) = open().await;
        for count in [1, 16_385, 1_000_000] {
            carries(&mut client, &mut origin, count).await;
            carries(&mut origin, &mut client, count).await;
        }
        client.shutdown().await.unwrap();
        assert_eq!(end_of(&mut origin).await, (Vec::new(), true));
        carries(&mut origin, &mut client, 70_000).await;
        origin.shutdown().await.unwrap();
        assert_eq!(end_of(&mut client).await, (Vec::new(), true));
        tunnels.all_ended().await;

        let (mut client, origin) = open().await;
        // Cut off without a word.
        drop(origin.into_inner().0);
        assert_eq!(end_of(&mut client).await, (Vec::new(), false));
        tunnels.all_ended().await;
    });
}

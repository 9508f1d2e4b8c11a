//! Over TLS, where a write may stay in a layer between: what was passed on arrives without waiting for more.

use std::rc::Rc;
use std::sync::Arc;

use config::snapshot::{Route, Value};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::stage::{GET, Stage, on_a_worker, within};
use crate::http::{ConnMeta, Protocol, SecuredMeta, serve};
use crate::listener::Kind;

async fn connect(stage: &Stage) -> TlsStream<TcpStream> {
    let made = rcgen::generate_simple_self_signed(["app.example".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
        )
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, peer) = listener.accept().await.unwrap();
    let local = far.local_addr().unwrap();
    let name = ServerName::try_from("app.example").unwrap();
    let (near, far) = within(async {
        tokio::try_join!(
            TlsConnector::from(Arc::new(client)).connect(name, near),
            TlsAcceptor::from(Arc::new(server)).accept(far)
        )
    })
    .await
    .unwrap();
    let secured = Some(SecuredMeta { sni: Some("app.example".into()), ..SecuredMeta::default() });
    let permit = stage.worker.shared.guard.admit_connection(peer.ip()).unwrap();
    let meta = ConnMeta { peer, local, kind: Kind::Https, secured, protocol: Protocol::Http1 };
    tokio::task::spawn_local(serve(Rc::clone(&stage.worker), far, meta, permit));
    near
}

async fn read_to(io: &mut TlsStream<TcpStream>, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        assert!(within(io.read_buf(&mut read)).await.unwrap() > 0, "{:?}", String::from_utf8_lossy(&read));
    }
    read
}

#[test]
fn each_event_of_a_stream_arrives_when_it_was_sent() {
    on_a_worker(async |stage| {
        let mut client = connect(&stage).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        read_to(&mut client, b"\r\n\r\n").await;
        for turn in 0..50 {
            let event = format!("7\r\nevent{turn:02}\r\n");
            origin.send(&event).await;
            assert_eq!(read_to(&mut client, event.as_bytes()).await, event.as_bytes());
        }
    });
}

#[test]
fn a_large_body_reaches_a_client_that_is_slow_to_read() {
    const LEN: usize = 6 * 1024 * 1024;
    on_a_worker(async |stage| {
        let mut client = connect(&stage).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        let mut origin = stage.accept().await;
        origin.message().await;
        let body = vec![b'x'; LEN];
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n");
        let send = async {
            origin.io.write_all(head.as_bytes()).await?;
            origin.io.write_all(&body).await
        };
        let receive = async {
            let mut total = 0;
            let mut block = vec![0; 3_000];
            while total < LEN + head.len() {
                tokio::task::yield_now().await;
                total += client.read(&mut block).await?;
            }
            std::io::Result::Ok(total)
        };
        let sent = within(async { tokio::join!(send, receive) }).await;
        sent.0.unwrap();
        assert_eq!(sent.1.unwrap(), LEN + head.len());
    });
}

/// A body that ends with the connection is whole only after `close_notify`.
#[test]
fn a_body_that_ends_with_the_connection_ends_in_order_only_when_whole() {
    on_a_worker(async |stage| {
        for is_whole in [true, false] {
            let mut client = connect(&stage).await;
            client.write_all(GET.as_bytes()).await.unwrap();
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send("HTTP/1.1 200 OK\r\n\r\nhello").await;
            let read = read_to(&mut client, b"hello").await;
            assert!(read.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&read));
            if !is_whole {
                origin.io.set_zero_linger().unwrap();
            }
            drop(origin);
            let end = within(client.read(&mut [0; 8])).await.map_err(|cause| cause.kind());
            let expected = if is_whole { Ok(0) } else { Err(std::io::ErrorKind::UnexpectedEof) };
            assert_eq!(end, expected);
        }
    });
}

/// RFC 6797 § 7.2: over plain HTTP nobody says it, and where the route says it the origin does not.
#[test]
fn hsts_is_told_over_tls_alone_and_the_routes_own_goes_before_the_origins() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=7\r\nConnection: close\r\n\
                          Content-Length: 0\r\n\r\n";
    let told = |head: &str| -> Vec<String> {
        let lines = head.lines().map(str::to_ascii_lowercase);
        lines.filter_map(|line| line.strip_prefix("strict-transport-security: ").map(str::to_owned)).collect()
    };
    on_a_worker(async |stage| {
        for (number, hsts_seconds, expected) in [(8, Some(300), "max-age=300"), (9, None, "max-age=7")] {
            let route = Route { hsts_seconds, ..stage.route("app.example", "/") };
            stage.generation(number, [Value::Route(route)]);

            let mut client = connect(&stage).await;
            client.write_all(GET.as_bytes()).await.unwrap();
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send(ANSWER).await;
            let head = read_to(&mut client, b"\r\n\r\n").await;
            assert_eq!(told(std::str::from_utf8(&head).unwrap()), [expected]);

            let mut client = stage.connect().await;
            client.send(GET).await;
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send(ANSWER).await;
            assert_eq!(told(&client.until("\r\n\r\n").await), [""; 0], "{hsts_seconds:?}");
        }
    });
}

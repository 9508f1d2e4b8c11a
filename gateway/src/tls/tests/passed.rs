use std::sync::Arc;
use std::time::Duration;

use config::id::EndpointId;
use config::snapshot::{
    Action, Endpoint, Filters, FlowPolicy, ProxyProtocol, Route, Timeouts, TlsMode, Upstream, UpstreamPolicy,
    Value,
};
use config::target::Target;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::hello::tests::old_hello;
use super::site::{Site, get, on_a_worker, route};
use crate::listener::Kind;

/// A route of `pass.example` to these origins.
fn passed(origins: &[&TcpListener]) -> Route {
    let endpoint = |(at, origin): (usize, &&TcpListener)| Endpoint {
        id: EndpointId::from_bytes([at as u8 + 1; 16]),
        target: Target::Address(origin.local_addr().unwrap()),
        loopback_ok: true,
        vm: None,
        weight: 1,
        draining: false,
    };
    let endpoints = origins.iter().enumerate().map(endpoint).collect();
    Route {
        tls: TlsMode::Passthrough,
        action: Action::Forward(Upstream { endpoints, policy: None }),
        ..route(7, "pass.example", "/")
    }
}

fn with_policy(mut route: Route, change: impl FnOnce(&mut UpstreamPolicy)) -> Route {
    if let Action::Forward(upstream) = &mut route.action {
        change(upstream.policy.get_or_insert_default());
    }
    route
}

async fn origin() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// The hello of a client, as bytes.
fn hello(site: &Site, name: &'static str) -> Vec<u8> {
    let name = ServerName::try_from(name).unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(site.client()), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

async fn exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut read = vec![0; count];
    stream.read_exact(&mut read).await.unwrap();
    read
}

/// The settings of the origin's own TLS, with a leaf of the site's authority.
fn own_tls(site: &Site) -> TlsAcceptor {
    let Value::Identity(identity) = site.identity(9, &["pass.example"]) else { panic!("an identity") };
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::Pkcs8(identity.key.expose().clone().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[test]
fn a_name_that_is_passed_through_shakes_hands_with_the_upstream_and_others_with_us() {
    on_a_worker(async || {
        let (site, origin) = (Site::new(), origin().await);
        let ours = route(1, "app.example", "/");
        site.put([site.identity(1, &["app.example"]), Value::Route(ours), Value::Route(passed(&[&origin]))]);
        let acceptor = own_tls(&site);
        let served = tokio::task::spawn_local(async move {
            let mut stream = acceptor.accept(origin.accept().await.unwrap().0).await.unwrap();
            let mut read = [0; 4];
            stream.read_exact(&mut read).await.unwrap();
            stream.write_all(b"pong").await.unwrap();
            stream.shutdown().await.unwrap();
            read
        });
        let client = Arc::new(site.client());
        let mut stream = site.connect(&client, "pass.example").await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!((&read[..], &served.await.unwrap()[..]), (&b"pong"[..], &b"ping"[..]));
        assert_eq!(site.asked(&client, "app.example", "/").await.unwrap().0, 200);
    });
}

#[test]
fn not_a_byte_of_the_hello_is_changed_however_it_comes() {
    on_a_worker(async || {
        let (site, origin) = (Site::new(), origin().await);
        site.put([Value::Route(passed(&[&origin]))]);
        let mut sent = hello(&site, "pass.example");
        let whole = sent.len();
        sent.extend_from_slice(b"and what came behind it");
        for cut in [1, 5, 100, whole - 1, whole, sent.len()] {
            let mut near = site.dial(Kind::Https).await;
            near.set_nodelay(true).unwrap();
            near.write_all(&sent[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            near.write_all(&sent[cut..]).await.unwrap();
            let (mut far, _) = origin.accept().await.unwrap();
            assert_eq!(exactly(&mut far, sent.len()).await, sent, "cut at {cut}");
        }
    });
}

#[test]
fn a_client_that_is_too_old_for_us_is_the_upstreams_to_judge() {
    on_a_worker(async || {
        let (site, origin) = (Site::new(), origin().await);
        site.put([Value::Route(passed(&[&origin]))]);
        let sent = old_hello("pass.example", 50);
        let mut near = site.dial(Kind::Https).await;
        near.write_all(&sent).await.unwrap();
        let (mut far, _) = origin.accept().await.unwrap();
        assert_eq!(exactly(&mut far, sent.len()).await, sent);

        let mut near = site.dial(Kind::Https).await;
        near.write_all(&old_hello("app.example", 500)).await.unwrap();
        assert_eq!(exactly(&mut near, 1).await, [21], "an alert");
    });
}

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    on_a_worker(async || {
        let (site, origin) = (Site::new(), origin().await);
        site.put([Value::Route(passed(&[&origin]))]);
        let sent = hello(&site, "pass.example");
        let mut near = site.dial(Kind::Https).await;
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
        let (mut far, _) = origin.accept().await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, sent);
        far.write_all(b"still here").await.unwrap();
        assert_eq!(exactly(&mut near, 10).await, b"still here");
        drop(far);
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
    });
}

#[test]
fn the_upstream_is_told_who_asks_where_it_wants_to_know() {
    on_a_worker(async || {
        let (site, origin) = (Site::new(), origin().await);
        let sent = hello(&site, "pass.example");
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            site.put([Value::Route(with_policy(passed(&[&origin]), |p| p.proxy_protocol = Some(version)))]);
            let mut near = site.dial(Kind::Https).await;
            near.write_all(&sent).await.unwrap();
            let (mut far, _) = origin.accept().await.unwrap();
            let (client, local) = (near.local_addr().unwrap(), near.peer_addr().unwrap());
            let header = match version {
                ProxyProtocol::V1 => {
                    let ports = format!("{} {}", client.port(), local.port());
                    format!("PROXY TCP4 127.0.0.1 127.0.0.1 {ports}\r\n").into_bytes()
                }
                ProxyProtocol::V2 => [
                    &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"[..],
                    &client.port().to_be_bytes(),
                    &local.port().to_be_bytes(),
                ]
                .concat(),
            };
            assert_eq!(exactly(&mut far, header.len()).await, header);
            assert_eq!(exactly(&mut far, sent.len()).await, sent);
        }
    });
}

#[test]
fn who_may_not_come_in_by_address_reaches_nobody() {
    on_a_worker(async || {
        let (site, origin) = (Site::new(), origin().await);
        let deny = Box::new(["127.0.0.0/8".parse().unwrap()]);
        let filters = Some(Box::new(Filters { deny, ..Filters::default() }));
        site.put([Value::Route(Route { filters, ..passed(&[&origin]) })]);
        let refused = site.connect(&Arc::new(site.client()), "pass.example").await.unwrap_err().to_string();
        assert!(refused.contains("AccessDenied"), "{refused}");
        let nobody = tokio::time::timeout(Duration::from_millis(1), origin.accept()).await;
        assert!(nobody.is_err());
    });
}

#[test]
fn an_endpoint_that_is_not_there_gives_way_to_the_next() {
    on_a_worker(async || {
        let (site, gone, there) = (Site::new(), origin().await, origin().await);
        site.put([Value::Route(passed(&[&gone, &there]))]);
        drop(gone);
        for _ in 0..2 {
            let mut near = site.dial(Kind::Https).await;
            near.write_all(&hello(&site, "pass.example")).await.unwrap();
            there.accept().await.unwrap();
        }
    });
}

#[test]
fn silence_and_a_deletion_end_what_is_passed_through() {
    on_a_worker(async || {
        let (site, origin) = (Site::new(), origin().await);
        let timeouts = Some(Box::new(Timeouts { tunnel_ms: Some(30), ..Timeouts::default() }));
        site.put([Value::Route(Route { timeouts, ..passed(&[&origin]) })]);
        let sent = hello(&site, "pass.example");
        let mut near = site.dial(Kind::Https).await;
        near.write_all(&sent).await.unwrap();
        let (_far, _) = origin.accept().await.unwrap();
        assert!(matches!(near.read(&mut [0; 1]).await, Ok(0) | Err(_)), "silence");

        let open = Route { on_change: FlowPolicy::Keep, on_delete: FlowPolicy::Cut, ..passed(&[&origin]) };
        site.put([Value::Route(open)]);
        let mut near = site.dial(Kind::Https).await;
        near.write_all(&sent).await.unwrap();
        let (mut far, _) = origin.accept().await.unwrap();
        exactly(&mut far, sent.len()).await;
        let listed = site.worker.shared.sessions.list();
        assert_eq!(serde_json::to_value(&listed[0]).unwrap()["kind"], "passthrough");
        site.put([]);
        assert!(matches!(near.read(&mut [0; 1]).await, Ok(0) | Err(_)), "its route is gone");
    });
}

#[test]
fn http_for_a_name_that_is_passed_through_is_redirected_or_refused() {
    on_a_worker(async || {
        let (site, origin) = (Site::new(), origin().await);
        let identity = || site.identity(1, &["app.example", "pass.example"]);
        let ours = Value::Route(route(1, "app.example", "/"));
        site.put([identity(), ours.clone(), Value::Route(passed(&[&origin]))]);
        let mut plain = site.dial(Kind::Http).await;
        assert_eq!(get(&mut plain, "pass.example", "/").await.unwrap().0, 404);
        // By the identity alone the connection would do.
        let mut secured = site.connect(&Arc::new(site.client()), "app.example").await.unwrap();
        assert_eq!(get(&mut secured, "pass.example", "/").await.unwrap().0, 421);

        let redirected = Route { redirect_https: true, ..passed(&[&origin]) };
        site.put([identity(), ours, Value::Route(redirected)]);
        let (status, answer) = get(&mut plain, "pass.example", "/a?b=c").await.unwrap();
        assert!(status == 301 && answer.contains("Location: https://pass.example/a?b=c\r\n"), "{answer}");
        assert_eq!(get(&mut secured, "pass.example", "/").await.unwrap().0, 421);
    });
}

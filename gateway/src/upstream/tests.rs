//! The door: what is reused, what is made anew, and what an origin sees before the first request.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use config::id::EndpointId;
use config::snapshot::{Endpoint, ProxyProtocol, UpstreamPolicy};
use config::target::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};

use super::*;
use crate::fault::Kind;

/// Longest wait for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

/// Runs a test on a runtime like a worker's.
pub(super) fn on_a_worker(test: impl AsyncFnOnce(Rc<Worker>)) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    runtime.block_on(async { test(crate::worker::testing::worker(dir.path())).await });
}

pub(super) fn endpoint(target: Target) -> Endpoint {
    let id = EndpointId::from_bytes([1; 16]);
    Endpoint { id, target, loopback_ok: true, vm: None, weight: 1, draining: false }
}

pub(super) fn call<'a>(endpoint: &'a Endpoint, policy: &'a UpstreamPolicy) -> Call<'a> {
    Call { endpoint, policy: Some(policy), ends: None, deadline: PATIENCE, takes_idle: true }
}

fn proxied(version: ProxyProtocol) -> UpstreamPolicy {
    UpstreamPolicy { proxy_protocol: Some(version), ..UpstreamPolicy::default() }
}

fn ends(port: u16) -> Option<Ends> {
    Some(Ends { client: ([192, 0, 2, 1], port).into(), local: ([10, 0, 0, 1], 443).into() })
}

async fn origin() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(Target::Address(listener.local_addr().unwrap()));
    (listener, endpoint)
}

/// What an origin reads of a connection on which the gateway then says `end`.
async fn seen(mut far: TcpStream, mut near: Lease) -> Vec<u8> {
    let mut read = Vec::new();
    near.stream.write_all(b"GET").await.unwrap();
    while !read.ends_with(b"GET") {
        assert!(within(far.read_buf(&mut read)).await.unwrap() > 0);
    }
    read
}

#[test]
fn an_origin_is_told_who_asks_before_the_first_byte() {
    on_a_worker(async |worker| {
        let (listener, endpoint) = origin().await;
        let v2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\0\x05\x01\xbbGET";
        let cases: [(ProxyProtocol, Option<Ends>, &[u8]); 4] = [
            (ProxyProtocol::V1, ends(5), b"PROXY TCP4 192.0.2.1 10.0.0.1 5 443\r\nGET"),
            (ProxyProtocol::V2, ends(5), v2),
            (ProxyProtocol::V1, None, b"PROXY UNKNOWN\r\nGET"),
            (ProxyProtocol::V2, None, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET"),
        ];
        for (version, ends, expected) in cases {
            let policy = proxied(version);
            let call = Call { ends: ends.as_ref(), ..call(&endpoint, &policy) };
            let near = Upstreams::connect(&worker, &call).await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            assert_eq!(seen(far, near).await, expected);
        }
    });
}

#[test]
fn a_connection_that_told_of_one_client_is_never_lent_for_another() {
    on_a_worker(async |worker| {
        let (listener, endpoint) = origin().await;
        let policy = proxied(ProxyProtocol::V2);
        let (five, six) = (ends(5), ends(6));
        let of = |port| {
            let ends = if port == 5 { five.as_ref() } else { six.as_ref() };
            Call { ends, ..call(&endpoint, &policy) }
        };
        let first = Upstreams::connect(&worker, &of(5)).await.unwrap();
        let _far = listener.accept().await.unwrap();
        Upstreams::checkin(&worker, first, Instant::now());

        assert!(!Upstreams::connect(&worker, &of(6)).await.unwrap().is_reused);
        assert!(Upstreams::connect(&worker, &of(5)).await.unwrap().is_reused);
    });
}

#[test]
fn a_changed_policy_makes_new_connections() {
    on_a_worker(async |worker| {
        let (listener, endpoint) = origin().await;
        let plain = UpstreamPolicy::default();
        let lease = Upstreams::connect(&worker, &call(&endpoint, &plain)).await.unwrap();
        let _far = listener.accept().await.unwrap();
        Upstreams::checkin(&worker, lease, Instant::now());

        let proxied = proxied(ProxyProtocol::V1);
        assert!(!Upstreams::connect(&worker, &call(&endpoint, &proxied)).await.unwrap().is_reused);
        let mut fresh = call(&endpoint, &plain);
        fresh.takes_idle = false;
        assert!(!Upstreams::connect(&worker, &fresh).await.unwrap().is_reused);
        assert!(Upstreams::connect(&worker, &call(&endpoint, &plain)).await.unwrap().is_reused);
    });
}

#[test]
fn one_deadline_bounds_everything_until_the_handshake_is_done() {
    on_a_worker(async |worker| {
        // It accepts, and says nothing.
        let (_listener, endpoint) = origin().await;
        let tls = config::snapshot::UpstreamTls {
            verify: config::snapshot::Verify::Nothing,
            server_name: None,
            client: None,
        };
        let policy = UpstreamPolicy { tls: Some(tls), ..UpstreamPolicy::default() };
        let call = Call { deadline: Duration::from_millis(20), ..call(&endpoint, &policy) };
        let fault = within(Upstreams::connect(&worker, &call)).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Timeout);
    });
}

#[test]
fn a_name_in_the_hosts_file_is_dialled_and_checked() {
    on_a_worker(async |worker| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { return };
        let host = config::name::HostName::parse("localhost").unwrap();
        let mut endpoint = endpoint(Target::Name { host, port: address.port() });
        let policy = UpstreamPolicy::default();
        let lease = within(Upstreams::connect(&worker, &call(&endpoint, &policy))).await.unwrap();
        assert_eq!(lease.stream.plain().unwrap().peer_addr().unwrap(), address.into());

        endpoint.loopback_ok = false;
        let fault = within(Upstreams::connect(&worker, &call(&endpoint, &policy))).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Forbidden);
    });
}

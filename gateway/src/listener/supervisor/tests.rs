use super::*;
use crate::worker::{self, Shared};
use std::net::TcpListener;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct Fixture {
    supervisor: Supervisor,
    shared: Arc<Shared>,
    dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(worker::testing::settings(dir.path()), 2);
    let workers: Vec<Handle> =
        (0..2).map(|index| worker::spawn(Arc::clone(&shared), index).unwrap().0).collect();
    let supervisor = Supervisor::new(workers.into(), Ports::load(dir.path()));
    Fixture { supervisor, shared, dir }
}

fn wanted(kind: Kind, address: SocketAddr) -> Wanted {
    Wanted { kind, address, nth: 0 }
}

fn connects(address: SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

/// The pause is over.
fn later() -> Instant {
    Instant::now() + limits::LISTENER_RETRY.1
}

#[test]
fn only_what_differs_is_opened_and_closed() {
    let [a, b, c] = [Kind::Http, Kind::Https, Kind::Ssh].map(|kind| wanted(kind, ANY));
    assert_eq!(plan(&[b, c], [&a, &b]), Plan { open: vec![c], close: vec![a] });
    assert_eq!(plan(&[a], [&a]), Plan::default());
}

#[tokio::test]
async fn a_new_listener_takes_connections_and_one_no_longer_wanted_does_not() {
    let Fixture { mut supervisor, shared, dir: _dir } = fixture();
    let (old, new) = (wanted(Kind::Http, ANY), wanted(Kind::Novnc, ANY));
    supervisor.start(&[old]).await.unwrap();
    let first = supervisor.list()[0].address;
    assert!(connects(first));

    supervisor.apply(&[new], Instant::now()).await;

    let listed = supervisor.list();
    assert_eq!(listed.len(), 1);
    assert!(connects(listed[0].address));
    supervisor.close_all().await;
    assert!(!connects(first));
    assert!(!connects(listed[0].address));
    assert_eq!(shared.metrics.sum(|shard| shard.accept_errors.load(std::sync::atomic::Ordering::Relaxed)), 0);
}

#[tokio::test]
async fn a_listener_that_cannot_bind_pauses_alone_and_comes_back() {
    let Fixture { mut supervisor, shared: _shared, dir: _dir } = fixture();
    let theirs = TcpListener::bind(ANY).unwrap();
    let taken = theirs.local_addr().unwrap();

    supervisor.apply(&[wanted(Kind::Http, ANY), wanted(Kind::Ssh, taken)], Instant::now()).await;

    let listed = supervisor.list();
    assert!(connects(listed[0].address));
    assert_eq!(listed[1].paused.as_deref(), Some(&*format!("cannot listen on {taken}: address in use")));
    assert!(supervisor.retry_at().is_some());

    supervisor.retry(later()).await;
    assert!(supervisor.list()[1].paused.is_some(), "it is still taken");
    drop(theirs);
    supervisor.retry(later() + limits::LISTENER_RETRY.1).await;

    assert_eq!(supervisor.list()[1], Listed { kind: Kind::Ssh, address: taken, paused: None });
    assert_eq!(supervisor.retry_at(), None);
}

#[tokio::test]
async fn at_the_start_every_taken_port_is_named_and_nothing_is_opened() {
    let Fixture { mut supervisor, shared: _shared, dir: _dir } = fixture();
    let theirs = [TcpListener::bind(ANY).unwrap(), TcpListener::bind(ANY).unwrap()];
    let taken = theirs.each_ref().map(|socket| socket.local_addr().unwrap());

    let all = [wanted(Kind::Http, taken[0]), wanted(Kind::Ssh, ANY), wanted(Kind::Https, taken[1])];
    let errors = supervisor.start(&all).await.unwrap_err();

    let named: Vec<SocketAddr> = errors.iter().map(|error| error.address).collect();
    assert_eq!(named, taken);
    assert!(supervisor.list().is_empty());
}

#[tokio::test]
async fn port_zero_becomes_the_same_port_at_the_next_start() {
    let Fixture { mut supervisor, shared: _shared, dir } = fixture();
    let wanted = [
        Wanted { kind: Kind::Http, address: ANY, nth: 0 },
        Wanted { kind: Kind::Http, address: ANY, nth: 1 },
    ];
    supervisor.start(&wanted).await.unwrap();
    let before = supervisor.list();
    supervisor.close_all().await;

    let mut again = Supervisor::new(Arc::clone(&supervisor.workers), Ports::load(dir.path()));
    again.start(&wanted).await.unwrap();

    assert_eq!(again.list(), before);
}

#[tokio::test]
async fn port_zero_becomes_another_port_when_the_remembered_one_is_taken() {
    let Fixture { mut supervisor, shared: _shared, dir } = fixture();
    supervisor.start(&[wanted(Kind::Http, ANY)]).await.unwrap();
    let before = supervisor.list()[0].address;
    supervisor.close_all().await;
    let _theirs = TcpListener::bind(before).unwrap();

    let mut again = Supervisor::new(Arc::clone(&supervisor.workers), Ports::load(dir.path()));
    again.start(&[wanted(Kind::Http, ANY)]).await.unwrap();

    assert_ne!(again.list()[0].address, before);
}

use std::net::{SocketAddr, TcpListener as StdListener, UdpSocket as StdUdp};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::id::ForwardId;
use config::limits;
use config::snapshot::{Forward, Generation, Lineage, Object, Ports, Snapshot, Transport, Value};
use tokio::net::TcpStream;

use super::stage::{Client, LOCAL, Stage, connect, echo, free_port, free_ports, say, tcp, udp, udp_echo};
use crate::forward::{Doors, Forwards, taken};
use crate::guard::Bounds;
use crate::listener::Kind;
use crate::listener::supervisor::Listed;
use crate::sync::Installer as _;
use crate::worker::{Shared, testing};

fn id(id: u8) -> ForwardId {
    ForwardId::from_bytes([id; 16])
}

#[tokio::test]
async fn the_younger_of_two_is_paused_naming_the_older_and_takes_over_when_it_goes() {
    let (stage, port) = (Stage::new().await, free_port());
    let (one, two) = (tcp(1, port, echo(LOCAL).await), tcp(2, port, echo(LOCAL).await));

    let degraded = stage.forwards([one, two.clone()]).await;
    assert_eq!(degraded, [format!("forward {}: a port of it is taken by forward {}", id(2), id(1))]);
    say(&mut connect(port).await, b"x").await.unwrap();
    assert_eq!(stage.flows(2).open(), 0);

    // The socket goes from one to the other without being closed.
    assert!(stage.forwards([two]).await.is_empty());
    let mut client = connect(port).await;
    say(&mut client, b"x").await.unwrap();
    assert_eq!(stage.flows(2).open(), 1);
}

#[tokio::test]
async fn a_port_that_another_program_has_pauses_alone_and_comes_back() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let (stage, first) = (Stage::new().await, free_ports(2));
        let at = SocketAddr::from((LOCAL, first));
        let theirs: Box<dyn std::any::Any> = match transport {
            Transport::Tcp => Box::new(StdListener::bind(at).unwrap()),
            Transport::Udp => Box::new(StdUdp::bind(at).unwrap()),
        };
        let taken = match transport {
            Transport::Tcp => tcp(1, first, echo(LOCAL).await),
            Transport::Udp => udp(1, first, udp_echo(LOCAL, b"").await),
        };
        let degraded = stage.forwards([taken.clone(), tcp(2, first + 1, echo(LOCAL).await)]).await;

        assert_eq!(degraded.len(), 1, "{degraded:?}");
        let start = format!(
            "forward {}: {at}/{} is taken by another program (",
            id(1),
            super::super::name(transport)
        );
        assert!(degraded[0].starts_with(&start) && degraded[0].contains("os error 98"), "{degraded:?}");
        say(&mut connect(first + 1).await, b"x").await.unwrap();

        let mut doors = stage.install.doors.lock().await;
        let due = doors.retry_at().unwrap();
        doors.retry(due).await;
        assert!(doors.retry_at().unwrap() > due + limits::LISTENER_RETRY.0, "it waits longer each time");
        drop(theirs);
        doors.retry(Instant::now() + limits::LISTENER_RETRY.1).await;
        assert!(doors.retry_at().is_none() && stage.shared.forwards.paused.load().is_empty());
        // What control hears and what metrics count does not wait for the next generation.
        assert_eq!(stage.install.degraded(), Some(Vec::new()));
        drop(doors);
        match transport {
            Transport::Tcp => drop(say(&mut connect(first).await, b"x").await.unwrap()),
            Transport::Udp => drop(Client::of(at).await.ask(b"x").await.unwrap()),
        }
        // The next generation says so as well.
        let other = tcp(2, first + 1, echo(LOCAL).await);
        assert!(stage.forwards([taken, other]).await.is_empty());
    }
}

#[tokio::test]
async fn a_port_of_the_gateway_itself_is_told_apart() {
    let (stage, port) = (Stage::new().await, free_port());
    let own = SocketAddr::from(([0, 0, 0, 0], port));
    stage.shared.listeners.store(Arc::new(vec![Listed { kind: Kind::Https, address: own, paused: None }]));

    let both = [tcp(1, port, echo(LOCAL).await), udp(2, port, udp_echo(LOCAL, b"").await)];
    let degraded = stage.forwards(both).await;

    let expected = format!("127.0.0.1:{port}/tcp is used by the gateway itself: its https listener");
    assert_eq!(degraded, [format!("forward {}: {expected}", id(1))]);
    assert!(stage.install.doors.lock().await.retry_at().is_none(), "that does not change by itself");
    // The same number of the other transport is another port.
    Client::of((LOCAL, port)).await.ask(b"x").await.unwrap();
}

#[tokio::test]
async fn an_address_of_no_interface_pauses_and_says_so() {
    let (stage, port) = (Stage::new().await, free_port());
    let elsewhere = Some("192.0.2.77".parse().unwrap());
    let degraded = stage.forwards([Forward { listen: elsewhere, ..tcp(1, port, echo(LOCAL).await) }]).await;
    assert!(degraded[0].contains("this machine has no such address"), "{degraded:?}");
}

#[tokio::test]
async fn one_taken_port_of_a_row_leaves_the_others_open() {
    let (stage, first) = (Stage::new().await, free_ports(3));
    let _theirs = StdListener::bind((LOCAL, first + 1)).unwrap();
    let target = free_ports(3);
    let ports = Ports { first, last: first + 2 };
    let _origin = StdListener::bind((LOCAL, target + 2)).unwrap();

    let degraded = stage.forwards([Forward { ports, ..tcp(1, first, (LOCAL, target).into()) }]).await;

    assert!(degraded[0].contains(&format!("127.0.0.1:{}/tcp is taken", first + 1)), "{degraded:?}");
    connect(first + 2).await;
}

#[tokio::test]
async fn moving_between_one_address_and_all_of_them_is_no_conflict_with_oneself() {
    for make in [tcp, udp] {
        let (stage, port) = (Stage::new().await, free_port());
        let target: SocketAddr = (LOCAL, 9).into();
        for listen in [None, Some(LOCAL), Some("0.0.0.0".parse().unwrap()), None] {
            let degraded = stage.forwards([Forward { listen, ..make(1, port, target) }]).await;
            assert!(degraded.is_empty(), "{listen:?}: {degraded:?}");
        }
    }
}

#[tokio::test]
async fn a_port_of_another_program_is_told_before_it_is_wanted() {
    let (stage, first) = (Stage::new().await, free_ports(6));
    let row = Ports { first, last: first + 5 };
    let asked = |transport, listen| taken(&stage.shared, transport, listen, row);
    for listen in [None, Some(LOCAL), Some("0.0.0.0".parse().unwrap())] {
        assert_eq!((asked(Transport::Tcp, listen), asked(Transport::Udp, listen)), (None, None));
    }
    let _low = StdListener::bind((LOCAL, first + 1)).unwrap();
    let _high = StdListener::bind((LOCAL, first + 3)).unwrap();
    let _udp = StdUdp::bind((LOCAL, first + 2)).unwrap();
    for listen in [None, Some(LOCAL)] {
        assert_eq!(asked(Transport::Tcp, listen), Some(first + 3), "the highest");
        assert_eq!(asked(Transport::Udp, listen), Some(first + 2));
    }
    assert_eq!(asked(Transport::Tcp, Some("127.0.0.2".parse().unwrap())), None, "of another address");
    assert_eq!(asked(Transport::Tcp, Some("192.0.2.77".parse().unwrap())), None, "another reason is none");
    // A forward of ours is no other program.
    stage.forwards([tcp(1, first + 5, (LOCAL, 9).into())]).await;
    assert_eq!(asked(Transport::Tcp, Some(LOCAL)), Some(first + 3));
}

#[tokio::test]
async fn sockets_of_forwards_are_bounded() {
    let bounds = Bounds { forward_sockets_max: 3, ..Bounds::default() };
    let (stage, first) = (Stage::with(2, bounds).await, free_ports(2));
    let (one, two) = (tcp(1, first, echo(LOCAL).await), tcp(2, first + 1, echo(LOCAL).await));

    let degraded = stage.forwards([one, two.clone()]).await;
    let told = "forwards listen with 2 of at most 3 sockets that this process may open files for";
    assert!(degraded[0].contains(told), "{degraded:?}");
    stage.forwards([]).await;

    assert!(stage.forwards([two]).await.is_empty(), "what closed makes room");
}

#[tokio::test]
async fn stopping_closes_the_ports_and_a_later_generation_does_not_open_them() {
    let (stage, port) = (Stage::new().await, free_port());
    let forward = tcp(1, port, echo(LOCAL).await);
    stage.forwards([forward.clone()]).await;
    let mut open = connect(port).await;
    say(&mut open, b"x").await.unwrap();

    stage.install.doors.lock().await.close_all().await;
    stage.forwards([forward]).await;

    assert!(TcpStream::connect((LOCAL, port)).await.is_err());
    assert_eq!(say(&mut open, b"still").await.unwrap(), b"still");
    stage.stop().await;
}

#[tokio::test]
async fn a_forward_that_comes_and_goes_a_hundred_times_leaves_nothing() {
    let (stage, port) = (Stage::new().await, free_port());
    let target = echo(LOCAL).await;
    for _ in 0..100 {
        assert!(stage.forwards([tcp(1, port, target)]).await.is_empty());
        assert!(stage.forwards([]).await.is_empty());
    }
    assert!(StdListener::bind((LOCAL, port)).is_ok());
    assert!(stage.shared.forwards.all().is_empty());
}

#[tokio::test]
async fn a_port_that_a_busy_worker_does_not_close_is_told_until_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(testing::settings(dir.path()), 1);
    let (worker, mut orders) = testing::deaf_worker();
    let mut doors = Doors::new(Arc::clone(&shared), vec![worker].into());
    doors.closes_within = Duration::from_millis(1);
    doors.start().await;
    let port = free_port();
    let forwards = |generation, values: Vec<Forward>| {
        let objects = values.into_iter().map(|one| Object::encode(&Value::Forward(one)).unwrap());
        let snapshot = Snapshot::of(Lineage([1; 16]), Generation(generation), objects);
        (Forwards::compile(&snapshot), snapshot)
    };
    let (one, snapshot) = forwards(1, vec![tcp(1, port, (LOCAL, 9).into())]);
    doors.open(&one, &snapshot, Instant::now()).await;
    let held = orders.recv().await.unwrap();

    let (none, snapshot) = forwards(2, Vec::new());
    doors.open(&none, &snapshot, Instant::now()).await;
    doors.close().await;

    let told =
        format!("forward {}: 127.0.0.1:{port}/tcp is still open: a worker is too busy to close it", id(1));
    assert_eq!(shared.degraded(), [told]);
    // It is ours all the same, and whoever comes next may have it.
    let (two, snapshot) = forwards(3, vec![tcp(2, port, (LOCAL, 9).into())]);
    doors.open(&two, &snapshot, Instant::now()).await;
    assert_eq!(shared.degraded().len(), 1, "{:?}", shared.degraded());

    drop(held);
    doors.retry(Instant::now()).await;
    assert_eq!(shared.degraded(), Vec::<String>::new());
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a skip says what is missing")]
async fn a_row_as_wide_as_that_of_a_relay_opens_moves_and_closes() {
    const PORTS: u16 = 16_384;
    let wanted = u64::from(PORTS) + 2_048;
    if !has_files(wanted) {
        eprintln!("skipped: {wanted} open files cannot be had here");
        return;
    }
    let stage = Stage::with(2, Bounds { forward_sockets_max: usize::from(PORTS), ..Bounds::default() }).await;
    let ports = Ports { first: u16::MAX - PORTS + 1, last: u16::MAX };
    // Addresses that nothing else uses while this runs.
    let at = |last| Some([127, 0, 0, last].into());
    let mut forward = Forward { ports, listen: at(77), ..udp(1, ports.first, (LOCAL, 20_000).into()) };

    assert_eq!(stage.forwards([forward.clone()]).await, Vec::<String>::new());

    assert_eq!(stage.install.doors.lock().await.open_sockets(), usize::from(PORTS));
    // Another address is as many sockets more, for which there is room once the old ones are closed: told, not stuck.
    forward.listen = at(78);
    let degraded = stage.forwards([forward]).await;
    assert!(degraded[0].contains("forwards listen with 16384 of at most 16384 sockets"), "{degraded:?}");
    stage.install.doors.lock().await.retry(Instant::now() + limits::LISTENER_RETRY.1).await;
    assert_eq!(stage.shared.degraded(), Vec::<String>::new());
    stage.forwards([]).await;
    assert_eq!(stage.install.doors.lock().await.open_sockets(), 0);
}

/// Whether this process may open so many files, now that it has asked for them.
fn has_files(count: u64) -> bool {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let held = getrlimit(Resource::Nofile);
    let is_less = |max: Option<u64>| max.is_some_and(|max| max < count);
    let maximum = if is_less(held.maximum) { Some(count) } else { held.maximum };
    !is_less(held.current) || setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum }).is_ok()
}

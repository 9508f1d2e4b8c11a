use config::name::Namespace;
use config::snapshot::{FlowPolicy, Forward, Value, Vm};
use tokio::net::{TcpListener, TcpStream};

use super::stage::{LOCAL, Stage, VM, connect, echo, end_of, free_port, free_ports, say, tcp, until, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A machine that says its name to whoever connects, and then back what it hears.
async fn named(name: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = tcp.split();
                let _ = to.write_all(name).await;
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn greeted(port: u16) -> (TcpStream, Vec<u8>) {
    let mut client = connect(port).await;
    let mut name = vec![0; 3];
    within(client.read_exact(&mut name)).await.unwrap();
    (client, name)
}

#[tokio::test]
async fn a_new_target_is_for_new_flows_and_old_ones_keep_theirs() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([tcp(1, port, named(b"one").await)]).await;
    let (mut old, name) = greeted(port).await;
    assert_eq!(name, b"one");

    stage.forwards([tcp(1, port, named(b"two").await)]).await;

    assert_eq!(greeted(port).await.1, b"two");
    assert_eq!(say(&mut old, b"still here").await.unwrap(), b"still here");
}

#[tokio::test]
async fn a_change_drains_where_the_forward_says_so() {
    for (ms, lives) in [(3_600_000, true), (1, false)] {
        let (stage, port) = (Stage::new().await, free_port());
        let drains = |target| Forward { on_change: FlowPolicy::Drain { ms }, ..tcp(1, port, target) };
        stage.forwards([drains(named(b"one").await)]).await;
        let (mut old, _) = greeted(port).await;

        stage.forwards([drains(named(b"two").await)]).await;

        if lives {
            assert_eq!(say(&mut old, b"still").await.unwrap(), b"still");
        } else {
            assert_eq!(end_of(&mut old).await, (Vec::new(), true));
        }
        assert_eq!(greeted(port).await.1, b"two");
    }
}

#[tokio::test]
async fn a_change_cuts_where_the_forward_says_so() {
    let (stage, port) = (Stage::new().await, free_port());
    let cuts = |target| Forward { on_change: FlowPolicy::Cut, ..tcp(1, port, target) };
    stage.forwards([cuts(named(b"one").await)]).await;
    let (mut old, _) = greeted(port).await;

    stage.forwards([cuts(named(b"two").await)]).await;

    assert_eq!(end_of(&mut old).await, (Vec::new(), true));
    assert_eq!(greeted(port).await.1, b"two");
}

#[tokio::test]
async fn deleting_closes_the_port_at_once_and_open_flows_go_by_its_policy() {
    for (policy, lives) in [
        (FlowPolicy::Keep, true),
        (FlowPolicy::Drain { ms: 3_600_000 }, true),
        (FlowPolicy::Drain { ms: 1 }, false),
        (FlowPolicy::Cut, false),
    ] {
        let (stage, port) = (Stage::new().await, free_port());
        stage.forwards([Forward { on_delete: policy, ..tcp(1, port, echo(LOCAL).await) }]).await;
        let mut open = connect(port).await;
        say(&mut open, b"x").await.unwrap();

        stage.forwards([]).await;

        // What is acknowledged is done: no waiting here.
        let refused = TcpStream::connect((LOCAL, port)).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{policy:?}");
        if lives {
            assert_eq!(say(&mut open, b"still").await.unwrap(), b"still", "{policy:?}");
        } else {
            assert_eq!(end_of(&mut open).await, (Vec::new(), true), "{policy:?}");
        }
    }
}

#[tokio::test]
async fn deleting_the_machine_cuts_whatever_the_forward_says() {
    let (stage, port) = (Stage::new().await, free_port());
    let vm = Value::Vm(Vm {
        id: VM,
        namespace: Namespace::parse("ns1").unwrap(),
        name: config::name::VmName::parse("web").unwrap(),
        network: config::name::NetworkName::parse("default").unwrap(),
        address: "10.0.0.5".parse().unwrap(),
        ssh_port: 22,
        loopback_ok: false,
    });
    let mut forward = Forward { on_delete: FlowPolicy::Keep, ..tcp(1, port, echo(LOCAL).await) };
    forward.endpoint.vm = Some(VM);
    stage.values([vm, Value::Forward(forward)]).await;
    let mut open = connect(port).await;
    say(&mut open, b"x").await.unwrap();

    stage.values([]).await;

    assert_eq!(end_of(&mut open).await, (Vec::new(), true));
}

#[tokio::test]
async fn what_does_not_concern_a_flow_leaves_it_alone() {
    let (stage, first) = (Stage::new().await, free_ports(2));
    let cuts = Forward { on_change: FlowPolicy::Cut, ..tcp(1, first, echo(LOCAL).await) };
    stage.forwards([cuts.clone()]).await;
    let mut open = connect(first).await;
    say(&mut open, b"x").await.unwrap();

    for nth in 0..20 {
        let other = echo(LOCAL).await;
        let others = (nth % 2 == 0).then(|| tcp(2, first + 1, other));
        stage.forwards(others.into_iter().chain([cuts.clone()])).await;
    }

    assert_eq!(say(&mut open, b"still").await.unwrap(), b"still");
    until(|| stage.shared.sessions.len() == 1).await;
}

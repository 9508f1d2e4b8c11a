use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use config::snapshot::Forward;
use tokio::net::{TcpSocket, TcpStream};

use super::stage::{LOCAL, Stage, connect, echo, end_of, free_port, say, tcp, turned_away, until, within};
use crate::forward::Refused;
use crate::guard::Bounds;

/// A connection from this address; none if it was reset at once.
async fn from(ip: &str, port: u16) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
    within(socket.connect((LOCAL, port).into())).await.ok()
}

#[tokio::test]
async fn only_listed_sources_may_come_in() {
    let (stage, port) = (Stage::new().await, free_port());
    let sources = ["127.0.0.8/30".parse().unwrap()].into();
    stage.forwards([Forward { sources, ..tcp(1, port, echo(LOCAL).await) }]).await;

    assert_eq!(say(&mut from("127.0.0.9", port).await.unwrap(), b"in").await.unwrap(), b"in");
    if let Some(mut client) = from("127.0.0.12", port).await {
        assert_eq!(end_of(&mut client).await, (Vec::new(), true));
    }
    assert_eq!(stage.flows(1).refused(Refused::Source), 1);
    assert_eq!(stage.flows(1).begun.load(Relaxed), 1);
}

#[tokio::test]
async fn sources_of_both_families_are_told_apart_at_one_port() {
    let (stage, port) = (Stage::new().await, free_port());
    let six = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    // Neither a network of the other family nor one that is written as if it were.
    for (sources, four_may, six_may) in [
        (&["::1/128"][..], false, true),
        (&["127.0.0.0/8"], true, false),
        (&["::/0"], false, true),
        (&["0.0.0.0/0", "::/0"], true, true),
    ] {
        let sources = sources.iter().map(|source| source.parse().unwrap()).collect();
        let forward = Forward { listen: None, sources, ..tcp(1, port, echo(LOCAL).await) };
        assert!(stage.forwards([forward]).await.is_empty());
        for (from, may) in [(LOCAL, four_may), (six, six_may)] {
            let came = match within(TcpStream::connect((from, port))).await {
                Ok(mut client) => say(&mut client, b"in").await.is_ok(),
                Err(_) => false,
            };
            assert_eq!(came, may, "{from}");
        }
    }
}

#[tokio::test]
async fn a_full_forward_refuses_until_somebody_leaves() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([Forward { flows_max: Some(2), ..tcp(1, port, echo(LOCAL).await) }]).await;
    let mut open = [connect(port).await, connect(port).await];
    for client in &mut open {
        say(client, b"x").await.unwrap();
    }

    turned_away(port).await;
    assert_eq!(stage.flows(1).refused(Refused::Flows), 1);
    drop(open);
    until(|| stage.flows(1).open() == 0).await;

    assert_eq!(say(&mut connect(port).await, b"x").await.unwrap(), b"x");
}

#[tokio::test]
async fn more_new_flows_than_the_rate_are_refused() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([Forward { flows_per_second: Some(1), ..tcp(1, port, echo(LOCAL).await) }]).await;
    let flows = stage.flows(1);

    say(&mut connect(port).await, b"first").await.unwrap();
    // One more than the rate would allow, were each of them let in.
    while flows.refused(Refused::Rate) == 0 {
        if let Ok(client) = within(TcpStream::connect((LOCAL, port))).await {
            end_of_any(client).await;
        }
    }

    assert_eq!(flows.refused(Refused::Flows), 0);
    // A second later there is room for another.
    within(async {
        loop {
            let Ok(mut client) = TcpStream::connect((LOCAL, port)).await else { continue };
            if say(&mut client, b"again").await.is_ok() {
                return;
            }
        }
    })
    .await;
}

/// Says it has no more to say, and waits for the end.
async fn end_of_any(mut client: TcpStream) {
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut client).await;
    end_of(&mut client).await;
}

#[tokio::test]
async fn the_bounds_of_the_gateway_hold_for_flows_too() {
    let bounds = Bounds { connections_per_source_max: 1, ..Bounds::default() };
    let (stage, port) = (Stage::with(1, bounds).await, free_port());
    stage.forwards([tcp(1, port, echo(LOCAL).await)]).await;
    let mut first = connect(port).await;
    say(&mut first, b"x").await.unwrap();

    turned_away(port).await;
    assert_eq!(stage.flows(1).refused(Refused::Gateway), 1);
    assert_eq!(say(&mut first, b"still").await.unwrap(), b"still");
}

#[tokio::test]
async fn a_silent_flow_ends_and_one_that_is_not_does_not() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([Forward { idle_ms: Some(1_000), ..tcp(1, port, echo(LOCAL).await) }]).await;
    let (mut silent, mut busy) = (connect(port).await, connect(port).await);
    say(&mut silent, b"x").await.unwrap();

    let ended = tokio::spawn(async move { end_of(&mut silent).await });
    while !ended.is_finished() {
        say(&mut busy, b"x").await.unwrap();
    }

    assert_eq!(ended.await.unwrap(), (Vec::new(), true));
}

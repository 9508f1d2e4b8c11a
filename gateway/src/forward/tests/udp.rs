use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use config::snapshot::{FlowPolicy, Forward, Generation, Lineage, Object, Ports, Snapshot, Transport, Value};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::stage::{Client, LOCAL, Stage, free_port, free_ports, udp, udp_echo, until, within};
use crate::forward::bind::{self, Open};
use crate::forward::udp::Hall;
use crate::forward::{Refused, Spot};
use crate::guard::Bounds;
use crate::live::Live;
use crate::upgrade::manifest::Flow;
use crate::worker::testing;

#[tokio::test]
async fn both_families_are_forwarded_by_one_forward() {
    let (stage, port) = (Stage::new().await, free_port());
    let everywhere = Forward { listen: None, ..udp(1, port, udp_echo(LOCAL, b"<").await) };
    let degraded = stage.forwards([everywhere]).await;
    assert!(degraded.is_empty(), "{degraded:?}");

    for ip in [LOCAL, Ipv6Addr::LOCALHOST.into()] {
        assert_eq!(Client::of((ip, port)).await.ask(b"hello").await.unwrap(), b"<hello");
    }
}

#[tokio::test]
async fn the_answer_comes_from_the_address_that_was_asked() {
    let (stage, port) = (Stage::new().await, free_port());
    let everywhere = Forward { listen: None, ..udp(1, port, udp_echo(LOCAL, b"<").await) };
    stage.forwards([everywhere]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();

    for ip in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        let to = SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port);
        socket.send_to(ip.as_bytes(), to).await.unwrap();
        let mut buffer = [0; 32];
        let (count, from) = within(socket.recv_from(&mut buffer)).await.unwrap();
        assert_eq!((&buffer[1..count], from), (ip.as_bytes(), to));
    }
    assert_eq!(stage.flows(1).open(), 3, "each is a session of its own");
}

#[tokio::test]
async fn datagrams_of_every_size_come_through_as_they_are() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([udp(1, port, udp_echo(LOCAL, b"").await)]).await;
    let client = Client::of((LOCAL, port)).await;

    for size in [0, 1, 511, 1_472, 1_473, 9_000, 65_507] {
        let datagram: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[0]).collect();
        assert_eq!(client.ask(&datagram).await.unwrap(), datagram, "{size}");
    }
    let carried = || -> Vec<(u64, u64)> {
        let listed = stage.shared.sessions.list();
        listed.iter().map(|session| (session.bytes_up, session.bytes_down)).collect()
    };
    until(|| carried() == [(77_964, 77_964)]).await;
}

#[tokio::test]
async fn one_client_is_one_session_and_each_gets_its_own_answers() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([udp(1, port, udp_echo(LOCAL, b"").await)]).await;
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(Client::of((LOCAL, port)).await);
    }
    for round in 0..4_u8 {
        for (client, nth) in clients.iter().zip(0_u8..) {
            assert_eq!(client.ask(&[nth, round]).await.unwrap(), [nth, round]);
        }
    }
    assert_eq!((stage.flows(1).open(), stage.shared.forwards.udp_open()), (32, 32));
    assert_eq!(stage.flows(1).begun.load(Relaxed), 32);
}

#[tokio::test]
async fn a_row_of_ports_leads_to_as_many_in_order() {
    let (stage, first, target) = (Stage::new().await, free_ports(20), free_ports(20));
    let ports = Ports { first, last: first + 19 };
    stage.forwards([Forward { ports, ..udp(1, first, (LOCAL, target).into()) }]).await;
    for nth in [0, 19] {
        let machine = UdpSocket::bind((LOCAL, target + nth)).await.unwrap();
        let client = Client::of((LOCAL, first + nth)).await;
        client.0.send(b"x").await.unwrap();
        let (_, from) = within(machine.recv_from(&mut [0; 8])).await.unwrap();
        machine.send_to(b"y", from).await.unwrap();
        assert_eq!(client.hear().await.unwrap(), b"y");
    }
}

#[tokio::test]
async fn a_name_is_resolved_and_what_came_meanwhile_is_not_lost() {
    let (stage, port) = (Stage::new().await, free_port());
    let mut forward = udp(1, port, udp_echo(LOCAL, b"").await);
    let host = config::name::HostName::parse("localhost").unwrap();
    let target_port = forward.endpoint.target.port();
    forward.endpoint.target = config::target::Target::Name { host, port: target_port };
    stage.forwards([forward]).await;
    let client = Client::of((LOCAL, port)).await;

    for nth in 0..5 {
        client.0.send(&[nth]).await.unwrap();
    }
    for nth in 0..5 {
        assert_eq!(client.hear().await.unwrap(), [nth]);
    }
}

#[tokio::test]
async fn sources_that_are_not_listed_get_nothing() {
    let (stage, port) = (Stage::new().await, free_port());
    let sources = ["192.0.2.0/24".parse().unwrap()].into();
    stage.forwards([Forward { sources, ..udp(1, port, udp_echo(LOCAL, b"").await) }]).await;
    Client::of((LOCAL, port)).await.0.send(b"x").await.unwrap();

    until(|| stage.flows(1).refused(Refused::Source) == 1).await;
    assert_eq!(stage.flows(1).begun.load(Relaxed), 0);
}

#[tokio::test]
async fn a_flood_from_many_sources_is_bounded_and_the_longest_silent_goes_first() {
    let bounds = Bounds { udp_sessions_max: 20, ..Bounds::default() };
    let (stage, first) = (Stage::with(1, bounds).await, free_ports(2));
    let target = udp_echo(LOCAL, b"").await;
    let own = Forward { flows_max: Some(8), ..udp(1, first, target) };
    stage.forwards([own, udp(2, first + 1, target)]).await;

    // A forward's own bound.
    let mut clients = Vec::new();
    for nth in 0..9 {
        if nth == 8 {
            // The first is heard of again: it is not the longest silent any more.
            clients.first().map(|client: &Client| client.0.try_send(b"again")).unwrap().unwrap();
            clients[0].hear().await.unwrap();
        }
        clients.push(Client::of((LOCAL, first)).await);
        clients[nth].ask(b"x").await.unwrap();
    }
    let peers = |stage: &Stage| -> Vec<String> {
        stage.shared.sessions.list().into_iter().map(|session| session.peer).collect()
    };
    until(|| stage.shared.sessions.len() == 8).await;
    let open = peers(&stage);
    let is_open = |client: &Client| open.contains(&client.0.local_addr().unwrap().to_string());
    assert!(is_open(&clients[0]) && !is_open(&clients[1]) && is_open(&clients[2]) && is_open(&clients[8]));
    assert_eq!(stage.flows(1).displaced.load(Relaxed), 1);

    // The gateway's: the flooded forward pays, the other keeps its sessions.
    let mut flood = Vec::new();
    for _ in 0..200 {
        let client = Client::of((LOCAL, first + 1)).await;
        client.ask(b"x").await.unwrap();
        // Kept, or another would get its port and be the same client.
        flood.push(client);
    }
    until(|| stage.shared.sessions.len() == 20).await;
    assert_eq!((stage.flows(1).open(), stage.flows(2).open()), (8, 12));
    assert_eq!(stage.flows(2).displaced.load(Relaxed), 188);
}

#[tokio::test]
async fn the_table_of_several_workers_is_one_table_in_its_bounds_and_counts() {
    let (stage, port) = (Stage::with(4, Bounds::default()).await, free_port());
    let own = Forward { flows_max: Some(8), ..udp(1, port, udp_echo(LOCAL, b"").await) };
    stage.forwards([own]).await;
    let flows = stage.flows(1);
    let mut clients = Vec::new();
    for nth in 0..200_u64 {
        let client = Client::of((LOCAL, port)).await;
        client.0.send(b"x").await.unwrap();
        // Let in by its worker at the expense of the longest silent there, or refused and counted.
        until(|| flows.begun.load(Relaxed) + flows.refused(Refused::Flows) == nth + 1).await;
        assert!(flows.open() <= 8, "{}", flows.open());
        clients.push(client);
    }
    let begun = flows.begun.load(Relaxed);
    assert!(begun >= 8 && flows.open() == 8, "{begun} {}", flows.open());
    assert_eq!(begun - flows.displaced.load(Relaxed), 8);
    until(|| stage.shared.sessions.len() == 8).await;
    assert_eq!(stage.shared.forwards.udp_open(), 8);
}

#[tokio::test]
async fn more_new_sessions_than_the_rate_are_refused_until_there_is_room_again() {
    let (stage, port) = (Stage::with(1, Bounds::default()).await, free_port());
    stage.forwards([Forward { flows_per_second: Some(2), ..udp(1, port, udp_echo(LOCAL, b"").await) }]).await;
    let flows = stage.flows(1);
    let first = Client::of((LOCAL, port)).await;
    first.ask(b"x").await.unwrap();
    while flows.refused(Refused::Rate) == 0 {
        let settled = || flows.begun.load(Relaxed) + flows.refused(Refused::Rate);
        let before = settled();
        Client::of((LOCAL, port)).await.0.send(b"x").await.unwrap();
        until(|| settled() > before).await;
    }
    assert_eq!(first.ask(b"y").await.unwrap(), b"y", "a session that is there is not paced");

    let late = Client::of((LOCAL, port)).await;
    within(async {
        let mut buffer = [0; 8];
        loop {
            late.0.send(b"z").await.unwrap();
            tokio::select! {
                heard = late.0.recv(&mut buffer) => return heard.unwrap(),
                () = tokio::task::yield_now() => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_was_displaced_begins_anew() {
    let (stage, port) = (Stage::with(1, Bounds::default()).await, free_port());
    let one = Forward { flows_max: Some(1), ..udp(1, port, udp_echo(LOCAL, b"").await) };
    stage.forwards([one]).await;
    let clients = [Client::of((LOCAL, port)).await, Client::of((LOCAL, port)).await];
    for round in 0..10_u8 {
        for client in &clients {
            assert_eq!(client.ask(&[round]).await.unwrap(), [round]);
        }
    }
    assert_eq!(stage.flows(1).displaced.load(Relaxed), 19);
}

#[tokio::test]
async fn a_silent_session_ends() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([Forward { idle_ms: Some(1_000), ..udp(1, port, udp_echo(LOCAL, b"").await) }]).await;
    Client::of((LOCAL, port)).await.ask(b"x").await.unwrap();
    assert_eq!(stage.flows(1).open(), 1);

    until(|| stage.flows(1).open() == 0 && stage.shared.sessions.is_empty()).await;
}

#[tokio::test]
async fn another_idle_time_holds_for_sessions_that_are_open() {
    let (stage, port) = (Stage::new().await, free_port());
    let forward = udp(1, port, udp_echo(LOCAL, b"").await);
    stage.forwards([Forward { idle_ms: Some(3_600_000), ..forward.clone() }]).await;
    Client::of((LOCAL, port)).await.ask(b"x").await.unwrap();
    assert_eq!(stage.flows(1).open(), 1);

    stage.forwards([Forward { idle_ms: Some(1_000), ..forward }]).await;

    until(|| stage.flows(1).open() == 0 && stage.shared.sessions.is_empty()).await;
}

#[tokio::test]
async fn a_machine_that_is_not_there_ends_the_session_and_may_come_back() {
    let (stage, port) = (Stage::new().await, free_port());
    let target = SocketAddr::from((LOCAL, free_port()));
    stage.forwards([udp(1, port, target)]).await;
    let client = Client::of((LOCAL, port)).await;
    client.0.send(b"lost").await.unwrap();
    until(|| stage.flows(1).refused(Refused::Unreachable) == 1 && stage.flows(1).open() == 0).await;

    let machine = UdpSocket::bind(target).await.unwrap();
    client.0.send(b"found").await.unwrap();
    let mut buffer = [0; 8];
    let (count, _) = within(machine.recv_from(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..count], b"found");
}

#[tokio::test]
async fn a_new_target_ends_old_sessions_and_the_next_datagram_goes_there() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([udp(1, port, udp_echo(LOCAL, b"one ").await)]).await;
    let client = Client::of((LOCAL, port)).await;
    assert_eq!(client.ask(b"x").await.unwrap(), b"one x");

    stage.forwards([udp(1, port, udp_echo(LOCAL, b"two ").await)]).await;
    until(|| stage.shared.sessions.is_empty()).await;

    assert_eq!(client.ask(b"x").await.unwrap(), b"two x");
}

#[tokio::test]
async fn a_session_of_the_process_before_follows_its_targets_name() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let dir = tempfile::tempdir().unwrap();
            let worker = testing::worker(dir.path());
            // The name has come to mean 127.0.0.1 while the session goes to where it led before.
            let now = udp_echo(LOCAL, b"now ").await;
            let before = SocketAddr::from(([127, 0, 0, 9], now.port()));
            let there = UdpSocket::bind(before).await.unwrap();
            let mut forward = udp(1, free_port(), now);
            let host = config::name::HostName::parse("localhost").unwrap();
            forward.endpoint.target = config::target::Target::Name { host, port: now.port() };
            let spot = Spot { transport: Transport::Udp, ip: LOCAL, port: forward.ports.first };
            let value = Object::encode(&Value::Forward(forward.clone())).unwrap();
            let (live, _) =
                Live::compile(Arc::new(Snapshot::of(Lineage([1; 16]), Generation(1), [value]))).unwrap();
            worker.shared.current.replace(Arc::new(live));
            let client = Client::of((LOCAL, spot.port)).await;
            let gate = std::net::UdpSocket::bind((LOCAL, spot.port)).unwrap();
            gate.set_nonblocking(true).unwrap();
            let upstream = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            upstream.connect(before).unwrap();

            let hall = Hall::open(&worker, spot, gate, Arc::default()).unwrap();
            let flow = Flow {
                gate: 0,
                client: client.0.local_addr().unwrap(),
                local: None,
                forward: forward.id.to_string(),
            };
            hall.inherit(vec![(flow, upstream.into())]);
            let alive = tokio_util::task::TaskTracker::new();
            tokio::task::spawn_local(crate::forward::udp::run(hall, Default::default(), alive.token()));

            within(async {
                loop {
                    client.0.send(b"x").await.unwrap();
                    let mut buffer = [0; 16];
                    tokio::select! {
                        // Until the name is looked up it goes on as it was, which nobody can tell from a wrong one.
                        _ = there.recv(&mut buffer) => {}
                        heard = client.hear() => return assert_eq!(heard.unwrap(), b"now x"),
                    }
                }
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn a_change_of_anything_else_keeps_them() {
    let (stage, port) = (Stage::new().await, free_port());
    let target = udp_echo(LOCAL, b"").await;
    stage.forwards([udp(1, port, target)]).await;
    let client = Client::of((LOCAL, port)).await;
    client.ask(b"x").await.unwrap();

    stage.forwards([Forward { flows_max: Some(9), ..udp(1, port, target) }]).await;

    client.ask(b"x").await.unwrap();
    assert_eq!(stage.flows(1).begun.load(Relaxed), 1);
}

#[tokio::test]
async fn deleting_closes_the_port_to_all_but_those_who_may_finish() {
    for listen in [Some(LOCAL), None] {
        for (policy, lives) in
            [(FlowPolicy::Keep, true), (FlowPolicy::Drain { ms: 3_600_000 }, true), (FlowPolicy::Cut, false)]
        {
            let (stage, port) = (Stage::new().await, free_port());
            let forward = udp(1, port, udp_echo(LOCAL, b"<").await);
            stage.forwards([Forward { on_delete: policy, listen, ..forward.clone() }]).await;
            let old = Client::of((LOCAL, port)).await;
            old.ask(b"x").await.unwrap();

            stage.forwards([]).await;

            // The port is closed to others, which ICMP tells them.
            let new = Client::of((LOCAL, port)).await;
            let refused = new.ask(b"x").await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{policy:?}");
            if lives {
                let answer = old.ask(b"still").await;
                assert_eq!(answer.unwrap_or_default(), b"<still", "{policy:?} {listen:?}");
                // And the port can be had again, by us: no stranger is in the way.
                assert!(stage.forwards([Forward { listen, ..forward }]).await.is_empty());
                assert_eq!(new.ask(b"new").await.unwrap(), b"<new");
                assert_eq!(old.ask(b"still").await.unwrap(), b"<still", "beside the new one");
            } else {
                assert!(old.ask(b"x").await.is_err());
                until(|| stage.shared.sessions.is_empty()).await;
            }
        }
    }
}

#[tokio::test]
async fn who_knocks_first_while_a_spot_is_closed_is_not_let_in() {
    tokio::task::LocalSet::new()
        .run_until(async {
            let dir = tempfile::tempdir().unwrap();
            let worker = testing::worker(dir.path());
            let machine = UdpSocket::bind((LOCAL, 0)).await.unwrap();
            // The forward stays, and covers the address of the spot that is closed: it listens on every address now.
            let forward = Forward { listen: None, ..udp(1, free_port(), machine.local_addr().unwrap()) };
            let spot = Spot { transport: Transport::Udp, ip: LOCAL, port: forward.ports.first };
            let value = Object::encode(&Value::Forward(forward.clone())).unwrap();
            let (live, _) =
                Live::compile(Arc::new(Snapshot::of(Lineage([1; 16]), Generation(1), [value]))).unwrap();
            worker.shared.current.replace(Arc::new(live));
            let Some(Open::Udp(gate)) = bind::bind(spot, 1, false).unwrap().pop() else { unreachable!() };
            let hall = Hall::open(&worker, spot, gate, Arc::default()).unwrap();
            let (close, alive) = (CancellationToken::new(), tokio_util::task::TaskTracker::new());
            tokio::task::spawn_local(crate::forward::udp::run(hall, close.clone(), alive.token()));
            let (old, new) = (Client::of((LOCAL, spot.port)).await, Client::of((LOCAL, spot.port)).await);
            old.0.send(b"first").await.unwrap();
            let mut buffer = [0; 16];
            within(machine.recv_from(&mut buffer)).await.unwrap();

            // They lie in the socket before the hall looks up again, and finds that it is to close.
            assert_eq!(old.0.try_send(b"last").unwrap(), 4);
            assert_eq!(new.0.try_send(b"too late").unwrap(), 8);
            close.cancel();
            alive.close();
            within(alive.wait()).await;

            let flows = worker.shared.forwards.of(forward.id);
            assert_eq!(flows.begun.load(Relaxed), 1, "the one of before");
            let (count, _) = within(machine.recv_from(&mut buffer)).await.unwrap();
            assert_eq!(&buffer[..count], b"last", "nothing of it is lost");
        })
        .await;
}

#[tokio::test]
async fn a_forward_to_itself_leads_nowhere() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([Forward { listen: None, ..udp(1, port, (LOCAL, port).into()) }]).await;
    Client::of((LOCAL, port)).await.0.send(b"x").await.unwrap();
    until(|| stage.flows(1).refused(Refused::Forbidden) == 1).await;
    assert_eq!(stage.flows(1).open(), 0);
}

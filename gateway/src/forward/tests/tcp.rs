use std::net::{Ipv6Addr, SocketAddr};

use config::snapshot::{Forward, Ports, ProxyProtocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::stage::{
    LOCAL, Stage, connect, echo, end_of, free_port, free_ports, say, tcp, turned_away, until, within,
};
use crate::forward::Refused;
use crate::session::SessionKind;

#[tokio::test]
async fn both_families_are_forwarded_by_one_forward() {
    let (stage, port) = (Stage::new().await, free_port());
    let everywhere = Forward { listen: None, ..tcp(1, port, echo(LOCAL).await) };
    let degraded = stage.forwards([everywhere]).await;
    assert!(degraded.is_empty(), "{degraded:?}");

    for ip in [LOCAL, Ipv6Addr::LOCALHOST.into()] {
        let mut tcp = TcpStream::connect((ip, port)).await.unwrap();
        assert_eq!(say(&mut tcp, b"hello").await.unwrap(), b"hello");
    }
    let v6 = Forward { listen: Some(LOCAL), ..tcp(1, port, echo(Ipv6Addr::LOCALHOST.into()).await) };
    stage.forwards([v6]).await;
    assert_eq!(say(&mut connect(port).await, b"to six").await.unwrap(), b"to six");
}

#[tokio::test]
async fn a_row_of_ports_leads_to_as_many_in_order() {
    let (stage, first) = (Stage::new().await, free_ports(40));
    let target = free_ports(40);
    let low = TcpListener::bind((LOCAL, target)).await.unwrap();
    let high = TcpListener::bind((LOCAL, target + 39)).await.unwrap();
    let ports = Ports { first, last: first + 39 };
    stage.forwards([Forward { ports, ..tcp(1, first, low.local_addr().unwrap()) }]).await;

    for (port, end) in [(first, &low), (first + 39, &high)] {
        let mut client = connect(port).await;
        client.write_all(b"x").await.unwrap();
        let (mut came, _) = within(end.accept()).await.unwrap();
        assert_eq!(came.read_u8().await.unwrap(), b'x');
    }
}

#[tokio::test]
async fn the_target_is_told_who_asks() {
    let (stage, port) = (Stage::new().await, free_port());
    let origin = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let target = origin.local_addr().unwrap();
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        stage.forwards([Forward { proxy_protocol: Some(version), ..tcp(1, port, target) }]).await;
        let mut client = connect(port).await;
        let from = client.local_addr().unwrap();
        client.write_all(b"!").await.unwrap();
        let (mut came, _) = within(origin.accept()).await.unwrap();

        let expected = match version {
            ProxyProtocol::V1 => {
                format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\n!", from.port()).into_bytes()
            }
            ProxyProtocol::V2 => {
                let head: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01";
                [head, &from.port().to_be_bytes(), &port.to_be_bytes(), b"!"].concat()
            }
        };
        let mut read = vec![0; expected.len()];
        within(came.read_exact(&mut read)).await.unwrap();
        assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn a_client_of_the_other_family_is_told_as_it_came() {
    let (stage, port) = (Stage::new().await, free_port());
    let six = std::net::IpAddr::V6(Ipv6Addr::LOCALHOST);
    for (nth, to) in [six, LOCAL].into_iter().enumerate() {
        let origin = TcpListener::bind((to, 0)).await.unwrap();
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let target = origin.local_addr().unwrap();
            let listen = if nth == 0 { Some(six) } else { None };
            let forward = Forward { listen, proxy_protocol: Some(version), ..tcp(1, port, target) };
            assert!(stage.forwards([forward]).await.is_empty());
            let mut client = TcpStream::connect((six, port)).await.unwrap();
            let from = client.local_addr().unwrap().port();
            client.write_all(b"!").await.unwrap();
            let (mut came, _) = within(origin.accept()).await.unwrap();
            let expected = match version {
                ProxyProtocol::V1 => format!("PROXY TCP6 ::1 ::1 {from} {port}\r\n!").into_bytes(),
                ProxyProtocol::V2 => {
                    let one = Ipv6Addr::LOCALHOST.octets();
                    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24";
                    [&head[..], &one, &one, &from.to_be_bytes(), &port.to_be_bytes(), b"!"].concat()
                }
            };
            let mut read = vec![0; expected.len()];
            within(came.read_exact(&mut read)).await.unwrap();
            assert_eq!(read, expected);
        }
    }
}

#[tokio::test]
async fn each_direction_ends_on_its_own() {
    let (stage, port) = (Stage::new().await, free_port());
    let origin = TcpListener::bind((LOCAL, 0)).await.unwrap();
    stage.forwards([tcp(1, port, origin.local_addr().unwrap())]).await;
    let mut client = connect(port).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();

    let (mut came, _) = within(origin.accept()).await.unwrap();
    let mut asked = Vec::new();
    within(came.read_to_end(&mut asked)).await.unwrap();
    came.write_all(b"a long answer").await.unwrap();
    drop(came);

    assert_eq!(asked, b"question");
    assert_eq!(end_of(&mut client).await, (b"a long answer".to_vec(), false));
    let flows = stage.flows(1);
    until(|| flows.open() == 0).await;
    assert_eq!(flows.bytes.each_ref().map(|n| n.load(std::sync::atomic::Ordering::Relaxed)), [8, 13]);
}

#[tokio::test]
async fn a_target_that_refuses_resets_the_client_and_is_counted() {
    let (stage, port) = (Stage::new().await, free_port());
    let gone: SocketAddr = (LOCAL, free_port()).into();
    stage.forwards([tcp(1, port, gone)]).await;

    turned_away(port).await;
    assert_eq!(stage.flows(1).refused(Refused::Unreachable), 1);
    until(|| stage.flows(1).open() == 0 && stage.shared.sessions.is_empty()).await;
}

#[tokio::test]
async fn a_target_that_breaks_off_is_no_end_for_the_client() {
    let (stage, port) = (Stage::new().await, free_port());
    let origin = TcpListener::bind((LOCAL, 0)).await.unwrap();
    stage.forwards([tcp(1, port, origin.local_addr().unwrap())]).await;
    let mut client = connect(port).await;
    let (came, _) = within(origin.accept()).await.unwrap();

    socket2::SockRef::from(&came).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(came);

    assert_eq!(end_of(&mut client).await, (Vec::new(), true));
}

#[tokio::test]
async fn a_forward_to_itself_or_round_in_a_ring_leads_nowhere() {
    let (stage, first) = (Stage::new().await, free_ports(3));
    let at = |port: u16| SocketAddr::from((LOCAL, port));
    let everywhere = Forward { listen: None, ..tcp(3, first + 2, at(first + 2)) };
    stage.forwards([tcp(1, first, at(first + 1)), tcp(2, first + 1, at(first)), everywhere]).await;

    for (nth, port) in (1..).zip(first..first + 3) {
        turned_away(port).await;
        assert_eq!(stage.flows(nth).refused(Refused::Forbidden), 1);
    }
    assert_eq!(stage.flows(1).begun.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn loopback_and_metadata_are_refused_unless_root_set_loopback() {
    let (stage, first) = (Stage::new().await, free_ports(2));
    let mut loopback = tcp(1, first, echo(LOCAL).await);
    loopback.endpoint.loopback_ok = false;
    stage.forwards([loopback, tcp(2, first + 1, "169.254.169.254:80".parse().unwrap())]).await;

    for (nth, port) in [(1, first), (2, first + 1)] {
        turned_away(port).await;
        assert_eq!(stage.flows(nth).refused(Refused::Forbidden), 1);
    }
}

#[tokio::test]
async fn an_open_flow_is_a_session_that_names_its_forward_and_can_be_ended() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([tcp(1, port, echo(LOCAL).await)]).await;
    let mut client = connect(port).await;
    say(&mut client, b"hello").await.unwrap();

    let listed = stage.shared.sessions.list();
    assert_eq!((listed.len(), listed[0].kind), (1, SessionKind::Forward));
    assert_eq!(listed[0].forward.as_deref(), Some("01010101-0101-0101-0101-010101010101"));
    until(|| stage.shared.sessions.list().iter().all(|one| (one.bytes_up, one.bytes_down) == (5, 5))).await;
    assert_eq!(listed[0].peer, client.local_addr().unwrap().to_string());

    assert!(stage.shared.sessions.end(listed[0].id.parse().unwrap()));
    assert_eq!(end_of(&mut client).await, (Vec::new(), true));
}

#[tokio::test]
async fn a_thousand_flows_leave_no_file_open() {
    let (stage, port) = (Stage::new().await, free_port());
    stage.forwards([tcp(1, port, echo(LOCAL).await)]).await;
    for _ in 0..20 {
        let mut open = Vec::new();
        for _ in 0..50 {
            open.push(connect(port).await);
        }
        for client in &mut open {
            say(client, b"x").await.unwrap();
        }
    }
    let flows = stage.flows(1);
    until(|| flows.open() == 0 && stage.shared.guard.connections() == 0).await;
    assert_eq!(flows.begun.load(std::sync::atomic::Ordering::Relaxed), 1_000);
    assert_eq!(stage.shared.guard.sessions(), 0);
    // Ours are the only sockets to that port: what is left of them are the listening ones.
    until(|| sockets_at(port) == 2).await;
}

/// Sockets of this process that are bound to a port of IPv4, by /proc; those that are no file any more have inode 0.
fn sockets_at(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let is_there = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&format!(":{port:04X}")) && fields[9] != "0"
    };
    table.lines().skip(1).filter(is_there).count()
}

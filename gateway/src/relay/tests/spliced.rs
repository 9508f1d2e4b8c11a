//! Much between two plain sockets: by a pipe in the kernel, and, where there is none, by copy. Both come to the same.

use std::rc::Rc;

use super::*;
use crate::splice::Pipes;

const MUCH: usize = 3_000_000;

fn payload() -> Vec<u8> {
    (0..u32::try_from(MUCH).unwrap()).map(|n| (n % 251) as u8).collect()
}

struct Ends {
    person: TcpStream,
    origin: TcpStream,
    relay: JoinHandle<Totals>,
    pipes: Rc<Pipes>,
}

/// Two plain connections, relayed.
async fn relayed_tcp(limits: RelayLimits) -> Ends {
    let pipes = Pipes::for_thread();
    let (person, mut downstream) = tcp_pair().await;
    let (near, origin) = tcp_pair().await;
    let mut upstream = crate::upstream::Stream::Plain(near);
    let relay =
        tokio::task::spawn_local(async move { run(&mut downstream, &mut upstream, limits, pending()).await });
    Ends { person, origin, relay, pipes }
}

/// Runs a scenario by pipe, then by copy.
async fn both_ways(scenario: impl AsyncFn(&mut Ends)) {
    for is_spliced in [true, false] {
        let mut ends = relayed_tcp(LONG).await;
        if !is_spliced {
            ends.pipes.turn_off();
        }
        scenario(&mut ends).await;
        assert_eq!(ends.pipes.counts().2 > 0, is_spliced, "whether pipes were used");
        ends.relay.abort();
        // It may be over already. Either way it gave back what it held.
        let _ = ends.relay.await;
        assert_eq!(ends.pipes.counts().0, 0);
    }
}

async fn send(io: &mut TcpStream, bytes: &[u8], to: &mut TcpStream) {
    let mut heard = vec![0; bytes.len()];
    let (sent, read) = tokio::join!(io.write_all(bytes), to.read_exact(&mut heard));
    sent.unwrap();
    read.unwrap();
    assert!(heard == bytes, "what arrived is not what was sent");
}

#[tokio::test(flavor = "local")]
async fn much_crosses_whole_with_exact_counts_and_a_half_close() {
    both_ways(async |ends: &mut Ends| {
        let much = payload();
        send(&mut ends.person, &much, &mut ends.origin).await;
        ends.person.shutdown().await.unwrap();
        assert_eq!(ends.origin.read(&mut [0; 8]).await.unwrap(), 0);
        send(&mut ends.origin, &much, &mut ends.person).await;
        ends.origin.shutdown().await.unwrap();
        assert_eq!(ends.person.read(&mut [0; 8]).await.unwrap(), 0);
        let bytes = u64::try_from(MUCH).unwrap();
        let totals = (&mut ends.relay).await.unwrap();
        assert_eq!(totals, Totals { up: bytes, down: bytes, reason: EndReason::Finished });
        ends.relay = tokio::task::spawn_local(async move { totals });
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn small_and_large_messages_take_turns_in_one_tunnel() {
    both_ways(async |ends: &mut Ends| {
        let much = payload();
        for len in [5, MUCH, 1, 65_536, 65_550, 2, 3, 4, 5, 6, 7, MUCH, 0, 9] {
            send(&mut ends.person, &much[..len], &mut ends.origin).await;
            send(&mut ends.origin, &much[..len], &mut ends.person).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn small_messages_take_no_pipe_and_a_tunnel_at_rest_holds_none() {
    let mut ends = relayed_tcp(LONG).await;
    for _ in 0..50 {
        send(&mut ends.person, b"a word", &mut ends.origin).await;
        send(&mut ends.origin, b"another", &mut ends.person).await;
    }
    assert_eq!(ends.pipes.counts(), (0, 0, 0));

    send(&mut ends.person, &payload(), &mut ends.origin).await;
    tokio::task::yield_now().await;
    assert_eq!(ends.pipes.counts().0, 0, "none is lent while nothing flows");
    assert!(ends.pipes.counts().2 > 0);
    ends.relay.abort();
}

#[tokio::test(flavor = "local")]
async fn a_reset_while_much_flows_breaks_it_and_frees_the_pipe() {
    let mut ends = relayed_tcp(LONG).await;
    send(&mut ends.origin, &payload(), &mut ends.person).await;
    // Nobody reads: the pipe fills.
    let much = payload();
    let flood = tokio::task::spawn_local(async move { while ends.origin.write_all(&much).await.is_ok() {} });
    while ends.pipes.counts().0 == 0 {
        tokio::task::yield_now().await;
    }
    socket2::SockRef::from(&ends.person).set_linger(Some(Duration::ZERO)).unwrap();
    drop(ends.person);

    assert_eq!(ends.relay.await.unwrap().reason, EndReason::Broken);
    assert_eq!(ends.pipes.counts().0, 0);
    flood.await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn who_never_reads_stops_the_flood_and_idles_out() {
    for is_spliced in [true, false] {
        let mut ends = relayed_tcp(RelayLimits { idle: Duration::from_millis(40) }).await;
        if !is_spliced {
            ends.pipes.turn_off();
        }
        let much = payload();
        let mut sent: u64 = 0;
        while let Ok(count) = ends.origin.write(&much).await {
            sent += u64::try_from(count).unwrap();
        }
        let totals = ends.relay.await.unwrap();
        assert_eq!(totals.reason, EndReason::Idle);
        // All that was taken and not passed on lies in two sockets' buffers and one pipe or buffer.
        assert!(totals.down <= sent && sent < 64 << 20, "{sent} taken, {totals:?}");
        assert_eq!(ends.pipes.counts().0, 0);
    }
}

#[tokio::test(flavor = "local")]
async fn relays_whose_readers_stopped_leave_pipes_to_bodies() {
    let pipes = Pipes::for_thread();
    let lent: Vec<_> = std::iter::from_fn(|| pipes.take_for_relay()).collect();
    assert_eq!(lent.len(), config::limits::RELAY_PIPES_MAX);
    assert!(pipes.take().is_some());
}

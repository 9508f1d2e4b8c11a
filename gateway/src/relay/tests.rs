mod spliced;

use std::future::{pending, ready};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const LONG: RelayLimits = RelayLimits { idle: Duration::from_secs(3600) };

/// Two far ends with a relay between their near ends.
fn relayed(room: usize, limits: RelayLimits) -> (DuplexStream, DuplexStream, JoinHandle<Totals>) {
    let (person, mut downstream) = duplex(room);
    let (mut upstream, origin) = duplex(room);
    let relay =
        tokio::task::spawn_local(async move { run(&mut downstream, &mut upstream, limits, pending()).await });
    (person, origin, relay)
}

#[tokio::test(flavor = "local")]
async fn bytes_pass_both_ways_and_are_counted() {
    let (mut person, mut origin, relay) = relayed(7, LONG);
    let echo = tokio::task::spawn_local(async move {
        let mut said = Vec::new();
        origin.read_to_end(&mut said).await.unwrap();
        origin.write_all(&said).await.unwrap();
        origin.write_all(b"!").await.unwrap();
    });

    person.write_all(b"one hundred and one dalmatians").await.unwrap();
    person.shutdown().await.unwrap();
    let mut heard = String::new();
    person.read_to_string(&mut heard).await.unwrap();

    assert_eq!(heard, "one hundred and one dalmatians!");
    echo.await.unwrap();
    assert_eq!(relay.await.unwrap(), Totals { up: 30, down: 31, reason: EndReason::Finished });
}

#[tokio::test(flavor = "local")]
async fn the_end_of_one_direction_leaves_the_other_open() {
    let (mut person, mut origin, relay) = relayed(64, LONG);
    origin.shutdown().await.unwrap();
    assert_eq!(person.read(&mut [0; 8]).await.unwrap(), 0);

    person.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    origin.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");

    drop(person);
    assert_eq!(origin.read(&mut heard).await.unwrap(), 0);
    assert_eq!(relay.await.unwrap().reason, EndReason::Finished);
}

#[tokio::test(flavor = "local")]
async fn silence_ends_it() {
    let (_person, _origin, relay) = relayed(64, RelayLimits { idle: Duration::from_millis(8) });
    assert_eq!(relay.await.unwrap(), Totals { up: 0, down: 0, reason: EndReason::Idle });
}

#[test]
fn talk_in_either_direction_begins_the_silence_anew() {
    let mut quiet = Quiet::default();
    for moved in [1, 1, 1, 1, 2, 2, 2, 2] {
        assert!(!quiet.tick_passed(moved));
    }
    assert!(quiet.tick_passed(2));
}

#[tokio::test(flavor = "local")]
async fn being_ended_beats_everything_else() {
    let (_person, mut downstream) = duplex(8);
    let (mut upstream, _origin) = duplex(8);
    let totals = run(&mut downstream, &mut upstream, LONG, ready(EndReason::Cut)).await;
    assert_eq!(totals, Totals { up: 0, down: 0, reason: EndReason::Cut });
}

#[tokio::test(flavor = "local")]
async fn an_end_that_is_gone_breaks_it() {
    let (mut person, origin, relay) = relayed(8, LONG);
    drop(origin);
    // The first byte meets a closed pipe; a second write may find the relay gone already.
    let _ = person.write_all(b"anyone?").await;
    assert_eq!(relay.await.unwrap().reason, EndReason::Broken);
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

#[tokio::test(flavor = "local")]
async fn megabytes_cross_tcp_both_ways_at_once() {
    let (person, mut downstream) = tcp_pair().await;
    let (mut upstream, origin) = tcp_pair().await;
    let relay =
        tokio::task::spawn_local(async move { run(&mut downstream, &mut upstream, LONG, pending()).await });
    let payload: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();

    let ends = [person, origin].map(|end| {
        let payload = payload.clone();
        tokio::task::spawn_local(async move {
            let (mut reader, mut writer) = end.into_split();
            let sent = payload.clone();
            let sending = tokio::task::spawn_local(async move {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).await.unwrap();
            sending.await.unwrap();
            assert!(heard == payload, "what arrived is not what was sent");
        })
    });

    for end in ends {
        end.await.unwrap();
    }
    assert_eq!(relay.await.unwrap(), Totals { up: 5_000_000, down: 5_000_000, reason: EndReason::Finished });
}

#[tokio::test(flavor = "local")]
async fn counts_are_readable_while_it_runs() {
    let (mut person, mut downstream) = duplex(64);
    let (mut upstream, mut origin) = duplex(64);
    let counts = std::sync::Arc::new(Counts::default());
    let theirs = std::sync::Arc::clone(&counts);
    let relay = tokio::task::spawn_local(async move {
        counted(&mut downstream, &mut upstream, LONG, &theirs, pending()).await
    });
    person.write_all(b"four").await.unwrap();
    origin.read_exact(&mut [0; 4]).await.unwrap();
    assert_eq!((counts.up(), counts.down()), (4, 0));
    relay.abort();
}

#[tokio::test(flavor = "local")]
async fn what_waits_in_a_writer_is_flushed_when_the_source_pauses() {
    let (mut person, mut downstream) = duplex(64);
    let (near, mut origin) = duplex(64);
    // As a TLS stream does, this one keeps what is written until it is told to send it.
    let mut upstream = tokio::io::BufStream::new(near);
    let relay =
        tokio::task::spawn_local(async move { run(&mut downstream, &mut upstream, LONG, pending()).await });
    person.write_all(b"now").await.unwrap();
    let mut heard = [0; 3];
    origin.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"now");
    relay.abort();
}

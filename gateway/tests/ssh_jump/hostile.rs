//! Peers that mean no good, or do not know better, before anybody authenticated.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use config::limits;
use config::snapshot::{SshAccess, Value};
use socket2::{Domain, Socket, Type};

use crate::client::{Person, said};
use crate::gate::{Gate, echo, person, vm, wait_for};

const BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n";
const GREETING: &[u8] = b"SSH-2.0-gatehouse\r\n";

fn gate() -> Option<(Gate, Person)> {
    let gate = Gate::start();
    let alice = Person::who_makes(&["-t", "ed25519"], gate.address)?;
    gate.put([
        Value::Vm(vm(1, "web-01", "ns1", echo())),
        person("operator:ns1", &[alice.blob()], SshAccess::default()),
    ]);
    Some((gate, alice))
}

/// Says something and waits until the gate closes; what it said meanwhile.
fn told_off(gate: &Gate, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(gate.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut heard = Vec::new();
    // A gate that has closed already resets what is still sent.
    let _ = stream.write_all(words);
    if let Err(error) = stream.read_to_end(&mut heard) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it was not closed");
    }
    heard
}

fn gets_through(alice: &Person, from: &str) {
    let output = alice.run(&["-b", from, "-W", "web-01:22"], &[], b"hello");
    assert_eq!(output.stdout, b"hello", "{}", said(&output));
}

#[test]
fn garbage_and_packets_that_cannot_be_are_hung_up_on() {
    let Some((gate, alice)) = gate() else { return };
    for words in [
        &b"GET / HTTP/1.1\r\nhost: gate\r\n\r\n"[..],
        b"SSH-1.5-old\r\n",
        &[0; 4_096],
        &[b'x'; 4_096],
        // A packet of 4 GiB, one of no bytes, and one whose padding is longer than it is.
        &[BANNER, &[0xff; 16][..]].concat(),
        &[BANNER, &[0; 16][..]].concat(),
        &[BANNER, &[0, 0, 0, 12, 0xff, 20][..], &[0; 10]].concat(),
    ] {
        let heard = told_off(&gate, words);
        assert!(heard.starts_with(GREETING) || heard.is_empty(), "{heard:?}");
    }
    gets_through(&alice, "127.0.0.1");
}

#[test]
fn half_a_packet_and_then_nothing_holds_up_nobody() {
    let Some((gate, alice)) = gate() else { return };
    let stuck: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(gate.address).unwrap();
            stream.write_all(BANNER).unwrap();
            stream.write_all(&[0, 0, 4, 0, 8, 20, 1, 2]).unwrap();
            stream
        })
        .collect();
    gets_through(&alice, "127.0.0.1");
    drop(stuck);
}

#[test]
fn who_fails_again_and_again_is_slowed_and_others_are_not() {
    let Some((gate, alice)) = gate() else { return };
    for _ in 0..limits::SSH_STRIKES_FREE + 4 {
        told_off(&gate, b"nonsense\r\n");
    }
    let began = std::time::Instant::now();
    told_off(&gate, b"nonsense\r\n");
    assert!(began.elapsed() >= Duration::from_millis(limits::SSH_STRIKE_MS.0), "it was not slowed");

    gets_through(&alice, "127.0.0.2");
    gets_through(&alice, "127.0.0.1");
}

/// Connections from `source` that say nothing, each with its place: the gate has greeted it.
fn silent(gate: &Gate, source: &str, count: usize) -> Vec<TcpStream> {
    let source: IpAddr = source.parse().unwrap();
    let connect = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&gate.address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.read_exact(&mut [0; GREETING.len()]).unwrap();
        stream
    };
    (0..count).map(connect).collect()
}

/// Whether the gate closed it.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    !matches!((&mut &*stream).read(&mut [0; 8]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_source_that_takes_all_it_may_displaces_itself_alone() {
    let Some((gate, alice)) = gate() else { return };
    let other = silent(&gate, "127.0.0.2", 1);
    let many = silent(&gate, "127.0.0.3", limits::SSH_UNAUTHENTICATED_PER_SOURCE_MAX);
    let one_more = silent(&gate, "127.0.0.3", 1);

    wait_for(|| is_closed(&many[0]));
    assert!(!many[1..].iter().chain(&one_more).chain(&other).any(is_closed), "the oldest makes room");
    gets_through(&alice, "127.0.0.3");
    gets_through(&alice, "127.0.0.4");
    drop((other, many, one_more));
    wait_for(|| gate.shared.ssh_room.is_empty());
}

#[test]
fn eight_sources_that_take_all_they_may_leave_room_for_a_ninth() {
    let Some((gate, alice)) = gate() else { return };
    let per_source = limits::SSH_UNAUTHENTICATED_PER_SOURCE_MAX;
    let sources = limits::SSH_UNAUTHENTICATED_MAX / per_source;
    let crowd: Vec<_> =
        (2..2 + sources).map(|last| silent(&gate, &format!("127.0.0.{last}"), per_source)).collect();
    assert_eq!(gate.shared.ssh_room.len(), limits::SSH_UNAUTHENTICATED_MAX, "the room is full");

    gets_through(&alice, "127.0.0.1");
    gets_through(&alice, "127.0.0.1");

    wait_for(|| is_closed(&crowd[0][0]));
    let closed = crowd.iter().flatten().filter(|stream| is_closed(stream)).count();
    assert!(closed <= 2, "{closed} made room for two");
    drop(crowd);
    wait_for(|| gate.shared.ssh_room.is_empty());
}

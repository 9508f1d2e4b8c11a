//! Peers that mean no good, and the memory that they cost the gate.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use config::limits;
use socket2::{Domain, Socket, Type};
use tests::binaries::signal;
use tests::firehose::Firehose;
use tests::wait::{DEADLINE, wait_for};

use super::{Scene, said};

/// Growth of the gateway that peers of one kind may cause at their worst, in bytes.
const GROWTH_MAX: u64 = 64 * 1024 * 1024;
/// Sources of peers that do not authenticate.
const SOURCES: u8 = 4;
const PER_SOURCE: usize = limits::SSH_UNAUTHENTICATED_PER_SOURCE_MAX;
/// Jumps that are not read from.
const UNREAD: usize = 20;

/// A connection from `127.0.0.source` that the gate has greeted.
fn greeted(gate: SocketAddr, source: u8) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((IpAddr::from([127, 0, 0, source]), 0)).into()).unwrap();
    socket.connect(&gate.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.read_exact(&mut [0; b"SSH-2.0-gatehouse\r\n".len()]).unwrap();
    stream
}

/// Bytes that wait in the kernel for the gate to read them.
fn unread(gate: SocketAddr) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", gate.port());
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let queues = rows.filter(|row| row[1].ends_with(&port)).map(|row| row[4].split_once(':').unwrap().1);
    queues.map(|queue| u64::from_str_radix(queue, 16).unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_never_finish_cost_little_and_keep_nobody_out() {
    let scene = Scene::set().await;
    let gate = scene.gate();
    let much = vec![0; 200 * 1024];
    let mut source = 2;
    for (what, begins, goes_on) in [
        ("nothing", &b""[..], false),
        ("half an introduction", b"SSH-2.0-", false),
        ("an introduction that does not end", b"SSH-2.0-", true),
        ("half a packet", b"SSH-2.0-x\r\n\0\0\x04\0\x08\x14", false),
        (
            "the head of the largest packet that a stranger may send",
            b"SSH-2.0-x\r\n\0\0\x88\xb0\x08\x14",
            false,
        ),
        ("a packet that only people may send", b"SSH-2.0-x\r\n\0\x03\xff\xf4\x08\x14", true),
        ("a packet that cannot be", b"SSH-2.0-x\r\n\x7f\xff\xff\xff\x08\x14", true),
    ] {
        let before = scene.up.resident_bytes("gateway");
        // Others each time, and all there before the first is hung up on: its source is slowed then.
        let sources = (source..source + SOURCES).flat_map(|source| [source; PER_SOURCE]);
        let mut held: Vec<TcpStream> = sources.map(|source| greeted(gate, source)).collect();
        source += SOURCES;
        for stream in &mut held {
            // One that is hung up on resets the rest.
            let _ = stream.write_all(begins);
            let _ = stream.write_all(if goes_on { &much } else { &[] });
        }
        wait_for("the gate has read it", || std::future::ready((unread(gate) == 0).then_some(()))).await;

        let output = scene.jump("web01", &["echo", "through"]);

        assert_eq!(output.stdout, b"through\n", "{what}: {}", said(&output));
        let most = scene.up.resident_bytes_most("gateway");
        eprintln!("{what}: {} KiB more at most", most.saturating_sub(before) / 1024);
        assert!(most < before + GROWTH_MAX, "{what}: the gateway grew from {before} to {most} bytes");
    }
}

/// Ends with the test, stopped or not.
struct Unread(Child);

impl Drop for Unread {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_do_not_read_what_they_ask_for_cost_no_more_than_a_bound() {
    let scene = Scene::set().await;
    let spring = Firehose::start().await;
    let port = spring.url().rsplit(':').next().unwrap().to_owned();
    scene.up.cli(&["vm", "add", "spring", "127.0.0.1", "--network", "blue", "--ssh-port", &port]);
    wait_for("the spring is known", || async { scene.at_the_gate(&["-W", "spring:22"]).0.then_some(()) })
        .await;
    let before = scene.up.resident_bytes("gateway");
    let gate = scene.gate();
    // Written once: the others would read it while it is written again.
    let config = scene.config();
    let open = |_| {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&config);
        command.args(["-W", "spring:22", "-p", &gate.port().to_string(), &format!("openidcs@{}", gate.ip())]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap();
        child.stdin.as_mut().unwrap().write_all(b"GET / HTTP/1.1\r\nhost: spring\r\n\r\n").unwrap();
        Unread(child)
    };
    let unread: Vec<Unread> = (0..UNREAD).map(open).collect();
    spring.is_held_up(UNREAD as u64).await;
    // Half of them have shut their lids: not even their kernels' buffers are emptied.
    for jump in unread.iter().step_by(2) {
        signal(jump.0.id(), "STOP");
    }
    spring.is_held_up(UNREAD as u64).await;

    let output = scene.jump("web01", &["echo", "through"]);

    assert_eq!(output.stdout, b"through\n", "{}", said(&output));
    let most = scene.up.resident_bytes_most("gateway");
    eprintln!("{} KiB more at most", most.saturating_sub(before) / 1024);
    assert!(most < before + GROWTH_MAX, "the gateway grew from {before} to {most} bytes");
}

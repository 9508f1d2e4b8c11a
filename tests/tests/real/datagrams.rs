//! A flood of datagrams from more sources than a gateway remembers: what is held stays bounded and is counted, and who asks
//! at another forward is not forgotten.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tests::binaries::Up;
use tests::client;
use tests::wait::{wait_for, within};

use crate::flows::{forward, sessions, udp_echo};

/// Sources of the flood: more than twice what one gateway remembers for all its forwards.
const SOURCES: u32 = 70_000;
/// What a gateway remembers: `limits::UDP_SESSIONS_MAX`.
const SESSIONS_MAX: u64 = 32_768;
/// What the flooded forward may have, by its own word.
const OWN_MAX: u64 = 500;

/// Somebody who asks all the time.
#[derive(Default)]
struct Steady {
    done: AtomicBool,
    answers: AtomicU64,
    /// How often the machine saw another client than before: a session that was forgotten.
    forgotten: AtomicU64,
}

impl Steady {
    fn asks(&self, port: u16) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut seen = None;
        while !self.done.load(Relaxed) {
            let mut answer = [0; 200];
            // The kernel drops some where a flood fills the socket.
            let count = socket.send(b"who").and_then(|_| socket.recv(&mut answer));
            let Ok(count) = count else { continue };
            let now = answer[..count].to_vec();
            if seen.replace(now.clone()).is_some_and(|before| before != now) {
                self.forgotten.fetch_add(1, Relaxed);
            }
            self.answers.fetch_add(1, Relaxed);
        }
    }

    async fn goes_on(&self) {
        let before = self.answers.load(Relaxed);
        wait_for("it is answered", || async { (self.answers.load(Relaxed) > before + 20).then_some(()) })
            .await;
    }

    fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }
}

/// One datagram from each source: all of 127.1.0.0/16 and beyond.
fn flood(port: u16) {
    for nth in 0..SOURCES {
        let [_, high, middle, low] = nth.to_be_bytes();
        let source = SocketAddr::from((Ipv4Addr::new(127, 1 + high, middle, low), 0));
        // Neither the network's own address nor the broadcast one is a problem on loopback.
        let Ok(socket) = UdpSocket::bind(source) else { continue };
        let _ = socket.send_to(b"flood", ("127.0.0.1", port));
        if nth % 64 == 63 {
            // Let the gateway read: what the kernel drops proves nothing about the table.
            std::thread::yield_now();
        }
    }
}

async fn figure(up: &Up, name: &str, forward: &str) -> u64 {
    let page = client::get(up.address("gateway_admin"), "localhost", "/metrics").await.unwrap().text();
    let line = page.lines().find(|line| line.starts_with(name) && line.contains(forward));
    line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map_or(0, |value| value as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_seventy_thousand_sources_is_bounded_counted_and_costs_others_nothing() {
    let up = Up::start();
    let machine = udp_echo();
    let (small, small_port) = forward(&up, "udp", machine, &["--max-conns", &OWN_MAX.to_string()]);
    let (large, large_port) = forward(&up, "udp", machine, &[]);
    let clients: [Arc<Steady>; 2] = Default::default();
    let asking: Vec<_> = [small_port, large_port]
        .into_iter()
        .zip(&clients)
        .map(|(port, client)| {
            let client = Arc::clone(client);
            tokio::task::spawn_blocking(move || client.asks(port))
        })
        .collect();
    let [of_small, of_large] = &clients;
    for client in &clients {
        client.goes_on().await;
    }
    let before = up.resident_bytes("gateway");

    for (port, id, bound, other) in
        [(small_port, &small, OWN_MAX, of_large), (large_port, &large, SESSIONS_MAX, of_small)]
    {
        let forgotten = other.forgotten();
        within("the flood ends", tokio::task::spawn_blocking(move || flood(port))).await.unwrap();
        other.goes_on().await;
        // The flooded forward pays: who is heard of at another one stays who it is. Of the small one this is not said: what
        // is left of its own flood may still be read.
        assert!(port == large_port || other.forgotten() == forgotten);
        let (begun, displaced) = (
            figure(&up, "gatehouse_forward_flows_total", id).await,
            figure(&up, "gatehouse_forward_displaced_total", id).await,
        );
        eprintln!("{begun} sessions begun, {displaced} displaced, bound {bound}");
        assert!(displaced > 0 && begun - displaced <= bound, "{begun} begun, {displaced} displaced");
    }
    for client in &clients {
        client.goes_on().await;
    }
    let open = sessions(&up, &["--kind", "udp"]).len();
    let most = up.resident_bytes_most("gateway");
    eprintln!("{open} sessions are open; the gateway grew from {before} to {most} bytes");
    assert!(most - before < SESSIONS_MAX * 8 * 1024, "{before} to {most}");
    for client in &clients {
        client.done.store(true, Relaxed);
    }
    for task in asking {
        task.await.unwrap();
    }
}

//! Tunnels beside nginx and HAProxy, port forwards beside the least that could carry them.

use std::time::Duration;

use anyhow::Result;
use benches::load::bulk::{self, Direction};
use benches::load::datagrams;
use benches::load::tunnel::{self, Messages};
use benches::peers::{Behind, Proxy, forwards};
use benches::process::{anonymous_bytes, open_files};

use super::{Arguments, Work, cpu};

/// Payload of a small message: a key pressed, a price.
const SMALL_BYTES: usize = 32;
/// Payload of a large one.
const LARGE_BYTES: usize = 64 * 1024;
/// Connections that carry large messages.
const LARGE_CONNECTIONS: usize = 8;
/// Sockets that send datagrams.
const SOCKETS: usize = 8;

/// Measures what is wanted of them.
pub(super) fn run(
    arguments: &Arguments,
    proxies: &[Proxy],
    behind: Behind,
    wants: impl Fn(Work) -> bool,
) -> Result<()> {
    if wants(Work::TunnelSmall) {
        let connections = arguments.connections as usize;
        let messages = Messages { connections, count: arguments.messages, length: SMALL_BYTES };
        for (title, is_tls) in [
            ("32 bytes echoed through a WebSocket plain, CPU s per 100 000", false),
            ("32 bytes echoed through a WebSocket TLS, CPU s per 100 000", true),
        ] {
            cpu(title, arguments, proxies, 1e5, |proxy| tunnel::run(door(proxy, is_tls), is_tls, messages))?;
        }
    }
    if wants(Work::TunnelLarge) {
        // Each message goes there and back.
        let count = (arguments.megabytes * 1_000_000).div_ceil(2 * LARGE_BYTES);
        let messages = Messages { connections: LARGE_CONNECTIONS, count, length: LARGE_BYTES };
        for (title, is_tls) in [
            ("64 KiB echoed through a WebSocket plain, CPU s per GB both ways together", false),
            ("64 KiB echoed through a WebSocket TLS, CPU s per GB both ways together", true),
        ] {
            let run = |proxy: &Proxy| {
                Ok(tunnel::run(door(proxy, is_tls), is_tls, messages)? * (2 * LARGE_BYTES) as f64)
            };
            cpu(title, arguments, proxies, 1e9, run)?;
        }
    }
    if wants(Work::TunnelIdle) {
        idle(arguments, proxies)?;
    }
    if wants(Work::ForwardTcp) {
        let forwards = forwards::tcp(proxies, behind.origin)?;
        let transfers = (arguments.megabytes * 1_000_000).div_ceil(4 * benches::peers::BULK_BYTES);
        for (title, way) in [
            ("10 MiB down a TCP forward, CPU s per GB", Direction::Down),
            ("10 MiB up a TCP forward, CPU s per GB", Direction::Up),
        ] {
            cpu(title, arguments, &forwards, 1e9, |proxy| bulk::run(proxy.http, false, way, (4, transfers)))?;
        }
    }
    if wants(Work::ForwardUdp) {
        let forwards = forwards::udp(proxies, behind.echo.udp)?;
        let title = "512 bytes echoed through a UDP forward, CPU s per 100 000";
        cpu(title, arguments, &forwards, 1e5, |proxy| {
            datagrams::run(proxy.http, SOCKETS, arguments.messages)
        })?;
    }
    Ok(())
}

fn door(proxy: &Proxy, is_tls: bool) -> std::net::SocketAddr {
    if is_tls { proxy.https } else { proxy.http }
}

/// Pipes of splice(2) are the kernel's and in no process's memory: so the descriptors are said, too.
#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
#[expect(
    clippy::disallowed_methods,
    reason = "time for the proxy to give buffers back: it tells nobody when it has"
)]
fn idle(arguments: &Arguments, proxies: &[Proxy]) -> Result<()> {
    println!("\nmemory of an idle tunnel, KiB, and its descriptors ({} of them)", arguments.idle);
    for proxy in proxies {
        let mut figures = Vec::new();
        for is_tls in [false, true] {
            // What the first tunnels make the allocator keep is not theirs.
            drop(tunnel::open(door(proxy, is_tls), is_tls, arguments.idle.min(200))?);
            std::thread::sleep(Duration::from_millis(500));
            let (memory, files) = (anonymous_bytes(proxy.pid)?, open_files(proxy.pid)?);
            let held = tunnel::open(door(proxy, is_tls), is_tls, arguments.idle)?;
            std::thread::sleep(Duration::from_millis(2_500));
            let memory = anonymous_bytes(proxy.pid)?.saturating_sub(memory) as f64 / 1024.0;
            let files = open_files(proxy.pid)?.saturating_sub(files) as f64;
            figures.push((memory / arguments.idle as f64, files / arguments.idle as f64));
            drop(held);
        }
        let [(plain, plain_files), (tls, tls_files)] = figures.as_slice() else { continue };
        println!("  {:10} plain {plain:.1} ({plain_files:.1})  TLS {tls:.1} ({tls_files:.1})", proxy.name);
    }
    Ok(())
}

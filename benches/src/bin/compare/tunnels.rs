//! Tunnels beside nginx and HAProxy, port forwards beside the least that could carry them.

use std::time::Duration;

use anyhow::{Context, Result};
use benches::load::bulk::{self, Direction};
use benches::load::datagrams;
use benches::load::tunnel::{self, Messages};
use benches::peers::{Behind, Proxy, forwards};
use benches::process::{anonymous_bytes, connections_max, open_files, open_files_max};

use super::{Arguments, GIB, Work, cpu};

/// Payload of a small message: a key pressed, a price.
const SMALL_BYTES: usize = 32;
/// Payload of a large one.
const LARGE_BYTES: usize = 64 * 1024;
/// Connections that carry large messages.
const LARGE_CONNECTIONS: usize = 8;
/// Sockets that send datagrams.
const SOCKETS: usize = 8;

/// Measures what is wanted of them.
pub(super) fn run(arguments: &Arguments, proxies: &[Proxy], behind: Behind) -> Result<()> {
    let wants = |work| arguments.wants(work);
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
            ("64 KiB echoed through a WebSocket plain, CPU s per GiB both ways together", false),
            ("64 KiB echoed through a WebSocket TLS, CPU s per GiB both ways together", true),
        ] {
            let run = |proxy: &Proxy| {
                Ok(tunnel::run(door(proxy, is_tls), is_tls, messages)? * (2 * LARGE_BYTES) as f64)
            };
            cpu(title, arguments, proxies, GIB, run)?;
        }
    }
    if wants(Work::TunnelIdle) {
        idle(arguments, proxies)?;
    }
    if wants(Work::ForwardTcp) {
        let forwards = forwards::tcp(proxies, behind.origin)?;
        let transfers = (arguments.megabytes * 1_000_000).div_ceil(4 * benches::peers::BULK_BYTES);
        for (title, way) in [
            ("10 MiB down a TCP forward, CPU s per GiB", Direction::Down),
            ("10 MiB up a TCP forward, CPU s per GiB", Direction::Up),
        ] {
            cpu(title, arguments, &forwards, GIB, |proxy| bulk::run(proxy.http, false, way, (4, transfers)))?;
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
fn idle(arguments: &Arguments, proxies: &[Proxy]) -> Result<()> {
    let count = arguments.idle.min(connections_max());
    if count < arguments.idle {
        let files = open_files_max();
        println!("\nA process may have {files} files open here: {count} tunnels, not {}", arguments.idle);
    }
    println!("\nmemory of an idle tunnel, KiB (RssAnon), and its descriptors; {count} of them, at once\n");
    println!("| | plain | descriptors | TLS | descriptors |\n|---|---|---|---|---|");
    for proxy in proxies {
        // What the first tunnels make the allocator keep is not theirs.
        for is_tls in [false, true] {
            drop(tunnel::open(door(proxy, is_tls), is_tls, count.min(200))?);
        }
        settle(500);
        // One beginning for both: memory that plain tunnels leave behind would otherwise be a gift to those over TLS.
        let before = (anonymous_bytes(proxy.pid)?, open_files(proxy.pid)?);
        let (plain, plain_files) = idle_of(proxy, false, count, before)?;
        let (tls, tls_files) = idle_of(proxy, true, count, before)?;
        println!("| {} | {plain:.1} | {plain_files:.1} | {tls:.1} | {tls_files:.1} |", proxy.name);
    }
    Ok(())
}

/// KiB and descriptors of each of so many tunnels, beyond what there was before.
fn idle_of(proxy: &Proxy, is_tls: bool, count: usize, before: (u64, usize)) -> Result<(f64, f64)> {
    let held = tunnel::open(door(proxy, is_tls), is_tls, count).with_context(|| proxy.name)?;
    settle(2_500);
    let memory = anonymous_bytes(proxy.pid)?.saturating_sub(before.0) as f64 / 1024.0;
    let files = open_files(proxy.pid)?.saturating_sub(before.1) as f64;
    drop(held);
    settle(500);
    Ok((memory / count as f64, files / count as f64))
}

#[expect(
    clippy::disallowed_methods,
    reason = "time for the proxy to give buffers back: it tells nobody when it has"
)]
pub(super) fn settle(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

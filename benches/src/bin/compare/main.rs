//! The gateway beside nginx, HAProxy and caddy, sshd and websockify on the same work, interleaved in one run.
//!
//! Needs nginx, haproxy, caddy, wrk, h2load, openssl and taskset; sshd and ssh; websockify: what the work that is asked for
//! takes. Proxies have one worker on core 0; load and origin are on core 1. The headline figure is CPU seconds of the proxy
//! from `/proc`, not throughput: the machine is shared.

mod consoles;
mod held;
mod ssh;
mod tunnels;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use benches::http::Connection;
use benches::load::bulk::{self, Direction};
use benches::load::handshake::{Exchange, Wish};
use benches::load::{self, handshake, idle, open_loop, tunnel};
use benches::peers::{self, Behind, Proxy};
use benches::process::{self, anonymous_bytes, tree_cpu_seconds};
use benches::stats::{median, percentile};
use benches::table::Table;
use clap::{Parser, ValueEnum};

/// Bytes that large things are counted by where they are compared with a bound in GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// Compares the gateway with its peers.
#[derive(Parser)]
struct Arguments {
    /// What to measure; everything when none is named.
    work: Vec<Work>,
    /// Interleaved rounds after the one that warms up.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each round and proxy.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Connections of the load.
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Peers; all when none is named.
    #[arg(long)]
    peer: Vec<String>,
    /// Requests a second that the open loop sends at most: more than this one core of generator and origin cannot keep up
    /// with, and would measure itself.
    #[arg(long, default_value_t = 8_000.0)]
    rate: f64,
    /// Routes of the gateway beside the one that is asked.
    #[arg(long, default_value_t = 10_000)]
    routes: usize,
    /// Messages or datagrams that each round has echoed.
    #[arg(long, default_value_t = 100_000)]
    messages: usize,
    /// Millions of bytes that each round moves through tunnels and forwards.
    #[arg(long, default_value_t = 1_000)]
    megabytes: usize,
    /// Idle connections, or tunnels, whose memory is measured; tunnels that are held.
    #[arg(long, default_value_t = 4_000)]
    idle: usize,
    /// WebSockets that are open and silent while routes change.
    #[arg(long, default_value_t = 0)]
    tunnels: usize,
    /// Idle jumps that are held through the gateway.
    #[arg(long, default_value_t = 2_000)]
    jumps: usize,
    /// The same through sshd, which has two processes for each.
    #[arg(long, default_value_t = 200)]
    sshd_jumps: usize,
    /// Logins through each jump host in each round.
    #[arg(long, default_value_t = 10)]
    logins: usize,
    /// Keys that are pressed in each round and terminal.
    #[arg(long, default_value_t = 500)]
    keys: usize,
}

impl Arguments {
    fn wants(&self, work: Work) -> bool {
        self.work.is_empty() || self.work.contains(&work)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// 1 KiB, keep-alive, plain.
    Small,
    /// The same over TLS.
    Tls,
    /// The same over HTTP/2 and TLS.
    H2,
    /// 10 MiB to the client and to the origin, plain and TLS.
    Bulk,
    /// Full TLS handshakes.
    Handshake,
    /// TLS handshakes that take up an earlier session.
    Resume,
    /// p99 at half of nginx's own most, open loop.
    Latency,
    /// Memory of an idle connection.
    Idle,
    /// Failures and p99 while 20 routes change each second.
    Changes,
    /// Messages of 32 bytes echoed through WebSockets, plain and TLS.
    TunnelSmall,
    /// The same with 64 KiB.
    TunnelLarge,
    /// Memory of an idle tunnel.
    TunnelIdle,
    /// 10 MiB through a TCP forward, beside a bare splice loop.
    ForwardTcp,
    /// Datagrams echoed through a UDP forward, beside socat.
    ForwardUdp,
    /// Bytes from behind a jump host, beside sshd.
    SshDown,
    /// Bytes to behind it.
    SshUp,
    /// Logins by `ssh -J`.
    SshLogin,
    /// Memory of an idle jump.
    SshIdle,
    /// Time from a key to its echo, in the browser's terminal and by `ssh`.
    Keystroke,
    /// Messages through the bridge to a VNC server, beside websockify.
    Vnc,
    /// Tunnels that are open while routes change and the gateway is upgraded: none may close.
    TunnelsHeld,
}

/// What the proxies for the web are needed for.
const WEB: [Work; 14] = [
    Work::Small,
    Work::Tls,
    Work::H2,
    Work::Bulk,
    Work::Handshake,
    Work::Resume,
    Work::Latency,
    Work::Idle,
    Work::Changes,
    Work::TunnelSmall,
    Work::TunnelLarge,
    Work::TunnelIdle,
    Work::ForwardTcp,
    Work::ForwardUdp,
];

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    process::raise_open_files();
    println!("machine: {}", process::machine());
    process::pin(std::process::id(), 1)?;
    let directory = tempfile::Builder::new().prefix("gh").tempdir()?;
    if WEB.iter().any(|work| arguments.wants(*work)) {
        web(&arguments, directory.path())?;
    }
    ssh::run(&arguments, directory.path())?;
    consoles::run(&arguments, directory.path())?;
    held::run(&arguments, directory.path())
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn web(arguments: &Arguments, folder: &Path) -> Result<()> {
    let origin = peers::origin(folder)?;
    let behind = Behind { origin: origin.address, echo: peers::echo::start()? };
    let mut proxies = peers::start(folder, behind, &arguments.peer, arguments.routes)?;
    let wants = |work| arguments.wants(work);
    let per_requests = 100_000.0;
    let (connections, seconds) = (arguments.connections, arguments.seconds);
    if wants(Work::Small) {
        let run = |proxy: &Proxy| load::wrk(proxy.http, false, connections, seconds);
        cpu("1 KiB plain, CPU s per 100 000 requests", arguments, &proxies, per_requests, run)?;
    }
    if wants(Work::Tls) {
        let run = |proxy: &Proxy| load::wrk(proxy.https, true, connections, seconds);
        cpu("1 KiB TLS, CPU s per 100 000 requests", arguments, &proxies, per_requests, run)?;
    }
    if wants(Work::H2) {
        let run = |proxy: &Proxy| load::h2load(proxy.https, connections.min(8), seconds);
        cpu("1 KiB HTTP/2 over TLS, CPU s per 100 000 requests", arguments, &proxies, per_requests, run)?;
    }
    if wants(Work::Bulk) {
        for (title, is_tls, way) in [
            ("10 MiB down plain, CPU s per GB", false, Direction::Down),
            ("10 MiB up plain, CPU s per GB", false, Direction::Up),
            ("10 MiB down TLS, CPU s per GB", true, Direction::Down),
            ("10 MiB up TLS, CPU s per GB", true, Direction::Up),
        ] {
            let run = |proxy: &Proxy| {
                bulk::run(if is_tls { proxy.https } else { proxy.http }, is_tls, way, (4, 20))
            };
            cpu(title, arguments, &proxies, 1e9, run)?;
        }
    }
    if wants(Work::Handshake) {
        for (exchange, title) in [
            (Exchange::X25519, "full TLS handshakes by X25519, CPU s per 1 000"),
            (Exchange::Hybrid, "the same where X25519MLKEM768 is offered, too"),
        ] {
            let run = |proxy: &Proxy| handshake::run(proxy.https, Wish { resumes: false, exchange }, seconds);
            cpu(title, arguments, &proxies, 1_000.0, run)?;
            for proxy in &proxies {
                println!("  {:10} {}", proxy.name, handshake::agreed(proxy.https, exchange)?);
            }
        }
    }
    if wants(Work::Resume) {
        let (resuming, others): (Vec<Proxy>, Vec<Proxy>) =
            proxies.into_iter().partition(|proxy| handshake::is_resumed(proxy.https).unwrap_or(false));
        let wish = Wish { resumes: true, exchange: Exchange::X25519 };
        let run = |proxy: &Proxy| handshake::run(proxy.https, wish, seconds);
        cpu("resumed TLS handshakes, CPU s per 1 000", arguments, &resuming, 1_000.0, run)?;
        others.iter().for_each(|proxy| println!("  {:10} resumes no session", proxy.name));
        proxies = resuming.into_iter().chain(others).collect();
    }
    if wants(Work::Latency) {
        latency(arguments, &proxies)?;
    }
    if wants(Work::Changes) {
        changes(arguments, &proxies)?;
    }
    if wants(Work::Idle) {
        memory(arguments, &proxies)?;
    }
    tunnels::run(arguments, &proxies, behind)
}

/// Runs a piece of work on each proxy in turn, several times, and prints the medians of CPU per `unit` of its result.
#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn cpu(
    title: &str,
    arguments: &Arguments,
    proxies: &[Proxy],
    unit: f64,
    work: impl Fn(&Proxy) -> Result<f64>,
) -> Result<Table> {
    let mut table = Table::new(title);
    for round in 0..=arguments.rounds {
        for proxy in proxies {
            let before = tree_cpu_seconds(proxy.pid)?;
            let done = work(proxy).with_context(|| proxy.name)?;
            if round > 0 {
                table.add(proxy.name, (tree_cpu_seconds(proxy.pid)? - before) / done * unit);
            }
        }
    }
    print!("{table}");
    Ok(table)
}

/// Half of what nginx can do at most, in requests a second.
fn half_rate(proxies: &[Proxy]) -> Result<f64> {
    let reference = proxies.iter().find(|proxy| proxy.name == "nginx").or(proxies.first());
    let reference = reference.context("there is no proxy")?;
    Ok(load::wrk(reference.http, false, 32, 3)? / 3.0 / 2.0)
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn latency(arguments: &Arguments, proxies: &[Proxy]) -> Result<()> {
    let rate = half_rate(proxies)?.min(arguments.rate);
    println!("\nlatency at {rate:.0} requests a second, open loop, ms");
    let mut samples: BTreeMap<&str, (Vec<f64>, Vec<f64>, usize)> = BTreeMap::new();
    for round in 0..=arguments.rounds {
        for proxy in proxies {
            let mut outcome = open_loop::run(proxy.http, rate, arguments.seconds, 64)?;
            if round > 0 {
                let (p50, p99, failed) = samples.entry(proxy.name).or_default();
                p50.push(percentile(&mut outcome.latency_ms, 0.5));
                p99.push(percentile(&mut outcome.latency_ms, 0.99));
                *failed += outcome.failed;
            }
        }
    }
    for (name, (mut p50, mut p99, failed)) in samples {
        println!("  {name:10} p50 {:.2}  p99 {:.2}  failed {failed}", median(&mut p50), median(&mut p99));
    }
    Ok(())
}

/// The gateway alone: its peers have nothing to change routes with but a reload, which PERF measured.
#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn changes(arguments: &Arguments, proxies: &[Proxy]) -> Result<()> {
    let Some(proxy) = proxies.iter().find(|proxy| proxy.data.is_some()) else { return Ok(()) };
    let data = proxy.data.clone().context("a gateway has a data directory")?;
    let rate = half_rate(proxies)?.min(arguments.rate);
    let mut held = tunnel::open(proxy.http, false, arguments.tunnels)?;
    let (mut quiet, mut busy, mut failed, mut made) = (Vec::new(), Vec::new(), 0, 0);
    for round in 0..=arguments.rounds {
        let mut calm = open_loop::run(proxy.http, rate, arguments.seconds, 64)?;
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (stop, count, data) = (Arc::clone(&stop), Arc::clone(&count), data.clone());
            std::thread::spawn(move || change_until(&data, round, &stop, &count))
        };
        let mut moved = open_loop::run(proxy.http, rate, arguments.seconds, 64)?;
        stop.store(true, Ordering::Relaxed);
        thread.join().map_err(|_| anyhow::anyhow!("the changing thread panicked"))??;
        if round > 0 {
            quiet.push(percentile(&mut calm.latency_ms, 0.99));
            busy.push(percentile(&mut moved.latency_ms, 0.99));
            failed += moved.failed;
            made += count.load(Ordering::Relaxed);
        }
    }
    let (quiet, busy) = (median(&mut quiet), median(&mut busy));
    println!(
        "\n{made} route changes at 20 a second: {failed} requests failed; p99 {quiet:.2} ms quiet, {busy:.2} ms \
         changing, ratio {:.2}",
        busy / quiet
    );
    let broken = held.broken();
    println!("{} WebSockets were open meanwhile and {broken} of them are broken", arguments.tunnels);
    anyhow::ensure!(broken == 0, "WebSockets did not outlive the changes");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the rate of the changes")]
fn change_until(data: &Path, round: usize, stop: &AtomicBool, count: &AtomicU64) -> Result<()> {
    let mut admin = Connection::admin(data)?;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"host":"c{number}-{round}.bench.example","target":"http://10.9.8.7:80"}}"#);
        let (status, text) = admin.call("POST", "localhost", "/api/v1/routes", &body)?;
        anyhow::ensure!(status == 201, "a change was answered {status} {text}");
        next += Duration::from_millis(50);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn memory(arguments: &Arguments, proxies: &[Proxy]) -> Result<()> {
    println!("\nmemory of an idle connection, KiB ({} of them)", arguments.idle);
    for proxy in proxies {
        let mut figures = Vec::new();
        let doors = [(proxy.http, false), (proxy.https, true)];
        for (address, is_tls) in doors {
            // What the first connections make the allocator keep is not theirs.
            drop(idle::open(address, is_tls, arguments.idle.min(200))?);
        }
        // One beginning for both: memory that plain ones leave behind would otherwise be a gift to those over TLS.
        let before = anonymous_bytes(proxy.pid)?;
        for (address, is_tls) in doors {
            let held = idle::open(address, is_tls, arguments.idle)?;
            tunnels::settle(2_500);
            let grown = anonymous_bytes(proxy.pid)?.saturating_sub(before);
            figures.push(grown as f64 / 1024.0 / arguments.idle as f64);
            drop(held);
            tunnels::settle(500);
        }
        let [plain, tls] = figures.as_slice() else { continue };
        println!("  {:10} plain {plain:.1}  TLS {tls:.1}", proxy.name);
    }
    Ok(())
}

//! CPU per 100 000 keep-alive requests, against nginx in the same interleaved run.
//!
//! Needs nginx and wrk. One worker each, pinned to one core; load and origin on the other. The figure is CPU seconds of
//! the proxy from `/proc`, not throughput: the machine is shared.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use benches::http::Connection;
use benches::process::{self, Running, address, cpu_seconds, gatehouse_up, pid};
use benches::stats::median;
use clap::Parser;

/// Compares the gateway with nginx on small keep-alive requests.
#[derive(Parser)]
struct Arguments {
    /// Interleaved rounds.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of load in each round and proxy.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Connections of the load.
    #[arg(long, default_value_t = 32)]
    connections: u32,
}

struct Proxy {
    name: &'static str,
    address: SocketAddr,
    pid: u32,
    samples: Vec<f64>,
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let directory = tempfile::Builder::new().prefix("gh").tempdir()?;
    let folder = directory.path();
    println!("machine: {}", process::machine());

    let origin = free_address()?;
    let _origin = nginx(folder, "origin", &origin_config(origin))?;
    let front = free_address()?;
    let nginx_proxy = nginx(folder, "proxy", &proxy_config(front, origin))?;
    let data = folder.join("data");
    let (_up, ready) = gatehouse_up(&data)?;
    let body = format!(r#"{{"host":"bench.example","target":"http://{origin}"}}"#);
    let (status, text) = Connection::admin(&data)?.call("POST", "localhost", "/api/v1/routes", &body)?;
    if status != 201 {
        bail!("{status} {text}");
    }
    let gateway = pid(&ready, "gateway")?;
    pin(nginx_proxy.0.id(), 0)?;
    pin(gateway, 0)?;
    let mut proxies = [
        Proxy { name: "nginx", address: front, pid: nginx_proxy.0.id(), samples: Vec::new() },
        Proxy { name: "gatehouse", address: address(&ready, "http")?, pid: gateway, samples: Vec::new() },
    ];
    for round in 0..=arguments.rounds {
        for proxy in &mut proxies {
            let cost = load(&arguments, proxy)?;
            // The first round warms up.
            if round > 0 {
                proxy.samples.push(cost);
            }
        }
    }
    let [nginx, ours] = &mut proxies;
    let (base, cost) = (median(&mut nginx.samples), median(&mut ours.samples));
    println!(
        "CPU s per 100 000 requests, median: nginx {base:.3}, gatehouse {cost:.3}, ratio {:.2}",
        cost / base
    );
    Ok(())
}

/// CPU seconds per 100 000 requests.
#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn load(arguments: &Arguments, proxy: &Proxy) -> Result<f64> {
    let before = cpu_seconds(proxy.pid)?;
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", &format!("-c{}", arguments.connections)])
        .arg(format!("-d{}s", arguments.seconds))
        .args(["-H", "Host: bench.example"])
        .arg(format!("http://{}/", proxy.address))
        .output()
        .context("wrk and taskset are needed")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let requests: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .with_context(|| format!("wrk said {text}"))?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("{}: {text}", proxy.name);
    }
    let cost = (cpu_seconds(proxy.pid)? - before) / requests * 100_000.0;
    println!("{:10} {requests:>8} requests, {cost:.3} CPU s per 100 000", proxy.name);
    Ok(cost)
}

fn nginx(folder: &Path, name: &str, config: &str) -> Result<Running> {
    let prefix = folder.join(name);
    fs::create_dir_all(&prefix)?;
    fs::write(prefix.join("nginx.conf"), config)?;
    let core = if name == "origin" { "1" } else { "0" };
    let child = Command::new("taskset")
        .args(["-c", core, "nginx", "-p"])
        .arg(&prefix)
        .arg("-c")
        .arg(prefix.join("nginx.conf"))
        .stderr(Stdio::null())
        .spawn()
        .context("nginx is needed")?;
    Ok(Running(child))
}

fn origin_config(address: SocketAddr) -> String {
    let body = "x".repeat(1024);
    format!(
        "daemon off; master_process off; pid origin.pid; error_log /dev/null;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; server {{ listen {address}; \
         location / {{ default_type text/plain; return 200 '{body}'; }} }} }}\n"
    )
}

fn proxy_config(address: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "daemon off; master_process off; pid proxy.pid; error_log /dev/null;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; upstream o {{ server {origin}; keepalive 64; \
         keepalive_requests 1000000000; }} server {{ listen {address} reuseport; location / {{ proxy_pass http://o; \
         proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host; \
         proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
         proxy_set_header X-Forwarded-Proto $scheme; }} }} }}\n"
    )
}

fn pin(pid: u32, core: u32) -> Result<()> {
    let status = Command::new("taskset")
        .args(["-acp", &core.to_string(), &pid.to_string()])
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("cannot pin {pid}");
    }
    Ok(())
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

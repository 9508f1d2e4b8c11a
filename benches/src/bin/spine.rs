//! The figures of the spine, from the built programs: one change among many routes, memory, cold start.
//!
//! `cargo run --profile dist -p benches --bin spine -- --routes 100000` after building control and gateway alike.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use benches::http::Connection;
use benches::process::{self, address, anonymous_bytes, gatehouse_up, pid, start_ready};
use benches::stats::percentile;
use clap::Parser;

/// Measures one change among many routes, memory per route and a cold start from the checkpoint.
#[derive(Parser)]
struct Arguments {
    /// Routes in the table.
    #[arg(long, default_value_t = 100_000)]
    routes: usize,
    /// Changes that are timed.
    #[arg(long, default_value_t = 300)]
    changes: usize,
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let directory = tempfile::Builder::new().prefix("gh").tempdir()?;
    let data = directory.path();
    println!("machine: {}", process::machine());

    let (up, ready) = gatehouse_up(data, &[])?;
    let (gateway, control) = (pid(&ready, "gateway")?, pid(&ready, "control")?);
    let before = (anonymous_bytes(gateway)?, anonymous_bytes(control)?);
    let filled = Instant::now();
    fill(data, arguments.routes)?;
    let seconds = filled.elapsed().as_secs_f64();
    println!("{} routes created one by one through the API: {seconds:.1} s", arguments.routes);
    wait_until_live(address(&ready, "http")?, arguments.routes - 1)?;
    let grown = |now: u64, before: u64| now.saturating_sub(before) as f64 / arguments.routes as f64;
    println!("memory per route, grown: gateway {:.0} bytes", grown(anonymous_bytes(gateway)?, before.0));
    println!("memory per route, grown: control {:.0} bytes", grown(anonymous_bytes(control)?, before.1));

    changes(data, &ready, arguments.changes)?;
    drop(up);
    cold_start(data, arguments.routes)
}

fn fill(data: &Path, routes: usize) -> Result<()> {
    let mut admin = Connection::admin(data)?;
    for number in 0..routes {
        let body = format!(r#"{{"host":"h{number}.bench.example","target":"http://10.0.0.5:80"}}"#);
        let (status, text) = admin.call("POST", "localhost", "/api/v1/routes", &body)?;
        if status != 201 {
            bail!("route {number}: {status} {text}");
        }
    }
    Ok(())
}

/// Waits until this route is live. Asking for an upgrade is answered 426 at once, without a dial, where the route is
/// known, and 404 where it is not.
fn wait_until_live(http: SocketAddr, number: usize) -> Result<()> {
    let started = Instant::now();
    while started.elapsed().as_secs() < 120 {
        if upgrade_status(&mut Connection::tcp(http)?, &format!("h{number}.bench.example"))? == 426 {
            return Ok(());
        }
    }
    bail!("route {number} did not become live")
}

fn upgrade_status(connection: &mut Connection<TcpStream>, host: &str) -> Result<u16> {
    let host = format!("{host}\r\nConnection: Upgrade\r\nUpgrade: websocket");
    Ok(connection.call("GET", &host, "/", "")?.0)
}

/// From the API's answer to the first request that sees the change, on a connection that is already open.
#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn changes(data: &Path, ready: &serde_json::Value, changes: usize) -> Result<()> {
    let mut admin = Connection::admin(data)?;
    let http = address(ready, "http")?;
    let (mut live, mut answer) = (Vec::new(), Vec::new());
    for number in 0..changes {
        let host = format!("c{number}.bench.example");
        let body = format!(r#"{{"host":"{host}","target":"http://10.0.0.5:80"}}"#);
        let mut probe = Connection::tcp(http)?;
        let asked = Instant::now();
        let (status, text) = admin.call("POST", "localhost", "/api/v1/routes", &body)?;
        if status != 201 {
            bail!("{status} {text}");
        }
        let answered = Instant::now();
        loop {
            match upgrade_status(&mut probe, &host) {
                Ok(426) => break,
                Ok(_) if answered.elapsed().as_secs() < 10 => {}
                Ok(status) => bail!("{host} still answers {status}"),
                Err(_) => probe = Connection::tcp(http)?,
            }
        }
        answer.push((answered - asked).as_secs_f64() * 1e3);
        live.push(answered.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "one change: API call p50 {:.2} ms p99 {:.2} ms; from its answer to live p50 {:.2} ms p99 {:.2} ms",
        percentile(&mut answer, 0.5),
        percentile(&mut answer, 0.99),
        percentile(&mut live, 0.5),
        percentile(&mut live, 0.99)
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn cold_start(data: &Path, routes: usize) -> Result<()> {
    let mut seconds = Vec::new();
    for _ in 0..5 {
        let mut command = Command::new(process::program("gatehouse-gateway")?);
        command.arg("--data").arg(data).args(["-o", "json", "--control", "127.0.0.1:1"]);
        for listener in ["http", "https", "ssh", "novnc", "ttyd", "gateway-admin"] {
            command.arg(format!("--{listener}")).arg("127.0.0.1:0");
        }
        let started = Instant::now();
        let (_gateway, ready) = start_ready(&mut command)?;
        wait_until_live(address(&ready, "http")?, routes - 1)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    println!(
        "cold start from the checkpoint to the first request served: p50 {:.3} s",
        percentile(&mut seconds, 0.5)
    );
    Ok(())
}

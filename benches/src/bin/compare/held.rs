//! Tunnels that are open while routes change and the gateway is replaced.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use benches::load::held::{Counts, Held};
use benches::peers::gate::{Gate, until};
use benches::peers::{HOST, TUNNEL_PATH, echo};
use benches::process::{connections_max, open_files_max};
use serde_json::{Value, json};

use super::{Arguments, Work};

/// Changes of routes, half of them before the upgrade.
const CHANGES: usize = 1_000;

/// Holds the tunnels if that is wanted.
///
/// Errors: one of them closed, or does not echo any more.
#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
pub(super) fn run(arguments: &Arguments, folder: &Path) -> Result<()> {
    if !arguments.wants(Work::TunnelsHeld) {
        return Ok(());
    }
    let counts = Counts::of(arguments.idle);
    let (connections, files) = (counts.plain + counts.secured, open_files_max());
    ensure!(
        connections + counts.multiplexed / 100 < connections_max(),
        "a process may have {files} files open here, which is too few for {} tunnels",
        counts.all()
    );
    let gate = Gate::start(folder, "held")?;
    let target = echo::start()?.tcp;
    let route = json!({
        "host": HOST, "path": TUNNEL_PATH, "target": format!("http://{target}"), "websocket": true,
        "tls": "self-signed", "redirect_https": false,
    });
    gate.make("/api/v1/routes", &route)?;
    let (http, https) = (gate.address("http")?, gate.address("https")?);
    until(|| Held::open(http, https, Counts::of(3)))?;

    let begun = Instant::now();
    let mut held = Held::open(http, https, counts)?;
    println!("\n{} WebSockets opened in {:.1} s: {counts:?}", counts.all(), begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    change(&gate, 0..CHANGES / 2)?;
    let upgraded: Value = serde_json::from_str(&gate.command(&["upgrade", "-o", "json"])?)?;
    change(&gate, CHANGES / 2..CHANGES)?;
    let after = |name: &str| upgraded.get(name).cloned().unwrap_or_default();
    println!(
        "{CHANGES} route changes and one upgrade (process {} to {}, {} connections left behind) in {:.1} s",
        after("was_pid"),
        after("pid"),
        after("connections"),
        begun.elapsed().as_secs_f64()
    );
    let begun = Instant::now();
    let broken = held.broken();
    println!(
        "closed: {} of {} ({broken:?}); each was asked for an echo, in {:.1} s",
        broken.all(),
        counts.all(),
        begun.elapsed().as_secs_f64()
    );
    ensure!(broken.all() == 0, "{} tunnels closed", broken.all());
    // The new process has the last change in force, and the tunnels' own route.
    until(|| Held::open(http, https, Counts::of(3))).map(drop)
}

/// Makes routes, changes them and takes them away, in turn.
fn change(gate: &Gate, numbers: std::ops::Range<usize>) -> Result<()> {
    let mut admin = gate.admin()?;
    let mut last = None;
    for number in numbers {
        let (method, path, body, wanted) = match (number % 3, last.take()) {
            (1, Some(id)) => {
                let body = json!({ "target": "http://10.9.8.7:81" }).to_string();
                last = Some(id);
                ("PATCH", last.clone(), body, 200)
            }
            (2, Some(id)) => ("DELETE", Some(id), String::new(), 204),
            _ => {
                let host = format!("h{number}.bench.example");
                ("POST", None, json!({ "host": host, "target": "http://10.9.8.7:80" }).to_string(), 201)
            }
        };
        let path = path.map_or("/api/v1/routes".to_owned(), |id| format!("/api/v1/routes/{id}"));
        let (status, text) = admin.call(method, "localhost", &path, &body)?;
        ensure!(status == wanted, "{method} {path} was answered {status} {text}");
        if method == "POST" {
            let made: Value = serde_json::from_str(&text)?;
            last = made.get("id").and_then(Value::as_str).map(str::to_owned);
        }
    }
    Ok(())
}

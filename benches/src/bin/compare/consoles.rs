//! Consoles: the terminal of the browser beside `ssh`, the bridge to VNC beside websockify.

use std::path::Path;

use anyhow::{Context, Result};
use benches::load::screen::{self, Messages};
use benches::load::terminal::Terminal;
use benches::peers::gate::{Gate, until};
use benches::peers::screen::{console, server, ticket, websockify};
use benches::peers::ssh::World;
use benches::stats::percentile;
use serde_json::json;

use super::{Arguments, Work, cpu};

/// Browsers that look at the machine at once.
const BROWSERS: usize = 8;
/// How many messages websockify gets for each hundred of the gateway's: enough to be measured, and no minutes.
const WEBSOCKIFY_PER_CENT: usize = 10;

/// Measures what is wanted.
pub(super) fn run(arguments: &Arguments, folder: &Path) -> Result<()> {
    if arguments.wants(Work::Keystroke) {
        keystroke(arguments, &World::start(&folder.join("terminal"), 1)?)?;
    }
    if arguments.wants(Work::Vnc) {
        vnc(arguments, &Gate::start(folder, "vnc")?)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn keystroke(arguments: &Arguments, world: &World) -> Result<()> {
    let body = json!({ "vm": "inner", "kind": "ssh", "port": world.inner.address.port() });
    let console = world.gate.make_id("/api/v1/consoles", &body)?;
    let door = world.gate.address("ttyd")?;
    let config = world.config("terminal", "Ciphers aes256-gcm@openssh.com")?;
    let mut terminals = Vec::new();
    for jump in &world.jumps {
        let opened = Terminal::ssh(&mut world.through(jump, &config)).with_context(|| jump.name)?;
        terminals.push((format!("ssh -J by {}", jump.name), opened, Vec::new()));
    }
    let page = until(|| Terminal::page(door, &ticket(&world.gate, &console)?))?;
    terminals.push(("browser's terminal".to_owned(), page, Vec::new()));
    terminals.push(("ssh without a jump".to_owned(), Terminal::ssh(&mut world.direct(&config))?, Vec::new()));
    for round in 0..=arguments.rounds {
        for (name, terminal, times) in &mut terminals {
            let pressed = terminal.press(arguments.keys).with_context(|| name.clone())?;
            if round > 0 {
                times.extend(pressed);
            }
        }
    }
    let keys = arguments.rounds * arguments.keys;
    println!("\na key to its echo by `cat` on a raw terminal, microseconds, {keys} keys each, 2 ms apart\n");
    println!("| | p50 | p99 | most | p50 to that by sshd | p99 |\n|---|---|---|---|---|---|");
    let mut base = None;
    for (name, _, times) in &mut terminals {
        let [half, late, most] = [0.5, 0.99, 1.0].map(|share| percentile(times, share));
        let (base_half, base_late) = *base.get_or_insert((half, late));
        let (half_ratio, late_ratio) = (half / base_half, late / base_late);
        println!("| {name} | {half:.0} | {late:.0} | {most:.0} | {half_ratio:.2} | {late_ratio:.2} |");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn vnc(arguments: &Arguments, gate: &Gate) -> Result<()> {
    let server = server()?;
    let peer = websockify(server)?;
    let (own, console) = console(gate, server)?;
    let paths = |name: &str| -> Result<Vec<String>> {
        let path = || match name {
            "websockify" => Ok("/websockify".to_owned()),
            _ => Ok(format!("/console/{}", ticket(gate, &console)?)),
        };
        (0..BROWSERS).map(|_| path()).collect()
    };
    let all = [peer, own];
    let first = Messages { count: BROWSERS, length: 32, answer: 32, waits: true };
    all.iter()
        .try_for_each(|proxy| until(|| screen::run(proxy.http, paths(proxy.name)?, first)).map(drop))?;
    for (title, share, length, answer, waits) in [
        ("32 bytes to the server, 32 back, one after the other", 1, 32, 32, true),
        ("32 bytes to the server, none waited for", 1, 32, 32, false),
        ("10 bytes to the server, 8 KiB back", 2, 10, 8 * 1024, true),
        ("10 bytes to the server, 64 KiB back", 10, 10, 64 * 1024, true),
    ] {
        let title = format!("{title}, over {BROWSERS} WebSockets, CPU s per 100 000 (aim: ratio <= 0.1)");
        let table = cpu(&title, arguments, &all, 1e5, |proxy| {
            let part = if proxy.name == "websockify" { WEBSOCKIFY_PER_CENT } else { 100 };
            let count = (arguments.messages * part / 100 / share).max(BROWSERS);
            screen::run(proxy.http, paths(proxy.name)?, Messages { count, length, answer, waits })
        })?;
        let rate = |name| table.median(name).map_or(0.0, |seconds| 1e5 / seconds);
        let (theirs, ours) = (rate("websockify"), rate("gatehouse"));
        println!(
            "\nIn a CPU second websockify carries {theirs:.0}, the gateway {ours:.0}: {:.1} times as many.",
            ours / theirs
        );
    }
    Ok(())
}

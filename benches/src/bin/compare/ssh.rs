//! The gateway as a jump host beside OpenSSH's sshd: bytes, logins, idle jumps.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::load::bulk::Direction;
use benches::load::{jumps, ssh};
use benches::peers::ssh::{JUMPS_PER_PERSON, Jump, World};
use benches::process::{anonymous_bytes, tree_cpu_seconds, tree_proportional_bytes};
use benches::table::Table;

use super::{Arguments, GIB, Work};

/// The ciphers, as OpenSSH calls them.
const CIPHERS: [&str; 2] = ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"];
/// The key exchange that both have.
const KEX: &str = "curve25519-sha256";
/// Jumps that warm a jump host up before idle ones are counted.
const WARM: usize = 20;

/// Measures what is wanted.
pub(super) fn run(arguments: &Arguments, folder: &Path) -> Result<()> {
    let ours = [Work::SshDown, Work::SshUp, Work::SshLogin, Work::SshIdle];
    if !ours.iter().any(|work| arguments.wants(*work)) {
        return Ok(());
    }
    let people = arguments.jumps.max(arguments.sshd_jumps).max(WARM).div_ceil(JUMPS_PER_PERSON);
    let world = World::start(folder, people)?;
    if arguments.wants(Work::SshDown) {
        CIPHERS.iter().try_for_each(|cipher| bytes(arguments, &world, Direction::Down, cipher))?;
    }
    if arguments.wants(Work::SshUp) {
        CIPHERS.iter().try_for_each(|cipher| bytes(arguments, &world, Direction::Up, cipher))?;
    }
    if arguments.wants(Work::SshLogin) {
        let cipher = CIPHERS.first().context("there is a cipher")?;
        let alike = format!("Ciphers {cipher}\n KexAlgorithms {KEX}");
        logins(arguments, &world, &format!("{KEX} for both"), &world.config("alike", &alike)?)?;
        let own = format!("Ciphers {cipher}");
        logins(
            arguments,
            &world,
            "the key exchange that each agrees on by itself",
            &world.config("own", &own)?,
        )?;
    }
    if arguments.wants(Work::SshIdle) {
        idle(arguments, &world)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn bytes(arguments: &Arguments, world: &World, way: Direction, cipher: &str) -> Result<()> {
    let (word, target) = match way {
        Direction::Down => ("down", world.source),
        Direction::Up => ("up", world.sink),
    };
    let config = world.config(word, &format!("Ciphers {cipher}"))?;
    let count = arguments.megabytes as u64 * 1_000_000;
    let title = format!("{} MB {word} by ssh -W, {cipher}", arguments.megabytes);
    let mut cpu = Table::new(format!("{title}: CPU s of the jump host per GiB (aim: ratio <= 0.8)"));
    let mut rate = Table::new(format!("{title}: MiB/s")).with_digits(0);
    for round in 0..=arguments.rounds {
        for jump in &world.jumps {
            let mut command = world.carry(jump, target, &config);
            let took = ssh::transfer(&mut command, way, count, || tree_cpu_seconds(jump.pid));
            let took = took.with_context(|| jump.name)?;
            if round > 0 {
                cpu.add(jump.name, took.cpu_seconds / count as f64 * GIB);
                rate.add(jump.name, count as f64 / (1 << 20) as f64 / took.seconds);
            }
        }
    }
    print!("{cpu}{rate}");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn logins(arguments: &Arguments, world: &World, title: &str, config: &Path) -> Result<()> {
    let count = arguments.rounds * arguments.logins;
    let mut table = Table::new(format!(
        "`ssh -J` running `true`, ms by the clock, {count} logins each, {title} (aim: ratio <= 0.7)"
    ))
    .with_digits(1);
    for nth in 0..=count {
        for jump in &world.jumps {
            let seconds = ssh::run(&mut world.login(jump, config)).with_context(|| jump.name)?;
            if nth > 0 {
                table.add(jump.name, seconds * 1e3);
            }
        }
        // Not what the inner connection costs below: without a jump OpenSSH's two ends wait for each other's delayed
        // acknowledgements, which a jump host that sends at once spares them.
        let seconds = ssh::run(world.direct(config).arg("true"))?;
        if nth > 0 {
            table.add("without a jump", seconds * 1e3);
        }
    }
    print!("{table}");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn idle(arguments: &Arguments, world: &World) -> Result<()> {
    println!(
        "\nmemory of an idle jump (one connection, one channel, 4 KiB echoed by it), KiB: of all processes, shared pages \
         divided by those who have them (PSS), and anonymous of the main one (aim: a tenth of sshd's)\n"
    );
    println!("| | held at once | PSS of each | RssAnon of each | ratio |\n|---|---|---|---|---|");
    let mut base = None;
    for jump in &world.jumps {
        let count = if jump.name == "sshd" { arguments.sshd_jumps } else { arguments.jumps };
        let (proportional, anonymous) = idle_of(world, jump, count).with_context(|| jump.name)?;
        let ratio = proportional / *base.get_or_insert(proportional);
        println!("| {} | {count} | {proportional:.1} | {anonymous:.1} | {ratio:.3} |", jump.name);
    }
    Ok(())
}

fn idle_of(world: &World, jump: &Jump, count: usize) -> Result<(f64, f64)> {
    // What the first ones make the allocator keep is not theirs.
    drop(jumps::open(jump, world.echo, world.keys(), WARM.min(count))?);
    settled(jump)?;
    let before = (tree_proportional_bytes(jump.pid)?, anonymous_bytes(jump.pid)?);
    let mut held = jumps::open(jump, world.echo, world.keys(), count)?;
    held.rest(Duration::from_secs(3));
    let each = |bytes: u64| bytes as f64 / 1024.0 / count as f64;
    let proportional = each(tree_proportional_bytes(jump.pid)?.saturating_sub(before.0));
    let anonymous = each(anonymous_bytes(jump.pid)?.saturating_sub(before.1));
    let broken = held.broken();
    ensure!(broken == 0, "{broken} of {count} jumps broke");
    Ok((proportional, anonymous))
}

/// Waits until the connections before are gone: as far as that can be seen, when the memory stands still.
#[expect(clippy::disallowed_methods, reason = "a pause between two looks at a condition")]
fn settled(jump: &Jump) -> Result<()> {
    let mut before = 0;
    for _ in 0..20 {
        let now = tree_proportional_bytes(jump.pid)?;
        if now == before {
            return Ok(());
        }
        before = now;
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

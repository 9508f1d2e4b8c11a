//! The program `gatehouse-gateway`: arguments, settings, start, signals.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use gateway::arguments::{Arguments, Output};
use gateway::start::Origin;
use gateway::start::{End, process};
use gateway::telemetry::log::{Console, Log};
use gateway::upgrade::{INHERIT, Program, Voice};
use gateway::{Gateway, Running};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

// The C library's gives the memory of large buffers back to the system and faults it in again: a fifth of what an upload
// over SSH costs. benches/README.md has both figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Wrong usage ends here, with 2.
    let arguments = Arguments::parse();
    // Before anything else: whatever keeps a heir from taking over is told to the process that waits for it.
    let voice = match arguments.inherit.then(Voice::of_stdin).transpose() {
        Ok(voice) => voice,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "gatehouse-gateway: {error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done =
        runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(&arguments, voice.as_ref())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            voice.inspect(|voice| voice.failed(&format!("{error:#}")));
            let _ = writeln!(std::io::stderr(), "gatehouse-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments, voice: Option<&Voice>) -> anyhow::Result<()> {
    let program = program();
    let (settings, loaded) = arguments.settings()?;
    let console = if arguments.output == Output::Json { Console::Stderr } else { Console::Stdout };
    let log = Log::start(&settings.log, console)?;
    process::log_panics();
    tracing::info!(file = ?loaded.file, "settings");
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    process::raise_open_files();
    let mut signals = Signals::new().context("signals cannot be watched")?;
    let inheritance = voice.map(Voice::receive).transpose()?;
    let is_heir = inheritance.is_some();
    let running = Gateway::start_as(settings, Origin { program, inheritance }).await?;
    if arguments.output == Output::Json && !is_heir {
        let line = serde_json::to_string(&running.addresses())?;
        // Whoever started us may be gone; the traffic is not theirs.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
    if !is_heir {
        // The process before says so of a heir, with its number: until then nobody listens to this one.
        process::notify(&[NotifyState::Ready]);
    }
    let end = signals.obey(&running, arguments, &log).await;
    tracing::info!(?end, "stopped");
    Ok(())
}

/// What an upgrade starts: where this program lies now, for its file may be replaced.
fn program() -> Option<Program> {
    let path = std::env::current_exe().ok()?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != INHERIT).collect();
    Some(Program { path, arguments })
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    upgrade: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// The first order to stop drains, the second cuts.
    async fn obey(&mut self, running: &Running, arguments: &Arguments, log: &Log) -> End {
        let mut stopping = false;
        loop {
            tokio::select! {
                end = running.ended() => return end,
                Some(()) = self.hang_up.recv() => reload(running, arguments, log),
                Some(()) = self.upgrade.recv() => {
                    // How it goes is in the log.
                    if let Err(error) = running.order_upgrade() {
                        tracing::warn!(%error, "no upgrade");
                    }
                }
                Some(()) = async { tokio::select! { s = self.terminate.recv() => s, s = self.interrupt.recv() => s } } => {
                    if stopping {
                        running.cut();
                    } else {
                        tracing::info!("draining");
                        // Of one that drains after an upgrade, the service manager knows nothing any more.
                        if !running.shared().upgrade.is_handed() {
                            process::notify(&[NotifyState::Stopping]);
                        }
                        running.stop();
                    }
                    stopping = true;
                }
            }
        }
    }
}

/// The level and the files of the log follow the settings; listeners take a restart.
fn reload(running: &Running, arguments: &Arguments, log: &Log) {
    process::notify_reloading();
    match arguments.settings() {
        Ok((settings, _)) => {
            log.reload(&settings.log);
            running.shared().access.reopen();
            tracing::info!("log reloaded");
        }
        Err(error) => tracing::error!(%error, "the settings are as they were"),
    }
    process::notify(&[NotifyState::Ready]);
}

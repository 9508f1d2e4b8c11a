//! What OpenSSH's client does through a jump host: bytes both ways, and logins.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::bulk::Direction;

const CHUNK_BYTES: usize = 256 * 1024;

/// What a transfer took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// CPU seconds, as they were asked for.
    pub cpu_seconds: f64,
    /// Seconds by the clock.
    pub seconds: f64,
}

/// A program of which we have both ends; it ends with this value.
pub(super) struct Talk {
    pub(super) to: ChildStdin,
    pub(super) from: ChildStdout,
    child: Child,
}

impl Talk {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let to = child.stdin.take().context("no stdin")?;
        let from = child.stdout.take().context("no stdout")?;
        Ok(Self { to, from, child })
    }

    /// Reads the byte that is said when something is ready.
    fn said(&mut self) -> Result<()> {
        let mut byte = [0];
        self.from.read_exact(&mut byte).context("the way through the jump host broke")
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // Asked to, so that `timeout` ends the client, too, and no server waits for it.
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0)) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}

/// Moves `bytes` through `ssh -W`, and says what it took once the way was open. The other end of the command is a source
/// or a sink of [`crate::peers::ssh`]; `cpu` gives the CPU seconds of the jump host so far.
pub fn transfer(
    command: &mut Command,
    way: Direction,
    bytes: u64,
    cpu: impl Fn() -> Result<f64>,
) -> Result<Took> {
    let mut talk = Talk::start(command)?;
    talk.said()?;
    let (begun, before) = (Instant::now(), cpu()?);
    talk.to.write_all(&bytes.to_be_bytes())?;
    let mut chunk = vec![b'u'; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let next = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let part = chunk.get_mut(..next).unwrap_or_default();
        let moved = match way {
            Direction::Down => talk.from.read(part)?,
            Direction::Up => {
                talk.to.write_all(part)?;
                part.len()
            }
        };
        if moved == 0 {
            bail!("the way through the jump host broke with {left} bytes left");
        }
        left = left.saturating_sub(moved as u64);
    }
    if way == Direction::Up {
        talk.said()?;
    }
    Ok(Took { seconds: begun.elapsed().as_secs_f64(), cpu_seconds: cpu()? - before })
}

/// Seconds by the clock of one command from its start to its end.
pub fn run(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(begun.elapsed().as_secs_f64())
}

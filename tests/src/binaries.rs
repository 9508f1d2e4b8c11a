//! The real programs: `gatehouse up` in a directory of its own, its command line, and kill -9.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A running `gatehouse up`. Ends, with its children, when dropped.
pub struct Up {
    child: Child,
    /// The ready line.
    pub ready: Value,
    data: PathBuf,
    _directory: Option<TempDir>,
}

/// Where the built programs lie: beside the test that runs.
pub fn bin(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built; ./test builds it", path.display());
    path
}

impl Up {
    /// Starts in a new directory with every listener on any free port of loopback.
    pub fn start() -> Self {
        Self::start_anew(|_| {})
    }

    /// Starts in a new directory with a gateway of one worker, for tests that count turns: each worker takes its own.
    pub fn start_single() -> Self {
        Self::start_anew(|command| {
            command.env("GATEHOUSE_GATEWAY__WORKERS", "1");
        })
    }

    /// Starts in a new directory with an admin API that listens at `admin`.
    pub fn start_with_admin(admin: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
        let mut up = Self::start_by(Self::command_with(directory.path(), admin), directory.path());
        up._directory = Some(directory);
        up
    }

    fn start_anew(change: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
        let mut command = Self::command(directory.path());
        change(&mut command);
        let mut up = Self::start_by(command, directory.path());
        up._directory = Some(directory);
        up
    }

    /// Starts in `data`; `extra` comes after the listeners.
    pub fn start_in(data: &Path, extra: &[&str]) -> Self {
        let mut command = Self::command(data);
        command.args(extra);
        Self::start_by(command, data)
    }

    fn start_by(mut command: Command, data: &Path) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let line = first_line(child.stdout.take().unwrap());
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the ready line {line:?} is not JSON: {error}"));
        Self { child, ready, data: data.to_owned(), _directory: None }
    }

    /// The command that [`Up::start_in`] runs.
    pub fn command(data: &Path) -> Command {
        Self::command_with(data, "127.0.0.1:0")
    }

    fn command_with(data: &Path, admin: &str) -> Command {
        let mut command = Command::new(bin("gatehouse"));
        command.arg("up").arg("--data").arg(data).args(["-o", "json", "--admin", admin]);
        for listener in ["http", "https", "ssh", "novnc", "ttyd", "sync", "gateway-admin"] {
            command.arg(format!("--{listener}")).arg("127.0.0.1:0");
        }
        command
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The first address of a kind in the ready line.
    pub fn address(&self, kind: &str) -> SocketAddr {
        let text = self.ready[kind][0].as_str().unwrap_or_else(|| panic!("no {kind} in {}", self.ready));
        text.parse().unwrap()
    }

    /// The process id of `up`, `control` or `gateway` in the ready line.
    pub fn pid(&self, process: &str) -> u32 {
        self.ready["pid"][process].as_u64().unwrap_or_else(|| panic!("no pid of {process} in {}", self.ready))
            as u32
    }

    /// Memory that a process of the ready line has now (`VmRSS`), in bytes.
    pub fn resident_bytes(&self, process: &str) -> u64 {
        self.status_bytes(process, "VmRSS:")
    }

    /// The most memory that a process of the ready line ever had (`VmHWM`), in bytes.
    pub fn resident_bytes_most(&self, process: &str) -> u64 {
        self.status_bytes(process, "VmHWM:")
    }

    fn status_bytes(&self, process: &str, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid(process))).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// Runs the command line against this directory and wants success; gives its output.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.try_cli(arguments);
        assert!(
            output.status.success(),
            "gatehouse {}: {}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the command line against this directory.
    pub fn try_cli(&self, arguments: &[&str]) -> Output {
        Command::new(bin("gatehouse")).arg("--data").arg(&self.data).args(arguments).output().unwrap()
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            signal(self.child.id(), "TERM");
            self.child.wait().ok();
        }
    }
}

/// Any other program of ours that prints a ready line. Ends when dropped.
pub struct Running {
    child: Child,
    /// The ready line.
    pub ready: Value,
}

impl Running {
    /// Starts it and waits for its ready line.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let line = first_line(child.stdout.take().unwrap());
        let ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the ready line {line:?} is not JSON: {error}"));
        Self { child, ready }
    }

    /// SIGKILL: nothing is said any more, and nothing is written.
    pub fn kill(mut self) {
        signal(self.child.id(), "KILL");
        self.child.wait().ok();
    }

    /// The first address of a kind in the ready line.
    pub fn address(&self, kind: &str) -> SocketAddr {
        let named = &self.ready[kind];
        let text = named.as_str().or_else(|| named[0].as_str());
        text.unwrap_or_else(|| panic!("no {kind} in {}", self.ready)).parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The id of one that was waited for may be another's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.child.id(), "TERM");
            self.child.wait().ok();
        }
    }
}

/// Sends a signal by name to one process.
pub fn signal(pid: u32, name: &str) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let signal = match name {
        "TERM" => rustix::process::Signal::TERM,
        "KILL" => rustix::process::Signal::KILL,
        "HUP" => rustix::process::Signal::HUP,
        "STOP" => rustix::process::Signal::STOP,
        "CONT" => rustix::process::Signal::CONT,
        other => panic!("signal {other} is not used by these tests"),
    };
    rustix::process::kill_process(pid, signal).ok();
}

fn first_line(stdout: impl std::io::Read + Send + 'static) -> String {
    use std::io::BufRead;
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = std::io::BufReader::new(stdout).lines();
        if let Some(Ok(line)) = lines.next() {
            send.send(line).ok();
        }
        // Read on, so that the process never blocks on a full pipe.
        lines.for_each(drop);
    });
    receive.recv_timeout(crate::wait::DEADLINE).expect("`gatehouse up` printed no ready line")
}

//! Child processes and what the kernel says of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use gateway::guard::Bounds;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

/// A child that ends with this value.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap_or(0)) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        self.0.wait().ok();
    }
}

/// A built program beside the one that runs.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!("{} is not built; build control and gateway with the same profile first", path.display());
    }
    Ok(path)
}

/// Starts a program and reads the JSON line it prints when it is ready.
pub fn start_ready(command: &mut Command) -> Result<(Running, Value)> {
    let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let stdout = child.0.stdout.take().context("no stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let ready = serde_json::from_str(&line).with_context(|| format!("the ready line is {line:?}"))?;
    Ok((child, ready))
}

/// The first address of a kind in a ready line.
pub fn address(ready: &Value, kind: &str) -> Result<SocketAddr> {
    let text = match ready.get(kind) {
        Some(Value::Array(list)) => list.first().and_then(Value::as_str),
        Some(Value::String(text)) => Some(text.as_str()),
        _ => None,
    };
    Ok(text.with_context(|| format!("no {kind} in {ready}"))?.parse()?)
}

/// A process id in a ready line.
pub fn pid(ready: &Value, process: &str) -> Result<u32> {
    let pid = ready.pointer(&format!("/pid/{process}")).and_then(Value::as_u64);
    Ok(u32::try_from(pid.with_context(|| format!("no pid of {process} in {ready}"))?)?)
}

/// User and system CPU seconds of a process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    Ok(ticks(pid, &[11, 12])? / 100.0)
}

/// The same with all that descend from it, those that run and those that were waited for: socat has a process for each
/// session, sshd two.
pub fn tree_cpu_seconds(pid: u32) -> Result<f64> {
    const ALL: &[usize] = &[11, 12, 13, 14];
    // One that ends between the two looks is counted next time.
    let below: f64 = descendants(pid).into_iter().filter_map(|pid| ticks(pid, ALL).ok()).sum();
    Ok((ticks(pid, ALL)? + below) / 100.0)
}

/// Every process that descends from one and still runs.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        // A child is listed with the thread that made it.
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            next.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        found.push(pid);
    }
    found.retain(|descendant| *descendant != pid);
    found
}

/// The sum of some fields of `/proc/PID/stat`, counted after the name.
fn ticks(pid: u32, places: &[usize]) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').context("stat has no name")?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let field = |place: &usize| fields.get(*place).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Ok(places.iter().map(field).sum())
}

/// As many open files as the system lets us have; who we start inherits them.
pub fn raise_open_files() {
    let most = getrlimit(Resource::Nofile).maximum;
    // Fewer files only mean fewer idle connections, which are said then.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

/// Files that this process and each that it starts may have open.
pub fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// Connections that a gateway takes which may have so many files open, and some to spare.
pub fn connections_max() -> usize {
    Bounds::for_open_files(Some(open_files_max())).connections_max.saturating_sub(100)
}

/// Descriptors that a process has open.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Resident memory of a process in bytes, pages of files left out.
pub fn anonymous_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).context("no RssAnon")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1024)
}

/// Memory of a process and all that descend from it in bytes, each shared page divided by those who have it (PSS).
pub fn tree_proportional_bytes(pid: u32) -> Result<u64> {
    let below: u64 = descendants(pid).into_iter().filter_map(|pid| proportional_bytes(pid).ok()).sum();
    Ok(proportional_bytes(pid)? + below)
}

fn proportional_bytes(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).context("no Pss")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1024)
}

/// The machine in one line, for the record.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map(|(_, name)| name.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, {}, Linux {}", model.unwrap_or("unknown CPU"), kernel.trim())
}

/// `gatehouse up` with one worker on free ports of loopback, and its ready line.
pub fn gatehouse_up(data: &Path, environment: &[(&str, &str)]) -> Result<(Running, Value)> {
    let mut command = Command::new(program("gatehouse")?);
    command.arg("up").arg("--data").arg(data).args(["-o", "json"]);
    for listener in ["http", "https", "ssh", "novnc", "ttyd", "admin", "sync", "gateway-admin"] {
        command.arg(format!("--{listener}")).arg("127.0.0.1:0");
    }
    start_ready(command.env("GATEHOUSE_GATEWAY__WORKERS", "1").envs(environment.iter().copied()))
}

/// Binds every thread of a process to one core.
pub fn pin(pid: u32, core: u32) -> Result<()> {
    let status = Command::new("taskset")
        .args(["-acp", &core.to_string(), &pid.to_string()])
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("cannot pin {pid}");
    }
    Ok(())
}

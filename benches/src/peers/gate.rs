//! A gateway with a control of its own, to which nothing is known yet.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::http::Connection;
use crate::process::{self, Running, gatehouse_up, program};

/// How long what was made may take to be in force.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that runs, with one worker on core 0.
pub struct Gate {
    /// The gateway's process.
    pub pid: u32,
    data: PathBuf,
    ready: Value,
    _running: Running,
}

impl Gate {
    /// Starts one in a folder below `folder`.
    pub fn start(folder: &Path, name: &str) -> Result<Self> {
        let data = folder.join(name);
        let log = folder.join(format!("{name}.log")).display().to_string();
        let (running, ready) = gatehouse_up(&data, &[("GATEHOUSE_LOG__FILE", &log)])?;
        let pid = process::pid(&ready, "gateway")?;
        process::pin(pid, 0)?;
        Ok(Self { pid, data, ready, _running: running })
    }

    /// Its first listener of a kind.
    pub fn address(&self, kind: &str) -> Result<SocketAddr> {
        process::address(&self.ready, kind)
    }

    /// A connection to its admin API.
    pub fn admin(&self) -> Result<Connection<std::os::unix::net::UnixStream>> {
        Ok(Connection::admin(&self.data)?)
    }

    /// Makes an object known; gives what the API says of it.
    pub fn make(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, text) = self.admin()?.call("POST", "localhost", path, &body.to_string())?;
        if status != 201 {
            bail!("POST {path} was answered {status} {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// The id of an object that [`Gate::make`] makes.
    pub fn make_id(&self, path: &str, body: &Value) -> Result<String> {
        let made = self.make(path, body)?;
        Ok(made.get("id").and_then(Value::as_str).with_context(|| format!("no id in {made}"))?.to_owned())
    }

    /// What the API says at a path.
    pub fn ask(&self, path: &str) -> Result<Value> {
        let (status, text) = self.admin()?.call("GET", "localhost", path, "")?;
        if status != 200 {
            bail!("GET {path} was answered {status} {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// Runs the command line against it; gives its output.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let output =
            Command::new(program("gatehouse")?).arg("--data").arg(&self.data).args(arguments).output()?;
        if !output.status.success() {
            bail!("gatehouse {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Tries until it works: what the API took is in force a moment later. Gives the last error when it does not come.
#[expect(clippy::disallowed_methods, reason = "a pause between two looks at a condition")]
pub fn until<T>(what: impl Fn() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match what() {
            Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            tried => return tried,
        }
    }
}

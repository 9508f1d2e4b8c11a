//! The two children as processes: started apart from our terminal's signals, ended by theirs.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Stdio;

use config::secret::Secret;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How a child is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// Starts it. What it prints goes to our standard error, which keeps our standard output for the ready line.
    ///
    /// The join token, if any, travels in the environment: arguments are for every user of the machine to see.
    pub fn start(&self, join_token: Option<&Secret<String>>) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?))
            .stderr(Stdio::inherit())
            // A group of its own: Ctrl-C reaches us alone and is passed on once, as an orderly stop.
            .process_group(0)
            // We do not own its life: killed with -9 we leave it serving.
            .kill_on_drop(false);
        // Ours, not theirs: they would tell the service manager that we are ready before we are.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        if let Some(token) = join_token {
            command.env(super::JOIN_TOKEN_VARIABLE, token.expose());
        }
        command.spawn()
    }
}

/// Sends a signal to a child that may have ended.
pub fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Ended meanwhile: its exit is about to be seen.
        kill_process(pid, signal).ok();
    }
}

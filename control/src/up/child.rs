//! The two children as processes: started apart from our terminal's signals, ended by theirs.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use config::secret::Secret;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;

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
    /// The join token, if any, travels in the environment: arguments are for every user of the machine to see. What it
    /// has to tell a service manager it tells us, at `notices`.
    pub fn start(&self, join_token: Option<&Secret<String>>, notices: Option<&Path>) -> io::Result<Running> {
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
        if let Some(notices) = notices {
            command.env("NOTIFY_SOCKET", notices);
        }
        command.spawn().map(Running::Child)
    }
}

/// A process that is kept running.
#[derive(Debug)]
pub enum Running {
    /// Our own child.
    Child(Child),
    /// What our child put in its place. By a descriptor of the process, for its number may become another's.
    Heir {
        /// Its number.
        pid: Pid,
        /// The process itself.
        process: Arc<OwnedFd>,
        /// Told when it has ended.
        end: watch::Receiver<bool>,
    },
}

impl Running {
    /// A process that our child started in its place.
    ///
    /// Errors: there is no such process.
    pub fn heir(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let process = Arc::new(rustix::process::pidfd_open(pid, PidfdFlags::empty())?);
        let (tell, end) = watch::channel(false);
        let watched = Arc::clone(&process);
        // A thread that sleeps as long as the process lives: the descriptor of a process is readable at its end.
        std::thread::Builder::new().name("heir-end".into()).spawn(move || {
            let mut wanted = [PollFd::new(&watched, PollFlags::IN)];
            while rustix::event::poll(&mut wanted, None) == Err(rustix::io::Errno::INTR) {}
            tell.send_replace(true);
        })?;
        Ok(Self::Heir { pid, process, end })
    }

    /// Its number, unless it is known to have ended.
    pub fn id(&self) -> Option<u32> {
        match self {
            Self::Child(child) => child.id(),
            Self::Heir { pid, .. } => u32::try_from(pid.as_raw_nonzero().get()).ok(),
        }
    }

    /// Waits for its end, and says how it was where that is ours to know.
    pub async fn ended(&mut self) -> String {
        match self {
            Self::Child(child) => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(cause) => cause.to_string(),
            },
            Self::Heir { pid, end, .. } => {
                // Its teller is gone only after it was told.
                let _ = end.wait_for(|ended| *ended).await;
                // Its parent is another process, or the one of the whole machine: where that is us, it is taken off here.
                match rustix::process::waitpid(Some(*pid), rustix::process::WaitOptions::NOHANG) {
                    Ok(Some((_, status))) => format!("{status:?}"),
                    Ok(None) | Err(_) => "ended".to_owned(),
                }
            }
        }
    }
}

/// Sends a signal to a process that may have ended: its exit is about to be seen then.
pub fn signal(running: &Running, signal: Signal) {
    match running {
        Running::Child(child) => {
            let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid {
                kill_process(pid, signal).ok();
            }
        }
        Running::Heir { process, .. } => {
            rustix::process::pidfd_send_signal(process, signal).ok();
        }
    }
}

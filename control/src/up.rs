//! `gatehouse up`: a third, thin process that keeps control and one gateway running on this machine.
//!
//! It starts both, starts a dead one again ([`policy`]), forwards signals and says when everything is ready
//! ([`ready`]). A gateway that is upgraded says which process has its place ([`notices`]). It carries no traffic and owns no data: killed, it leaves both serving.

pub mod child;
mod notices;
pub mod policy;
pub mod ready;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::limits;
use config::secret::Secret;
use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{Instant, sleep_until};

use crate::cli::client::Client;
use crate::listen::{directory, socket};
use child::{Program, Running};
use notices::Notices;
use policy::{Action, Part, Policy};
use ready::{Pids, Report};

/// Where control tells the local `up` what runs; on the unix socket alone.
pub const REPORT_PATH: &str = "/local/running";
/// Where the local `up` has a join token made; on the unix socket alone.
pub const JOIN_PATH: &str = "/local/join";
/// What a gateway that joined keeps in the data directory.
pub const IDENTITY_FILE: &str = "gateway/identity.pem";
/// How the local gateway gets its join token.
pub const JOIN_TOKEN_VARIABLE: &str = "GATEHOUSE_GATEWAY__JOIN_TOKEN";

/// What is to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The data directory of both.
    pub data: PathBuf,
    /// Control, with all its arguments.
    pub control: Program,
    /// The gateway, with all its arguments but `--control`.
    pub gateway: Program,
    /// The name the gateway goes by.
    pub name: String,
    /// Where control will take the gateways' stream, if that is known before it runs.
    pub sync: Option<SocketAddr>,
    /// Whether the gateway joined at an earlier start.
    pub is_joined: bool,
    /// What both children get for an orderly end.
    pub stop_deadline: Duration,
}

/// Why `up` ended otherwise than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The directory is taken or unusable.
    #[error(transparent)]
    Directory(#[from] directory::DirectoryError),
    /// Some of it runs already.
    #[error("already running on {path}: {who}", path = path.display())]
    Running {
        /// The directory.
        path: PathBuf,
        /// The processes.
        who: String,
    },
    /// A child did not come up; its own message is above.
    #[error("{0} could not be started; its message is above")]
    Failed(&'static str),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
}

/// Takes the directory for this `up`. Names every process that runs on it already.
pub fn claim(data: &Path) -> Result<directory::Lock, UpError> {
    directory::open(data)?;
    let files = [
        ("up", data.join("up.lock")),
        ("control", data.join("lock")),
        ("gateway", data.join("gateway/lock")),
    ];
    let holders: Vec<_> = files
        .iter()
        .filter_map(|(name, file)| directory::holder(file).map(|pid| format!("{name} (pid {pid})")))
        .collect();
    if !holders.is_empty() {
        return Err(UpError::Running { path: data.to_path_buf(), who: holders.join(", ") });
    }
    Ok(directory::lock("up", &data.join("up.lock"))?)
}

/// Runs until a signal or a failure; `on_ready` is called once, when both are ready.
pub async fn run(plan: Plan, on_ready: impl FnMut(&Report, &ready::Connected, Pids)) -> Result<(), UpError> {
    let mut signals = Signals::new().map_err(UpError::Signals)?;
    let mut driver = Driver::new(plan, on_ready);
    let now = driver.now_ms();
    driver.policy.handle_start(now);
    loop {
        if let Some(failed) = driver.act().await {
            return failed.map_or(Ok(()), |part| Err(UpError::Failed(part.name())));
        }
        let watch = driver.next_look();
        tokio::select! {
            biased;
            // Before its end: one that was upgraded says so first.
            pid = driver.notices.main_pid() => driver.follow(pid),
            how = exited(&mut driver.control) => driver.note_exit(Part::Control, &how),
            how = exited(&mut driver.gateway) => driver.note_exit(Part::Gateway, &how),
            () = sleep_until(watch) => driver.look().await,
            _ = signals.term.recv() => driver.stop(),
            _ = signals.int.recv() => driver.stop(),
            _ = signals.hup.recv() => driver.forward(Signal::HUP),
        }
    }
}

struct Signals {
    term: unix::Signal,
    int: unix::Signal,
    hup: unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: unix::signal(SignalKind::terminate())?,
            int: unix::signal(SignalKind::interrupt())?,
            hup: unix::signal(SignalKind::hangup())?,
        })
    }
}

/// Pends while there is no such child.
async fn exited(child: &mut Option<Running>) -> String {
    match child {
        Some(running) => running.ended().await,
        None => std::future::pending().await,
    }
}

struct Driver<R> {
    plan: Plan,
    on_ready: R,
    policy: Policy,
    client: Client,
    began: Instant,
    control: Option<Running>,
    gateway: Option<Running>,
    notices: Notices,
    due: [Option<Instant>; 2],
    overdue: Option<Instant>,
    control_answered: bool,
    is_ready: bool,
}

impl<R: FnMut(&Report, &ready::Connected, Pids)> Driver<R> {
    fn new(plan: Plan, on_ready: R) -> Self {
        let serves_alone = plan.is_joined && plan.sync.is_some();
        Self {
            client: Client::on_socket(socket::path(&plan.data)),
            policy: Policy::new(serves_alone),
            notices: Notices::listen(&plan.data),
            plan,
            on_ready,
            began: Instant::now(),
            control: None,
            gateway: None,
            due: [None, None],
            overdue: None,
            control_answered: false,
            is_ready: false,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Does what the policy says; `Some` when everything has ended.
    async fn act(&mut self) -> Option<Option<Part>> {
        while let Some(action) = self.policy.poll() {
            match action {
                Action::Start(part) => self.start(part).await,
                Action::Wait(part, ms) => {
                    self.set_due(part, Some(Instant::now() + Duration::from_millis(ms)))
                }
                Action::Terminate(part) => self.send(part, Signal::TERM),
                Action::Kill(part) => self.send(part, Signal::KILL),
                Action::Finish { failed } => return Some(failed),
            }
        }
        None
    }

    async fn start(&mut self, part: Part) {
        let started = match part {
            Part::Control => self.plan.control.start(None, None),
            Part::Gateway => self.start_gateway().await,
        };
        match started {
            Ok(child) => *self.slot(part) = Some(child),
            Err(error) => {
                crate::cli::output::err(&format!("gatehouse: {} cannot be started: {error}\n", part.name()));
                let now = self.now_ms();
                self.policy.handle_exited(part, now);
            }
        }
    }

    async fn start_gateway(&mut self) -> std::io::Result<Running> {
        let token = if self.plan.is_joined { None } else { self.join_token().await };
        let mut program = self.plan.gateway.clone();
        if let Some(sync) = self.plan.sync {
            program.arguments.push("--control".into());
            program.arguments.push(sync.to_string().into());
        }
        program.start(token.as_ref(), self.notices.path())
    }

    /// A one-time token for the gateway of this machine; without one the gateway says what it lacks.
    async fn join_token(&self) -> Option<Secret<String>> {
        let body = serde_json::json!({ "name": self.plan.name });
        match self.client.post(JOIN_PATH, &body).await {
            Ok(answer) => {
                answer.body.get("token").and_then(|token| token.as_str()).map(|t| Secret::new(t.to_owned()))
            }
            Err(failure) => {
                crate::cli::output::err(&format!("gatehouse: no join token for the gateway: {failure}\n"));
                None
            }
        }
    }

    /// Another process has the gateway's place. The one before ends when it has nothing open any more.
    fn follow(&mut self, pid: u32) {
        if self.gateway.as_ref().and_then(Running::id) == Some(pid) {
            return;
        }
        match Running::heir(pid) {
            Ok(heir) => {
                let before = self.gateway.replace(heir);
                // Our child is ours to take off when it has ended; nothing else depends on it any more.
                if let Some(mut before) = before {
                    tokio::spawn(async move { before.ended().await });
                }
            }
            Err(cause) => {
                crate::cli::output::err(&format!("gatehouse: process {pid} cannot be watched: {cause}\n"));
            }
        }
    }

    fn note_exit(&mut self, part: Part, how: &str) {
        *self.slot(part) = None;
        if !self.policy.is_stopping() {
            crate::cli::output::err(&format!("gatehouse: {} ended ({how})\n", part.name()));
        }
        let now = self.now_ms();
        self.policy.handle_exited(part, now);
    }

    /// Looks at what has come due and whether the children are ready.
    async fn look(&mut self) {
        let (moment, now) = (Instant::now(), self.now_ms());
        for part in [Part::Control, Part::Gateway] {
            if self.due_of(part).is_some_and(|due| due <= moment) {
                self.set_due(part, None);
                self.policy.handle_due(part, now);
            }
        }
        if self.overdue.is_some_and(|due| due <= moment) {
            self.overdue = None;
            self.policy.handle_overdue();
        }
        if !self.is_ready && !self.policy.is_stopping() {
            self.look_for_readiness(now).await;
        }
    }

    async fn look_for_readiness(&mut self, now: u64) {
        let asked = tokio::time::timeout(Duration::from_millis(limits::UP_ASK_MS), Report::ask(&self.client));
        let Ok(Some(report)) = asked.await else { return };
        if !self.control_answered {
            self.control_answered = true;
            self.plan.sync = report.sync.first().copied().map(dialled).or(self.plan.sync);
            self.policy.handle_ready(Part::Control, now);
        }
        let Some(gateway) = report.serving(&self.plan.name) else { return };
        let pid = |child: &Option<Running>| child.as_ref().and_then(Running::id);
        if let (Some(control), Some(pid)) = (pid(&self.control), pid(&self.gateway)) {
            self.is_ready = true;
            self.plan.is_joined = true;
            self.policy.handle_ready(Part::Gateway, now);
            (self.on_ready)(&report, gateway, Pids { up: std::process::id(), control, gateway: pid });
        }
    }

    fn next_look(&self) -> Instant {
        let soon = Instant::now() + Duration::from_millis(limits::UP_LOOK_MS);
        let late = Instant::now() + Duration::from_secs(3600);
        let usual = if self.is_ready || self.policy.is_stopping() { late } else { soon };
        self.due.iter().flatten().chain(&self.overdue).fold(usual, |least, due| least.min(*due))
    }

    fn stop(&mut self) {
        self.policy.handle_stop();
        self.overdue = Some(Instant::now() + self.plan.stop_deadline);
    }

    fn forward(&self, signal: Signal) {
        for child in [&self.control, &self.gateway].into_iter().flatten() {
            child::signal(child, signal);
        }
    }

    fn send(&mut self, part: Part, signal: Signal) {
        if let Some(child) = self.slot(part) {
            child::signal(child, signal);
        }
        self.overdue.get_or_insert(Instant::now() + self.plan.stop_deadline);
    }

    fn slot(&mut self, part: Part) -> &mut Option<Running> {
        match part {
            Part::Control => &mut self.control,
            Part::Gateway => &mut self.gateway,
        }
    }

    fn due_of(&self, part: Part) -> Option<Instant> {
        let [control, gateway] = self.due;
        match part {
            Part::Control => control,
            Part::Gateway => gateway,
        }
    }

    fn set_due(&mut self, part: Part, due: Option<Instant>) {
        let [control, gateway] = &mut self.due;
        match part {
            Part::Control => *control = due,
            Part::Gateway => *gateway = due,
        }
    }
}

/// What to dial for a listener: one on every address is reached over loopback.
pub fn dialled(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests;

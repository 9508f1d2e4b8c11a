//! The commands that start processes: `up`, `control run`, `gateway run`; and `check`, which stops before.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use config::settings::{self, Log};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Form, Global, RunArgs, UpArgs};
use super::failure::Failure;
use super::output::{self, Printer};
use super::sources;
use crate::listen::directory;
use crate::start::{Control, Running, expected_sync};
use crate::store::{Db, migrate::SCHEMA};
use crate::telemetry::{Console, Telemetry};
use crate::up::child::Program;
use crate::up::{self, Plan, ready};

/// Time beyond the gateway's drain until a child that does not end is killed.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// `gatehouse check`.
pub(super) fn check(global: &Global, arguments: &RunArgs) -> Result<ExitCode, Failure> {
    let sources = sources::read(global, arguments, sources::control_flags(global, arguments))?;
    let checked = settings::load_both(&sources, &sources::read_text);
    let (_, _, loaded) = checked.map_err(|errors| Failure::failed(errors.to_string()))?;
    sources::announce(&loaded, global.quiet);
    let file = loaded.file.as_ref().map(|file| file.display().to_string());
    Printer::new(global)
        .done(&json!({ "file": file, "warnings": loaded.warnings }), "the settings are valid");
    Ok(ExitCode::SUCCESS)
}

/// `gatehouse db migrate`: what a start of control does to the database, and nothing else.
pub(super) fn migrate(global: &Global, arguments: &RunArgs) -> Result<ExitCode, Failure> {
    let sources = sources::read(global, arguments, sources::control_flags(global, arguments))?;
    let loaded = settings::load_control(&sources, &sources::read_text);
    let (settings, loaded) = loaded.map_err(|errors| Failure::failed(errors.to_string()))?;
    sources::announce(&loaded, global.quiet);
    let failed = |error: &dyn std::error::Error| Failure::failed(chain(error));
    directory::open(&settings.data).map_err(|e| failed(&e))?;
    let _lock = directory::lock("control", &settings.data.join("lock")).map_err(|e| failed(&e))?;
    super::block_on(async {
        let db = Db::open(&settings.database, &settings.data).await.map_err(|e| failed(&e))?;
        db.close().await;
        let said = format!("the database has schema {SCHEMA}");
        Printer::new(global).done(&json!({ "schema": SCHEMA }), &said);
        Ok(ExitCode::SUCCESS)
    })
}

/// `gatehouse gateway run`: becomes gatehouse-gateway.
pub(super) fn gateway(global: &Global, arguments: &[OsString]) -> Failure {
    let program = match gateway_program() {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let mut command = std::process::Command::new(&program);
    // These before the first argument of the gateway are ours by its place and the gateway's by its meaning.
    if let Some(data) = &global.data {
        command.arg("--data").arg(data);
    }
    if global.output == Some(Form::Json) {
        command.args(["-o", "json"]);
    }
    let error = command.args(arguments).exec();
    Failure::failed(format!("{} cannot be started: {error}", program.display()))
}

/// `gatehouse control run`.
pub(super) fn control(global: &Global, arguments: &RunArgs) -> Result<ExitCode, Failure> {
    let sources = sources::read(global, arguments, sources::control_flags(global, arguments))?;
    let loaded = settings::load_control(&sources, &sources::read_text);
    let (settings, loaded) = loaded.map_err(|errors| Failure::failed(errors.to_string()))?;
    sources::announce(&loaded, global.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("control")
        .build()
        .map_err(|e| Failure::failed(format!("the runtime cannot be started: {e}")))?;
    let reread = || {
        let sources = sources::read(global, arguments, sources::control_flags(global, arguments))?;
        let loaded = settings::load_control(&sources, &sources::read_text);
        loaded.map(|(settings, _)| settings.log).map_err(|errors| Failure::failed(errors.to_string()))
    };
    let result = runtime.block_on(serve(global, settings, reread));
    // Threads that still resolve a name or write a file must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(
    global: &Global,
    settings: settings::Control,
    reread: impl Fn() -> Result<Log, Failure>,
) -> Result<ExitCode, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Failure::failed(format!("{what}: {error}"));
    let console = if global.output == Some(Form::Json) { Console::Stderr } else { Console::Stdout };
    let telemetry = Telemetry::start(&settings.log, console).map_err(|e| Failure::failed(e.to_string()))?;
    raise_open_files();
    let mut signals = Signals::new().map_err(|e| failed("signals cannot be received", &e))?;
    let data = settings.data.clone();
    let running = Control::start(settings).await.map_err(|error| Failure::failed(chain(&error)))?;
    print_ready(global, &running, &data);
    notify(&[sd_notify::NotifyState::Ready]);
    signals.until_stop(&telemetry, reread).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("control stops");
    tokio::select! {
        () = running.shutdown() => Ok(ExitCode::SUCCESS),
        () = signals.stop() => Err(Failure::usage("stopped by a second signal")),
    }
}

struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// SIGHUP reads the settings of the log again and opens its file again; the others end the wait.
    async fn until_stop(&mut self, telemetry: &Telemetry, reread: impl Fn() -> Result<Log, Failure>) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hup.recv() => match reread() {
                    Ok(log) => {
                        telemetry.reload(&log);
                        tracing::info!("log reloaded");
                    }
                    Err(failure) => tracing::error!(%failure, "the settings are as they were"),
                },
            }
        }
    }
}

/// The sentence of an error and of what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        cause = inner.source();
    }
    text
}

/// Tells the service manager, if there is one; it alone loses if that fails.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// As many open files as the system lets us have (INVENTORY A-54).
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    if now.is_some_and(|now| now < config::limits::OPEN_FILES_WANTED) {
        tracing::warn!(
            open_files = now,
            wanted = config::limits::OPEN_FILES_WANTED,
            "few files may be open at once"
        );
    }
}

/// Where control listens, and the setup token while there is no administrator; each on the stream that suits it.
fn print_ready(global: &Global, running: &Running, data: &Path) {
    if let Some(token) = &running.setup_token {
        output::err(&format!(
            "\nNo administrator exists yet. One-time setup token, shown this once:\n\n  {}\n\n\
             Redeem it with `gatehouse setup --token TOKEN --name NAME`, or POST /api/v1/setup. On this machine\n\
             `gatehouse --data {} …` works without it.\n\n",
            token.expose(),
            data.display()
        ));
    }
    if global.output == Some(Form::Json) {
        let line = json!({
            "admin": running.admin, "admin_tls": running.admin_tls, "sync": running.sync, "pid": std::process::id(),
            "data": data.display().to_string(),
        });
        output::out(&format!("{line}\n"));
    } else if !global.quiet {
        let list = |all: &[String]| if all.is_empty() { "off".to_owned() } else { all.join(", ") };
        let sync: Vec<_> = running.sync.iter().map(SocketAddr::to_string).collect();
        let (admin, sync) = (list(&admin_listeners(&running.admin, &running.admin_tls)), list(&sync));
        output::err(&format!("gatehouse: control listens: admin {admin}; sync {sync}\n"));
    }
}

/// `gatehouse up`.
pub(super) fn up(global: &Global, arguments: &UpArgs) -> Result<ExitCode, Failure> {
    let sources = sources::read(global, &arguments.run, sources::up_flags(global, arguments)?)?;
    let loaded = settings::load_both(&sources, &sources::read_text);
    let (control, gateway, loaded) = loaded.map_err(|errors| Failure::failed(errors.to_string()))?;
    sources::announce(&loaded, global.quiet);
    let _lock = up::claim(&control.data).map_err(|error| Failure::failed(error.to_string()))?;
    say_unprivileged(global, sources.unprivileged, &gateway);
    let plan = Plan {
        data: control.data.clone(),
        control: Program { path: own_program()?, arguments: control_arguments(&control, &arguments.run) },
        gateway: Program { path: gateway_program()?, arguments: gateway_arguments(&gateway, &arguments.run) },
        name: gateway.name.to_string(),
        sync: expected_sync(&control),
        is_joined: gateway.data.join(up::IDENTITY_FILE).exists(),
        stop_deadline: gateway.drain.saturating_add(STOP_GRACE),
    };
    let data = control.data.clone();
    let form = global.output;
    let on_ready = move |report: &ready::Report, gateway: &ready::Connected, pids| match form {
        Some(Form::Json | Form::Yaml) => {
            output::out(&format!("{}\n", ready::line(report, gateway, pids, &data)));
        }
        Some(Form::Table) | None => output::out(&ready::text(report, gateway, &data)),
    };
    super::block_on(async move {
        let on_ready = tell(on_ready);
        up::run(plan, on_ready).await.map_err(|error| Failure::failed(error.to_string()))?;
        notify(&[sd_notify::NotifyState::Stopping]);
        Ok(ExitCode::SUCCESS)
    })
}

/// Also tells the service manager.
fn tell<F>(mut print: F) -> impl FnMut(&ready::Report, &ready::Connected, ready::Pids)
where
    F: FnMut(&ready::Report, &ready::Connected, ready::Pids),
{
    move |report, gateway, pids| {
        print(report, gateway, pids);
        notify(&[sd_notify::NotifyState::Ready]);
    }
}

fn say_unprivileged(global: &Global, unprivileged: bool, gateway: &settings::Gateway) {
    let (usual, ports) = (settings::default_ports(), settings::unprivileged_default_ports());
    let uses = |list: &[SocketAddr], port: u16| list.iter().any(|address| address.port() == port);
    if unprivileged && !global.quiet && (uses(&gateway.http, ports.http) || uses(&gateway.https, ports.https))
    {
        output::err(&format!(
            "gatehouse: ports below 1024 are not permitted to this user; {} and {} are used instead of {} and {}\n",
            ports.http, ports.https, usual.http, usual.https
        ));
    }
}

/// What both children are told: the sources they read again, for what has no flag.
fn common_arguments(data: &Path, run: &RunArgs) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--data".into(), data.into()];
    for (flag, file) in [("--config", &run.source.config), ("--env-file", &run.source.env_file)] {
        if let Some(file) = file {
            arguments.extend([flag.into(), file.into()]);
        }
    }
    if run.source.production {
        arguments.push("--production".into());
    }
    let log =
        [("--log-level", &run.log_level), ("--log-file", &run.log_file), ("--log-format", &run.log_format)];
    for (flag, text) in log {
        if let Some(text) = text {
            arguments.extend([flag.into(), text.into()]);
        }
    }
    arguments
}

fn control_arguments(control: &settings::Control, run: &RunArgs) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["control".into(), "run".into(), "--quiet".into()];
    arguments.extend(common_arguments(&control.data, run));
    push(&mut arguments, "--admin", admin_listeners(&control.admin, &control.admin_tls));
    push_listeners(&mut arguments, "--sync", &control.sync);
    if let Some(database) = &run.database {
        arguments.extend(["--database".into(), database.into()]);
    }
    arguments
}

/// Every listener is spelled out: what `up` decided is what the gateway does.
fn gateway_arguments(gateway: &settings::Gateway, run: &RunArgs) -> Vec<OsString> {
    let mut arguments = common_arguments(&gateway.data, run);
    for (flag, listeners) in [
        ("--http", &gateway.http),
        ("--https", &gateway.https),
        ("--ssh", &gateway.ssh),
        ("--novnc", &gateway.novnc),
        ("--ttyd", &gateway.ttyd),
    ] {
        push_listeners(&mut arguments, flag, listeners);
    }
    push_listeners(&mut arguments, "--gateway-admin", gateway.admin.as_slice());
    arguments.extend(["--name".into(), gateway.name.to_string().into()]);
    arguments
}

/// As they are written in the settings.
fn admin_listeners(plain: &[SocketAddr], tls: &[SocketAddr]) -> Vec<String> {
    let secured = tls.iter().map(|address| format!("tls:{address}"));
    plain.iter().map(SocketAddr::to_string).chain(secured).collect()
}

fn push_listeners(arguments: &mut Vec<OsString>, flag: &str, listeners: &[SocketAddr]) {
    push(arguments, flag, listeners.iter().map(SocketAddr::to_string).collect());
}

fn push(arguments: &mut Vec<OsString>, flag: &str, listeners: Vec<String>) {
    if listeners.is_empty() {
        arguments.extend([flag.into(), "off".into()]);
    }
    for listener in listeners {
        arguments.extend([flag.into(), listener.into()]);
    }
}

fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|e| Failure::failed(format!("the own program cannot be found: {e}")))
}

/// gatehouse-gateway lies beside us.
fn gateway_program() -> Result<PathBuf, Failure> {
    let program = own_program()?.with_file_name("gatehouse-gateway");
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::failed(format!("{} is not there; install it beside gatehouse", program.display())))
}

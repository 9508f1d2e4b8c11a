//! The command line: a client of the API and nothing more. `up`, `control run` and `gateway run` start processes.
//!
//! Start at [`main`]; the words are in [`args`], one file for each resource does them, [`output`] prints.
//! Exit codes: 0 done; 1 failed or invalid; 2 usage.

mod acme;
pub mod args;
mod audit;
mod ca;
mod cert;
pub mod client;
mod console;
pub mod failure;
mod forward;
mod gateway;
pub mod output;
mod resolve;
mod route;
mod run;
mod session;
mod sources;
mod ssh;
mod status;
mod upgrade;
mod user;
mod vm;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde_json::json;

use args::{Cli, Command, ControlCommand, DbCommand, GatewayCommand, Global, SetupArgs, TokenCommand};
use client::Client;
use failure::Failure;
use output::Printer;

/// Parses the arguments, does what they say and returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(_) if !output::is_whole() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(failure) => {
            output::err(&format!("gatehouse: {failure}\n"));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Up(arguments) => run::up(&global, &arguments),
        Command::Control(ControlCommand::Run(arguments)) => run::control(&global, &arguments),
        Command::Gateway(GatewayCommand::Run { arguments }) => Err(run::gateway(&global, &arguments)),
        Command::Upgrade(arguments) => upgrade::upgrade(&global, &arguments),
        Command::Check(arguments) => run::check(&global, &arguments),
        Command::Db(DbCommand::Migrate(arguments)) => run::migrate(&global, &arguments),
        Command::Version => {
            output::out(concat!("gatehouse ", env!("CARGO_PKG_VERSION"), "\n"));
            Ok(ExitCode::SUCCESS)
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gatehouse", &mut script);
            output::out(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
        command @ (Command::Route(_)
        | Command::Vm(_)
        | Command::Forward(_)
        | Command::Console(_)
        | Command::Audit(_)
        | Command::Session(_)
        | Command::Diagnose(_)
        | Command::Acme(_)
        | Command::User(_)
        | Command::SshCa(_)
        | Command::SshHostKey(_)
        | Command::SshGrant(_)
        | Command::SshConfig(_)
        | Command::Gateway(_)
        | Command::Token(_)
        | Command::Ca(_)
        | Command::Cert(_)
        | Command::RenewSsl(_)
        | Command::Setup(_)
        | Command::Status
        | Command::Explain(_)
        | Command::Healthcheck
        | Command::Whoami) => block_on(ask(&global, command)),
    }
}

/// Runs what talks to the API; one thread is plenty.
fn block_on(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::failed(format!("the runtime cannot be started: {e}")))?
        .block_on(work)
}

async fn ask(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    let client = Client::new(global)?;
    let printer = Printer::new(global);
    match command {
        Command::Route(command) => route::run(&client, &printer, command).await?,
        Command::Vm(command) => vm::run(&client, &printer, command).await?,
        Command::Forward(command) => forward::run(&client, &printer, command).await?,
        Command::Audit(command) => audit::run(&client, &printer, command).await?,
        Command::Session(command) => session::run(&client, &printer, command).await?,
        Command::Console(command) => console::run(&client, &printer, command).await?,
        Command::Diagnose(command) => return forward::diagnose(&client, &printer, command).await,
        Command::Acme(command) => acme::run(&client, &printer, command).await?,
        Command::User(command) => user::run(&client, &printer, command).await?,
        Command::SshCa(command) => ssh::ca(&client, &printer, command).await?,
        Command::SshHostKey(command) => ssh::host_key(&client, &printer, command).await?,
        Command::SshGrant(command) => ssh::grant(&client, &printer, command).await?,
        Command::SshConfig(arguments) => ssh::config(&client, &printer, &arguments).await?,
        Command::Gateway(command) => gateway::run(&client, &printer, command).await?,
        Command::Token(command) => token(&client, &printer, command).await?,
        Command::Ca(command) => ca::run(&client, &printer, command).await?,
        Command::Cert(command) => cert::run(&client, &printer, command).await?,
        Command::RenewSsl(arguments) => {
            cert::run(&client, &printer, args::CertCommand::Renew(arguments)).await?;
        }
        Command::Setup(arguments) => setup(&client, &printer, arguments).await?,
        Command::Whoami => printer.object(&client.get("/api/v1/whoami").await?.body),
        Command::Status => status::status(&client, &printer).await?,
        Command::Explain(arguments) => status::explain(&client, &printer, &arguments).await?,
        Command::Healthcheck => return Ok(status::healthcheck(&client, &printer).await),
        Command::Up(_)
        | Command::Upgrade(_)
        | Command::Control(_)
        | Command::Check(_)
        | Command::Db(_)
        | Command::Version
        | Command::Completion { .. } => {}
    }
    client.settle().await;
    Ok(ExitCode::SUCCESS)
}

async fn token(client: &Client, printer: &Printer, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { subject, duration, grant } => {
            let mut body = json!({ "subject": subject });
            put(&mut body, "duration", duration);
            put(&mut body, "grant", grant);
            let answer = client.post("/api/v1/tokens", &body).await?;
            print_token(printer, &answer.body)
        }
        TokenCommand::List => {
            let items = client.list("/api/v1/tokens", &[]).await?;
            printer.list(
                &items,
                &[("ID", "id"), ("SUBJECT", "subject"), ("GRANT", "grant"), ("EXPIRES", "expires_at")],
            );
            Ok(())
        }
        TokenCommand::Revoke { id } => {
            let answer = client.delete(&format!("/api/v1/tokens/{}", client::escape(&id))).await?;
            printer.done(&answer.body, &format!("token {id} revoked"));
            Ok(())
        }
    }
}

/// Prints the token alone, so that `TOKEN=$(gatehouse token create …)` works; the whole answer where a form was asked.
fn print_token(printer: &Printer, body: &serde_json::Value) -> Result<(), Failure> {
    match (printer.form(), body.get("token").and_then(|token| token.as_str())) {
        (args::Form::Table, Some(token)) => printer.text(token),
        (args::Form::Table, None) => return Err(Failure::failed("the answer of control holds no token")),
        (args::Form::Json | args::Form::Yaml, _) => printer.object(body),
    }
    Ok(())
}

async fn setup(client: &Client, printer: &Printer, arguments: SetupArgs) -> Result<(), Failure> {
    let token = match arguments.token {
        Some(token) => token,
        None => read_input(std::io::stdin(), "standard input")?,
    };
    let body = json!({ "token": token.trim(), "name": arguments.name });
    let answer = client.post("/api/v1/setup", &body).await?;
    if answer.body.get("token").is_some() {
        return print_token(printer, &answer.body);
    }
    printer.done(&answer.body, &format!("administrator {} made", arguments.name));
    Ok(())
}

/// Reads text that a person hands over: a key file, a token.
fn read_input(input: impl std::io::Read, what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    std::io::Read::take(input, config::limits::API_BODY_BYTES_MAX as u64)
        .read_to_string(&mut text)
        .map_err(|e| Failure::failed(format!("{what} cannot be read: {e}")))?;
    Ok(text)
}

/// Reads a file as it is, whatever is in it.
fn read_bytes(input: impl std::io::Read, what: &str) -> Result<Vec<u8>, Failure> {
    // One byte more, so that control says that it is too long instead of taking a part of it.
    let most = config::limits::API_BODY_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    std::io::Read::take(input, most)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::failed(format!("{what} cannot be read: {e}")))?;
    Ok(bytes)
}

/// Sets a member where there is something to say.
fn put(body: &mut serde_json::Value, name: &str, value: Option<impl Into<serde_json::Value>>) {
    if let (Some(members), Some(value)) = (body.as_object_mut(), value) {
        members.insert(name.to_owned(), value.into());
    }
}

/// The data directory that flags and environment name, or the default of this user.
pub(crate) fn data_directory(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(data) = &global.data {
        return Ok(data.clone());
    }
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    default_data(rustix::process::geteuid().is_root(), variable("XDG_STATE_HOME"), variable("HOME"))
        .ok_or_else(|| Failure::usage("neither --data nor HOME says where the data directory is"))
}

fn default_data(is_root: bool, state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/var/lib/gatehouse"));
    }
    Some(state.or_else(|| Some(home?.join(".local/state")))?.join("gatehouse"))
}

#[cfg(test)]
mod tests;

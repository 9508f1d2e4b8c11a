//! The words of the command line. Scripts outside this repository use them: add freely, change none (DESIGN §11).
//!
//! Here: what every command takes, and the list of commands. The words of each resource stand in its own file.

pub mod acme;
pub mod audit;
pub mod cert;
pub mod console;
pub mod forward;
pub mod gateway;
pub mod options;
pub mod route;
pub mod run;
pub mod session;
pub mod ssh;
pub mod user;
pub mod vm;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::acme::AcmeCommand;
use self::audit::AuditCommand;
pub use self::cert::{CaCommand, CertCommand};
use self::console::ConsoleCommand;
use self::forward::{DiagnoseCommand, ForwardCommand};
pub use self::gateway::{GatewayCommand, JoinCommand};
pub use self::options::ExplainArgs;
pub use self::route::{EndpointCommand, RouteCommand, RouteFields, RouteName, Tls};
pub use self::run::{ControlCommand, DbCommand, RunArgs, SetupArgs, SourceArgs, UpArgs, UpgradeArgs};
use self::session::SessionCommand;
pub use self::user::{KeyCommand, TokenCommand, UserCommand};
pub use self::vm::{VmCommand, VmRef};

/// Publishes HTTP, HTTPS, WebSocket and SSH from virtual machines.
#[derive(Debug, Parser)]
#[command(name = "gatehouse", version, max_term_width = 110, disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Data directory; on the machine itself the command talks to the control that owns it, over its unix socket.
    /// Default: /var/lib/gatehouse as root, otherwise $XDG_STATE_HOME/gatehouse or ~/.local/state/gatehouse.
    #[arg(long, global = true, help_heading = "Global options", value_name = "DIR", env = "GATEHOUSE_DATA")]
    pub data: Option<PathBuf>,
    /// Talks to a control elsewhere, http:// or https://; the token comes from GATEHOUSE_TOKEN.
    #[arg(long, global = true, help_heading = "Global options", value_name = "URL", env = "GATEHOUSE_URL")]
    pub url: Option<String>,
    /// Certificate authority for an https:// URL, as a PEM file (`gatehouse ca show` prints it).
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE", env = "GATEHOUSE_CA")]
    pub ca: Option<PathBuf>,
    /// Form of the output.
    #[arg(short, long, global = true, help_heading = "Global options", value_name = "FORM")]
    pub output: Option<Form>,
    /// Prints nothing but what was asked for.
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// No colours; the variable NO_COLOR says the same.
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_color: bool,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Aligned columns, for people.
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts control and a gateway on this machine and keeps them running.
    Up(Box<UpArgs>),
    /// Replaces the gateway process of this machine by a new one; nothing that is open closes.
    Upgrade(UpgradeArgs),
    /// The control process.
    #[command(subcommand)]
    Control(ControlCommand),
    /// The gateway process, and the gateways that joined.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Checks the settings and prints every mistake with file and line; starts nothing.
    Check(RunArgs),
    /// Shows what runs: control, gateways and the generations they serve.
    Status,
    /// Shows which route answers a URL, and why the others do not.
    Explain(ExplainArgs),
    /// Exits with 0 when control is ready, otherwise with 1.
    Healthcheck,
    /// Prints the version.
    Version,
    /// Prints a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Routes: which host and path lead where.
    #[command(subcommand)]
    Route(RouteCommand),
    /// Certificates: brought, ordered, or signed elsewhere.
    #[command(subcommand)]
    Cert(CertCommand),
    /// The same as `cert renew`, as the reference writes it: `gatehouse --renew-ssl`.
    #[command(long_flag = "renew-ssl", hide = true)]
    RenewSsl(cert::RenewArgs),
    /// Virtual machines.
    #[command(subcommand)]
    Vm(VmCommand),
    /// Port forwards: ports of the gate that lead to machines.
    #[command(subcommand)]
    Forward(ForwardCommand),
    /// Consoles: screens, terminals and serial lines of machines.
    #[command(subcommand)]
    Console(ConsoleCommand),
    /// Who did what, newest first.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Open sessions of all gateways: tunnels, consoles, forwarded ports, SSH.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Looks for what is wrong with something.
    #[command(subcommand)]
    Diagnose(DiagnoseCommand),
    /// People and service accounts.
    #[command(subcommand)]
    User(UserCommand),
    /// Authorities whose SSH certificates log people in.
    #[command(subcommand)]
    SshCa(ssh::SshCaCommand),
    /// The gate's SSH host keys.
    #[command(subcommand)]
    SshHostKey(ssh::SshHostKeyCommand),
    /// What people reach by SSH beyond their role: machines, ports, until when.
    #[command(subcommand)]
    SshGrant(ssh::SshGrantCommand),
    /// Prints the stanza for ~/.ssh/config that leads through the gate.
    SshConfig(ssh::SshConfigArgs),
    /// API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// The internal certificate authority.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Authorities that issue certificates by themselves (ACME).
    #[command(subcommand)]
    Acme(AcmeCommand),
    /// The database.
    #[command(subcommand)]
    Db(DbCommand),
    /// Redeems the one-time setup token: makes the first administrator.
    Setup(SetupArgs),
    /// Shows who the caller is and what it may do.
    Whoami,
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

impl Switch {
    /// Whether it is on.
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

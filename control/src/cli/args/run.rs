//! Flags of the processes themselves: where settings come from and what is listened on.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where settings come from; flags win over the environment, the environment over the file.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArgs {
    /// Settings file; default: DIR/gatehouse.toml, ./config/gatehouse.toml, /etc/gatehouse/gatehouse.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File of NAME=value lines; the bare names of the reference (HOST_SERVER_PORT, …) are accepted in it.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Refuses placeholder secrets and debug conveniences.
    #[arg(long)]
    pub production: bool,
}

/// Flags of the control process.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Where settings come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Admin API; address:port (plain HTTP) or tls:address:port, repeatable, or `off`.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Vec<String>,
    /// The gateways' stream; address:port, repeatable, or `off`.
    #[arg(long, value_name = "ADDRESS")]
    pub sync: Vec<String>,
    /// Database: a path (SQLite) or a postgres:// URL.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Least level that is logged: error, warning, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log file; `-` is standard output. The gateway writes beside it.
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<String>,
    /// Form of a log line: text or json.
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<String>,
}

/// Flags of `up`.
#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// Flags of control.
    #[command(flatten)]
    pub run: RunArgs,
    /// Plain HTTP; address:port, repeatable, port 0 is any free one, or `off`.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Vec<String>,
    /// HTTPS.
    #[arg(long, value_name = "ADDRESS")]
    pub https: Vec<String>,
    /// SSH jumps.
    #[arg(long, value_name = "ADDRESS")]
    pub ssh: Vec<String>,
    /// noVNC consoles.
    #[arg(long, value_name = "ADDRESS")]
    pub novnc: Vec<String>,
    /// Web terminals.
    #[arg(long, value_name = "ADDRESS")]
    pub ttyd: Vec<String>,
    /// The gateway's own health and metrics endpoint.
    #[arg(long, value_name = "ADDRESS")]
    pub gateway_admin: Vec<String>,
}

/// The control process.
#[derive(Debug, Subcommand)]
pub enum ControlCommand {
    /// Runs control in the foreground.
    Run(RunArgs),
}

/// The database.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Brings the schema up to date while control is stopped; control does the same at its start. A copy is made first.
    Migrate(RunArgs),
}

/// What the first administrator is to be.
#[derive(Debug, Clone, Args)]
pub struct SetupArgs {
    /// The one-time setup token; without it standard input is read.
    #[arg(long)]
    pub token: Option<String>,
    /// Name of the administrator.
    #[arg(long, default_value = "admin")]
    pub name: String,
}

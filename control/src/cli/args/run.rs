//! Flags of the processes themselves: where settings come from and what is listened on.

use std::path::PathBuf;
use std::time::Duration;

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

/// Flags of `upgrade`.
#[derive(Debug, Clone, Default, Args)]
pub struct UpgradeArgs {
    /// The new gatehouse-gateway; without it the file that the running one was started from, as it lies there now.
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
    /// How long connections of the old process may go on, such as 30m or 12h, at most 30d; default 24h.
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub max_age: Option<Duration>,
}

/// Longest age that can be given.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time such as 90s, 30m, 12h or 2d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = number.trim_end().parse().map_err(|_| wrong())?;
    let age = number.checked_mul(seconds).map(Duration::from_secs).filter(|age| *age <= AGE_MAX);
    age.ok_or_else(|| format!("{text:?} is longer than 30d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit_and_an_end() {
        assert_eq!(age("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(age("2d"), Ok(Duration::from_secs(172_800)));
        for bad in ["", "5", "h", "-1h", "1w", "ä", "31d", "99999999999999999999d", "18446744073709551615d"]
        {
            age(bad).unwrap_err();
        }
    }
}

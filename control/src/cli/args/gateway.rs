//! Words of `gateway`.

use clap::Subcommand;

/// The gateway process, and the gateways that joined.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Runs a gateway in the foreground; everything after `run` goes to gatehouse-gateway.
    Run {
        /// Arguments of gatehouse-gateway.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Lists the gateways.
    #[command(visible_alias = "ls")]
    List,
    /// Shows one gateway.
    Show {
        /// Name or id.
        gateway: String,
    },
    /// Withdraws a gateway's identity.
    #[command(visible_alias = "delete")]
    Rm {
        /// Name or id.
        gateway: String,
    },
    /// Join tokens.
    #[command(subcommand)]
    Token(JoinCommand),
}

/// Join tokens.
#[derive(Debug, Subcommand)]
pub enum JoinCommand {
    /// Prints a one-time token for a new gateway.
    Create {
        /// The name the gateway will have; without it the gateway chooses.
        #[arg(long)]
        name: Option<String>,
    },
}

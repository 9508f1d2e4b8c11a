//! The words of `gatehouse session`.

use clap::Subcommand;

/// Open sessions of all gateways.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Lists open sessions: tunnels, consoles, forwarded ports, SSH.
    #[command(visible_alias = "ls")]
    List {
        /// Only this gateway's, by name or id.
        #[arg(long)]
        gateway: Option<String>,
        /// Only of this kind: tunnel, console, tcp, udp, ssh or passthrough.
        #[arg(long)]
        kind: Option<String>,
        /// Only this tenant's.
        #[arg(long)]
        namespace: Option<String>,
        /// Only this person's, by name or id.
        #[arg(long)]
        user: Option<String>,
        /// Only those to this VM: its name, NAME.NAMESPACE or id.
        #[arg(long)]
        vm: Option<String>,
    },
    /// Shows one open session.
    Show {
        /// Its id.
        id: String,
    },
    /// Ends one session at once.
    #[command(visible_alias = "rm")]
    Kill {
        /// Its id.
        id: String,
    },
}

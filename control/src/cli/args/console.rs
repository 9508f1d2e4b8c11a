//! The words of `gatehouse console`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Switch;

/// Consoles of machines.
#[derive(Debug, Subcommand)]
pub enum ConsoleCommand {
    /// Makes a console known: `console add web01 vnc --port 5901`.
    #[command(visible_alias = "create")]
    Add {
        /// The VM: its name, NAME.NAMESPACE or id.
        vm: String,
        /// vnc, ttyd, ssh or serial.
        kind: String,
        /// The rest.
        #[command(flatten)]
        fields: Box<ConsoleFields>,
    },
    /// Lists consoles.
    #[command(visible_alias = "ls")]
    List {
        /// Only this tenant's.
        #[arg(long)]
        namespace: Option<String>,
        /// Only those of this VM, by name or id.
        #[arg(long)]
        vm: Option<String>,
        /// Only of this kind.
        #[arg(long)]
        kind: Option<String>,
    },
    /// Shows one console.
    Show(ConsoleName),
    /// Changes one console.
    #[command(visible_alias = "update")]
    Set {
        /// Which.
        #[command(flatten)]
        console: ConsoleName,
        /// The rest.
        #[command(flatten)]
        fields: Box<ConsoleFields>,
        /// Forgets the VNC password.
        #[arg(long, conflicts_with = "secret_file")]
        no_secret: bool,
    },
    /// Deletes one console.
    #[command(visible_alias = "delete")]
    Rm(ConsoleName),
    /// Prints an address that opens the console, once and within a minute.
    Open {
        /// Which.
        #[command(flatten)]
        console: ConsoleName,
        /// Only look.
        #[arg(long)]
        look: bool,
        /// The address that it may be opened from, or `any`. When absent it is this machine's, as control sees it; on
        /// control's own machine it is any.
        #[arg(long, value_name = "ADDRESS")]
        source: Option<String>,
        /// The gateway that opens it; the first that is connected when absent.
        #[arg(long, value_name = "NAME")]
        gateway: Option<String>,
        /// The host that the gateway is known by.
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// How long the address is good, in seconds, 60 at most.
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u8>,
        /// Prints the address for a WebSocket client instead of a browser's.
        #[arg(long)]
        websocket: bool,
    },
}

/// Names one console.
#[derive(Debug, Clone, Args)]
pub struct ConsoleName {
    /// The id of the console, or its VM by name, NAME.NAMESPACE or id.
    #[arg(value_name = "VM")]
    pub vm: String,
    /// vnc, ttyd, ssh or serial, where the VM has several.
    #[arg(long)]
    pub kind: Option<String>,
}

/// What may be said about a console when it is made or changed.
#[derive(Debug, Clone, Default, Args)]
pub struct ConsoleFields {
    /// Where it is, when that is not the VM's own address.
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// The port there.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// tcp, or websocket for what speaks WebSocket itself.
    #[arg(long, value_name = "WIRE")]
    pub wire: Option<String>,
    /// What a WebSocket is asked for, such as /websockify.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// The account on the VM that a terminal by SSH logs in as; root when absent.
    #[arg(long, value_name = "NAME")]
    pub login: Option<String>,
    /// File whose first line is the VNC password, or `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Whether nobody may do more than look.
    #[arg(long)]
    pub read_only: Option<Switch>,
    /// What a change does to open sessions: keep, cut or a drain such as `drain 30s`.
    #[arg(long, value_name = "POLICY")]
    pub on_change: Option<String>,
    /// What deletion does to open sessions: keep, cut or a drain such as `drain 30s`.
    #[arg(long, value_name = "POLICY")]
    pub on_delete: Option<String>,
    /// A remark.
    #[arg(long)]
    pub note: Option<String>,
}

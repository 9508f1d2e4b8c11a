//! The words of `gatehouse forward` and `gatehouse diagnose`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Switch;

/// Ports of the gate that lead to machines.
#[derive(Debug, Subcommand)]
pub enum ForwardCommand {
    /// Opens a port: `forward add tcp 10022 10.0.0.5:22 --note SSH`.
    #[command(visible_alias = "create")]
    Add {
        /// PROTOCOL PORT TARGET: tcp or udp; a port, a row of ports such as 10000-10010, or auto; NAME:PORT or
        /// ADDRESS:PORT. The port may be left out; with --preset only the target is needed, its port too may be left out.
        #[arg(value_name = "WORD", num_args = 0..=3)]
        words: Vec<String>,
        /// A service by name, for its port: `gatehouse forward presets` lists them.
        #[arg(long, value_name = "NAME")]
        preset: Option<String>,
        /// Tenant that owns it.
        #[arg(long)]
        namespace: Option<String>,
        /// The rest.
        #[command(flatten)]
        fields: Box<ForwardFields>,
    },
    /// Lists forwards.
    #[command(visible_alias = "ls")]
    List {
        /// Only this tenant's.
        #[arg(long)]
        namespace: Option<String>,
        /// Only tcp, or only udp.
        #[arg(long)]
        protocol: Option<String>,
        /// Only those that lead to this VM, by name or id.
        #[arg(long)]
        vm: Option<String>,
    },
    /// Shows one forward, and what each gateway says of it.
    Show(ForwardName),
    /// Changes one forward.
    Update {
        /// Which.
        #[command(flatten)]
        forward: ForwardName,
        /// The rest.
        #[command(flatten)]
        fields: Box<ForwardFields>,
    },
    /// Closes the ports of one forward and deletes it.
    #[command(visible_alias = "delete")]
    Rm(ForwardName),
    /// Opens the ports of one forward again.
    Enable(ForwardName),
    /// Closes the ports of one forward and keeps it.
    Disable(ForwardName),
    /// Makes the forwards of a CSV file, all of them or none: `protocol,host_port,vm_ip,vm_port,note`.
    Import {
        /// File, or `-` for standard input.
        file: PathBuf,
        /// Shows what would be made, and makes nothing.
        #[arg(long)]
        dry_run: bool,
        /// Tenant that owns them.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Prints all forwards in the form that `import` reads; with -o json or yaml the same members as a list.
    Export {
        /// Only this tenant's.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Lists the services that --preset knows.
    Presets,
}

/// Names one forward.
#[derive(Debug, Clone, Args)]
pub struct ForwardName {
    /// Its id, or protocol and port: tcp/10022.
    pub forward: String,
}

/// What may be said about a forward when it is made or changed.
#[derive(Debug, Clone, Default, Args)]
pub struct ForwardFields {
    /// tcp or udp.
    #[arg(long)]
    pub protocol: Option<String>,
    /// The port of the gate, a row of ports such as 10000-10010, or auto.
    #[arg(long, value_name = "PORT")]
    pub host_port: Option<String>,
    /// The VM that it leads to: its name, NAME.NAMESPACE or id.
    #[arg(long)]
    pub vm: Option<String>,
    /// The address that it leads to.
    #[arg(long, value_name = "ADDRESS")]
    pub vm_ip: Option<String>,
    /// The port there, the first of as many as the gate's.
    #[arg(long, value_name = "PORT")]
    pub vm_port: Option<String>,
    /// The address of the gateways that it listens on, or any.
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<String>,
    /// Network or address that may connect; repeatable; any is everybody.
    #[arg(long, value_name = "NETWORK")]
    pub source: Vec<String>,
    /// A PROXY protocol header before the first byte: off, v1 or v2.
    #[arg(long, value_name = "VERSION")]
    pub proxy_protocol: Option<String>,
    /// Connections, or UDP sessions, at once in one gateway; 0 is no bound.
    #[arg(long, value_name = "NUMBER")]
    pub max_conns: Option<u32>,
    /// New connections a second in one gateway; 0 is no bound.
    #[arg(long, value_name = "NUMBER")]
    pub rate: Option<u32>,
    /// Longest silence, such as 5m; default takes it back.
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Option<String>,
    /// What a change does to open connections: keep, cut or a drain such as `drain 30s`.
    #[arg(long, value_name = "POLICY")]
    pub on_change: Option<String>,
    /// What deletion does to open connections: keep, cut or a drain such as `drain 30s`.
    #[arg(long, value_name = "POLICY")]
    pub on_delete: Option<String>,
    /// Whether it is in force.
    #[arg(long)]
    pub enabled: Option<Switch>,
    /// A remark.
    #[arg(long)]
    pub note: Option<String>,
}

/// Looks for what is wrong.
#[derive(Debug, Subcommand)]
pub enum DiagnoseCommand {
    /// Says of one forward whether it is published, listened on and answered; exits with 1 when something is wrong.
    Forward(ForwardName),
}

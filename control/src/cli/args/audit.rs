//! The words of `gatehouse audit`.

use clap::{Args, Subcommand};

/// Who did what: changes, what was refused, and what gateways tell of consoles and jumps.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Lists what was done, newest first.
    #[command(visible_alias = "ls")]
    List(AuditFilter),
}

/// Which rows.
#[derive(Debug, Args)]
pub struct AuditFilter {
    /// Only what this person did, by name.
    #[arg(long, visible_alias = "user")]
    pub actor: Option<String>,
    /// Only this: create, update, delete, open, refuse, end, …
    #[arg(long)]
    pub action: Option<String>,
    /// Only to objects of this kind: route, vm, console, jump, ssh, …
    #[arg(long)]
    pub kind: Option<String>,
    /// Only to the object of this id; a jump is to a VM.
    #[arg(long)]
    pub object: Option<String>,
    /// Only this tenant's.
    #[arg(long)]
    pub namespace: Option<String>,
    /// At most so many rows.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

//! Words of `user` and `token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Switch;

/// People and service accounts.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Makes a user.
    #[command(visible_alias = "add")]
    Create {
        /// The name.
        name: String,
        /// Grants such as "admin:ns1 guest:ns2".
        #[arg(long)]
        grant: Option<String>,
        /// Whether it may do anything; default on.
        #[arg(long)]
        enabled: Option<Switch>,
        /// Limits of access by SSH.
        #[command(flatten)]
        ssh: SshLimits,
    },
    /// Lists users.
    #[command(visible_alias = "ls")]
    List,
    /// Shows one user.
    Show {
        /// Name or id.
        user: String,
    },
    /// Changes one user.
    Update {
        /// Name or id.
        user: String,
        /// New grants, all of them.
        #[arg(long)]
        grant: Option<String>,
        /// Whether it may do anything.
        #[arg(long)]
        enabled: Option<Switch>,
        /// Limits of access by SSH.
        #[command(flatten)]
        ssh: SshLimits,
    },
    /// Deletes one user and ends what it has open.
    #[command(visible_alias = "rm")]
    Delete {
        /// Name or id.
        user: String,
    },
    /// SSH public keys of a user.
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Limits of a user's access by SSH.
#[derive(Debug, Clone, Args)]
pub struct SshLimits {
    /// When access by SSH ends: a time (2030-01-31T18:00:00Z), from now (8h, 7d), or never.
    #[arg(long, value_name = "TIME|DURATION|never")]
    pub ssh_until: Option<String>,
    /// Jumps at once in one gateway.
    #[arg(long, value_name = "N")]
    pub ssh_sessions: Option<u16>,
}

/// SSH public keys of a user.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Adds the public keys of a file in the form of authorized_keys; `-` is standard input.
    Add {
        /// Name or id of the user.
        user: String,
        /// File, or `-`.
        file: PathBuf,
    },
    /// Lists keys.
    #[command(visible_alias = "list")]
    Ls {
        /// Name or id of the user.
        user: String,
    },
    /// Takes a key away.
    #[command(visible_alias = "delete")]
    Rm {
        /// Name or id of the user.
        user: String,
        /// Fingerprint (SHA256:…) or id of the key.
        key: String,
    },
}

/// API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Prints a new token, and nothing else.
    Create {
        /// The user it acts for.
        #[arg(long, value_name = "NAME")]
        subject: String,
        /// How long it is good for, for example 10m.
        #[arg(long)]
        duration: Option<String>,
        /// Fewer grants than the subject has.
        #[arg(long)]
        grant: Option<String>,
    },
    /// Lists tokens.
    #[command(visible_alias = "ls")]
    List,
    /// Ends a token's life.
    #[command(visible_aliases = ["rm", "delete"])]
    Revoke {
        /// Its id.
        id: String,
    },
}

//! Words of `ssh-ca`, `ssh-host-key`, `ssh-grant` and `ssh-config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Authorities whose certificates log people in.
#[derive(Debug, Subcommand)]
pub enum SshCaCommand {
    /// Believes an authority: its certificates log people in as the users whose names stand in them.
    #[command(visible_alias = "create")]
    Add {
        /// What to call it.
        name: String,
        /// Its public key; `-` is standard input.
        file: PathBuf,
    },
    /// Lists authorities.
    #[command(visible_alias = "list")]
    Ls,
    /// Believes an authority no longer.
    #[command(visible_alias = "delete")]
    Rm {
        /// Name or id.
        authority: String,
    },
    /// Says that certificates are no longer good: by number, key id or certified key.
    Revoke {
        /// Name or id of the authority.
        authority: String,
        /// Serial number; repeatable.
        #[arg(long)]
        serial: Vec<u64>,
        /// Key id, as `ssh-keygen -I` gave it; repeatable.
        #[arg(long)]
        key_id: Vec<String>,
        /// Fingerprint (SHA256:…) of the certified key, or a file with the key or the certificate; repeatable.
        #[arg(long, value_name = "FINGERPRINT|FILE")]
        key: Vec<String>,
    },
}

/// The gate's SSH host keys.
#[derive(Debug, Subcommand)]
pub enum SshHostKeyCommand {
    /// Lists the keys: the one in use, and the next one where it is announced.
    #[command(visible_alias = "list")]
    Ls,
    /// Announces the next key; with --finish it takes the place of the current one.
    Rotate {
        /// The next key takes over, the old one is forgotten.
        #[arg(long)]
        finish: bool,
    },
    /// Certifies the keys for the names by which people reach the gate; replaces earlier names.
    Certify {
        /// Names or addresses, all of them; none takes the certificates back.
        name: Vec<String>,
    },
    /// Prints lines for known_hosts.
    KnownHosts(GateName),
    /// Prints SSHFP records for the zone of the gate's name.
    Sshfp(GateName),
    /// Prints the @cert-authority line for known_hosts; certify the names first.
    CertAuthority(GateName),
    /// Prints the key that VMs trust for the browser terminal (TrustedUserCAKeys).
    UserCa,
}

/// By which name people reach the gate.
#[derive(Debug, Clone, Args)]
pub struct GateName {
    /// Name or address of the gate; repeatable. Default: the certified names.
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// Port of its SSH listener.
    #[arg(long, default_value_t = 2222)]
    pub port: u16,
}

/// What people reach by SSH beyond their role.
#[derive(Debug, Subcommand)]
pub enum SshGrantCommand {
    /// Gives a user ports of machines.
    #[command(visible_alias = "create")]
    Add(SshGrantFields),
    /// Lists a user's grants.
    #[command(visible_alias = "list")]
    Ls {
        /// Name or id of the user.
        user: String,
    },
    /// Takes a grant away; sessions that need it are cut.
    #[command(visible_alias = "delete")]
    Rm {
        /// Name or id of the user.
        user: String,
        /// Its id.
        grant: String,
    },
}

/// A grant.
#[derive(Debug, Clone, Args)]
pub struct SshGrantFields {
    /// Name or id of the user.
    pub user: String,
    /// Name or id of one machine.
    #[arg(long, required_unless_present = "namespace", conflicts_with = "namespace")]
    pub vm: Option<String>,
    /// All machines of a tenant.
    #[arg(long)]
    pub namespace: Option<String>,
    /// Ports and rows of ports, as 22,8000-8010; 22 when absent.
    #[arg(long, value_name = "PORTS")]
    pub ports: Option<String>,
    /// When it ends: a time (2030-01-31T18:00:00Z) or from now (8h, 7d).
    #[arg(long, value_name = "TIME|DURATION")]
    pub until: Option<String>,
    /// A remark.
    #[arg(long)]
    pub note: Option<String>,
}

/// The stanza for a client.
#[derive(Debug, Clone, Args)]
pub struct SshConfigArgs {
    /// Name or address by which the gate is reached. Default: the first certified name.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Port of its SSH listener.
    #[arg(long, default_value_t = 2222)]
    pub port: u16,
    /// Login name at the gate; the key says who somebody is.
    #[arg(long, default_value = "openidcs")]
    pub user: String,
    /// What the gate is called in the stanza.
    #[arg(long, default_value = "gatehouse")]
    pub alias: String,
}

//! The words of `gatehouse acme`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Authorities that issue certificates by themselves.
#[derive(Debug, Subcommand)]
pub enum AcmeCommand {
    /// Accounts with authorities.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Orders of certificates.
    #[command(subcommand)]
    Order(OrderCommand),
}

/// Orders of certificates.
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Lists orders, newest first.
    #[command(visible_alias = "ls")]
    List {
        /// Only those under way.
        #[arg(long)]
        open: bool,
    },
    /// Shows one order with its log.
    Show {
        /// Its id.
        order: String,
    },
    /// Takes the next step now, however long it was to wait.
    Retry {
        /// Its id.
        order: String,
    },
    /// Gives one up; what its certificate has is served on.
    Cancel {
        /// Its id.
        order: String,
    },
}

/// Accounts with authorities.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Makes an account known; it is registered at the first order.
    #[command(visible_alias = "create")]
    Add(Box<AccountFields>),
    /// Lists accounts.
    #[command(visible_alias = "ls")]
    List,
    /// Shows one account.
    Show {
        /// Name or id.
        account: String,
    },
    /// Deletes one account.
    #[command(visible_alias = "delete")]
    Rm {
        /// Name or id.
        account: String,
    },
}

/// What is said about an account.
#[derive(Debug, Clone, Args)]
pub struct AccountFields {
    /// What to call it.
    pub name: String,
    /// The authority: a URL of its directory, letsencrypt or letsencrypt-staging.
    #[arg(long, default_value = "letsencrypt", value_name = "URL")]
    pub directory: String,
    /// Mail address that the authority may write to; repeatable.
    #[arg(long, value_name = "MAIL")]
    pub contact: Vec<String>,
    /// You have read the authority's terms of service and agree.
    #[arg(long)]
    pub agree_tos: bool,
    /// How names are proved: http-01, tls-alpn-01 or dns-01.
    #[arg(long)]
    pub challenge: Option<String>,
    /// Key id of an account that the authority made elsewhere.
    #[arg(long, value_name = "ID", requires = "eab_hmac_file")]
    pub eab_kid: Option<String>,
    /// File with its HMAC key in base64url; `-` is standard input.
    #[arg(long, value_name = "FILE", requires = "eab_kid")]
    pub eab_hmac_file: Option<PathBuf>,
    /// PEM file with roots of a private authority.
    #[arg(long, value_name = "FILE")]
    pub roots: Option<PathBuf>,
    /// Where TXT records are put: rfc2136 or exec.
    #[arg(long, value_name = "PROVIDER")]
    pub dns: Option<String>,
    /// rfc2136: the primary name server, address:port.
    #[arg(long, value_name = "ADDRESS", requires = "dns")]
    pub dns_server: Option<String>,
    /// rfc2136: the zone; found by asking when absent.
    #[arg(long, value_name = "NAME", requires = "dns")]
    pub dns_zone: Option<String>,
    /// rfc2136: name of the TSIG key.
    #[arg(long, value_name = "NAME", requires = "dns")]
    pub dns_key_name: Option<String>,
    /// rfc2136: hmac-sha256 (default), hmac-sha384 or hmac-sha512.
    #[arg(long, value_name = "NAME", requires = "dns")]
    pub dns_algorithm: Option<String>,
    /// rfc2136: file with the TSIG key in base64; `-` is standard input.
    #[arg(long, value_name = "FILE", requires = "dns")]
    pub dns_secret_file: Option<PathBuf>,
    /// exec: absolute path of the program on the machine of control.
    #[arg(long, value_name = "PATH", requires = "dns")]
    pub dns_program: Option<String>,
    /// _acme-challenge of each name is an alias into the zone that may be written.
    #[arg(long, requires = "dns")]
    pub dns_delegated: bool,
    /// Address of a resolver that sees the names as the authority does; repeatable.
    #[arg(long, value_name = "ADDRESS")]
    pub resolver: Vec<String>,
}

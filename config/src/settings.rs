//! Process settings: raw text from file, environment and flags, checked once into values.
//!
//! Flag over environment over file. Every error of a configuration is found in one run, with file, line and key.
//! Reading files and the environment is the caller's work; this module takes their text ([`Sources`]) and gives
//! [`load_control`], [`load_gateway`] and, for both on one machine, [`load_both`]. What can be written is in
//! `settings/REFERENCE.md`.

mod check;
mod env;
mod error;
mod file;
mod key;
mod load;
mod parse;
mod raw;
mod units;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::name::GatewayName;
use crate::secret::Secret;
use crate::snapshot::Ports;

pub use error::{Origin, SettingsError, SettingsErrors};
pub use load::{
    Loaded, WebPorts, default_ports, load_both, load_control, load_gateway, search_paths,
    unprivileged_default_ports,
};
pub use parse::ReadSecret;
pub use raw::{Flags, Sources, data_directory, named_file};

/// Whether placeholders and conveniences are refused or warned about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Placeholder secrets, debug endpoints and wildcard CORS are refused.
    Production,
    /// They are warned about.
    Development,
}

/// What becomes of a TLS handshake whose server name no identity was made for, or that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownSni {
    /// The default identity is shown, or a self-signed one that nobody trusts.
    #[default]
    Fallback,
    /// It is refused with the alert `unrecognized_name` (RFC 6066 § 3).
    Refuse,
}

/// Settings of the data plane.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// `DIR`; the gateway keeps its own things in `DIR/gateway`.
    pub data: PathBuf,
    /// Plain HTTP listeners. Port 0 is any free port, kept and used again.
    pub http: Vec<SocketAddr>,
    /// HTTPS listeners.
    pub https: Vec<SocketAddr>,
    /// SSH listeners.
    pub ssh: Vec<SocketAddr>,
    /// noVNC listeners.
    pub novnc: Vec<SocketAddr>,
    /// ttyd listeners.
    pub ttyd: Vec<SocketAddr>,
    /// The gateway's own admin endpoint; `None` is off.
    pub admin: Option<SocketAddr>,
    /// Where control takes the gateways' stream, as `host:port`, tried in order.
    pub control: Vec<String>,
    /// The name to enrol under.
    pub name: GatewayName,
    /// One-time join token for the first start.
    pub join_token: Option<Secret<String>>,
    /// Worker threads; 0 is one per core.
    pub workers: usize,
    /// Peers whose forwarding fields count.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers whose connections must begin with a PROXY protocol header, on every public listener.
    pub proxy_protocol: Vec<IpNet>,
    /// What a TLS client is shown that asks for a name without a certificate, or for none.
    pub unknown_sni: UnknownSni,
    /// Time that open flows get at a stop.
    pub drain: Duration,
    /// Where the log goes.
    pub log: Log,
    /// Where a line for each request goes.
    pub access_log: AccessLog,
    /// Production or development.
    pub mode: Mode,
}

/// Settings of the control plane.
#[derive(Debug, Clone)]
pub struct Control {
    /// `DIR`: database, keys, socket.
    pub data: PathBuf,
    /// Admin API listeners; plain HTTP.
    pub admin: Vec<SocketAddr>,
    /// Admin API listeners that speak TLS with a certificate of the internal authority (INVENTORY E-13).
    pub admin_tls: Vec<SocketAddr>,
    /// Listeners of the gateways' stream.
    pub sync: Vec<SocketAddr>,
    /// The database.
    pub database: Database,
    /// Ports of the gate that forwards of anybody but root may take; none is none of them.
    pub forward_ports: Vec<Ports>,
    /// Signing and sealing root given from outside; `None` is `DIR/secret.key`, made on first start.
    pub secret_key: Option<Secret<String>>,
    /// Where the log goes.
    pub log: Log,
    /// Production or development.
    pub mode: Mode,
}

/// The database of control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// An embedded SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL; it may carry a password.
    Postgres(Secret<String>),
}

/// Where the log goes, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Least level that is written.
    pub level: Level,
    /// `None` is standard output.
    pub file: Option<PathBuf>,
    /// When a file is rotated.
    pub rotation: Rotation,
    /// How long or how many rotated files are kept.
    pub retention: Retention,
    /// Form of a line.
    pub format: LogFormat,
}

/// Where a line for each request goes. Files are rotated as [`Log`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// The place.
    pub to: AccessTarget,
    /// Form of a line.
    pub format: AccessFormat,
    /// Query parameters whose values are not written, in the form of [`AccessLog::parameter`].
    pub redact: Vec<String>,
}

impl AccessLog {
    /// No lines.
    pub fn off() -> Self {
        Self { to: AccessTarget::Off, format: AccessFormat::Json, redact: Self::redacted_by_default() }
    }

    /// Names of parameters that carry secrets in the wild: of OAuth and OpenID Connect, signed URLs, sessions, logins.
    pub fn redacted_by_default() -> Vec<String> {
        REDACTED_PARAMETERS.iter().map(|name| Self::parameter(name)).collect()
    }

    /// The form in which names of parameters are compared: `Api-Key`, `api_key` and `apikey` are one.
    pub fn parameter(name: &str) -> String {
        name.chars().filter(|one| !matches!(one, '-' | '_')).map(|one| one.to_ascii_lowercase()).collect()
    }
}

/// What is redacted when nothing says otherwise.
pub(crate) const REDACTED_PARAMETERS: &[&str] = &[
    "token",
    "access_token",
    "refresh_token",
    "id_token",
    "id_token_hint",
    "auth_token",
    "csrf_token",
    "xsrf_token",
    "session_token",
    "x_amz_security_token",
    "x_amz_signature",
    "x_amz_credential",
    "x_goog_signature",
    "x_goog_credential",
    "code",
    "code_verifier",
    "state",
    "nonce",
    "assertion",
    "client_assertion",
    "client_secret",
    "saml_request",
    "saml_response",
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "pin",
    "otp",
    "secret",
    "key",
    "api_key",
    "private_key",
    "access_key",
    "sig",
    "signature",
    "hmac",
    "session",
    "session_id",
    "sid",
    "phpsessid",
    "jsessionid",
    "ticket",
    "auth",
    "authorization",
    "credential",
    "credentials",
    "jwt",
    "bearer",
    "invite",
];

/// Where the lines of requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTarget {
    /// Nowhere.
    Off,
    /// Standard output, between the lines of the log if that goes there too.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// Form of a line about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object a line.
    Json,
    /// The common log format of NCSA.
    Common,
    /// The same with referer and user agent, as Apache and nginx write it.
    Combined,
}

/// Least level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// When a log file is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// At this size in bytes.
    Bytes(u64),
    /// At this age.
    Age(Duration),
    /// Never.
    Off,
}

/// Which rotated log files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Those younger than this.
    Age(Duration),
    /// The newest this many.
    Files(usize),
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests;

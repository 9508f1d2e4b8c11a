//! Where the TXT records of an account are put.

use std::net::SocketAddr;
use std::path::Path;

use config::name::HostName;
use config::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::options::{Flaws, Node};

/// What the secret of a provider is sealed for.
pub const DNS_PURPOSE: &str = "acme-dns";

/// Where the records are put, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// How.
    #[serde(flatten)]
    pub provider: Provider,
    /// Whether `_acme-challenge` of every name is an alias into the zone that may be written, in the manner of acme-dns:
    /// records are put where it leads.
    #[serde(default)]
    pub delegated: bool,
}

/// Who puts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "provider", rename_all = "lowercase")]
pub enum Provider {
    /// Dynamic updates (RFC 2136), signed with TSIG (RFC 8945).
    Rfc2136 {
        /// The primary server.
        server: SocketAddr,
        /// The zone; found by asking when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// Name of the key.
        key_name: String,
        /// `hmac-sha256`, …
        algorithm: String,
    },
    /// A program of the operator's.
    Exec {
        /// Absolute path.
        program: String,
    },
}

/// Algorithms of TSIG that are taken: those of RFC 8945 § 6 that are strong.
const ALGORITHMS: [&str; 3] = ["hmac-sha256", "hmac-sha384", "hmac-sha512"];

/// Reads the object, and its secret apart.
pub(super) fn read(value: Value, flaws: &mut Flaws) -> Option<(Dns, Option<Secret<String>>)> {
    let mut node = Node::open(value, "dns", flaws)?;
    let kind = node.text("provider");
    let read = match kind.as_deref() {
        Some("rfc2136") => rfc2136(&mut node),
        Some("exec") => exec(&mut node).map(|provider| (provider, None)),
        Some(other) => {
            node.invalid("provider", "unsupported", format_args!("{other:?} is none; rfc2136 and exec are"));
            None
        }
        None => {
            node.missing("provider", "say rfc2136 or exec");
            None
        }
    };
    let delegated = node.truth("delegated").unwrap_or_default();
    node.finish();
    let (provider, secret) = read?;
    Some((Dns { provider, delegated }, secret))
}

fn rfc2136(node: &mut Node<'_>) -> Option<(Provider, Option<Secret<String>>)> {
    let server = node.parsed("server", server);
    let zone = node.parsed("zone", HostName::parse).map(|zone| zone.to_string());
    let key_name = node.parsed("key_name", HostName::parse);
    let algorithm = node.text("algorithm").unwrap_or_else(|| ALGORITHMS[0].to_owned());
    if !ALGORITHMS.contains(&algorithm.as_str()) {
        node.invalid("algorithm", "unsupported", format_args!("it is one of {}", ALGORITHMS.join(", ")));
    }
    let secret = node.text("secret").map(|text| text.trim().to_owned());
    let is_base64 =
        |text: &String| data_encoding::BASE64.decode(text.as_bytes()).is_ok_and(|key| !key.is_empty());
    if secret.as_ref().is_some_and(|text| !is_base64(text)) {
        node.invalid("secret", "invalid", "it is the key in base64, as in the name server's key file");
    }
    if server.is_none() {
        node.missing("server", "say address:port of the primary name server");
    }
    if key_name.is_none() {
        node.missing("key_name", "say the name of the TSIG key");
    }
    if secret.is_none() {
        node.missing("secret", "say the TSIG key in base64");
    }
    let (server, key_name) = (server?, key_name?.to_string());
    Some((Provider::Rfc2136 { server, zone, key_name, algorithm }, secret.map(Secret::new)))
}

pub(super) fn server(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("{text:?} is no address of a name server; write 192.0.2.53 or 192.0.2.53:53");
    let bare = || text.parse().map(|ip| SocketAddr::new(ip, 53));
    text.parse().or_else(|_| bare()).map_err(|_| wrong())
}

fn exec(node: &mut Node<'_>) -> Option<Provider> {
    let program = node.text("program");
    match &program {
        None => node.missing("program", "say the path of the program"),
        Some(path) if !Path::new(path).is_absolute() => {
            node.invalid("program", "invalid", "it is an absolute path on the machine of control");
        }
        Some(_) => {}
    }
    Some(Provider::Exec { program: program? })
}

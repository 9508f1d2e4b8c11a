//! What a request says about a console, checked as far as the request alone can be.

use std::net::IpAddr;

use config::secret::Secret;
use config::snapshot::{ConsoleKind, FlowPolicy};

use super::super::input::{Input, Said};
use crate::app::forward::input::{address, policy};

/// Members that may be set.
pub const KNOWN: &[&str] = &[
    "vm",
    "kind",
    "address",
    "port",
    "wire",
    "path",
    "login",
    "secret",
    "read_only",
    "on_change",
    "on_delete",
    "note",
    "namespace",
];

/// Members that are shown only.
const SHOWN: &[&str] = &["id", "vm_id", "has_secret", "owner", "revision", "created_at", "updated_at"];

/// Members that have another name here.
const MOVED: &[(&str, &str)] =
    &[("addr", "address"), ("host", "address"), ("password", "secret"), ("type", "kind")];

/// How a console is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Bytes.
    Tcp,
    /// WebSocket already.
    WebSocket,
}

/// What was said, in types that cannot be wrong.
#[derive(Debug)]
pub struct Draft {
    /// What is shown.
    pub kind: Said<ConsoleKind>,
    /// Where; null is the VM's own address.
    pub address: Said<IpAddr>,
    /// The port there.
    pub port: Said<u16>,
    /// How it is spoken to.
    pub wire: Said<Wire>,
    /// What a WebSocket is asked for.
    pub path: Said<String>,
    /// The account of a terminal by SSH.
    pub login: Said<String>,
    /// The VNC password.
    pub secret: Said<Secret<String>>,
    /// Whether nobody may do more than look.
    pub read_only: Said<bool>,
    /// Open sessions at a change.
    pub on_change: Said<FlowPolicy>,
    /// Open sessions at the deletion.
    pub on_delete: Said<FlowPolicy>,
    /// Free text.
    pub note: Said<String>,
}

/// Reads a draft; what is wrong is noted in `input`. `vm` and `namespace` are the caller's to take.
pub fn read(input: &mut Input) -> Draft {
    input.moved(MOVED);
    input.read_only(SHOWN);
    // Into custody first, whatever else is wrong.
    let secret = match input.text("secret") {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::This(text) => Said::This(Secret::new(text)),
    };
    Draft {
        kind: input.parsed("kind", "unsupported", kind),
        address: input.parsed("address", "invalid", address),
        port: match input.number("port", 1, u64::from(u16::MAX)) {
            Said::This(port) => u16::try_from(port).map_or(Said::Nothing, Said::This),
            Said::Null => Said::Null,
            Said::Nothing => Said::Nothing,
        },
        wire: input.parsed("wire", "unsupported", |text| match text {
            "tcp" => Ok(Wire::Tcp),
            "websocket" => Ok(Wire::WebSocket),
            other => Err(format!("{:?} is no wire; write tcp or websocket", short(other))),
        }),
        path: input.text("path"),
        login: input.parsed("login", "invalid", login),
        secret,
        read_only: input.truth("read_only"),
        on_change: policy(input, "on_change"),
        on_delete: policy(input, "on_delete"),
        note: input.note("note"),
    }
}

fn kind(text: &str) -> Result<ConsoleKind, String> {
    ConsoleKind::parse(text).ok_or_else(|| {
        format!("{:?} is no kind of console; kinds are vnc, ttyd, ssh and serial", short(text))
    })
}

/// The name of an account as useradd(8) takes it, and nothing that a certificate or a log would read as more.
fn login(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_sound = (1..=32).contains(&text.len()) && text.chars().all(is_name) && !text.starts_with('-');
    if is_sound { Ok(text.to_owned()) } else { Err(format!("{:?} is no name of an account", short(text))) }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

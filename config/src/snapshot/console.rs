//! Consoles of machines, and whose tickets open them.

use crate::id::{ConsoleId, KeyId, VmId};
use crate::name::Namespace;
use crate::secret::Secret;
use crate::snapshot::{Endpoint, FlowPolicy};

/// A way to look at a machine that does not go through its network: screen, terminal or serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// Stable name.
    pub id: ConsoleId,
    /// The tenant that owns it.
    pub namespace: Namespace,
    /// The machine it shows. Without that machine in the snapshot nobody gets in.
    pub vm: VmId,
    /// What is shown.
    pub kind: ConsoleKind,
    /// Where it is. Weight and draining say nothing here.
    pub endpoint: Endpoint,
    /// How it is spoken to.
    pub wire: ConsoleWire,
    /// The VNC password, which the gateway gives so that no browser has to hold it.
    pub secret: Option<Secret<String>>,
    /// Whether nobody may do more than look, whatever a ticket says.
    pub read_only: bool,
    /// What a change of the console does to its open sessions.
    pub on_change: FlowPolicy,
    /// What its deletion does to them.
    pub on_delete: FlowPolicy,
}

/// What a console shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsoleKind {
    /// A screen by RFB (RFC 6143).
    Vnc,
    /// A terminal by ttyd's protocol.
    Ttyd,
    /// A terminal by SSH.
    Ssh,
    /// A serial line as bytes.
    Serial,
}

impl ConsoleKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Vnc, Self::Ttyd, Self::Ssh, Self::Serial];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vnc => "vnc",
            Self::Ttyd => "ttyd",
            Self::Ssh => "ssh",
            Self::Serial => "serial",
        }
    }

    /// The kind that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == word)
    }
}

/// How a console's endpoint is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleWire {
    /// Bytes on a connection: the gateway ends the WebSocket.
    Tcp,
    /// The endpoint speaks WebSocket itself (websockify, QEMU, ttyd): bytes pass untouched.
    WebSocket {
        /// The path it is asked for; begins with a slash.
        path: Box<str>,
    },
}

/// Whose tickets open consoles: control signs, gateways verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketAuthority {
    /// Stable name; stands in every ticket.
    pub id: KeyId,
    /// An Ed25519 public key (RFC 8032).
    pub public_key: [u8; 32],
}

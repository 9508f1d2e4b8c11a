//! What a gateway tells the audit: it must not be lost, so it is kept on the gateway's disk until control has written it.
//!
//! Each event carries the id that its row will have. Told twice, it is written once.

use std::net::IpAddr;

use crate::id::{AuditId, ConsoleId, SessionId, UserId, VmId};
use crate::sync::message::MalformedMessage;

/// One thing that happened at a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The id of its row.
    pub id: AuditId,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// What happened.
    pub what: What,
    /// To what.
    pub on: On,
    /// Who did it.
    pub who: Who,
    /// How they proved it: `ticket`, a key's fingerprint, a certificate's authority and number.
    pub proof: String,
    /// From where.
    pub source: IpAddr,
    /// The session that it is about.
    pub session: Option<SessionId>,
    /// Why it was refused, or why it ended.
    pub why: String,
    /// What went through, at the end of a session.
    pub totals: Option<Carried>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// A session was opened.
    Open,
    /// Something was refused.
    Refuse,
    /// A session ended.
    End,
    /// Events were lost.
    Lose,
    /// What this program does not know.
    Other,
}

/// What it happened to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum On {
    /// A console.
    Console(ConsoleId),
    /// A jump.
    Jump {
        /// The VM it led to; `None` for a literal address, and where nothing was found or granted.
        vm: Option<VmId>,
        /// What was asked for, as it was typed.
        target: String,
    },
    /// The door of the jump host.
    Ssh {
        /// The login name, as it was typed.
        login: String,
    },
    /// The audit itself.
    Audit,
    /// What this program does not know.
    Other,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// Nobody we know.
    Nobody,
    /// Root.
    Root,
    /// A person.
    User(UserId),
}

/// What a session carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Bytes towards the VM.
    pub up: u64,
    /// Bytes towards the user.
    pub down: u64,
    /// How long it was open, in milliseconds.
    pub ms: u64,
}

impl AuditEvent {
    /// The event as it stands in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        super::wire::audit::to_bytes(self)
    }

    /// Reads what [`AuditEvent::to_bytes`] wrote.
    ///
    /// Errors: it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedMessage> {
        super::wire::audit::from_bytes(bytes).map_err(|why| MalformedMessage { why })
    }
}

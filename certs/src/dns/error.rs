//! What goes wrong with the DNS, in words for the person who has to act.

use std::time::Duration;

/// Why a record could not be written or looked up.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// No answer from a server.
    #[error("{server} did not answer: {why}")]
    Unanswered {
        /// Name and address of the server.
        server: String,
        /// What happened.
        why: String,
    },
    /// The server refused.
    #[error("{server} refused {what}: {why}")]
    Refused {
        /// Name and address of the server.
        server: String,
        /// What was asked of it.
        what: String,
        /// What that means, and what to do.
        why: String,
    },
    /// The settings cannot be used.
    #[error("the DNS settings cannot be used: {why}")]
    Settings {
        /// What is wrong with them.
        why: String,
    },
    /// A hook failed.
    #[error("the DNS hook {program} failed for {record}: {why}")]
    Hook {
        /// The program.
        program: String,
        /// The record it was called for.
        record: String,
        /// Exit code or signal, and the end of what it wrote to standard error.
        why: String,
    },
    /// The record is not everywhere yet.
    #[error("{record} is not at every server after {} s: {why}", waited.as_secs())]
    NotPropagated {
        /// The record.
        record: String,
        /// How long it was waited for.
        waited: Duration,
        /// Server by server, what it still answers.
        why: String,
    },
    /// A name leads nowhere.
    #[error("{name}: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl DnsError {
    /// Whether the same may succeed later with nothing changed by a person.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unanswered { .. } | Self::NotPropagated { .. } => true,
            Self::Refused { .. } | Self::Settings { .. } | Self::Hook { .. } | Self::Name { .. } => false,
        }
    }
}

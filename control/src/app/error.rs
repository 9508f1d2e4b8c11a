//! What can be wrong with a request, in the words of the caller. Status codes are `api::problem`'s.

use crate::auth::rbac::Denied;
use crate::store;

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, as the input names it; `targets[1].port` inside a list.
    pub field: String,
    /// A word for programs: `required`, `invalid`, `unsupported`, `taken`, …
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Violation {
    /// A violation.
    pub fn new(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), code, message: message.into() }
    }
}

/// Why something was not done. The messages are public.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text that cannot be parsed.
    #[error("the request cannot be read")]
    Unparsable(Vec<Violation>),
    /// Readable, and against the rules; every violation is listed.
    #[error("the request breaks the rules")]
    Invalid(Vec<Violation>),
    /// Nobody is signed in, or with something that does not count; says what is wrong with it.
    #[error("{0}")]
    Unauthenticated(String),
    /// Signed in, and not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Signed in, and the time that it was allowed for is over; says what.
    #[error("{0}")]
    Over(String),
    /// It is not there, or the caller may not see it.
    #[error("no {kind} {name:?} is here")]
    NotFound {
        /// `route`, `VM`, …
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// Something else is in the way; the message names it.
    #[error("{message}")]
    Conflict {
        /// The field, where one is at fault.
        field: &'static str,
        /// What is in the way.
        message: String,
    },
    /// A change without `If-Match`.
    #[error("send If-Match with the ETag of the object that you change")]
    PreconditionRequired,
    /// The object changed since the caller read it.
    #[error("the object changed since you read it; it is at revision {now}")]
    PreconditionFailed {
        /// Its revision.
        now: i64,
    },
    /// The store cannot be used right now.
    #[error("the database cannot be used right now; try again")]
    Store(#[from] store::Error),
    /// Our own fault.
    #[error("an internal error; the log has the cause under this request id")]
    Internal(String),
}

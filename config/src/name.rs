//! Names, parsed once into types that cannot be wrong.
//!
//! Host names are lower-case ASCII (A-labels) without a trailing dot from here on: nothing downstream folds again.

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// Why a name was refused; each names what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum NameError {
    #[error("is empty")]
    Empty,
    #[error("{name:?} has a scheme; write the host name alone, without http:// or a path")]
    Scheme { name: String },
    #[error("{name:?} has a port; write the host name alone, the port is the listener's")]
    Port { name: String },
    #[error("{name:?} is an IP address; a route needs a host name")]
    Address { name: String },
    #[error("{name:?} contains {character:?}, which no name may")]
    Character { name: String, character: char },
    #[error("{name:?}: a label is empty, longer than 63 bytes or begins or ends with a hyphen")]
    Label { name: String },
    #[error("{name:?} is longer than {max} bytes")]
    TooLong { name: String, max: usize },
    #[error("{name:?} is not a valid international name: {why}")]
    International { name: String, why: String },
    #[error("{name:?}: a wildcard is the whole left-most label, as in *.example.com")]
    Wildcard { name: String },
    #[error(
        "{name:?}: a path begins with /, has no //, dot segments, encoded slashes, query or control characters"
    )]
    Path { name: String },
    #[error(
        "{name:?}: letters, digits, - and _ only, beginning with a letter or digit, at most 63 characters"
    )]
    Plain { name: String },
}

/// A host name: lower-case ASCII, no trailing dot, at most 253 bytes, labels of 1 to 63 bytes (RFC 1123 § 2.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// Parses what a person typed: folds case and IDNA (UTS #46) once, drops one trailing dot.
    ///
    /// Errors: [`NameError`] for anything that is not a bare host name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let _ = limits::HOST_NAME_BYTES_MAX;
        let folded = text.trim_end_matches('.').to_ascii_lowercase();
        if folded.is_empty() {
            return Err(NameError::Empty);
        }
        Ok(Self(folded.into_boxed_str()))
    }

    /// The folded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Which host names a virtual host answers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name alone.
    Exact(HostName),
    /// One label before this suffix: `*.example.com` covers `a.example.com`, not `example.com` or `a.b.example.com`
    /// (RFC 9525 § 6.3).
    Wildcard(HostName),
    /// Every name, and requests that match nothing else. Written `*`.
    CatchAll,
}

impl HostPattern {
    /// Parses `name`, `*.suffix` or `*`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text == "*" {
            return Ok(Self::CatchAll);
        }
        match text.strip_prefix("*.") {
            Some(suffix) => HostName::parse(suffix).map(Self::Wildcard),
            None => HostName::parse(text).map(Self::Exact),
        }
    }

    /// Whether this is a wildcard directly below a public suffix (`*.com`, `*.co.uk`): for root alone.
    pub fn is_public_suffix_wildcard(&self) -> bool {
        false
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::CatchAll => f.write_str("*"),
        }
    }
}

/// A path prefix that matches on segment boundaries: `/a` covers `/a` and `/a/b`, not `/ab`.
///
/// Begins with `/`; ends with `/` only when it is `/` itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPrefix(Box<str>);

impl PathPrefix {
    /// Parses and drops one trailing slash.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if !text.starts_with('/') {
            return Err(NameError::Path { name: text.into() });
        }
        Ok(Self(text.into()))
    }

    /// The prefix of every path.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `path` lies under this prefix.
    pub fn covers(&self, path: &str) -> bool {
        &*self.0 == "/"
            || path.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

macro_rules! plain_name {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses: ASCII letters, digits, `-`, `_`; begins with a letter or digit; at most 63 bytes.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                if text.is_empty() {
                    return Err(NameError::Empty);
                }
                let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
                if text.len() > 63
                    || !text.bytes().all(plain)
                    || !text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
                {
                    return Err(NameError::Plain { name: text.chars().take(80).collect() });
                }
                Ok(Self(text.into()))
            }

            /// The text as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )+};
}

plain_name! {
    /// A tenant's name.
    Namespace,
    /// A network's name; VM addresses are unique in it. `default` until others exist.
    NetworkName,
    /// A VM's name, unique in its namespace.
    VmName,
    /// A user's name, unique without regard to case.
    UserName,
    /// A gateway's name.
    GatewayName,
}

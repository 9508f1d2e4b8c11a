//! Names, parsed once into types that cannot be wrong.
//!
//! Host names are lower-case ASCII (A-labels) without a trailing dot from here on: nothing downstream folds again.

mod path;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::limits;

pub use path::PathPrefix;

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
    #[error("{name:?} is an IP address; a host name is wanted here")]
    Address { name: String },
    #[error("{name:?} ends in a number, as only IP addresses do; a host name ends in letters, as in .com")]
    NumericEnd { name: String },
    #[error("{name:?} contains {character:?}; a host name has letters, digits, hyphens and dots")]
    Character { name: String, character: char },
    #[error("{name:?} contains an underscore, which no host name may; write a hyphen")]
    Underscore { name: String },
    #[error("{name:?}: a label is empty, longer than 63 bytes or begins or ends with a hyphen")]
    Label { name: String },
    #[error("{name:?} is longer than {max} bytes")]
    TooLong { name: String, max: usize },
    #[error("{name:?} is not a valid international name: {why}")]
    International { name: String, why: &'static str },
    #[error("{name:?}: a wildcard is the whole left-most label, as in *.example.com")]
    Wildcard { name: String },
    #[error("path {name:?} {why}")]
    Path { name: String, why: &'static str },
    #[error(
        "{name:?}: letters, digits, - and _ only, beginning with a letter or digit, at most 63 characters"
    )]
    Plain { name: String },
}

/// Most characters of a refused name that an error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// As much of a hostile text as an error may repeat.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// A host name: lower-case ASCII, no trailing dot, at most 253 bytes, labels of 1 to 63 bytes (RFC 1123 § 2.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// Parses what a person typed: folds case and IDNA (UTS #46) once, drops one trailing dot.
    ///
    /// Errors: [`NameError`] for anything that is not a bare host name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        refuse_what_is_no_name(text)?;
        let folded = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Ignore)
            .map_err(|_| NameError::International {
                name: shown(text),
                why: "a label has characters that IDNA does not allow there, or is no valid Punycode",
            })?;
        let name = folded.strip_suffix('.').unwrap_or(&folded);
        check_folded(name, text)?;
        Ok(Self(name.into()))
    }

    /// The folded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Finds the usual mistakes in the text as typed, so that each gets its own words.
fn refuse_what_is_no_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    // Four bytes a character is the most UTF-8 takes; folding a longer text would be work for nothing.
    if text.len() > 4 * (limits::HOST_NAME_BYTES_MAX + 1) {
        return Err(NameError::TooLong { name: shown(text), max: limits::HOST_NAME_BYTES_MAX });
    }
    let scheme = text.split_once(':').map(|(before, _)| before.to_ascii_lowercase());
    if text.contains("://") || matches!(scheme.as_deref(), Some("http" | "https" | "ws" | "wss")) {
        return Err(NameError::Scheme { name: shown(text) });
    }
    if text.starts_with('[') || text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        return Err(NameError::Address { name: shown(text) });
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && !host.contains(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(NameError::Port { name: shown(text) });
    }
    if let Some(character) = text.chars().find(|c| is_never_in_a_name(*c)) {
        return Err(match character {
            '*' => NameError::Wildcard { name: shown(text) },
            '_' => NameError::Underscore { name: shown(text) },
            character => NameError::Character { name: shown(text), character },
        });
    }
    if text.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err(NameError::Label { name: shown(text) });
    }
    Ok(())
}

fn is_never_in_a_name(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || (c.is_ascii() && !c.is_ascii_alphanumeric() && c != '-' && c != '.')
}

/// What only shows after folding: full-width digits become an address, an ideographic full stop a dot.
fn check_folded(name: &str, typed: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > limits::HOST_NAME_BYTES_MAX {
        return Err(NameError::TooLong { name: shown(typed), max: limits::HOST_NAME_BYTES_MAX });
    }
    let bad = |label: &str| {
        label.is_empty()
            || label.len() > limits::LABEL_BYTES_MAX
            || label.starts_with('-')
            || label.ends_with('-')
    };
    if name.split('.').any(bad) {
        return Err(NameError::Label { name: shown(typed) });
    }
    // Resolvers and browsers take such names for addresses: 0x7f.1, 127.1, 2130706433 (WHATWG URL § 3.5).
    if name.split('.').all(is_number) {
        return Err(NameError::Address { name: shown(typed) });
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err(NameError::NumericEnd { name: shown(typed) });
    }
    Ok(())
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || label.bytes().all(|b| b.is_ascii_digit())
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
    ///
    /// Errors: those of [`HostName::parse`]; a wildcard anywhere but as the whole left-most label.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text == "*" {
            return Ok(Self::CatchAll);
        }
        let Some(suffix) = text.strip_prefix("*.") else { return HostName::parse(text).map(Self::Exact) };
        if suffix.is_empty() {
            return Err(NameError::Wildcard { name: shown(text) });
        }
        let suffix = HostName::parse(suffix)?;
        // The shortest name it covers has a label of one byte and a dot more.
        if suffix.as_str().len() + 2 > limits::HOST_NAME_BYTES_MAX {
            return Err(NameError::TooLong { name: shown(text), max: limits::HOST_NAME_BYTES_MAX });
        }
        Ok(Self::Wildcard(suffix))
    }

    /// Whether this is a wildcard directly below a public suffix (`*.com`, `*.co.uk`): for root alone.
    ///
    /// A single label that the list does not know counts as one, by the list's own rule for the rest
    /// (<https://publicsuffix.org/list/>, "If no rules match, the prevailing rule is `*`").
    pub fn is_public_suffix_wildcard(&self) -> bool {
        match self {
            Self::Wildcard(name) => psl::suffix_str(name.as_str()) == Some(name.as_str()),
            Self::Exact(_) | Self::CatchAll => false,
        }
    }

    /// Whether `host` (lower-case, without port and trailing dot) is among the names.
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == host,
            Self::Wildcard(suffix) => wildcard_suffix(host) == Some(suffix.as_str()),
            Self::CatchAll => true,
        }
    }
}

/// The suffix whose wildcard covers `host`: what follows its first label.
pub(crate) fn wildcard_suffix(host: &str) -> Option<&str> {
    host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, suffix)| suffix)
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
                    return Err(NameError::Plain { name: shown(text) });
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

impl GatewayName {
    /// The name of a gateway that was given none.
    pub fn local() -> Self {
        Self("local".into())
    }
}

#[cfg(test)]
mod tests;

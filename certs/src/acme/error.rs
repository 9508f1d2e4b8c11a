//! What goes wrong with an authority, in words for the person who has to act.

use std::fmt;
use std::time::Duration;

use config::limits;

/// What kind of failure it was; decides the advice and whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No connection to the authority.
    Unreachable,
    /// The authority's own certificate is not trusted here.
    Untrusted,
    /// The authority did not answer in time.
    TimedOut,
    /// The authority says that the fault is its own (5xx, `serverInternal`).
    ServerInternal,
    /// Something answered that does not speak ACME.
    NotAcme,
    /// Too many requests; [`AcmeError::after`] says how long to wait.
    RateLimited,
    /// Nonces were refused again and again.
    BadNonce,
    /// A CAA record forbids this authority.
    Caa,
    /// The authority's look-up of a name failed.
    Dns,
    /// The authority could not connect to the name.
    Connection,
    /// The handshake of TLS-ALPN-01 failed.
    Tls,
    /// The wrong answer was found at the name, or the account may not do this.
    Unauthorized,
    /// The answer at the name was not the one asked for (`incorrectResponse`).
    IncorrectResponse,
    /// The authority does not issue for this name.
    RejectedIdentifier,
    /// The authority does not issue for this kind of name.
    UnsupportedIdentifier,
    /// The authority does not know the account.
    AccountDoesNotExist,
    /// The authority wants a key of an account made elsewhere (EAB).
    ExternalAccountRequired,
    /// A person has to visit the authority's site, usually for new terms.
    UserActionRequired,
    /// The terms were not agreed to.
    TermsNotAgreed,
    /// The contact is not acceptable.
    InvalidContact,
    /// The request for the certificate is not acceptable.
    BadCsr,
    /// The key of the account or of the request is not acceptable.
    BadPublicKey,
    /// The certificate is revoked already.
    AlreadyRevoked,
    /// The certificate was replaced by another order already.
    AlreadyReplaced,
    /// The authority does not take this reason for a revocation.
    BadRevocationReason,
    /// The order cannot be finalized yet.
    OrderNotReady,
    /// The order has failed; [`AcmeError::names`] says which name and why.
    OrderFailed,
    /// The authority no longer knows the order; a new one is needed.
    OrderGone,
    /// A wildcard can only be proved over DNS.
    NeedsDns01,
    /// The names cannot stand in one order.
    BadNames,
    /// The authority does not offer what was asked for.
    NotOffered,
    /// The stored credentials or the settings cannot be used.
    Credentials,
    /// Anything else the authority refused.
    Refused,
}

impl Kind {
    /// What to do about it, in one clause.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "check the directory URL and that this machine may connect out; it is tried again"
            }
            Self::Untrusted => {
                "give the authority's root certificate with the account if it is a private one"
            }
            Self::TimedOut | Self::ServerInternal | Self::BadNonce => {
                "the fault is the authority's; it is tried again"
            }
            Self::NotAcme => "check the directory URL",
            Self::RateLimited => "the order waits; asking more often makes it longer",
            Self::Caa => {
                "add a CAA record `issue` (and `issuewild` for a wildcard) with the authority's name, or remove them"
            }
            Self::Dns => "make the name resolve, from every name server of its zone",
            Self::Connection => "open port 80 (HTTP-01) or 443 (TLS-ALPN-01) to the internet, or use DNS-01",
            Self::Tls => "no TLS terminator may stand between the internet and the gateway for TLS-ALPN-01",
            Self::Unauthorized | Self::IncorrectResponse => {
                "make every address of the name (A and AAAA) lead to the gateways, or the TXT record appear"
            }
            Self::RejectedIdentifier => {
                "the authority's policy forbids the name; use another name or authority"
            }
            Self::UnsupportedIdentifier => "use a name under a public domain, or another authority",
            Self::AccountDoesNotExist => "make the account anew",
            Self::ExternalAccountRequired => {
                "give the key id and HMAC key that the authority shows on its site"
            }
            Self::UserActionRequired => "visit the authority's site, then try again",
            Self::TermsNotAgreed => "read the terms and agree to them",
            Self::InvalidContact => "give a mail address in a public domain",
            Self::BadCsr => {
                "make the request anew: its names must be those of the order, its key strong enough"
            }
            Self::BadPublicKey => "use a new key: ECDSA P-256 or P-384, or RSA of 2048 bits or more",
            Self::AlreadyRevoked | Self::AlreadyReplaced => "nothing is left to do",
            Self::BadRevocationReason => "use another reason, or none",
            Self::OrderNotReady => "the order goes on as soon as every name is validated",
            Self::OrderFailed | Self::OrderGone => "a new order is needed",
            Self::NeedsDns01 => "give the certificate a DNS-01 provider",
            Self::BadNames => "correct the names",
            Self::NotOffered => "leave it out or use another authority",
            Self::Credentials => "correct the account",
            Self::Refused => "see what the authority says",
        }
    }

    /// Whether the same request may succeed later with nothing changed by a person.
    pub const fn is_passing(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::TimedOut
                | Self::ServerInternal
                | Self::RateLimited
                | Self::BadNonce
                | Self::Dns
                | Self::Connection
                | Self::OrderNotReady
        )
    }
}

/// What the authority says of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFault {
    /// The name as in the order, a wildcard with its `*.`.
    pub name: String,
    /// What it was.
    pub kind: Kind,
    /// The authority's words, cut to [`limits::ACME_DETAIL_CHARS_MAX`] and without control characters.
    pub detail: String,
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.name, self.detail, self.kind.advice())
    }
}

/// Why a step did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeError {
    /// What kind of failure it was.
    pub kind: Kind,
    /// What was being done, as in "starting the order".
    pub step: &'static str,
    /// Host of the authority.
    pub authority: String,
    /// What happened, or the authority's words (cut, without control characters).
    pub detail: String,
    /// The names it concerns, if the authority named any; at most [`limits::ACME_NAMES_MAX`].
    pub names: Vec<NameFault>,
    /// How long to wait at least, if the authority said so.
    pub after: Option<Duration>,
}

impl AcmeError {
    pub(super) fn new(kind: Kind, authority: &str, detail: &str) -> Self {
        Self {
            kind,
            step: "speaking",
            authority: authority.to_owned(),
            detail: clean(detail),
            names: Vec::new(),
            after: None,
        }
    }

    /// Whether the same step may be taken again later with nothing changed by a person.
    pub fn is_passing(&self) -> bool {
        self.kind.is_passing()
    }

    pub(super) fn during(mut self, step: &'static str) -> Self {
        self.step = step;
        self
    }
}

impl fmt::Display for AcmeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} failed: {}", self.step, self.authority, self.detail)?;
        if let Some(after) = self.after {
            write!(f, "; not before {} s from now", after.as_secs())?;
        }
        for fault in &self.names {
            write!(f, "; {fault}")?;
        }
        write!(f, "; {}", self.kind.advice())
    }
}

impl std::error::Error for AcmeError {}

/// Text from outside, fit for a line of a log.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limits::ACME_DETAIL_CHARS_MAX).collect()
}

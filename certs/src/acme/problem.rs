//! From the authority's problem documents (RFC 8555 § 6.7) to our errors.

use std::time::Duration;

use config::limits;
use instant_acme::{Identifier, Problem};

use super::client::Fault;
use super::error::{AcmeError, Kind, NameFault, clean};

const PREFIX: &str = "urn:ietf:params:acme:error:";

/// The kind that a problem type stands for.
pub(super) fn kind(r#type: Option<&str>) -> Kind {
    let Some(name) = r#type.and_then(|text| text.strip_prefix(PREFIX)) else { return Kind::Refused };
    match name {
        "rateLimited" => Kind::RateLimited,
        "badNonce" => Kind::BadNonce,
        "caa" => Kind::Caa,
        "dns" => Kind::Dns,
        "connection" => Kind::Connection,
        "tls" => Kind::Tls,
        "unauthorized" => Kind::Unauthorized,
        "incorrectResponse" => Kind::IncorrectResponse,
        "rejectedIdentifier" => Kind::RejectedIdentifier,
        "unsupportedIdentifier" => Kind::UnsupportedIdentifier,
        "accountDoesNotExist" => Kind::AccountDoesNotExist,
        "externalAccountRequired" => Kind::ExternalAccountRequired,
        "userActionRequired" => Kind::UserActionRequired,
        "invalidContact" | "unsupportedContact" => Kind::InvalidContact,
        "badCSR" => Kind::BadCsr,
        "badPublicKey" | "badSignatureAlgorithm" => Kind::BadPublicKey,
        "alreadyRevoked" => Kind::AlreadyRevoked,
        "alreadyReplaced" => Kind::AlreadyReplaced,
        "badRevocationReason" => Kind::BadRevocationReason,
        "orderNotReady" => Kind::OrderNotReady,
        "serverInternal" => Kind::ServerInternal,
        "invalidProfile" => Kind::NotOffered,
        _ => Kind::Refused,
    }
}

/// What one problem says, with a fault for each name it mentions.
pub(super) fn of_problem(authority: &str, problem: &Problem, after: Option<Duration>) -> AcmeError {
    let mut error = AcmeError::new(kind(problem.r#type.as_deref()), authority, &detail(problem));
    error.after = after;
    error.names = problem
        .subproblems
        .iter()
        .filter_map(|sub| {
            let name = plain_name(sub.identifier.as_ref()?);
            let detail = clean(sub.detail.as_deref().or(sub.r#type.as_deref()).unwrap_or("no reason given"));
            Some(NameFault { name, kind: kind(sub.r#type.as_deref()), detail })
        })
        .take(limits::ACME_NAMES_MAX)
        .collect();
    error
}

/// The authority's words, its type if it has none.
pub(super) fn detail(problem: &Problem) -> String {
    clean(problem.detail.as_deref().or(problem.r#type.as_deref()).unwrap_or("no reason given"))
}

/// What the library reports, by what our own client put into it where it did.
pub(super) fn of_library(authority: &str, error: instant_acme::Error) -> AcmeError {
    use instant_acme::Error;
    let plain = |kind, detail: &str| AcmeError::new(kind, authority, detail);
    match error {
        Error::Api(problem) => of_problem(authority, &problem, None),
        Error::Other(other) => match other.downcast::<Fault>() {
            Ok(fault) => of_fault(authority, &fault),
            Err(other) => plain(Kind::NotAcme, &other.to_string()),
        },
        Error::Json(_) => plain(Kind::NotAcme, "the answer is not what RFC 8555 asks for"),
        Error::InvalidUri(_) | Error::Http(_) => {
            plain(Kind::NotAcme, "a URL of the authority cannot be used")
        }
        Error::Str(what) => plain(Kind::NotAcme, &format!("missing from the answer: {what}")),
        Error::Unsupported(what) => plain(Kind::NotOffered, &format!("it does not offer {what}")),
        Error::Crypto | Error::KeyRejected => {
            plain(Kind::Credentials, "the key of the account cannot be used")
        }
        Error::Timeout(_) => plain(Kind::TimedOut, "no answer in time"),
        other @ (Error::Hyper(_) | _) => plain(Kind::NotAcme, &other.to_string()),
    }
}

fn of_fault(authority: &str, fault: &Fault) -> AcmeError {
    let plain = |kind, detail: &str| AcmeError::new(kind, authority, detail);
    match fault {
        Fault::Refused { problem, status, after } => {
            let mut error = of_problem(authority, problem, *after);
            // A 429 or 5xx speaks for itself where the type is missing or vague.
            error.kind = match (error.kind, *status) {
                (Kind::Refused, 429) => Kind::RateLimited,
                (Kind::Refused, status) if status >= 500 => Kind::ServerInternal,
                (kind, _) => kind,
            };
            error
        }
        Fault::Status { status, after } => {
            let kind = match *status {
                429 => Kind::RateLimited,
                500.. => Kind::ServerInternal,
                _ => Kind::NotAcme,
            };
            let mut error = plain(kind, &format!("it answered {status} without a reason"));
            error.after = *after;
            error
        }
        Fault::Address(why) => plain(Kind::NotAcme, why),
        Fault::Connect(cause) => plain(Kind::Unreachable, &format!("no connection: {cause}")),
        Fault::Tls(cause) => plain(Kind::Untrusted, &format!("TLS: {cause}")),
        Fault::TimedOut => plain(Kind::TimedOut, "no answer in time"),
        Fault::Http(cause) => plain(Kind::Unreachable, &format!("the connection broke: {cause}")),
        Fault::TooLong => plain(Kind::NotAcme, "its answer is too long"),
    }
}

/// The name in an identifier, without regard to wildcards.
pub(super) fn plain_name(identifier: &Identifier) -> String {
    clean(&identifier.authorized(false).to_string())
}

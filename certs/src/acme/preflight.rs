//! Whether an order can succeed, found out before the authority is bothered: its limits on failures are hard.
//!
//! Looks from here, the authority looks from elsewhere: what it sees may differ, so only what is wrong from everywhere
//! is an error, the rest a warning. Start at [`check`].

mod caa;
mod fetch;

use std::net::IpAddr;

use config::name::HostPattern;

use super::error::clean;
use super::order::Method;
use crate::dns::{DnsError, Lookup};

pub use fetch::fetch;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// May be right from where the authority looks; shown, and the order goes on.
    Warning,
    /// The order cannot succeed.
    Error,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The name has no address.
    DoesNotResolve,
    /// Some address of the name is not ours.
    PointsElsewhere,
    /// A CAA record forbids the authority.
    CaaForbids,
    /// CAA records are there, and whether they allow the authority is not known.
    CaaUnknown,
    /// The look-up failed.
    LookupFailed,
    /// Port 80 does not answer, or not with what was published.
    NotReachable,
}

/// One thing that stands against an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name as in the order.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub trouble: Trouble,
    /// What was seen and what to do, for people.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

/// What is known beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Where names are looked up: what the world sees, not an inner view.
    pub lookup: &'a Lookup,
    /// How the names will be proved.
    pub method: Method,
    /// What CAA records call the authority ([`super::Offer::caa_identities`]); empty if it does not say.
    pub caa_identities: &'a [String],
    /// URL of the account, for records that name one (RFC 8657); may be empty.
    pub account_url: &'a str,
    /// The gateways' public addresses; empty if not known, and then nothing is said about where names point.
    pub own_addresses: &'a [IpAddr],
    /// Whether an address that is not ours stops the order. False behind NAT or a load balancer.
    pub must_point_here: bool,
}

/// Looks at each name in turn; at most four findings a name. The look-ups carry their own deadlines.
pub async fn check(names: &[HostPattern], facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pattern in names {
        let (host, wildcard) = match pattern {
            HostPattern::Exact(host) => (host.as_str(), false),
            HostPattern::Wildcard(suffix) => (suffix.as_str(), true),
            HostPattern::CatchAll => continue,
        };
        let name = pattern.to_string();
        if facts.method != Method::Dns01 {
            findings.extend(addresses(&name, host, facts).await);
        }
        findings.extend(caa::check(&name, host, wildcard, facts).await);
    }
    findings
}

async fn addresses(name: &str, host: &str, facts: &Facts<'_>) -> Option<Finding> {
    let found = match facts.lookup.addresses(host).await {
        Ok(found) => found,
        Err(error) => return Some(failed(name, "its addresses", &error)),
    };
    if found.is_empty() {
        let text = "it does not resolve: it has neither an A nor an AAAA record".to_owned();
        return Some(Finding {
            name: name.to_owned(),
            severity: Severity::Error,
            trouble: Trouble::DoesNotResolve,
            text,
        });
    }
    let strange: Vec<String> = found
        .iter()
        .filter(|address| !facts.own_addresses.contains(address))
        .map(ToString::to_string)
        .collect();
    if facts.own_addresses.is_empty() || strange.is_empty() {
        return None;
    }
    // The authority may pick any of the addresses, so one stray AAAA is enough to fail.
    let text = format!("it points elsewhere: {} is not an address of the gateways", strange.join(", "));
    let severity = if facts.must_point_here { Severity::Error } else { Severity::Warning };
    Some(Finding { name: name.to_owned(), severity, trouble: Trouble::PointsElsewhere, text })
}

fn failed(name: &str, what: &str, error: &DnsError) -> Finding {
    Finding {
        name: name.to_owned(),
        severity: Severity::Warning,
        trouble: Trouble::LookupFailed,
        text: clean(&format!("{what} cannot be looked up: {error}")),
    }
}

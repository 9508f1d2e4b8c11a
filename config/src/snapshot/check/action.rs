//! Rules of the actions, and of a route as a whole.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Checked, Faults};
use crate::limits;
use crate::name::HostName;
use crate::snapshot::{Action, Endpoint, Protocol, Redirect, Respond, Route, Upstream};

impl Checked for Route {
    fn look(&self, faults: &mut Faults) {
        faults.part("matchers", self.matchers.as_deref());
        faults.part("filters", self.filters.as_deref());
        faults.part("timeouts", self.timeouts.as_deref());
        faults.part("tls_policy", self.tls_policy.as_deref());
        super::tls::look(self, faults);
        match &self.action {
            Action::Forward(upstream) => faults.inside("upstream", |faults| upstream.look(faults)),
            Action::Service(_) => {}
            Action::Redirect(redirect) => faults.inside("redirect", |faults| redirect.look(faults)),
            Action::Respond(respond) => faults.inside("respond", |faults| respond.look(faults)),
        }
    }
}

impl Route {
    /// Whether an upgrade that the route lets through can reach its upstream: HTTP/2 has none, and one of ours to an
    /// endpoint would be a tunnel inside a shared connection.
    ///
    /// Not a part of [`Route::check`]: a gateway that met such a route from before this rule would refuse the whole
    /// generation for it. Control refuses to store one, and a gateway answers such an upgrade with 501.
    pub fn carries_upgrades(&self) -> bool {
        let Action::Forward(Upstream { policy: Some(policy), .. }) = &self.action else { return true };
        policy.protocol == Protocol::Http1
    }
}

impl Checked for Upstream {
    fn look(&self, faults: &mut Faults) {
        let (count, max) = (self.endpoints.len(), limits::ENDPOINTS_MAX);
        faults.require(
            (1..=max).contains(&count),
            "endpoints",
            format_args!("an upstream has 1 to {max} endpoints, this one {count}"),
        );
        faults.each("endpoints", &self.endpoints, max, |faults, endpoint| endpoint.look(faults));
        faults.part("policy", self.policy.as_deref());
    }
}

impl Checked for Endpoint {
    fn look(&self, faults: &mut Faults) {
        faults.within("weight", self.weight, limits::WEIGHT);
    }
}

impl Checked for Redirect {
    fn look(&self, faults: &mut Faults) {
        let statuses = [301, 302, 303, 307, 308];
        faults.require(statuses.contains(&self.status), "status", "is 301, 302, 303, 307 or 308");
        let max = limits::REDIRECT_BYTES_MAX;
        faults.require(self.to.len() <= max, "to", format_args!("has more than {max} bytes"));
        faults.require(
            self.to.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)),
            "to",
            "has a character that no URL has; write it percent-encoded",
        );
        faults.require(
            is_place(&self.to),
            "to",
            "has to be http:// or https:// with a host, or a path that begins with one /",
        );
        faults.require(
            !self.keeps_rest || !self.to.contains(['?', '#']),
            "to",
            "has a query or fragment, and so nothing can be put behind it",
        );
    }
}

/// An absolute URL of HTTP, or a path on the same host. `//host` is neither: it looks like a path and leads away.
fn is_place(to: &str) -> bool {
    if to.starts_with('/') {
        return !to.starts_with("//");
    }
    let Some((scheme, rest)) = to.split_once("://") else { return false };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    matches!(scheme, "http" | "https") && rest.get(..end).is_some_and(is_authority)
}

/// A host name or address with an optional port, and no user.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.is_ascii() && (host.parse::<Ipv4Addr>().is_ok() || HostName::parse(host).is_ok()),
    };
    is_host && port.is_none_or(is_port)
}

impl Checked for Respond {
    fn look(&self, faults: &mut Faults) {
        faults.within("status", self.status, (200, 599));
        // RFC 9110 § 6.4.1, § 15.3.6.
        let bodiless = matches!(self.status, 204 | 205 | 304);
        faults.require(
            !bodiless || self.content.body.is_empty(),
            "content.body",
            "cannot be sent with this status",
        );
        faults.part("content", Some(&self.content));
    }
}

//! Rules of a route's TLS.

use super::{Checked, Faults};
use crate::limits;
use crate::name::{HostPattern, PathPrefix};
use crate::snapshot::{
    Action, ClientCertificates, Filters, Protocol, Route, Timeouts, TlsMode, TlsPolicy, UpstreamPolicy,
};

impl Checked for TlsPolicy {
    fn look(&self, faults: &mut Faults) {
        faults.part("clients", self.clients.as_ref());
    }
}

impl Checked for ClientCertificates {
    fn look(&self, faults: &mut Faults) {
        faults.require(
            !self.authorities.is_empty(),
            "authorities",
            "names no authority: nobody could come in",
        );
        let max = limits::CLIENT_AUTHORITIES_MAX;
        faults.each_once("authorities", &self.authorities, max, |_, _| {});
        faults.each_once("revoked", &self.revoked, max, |_, _| {});
        let bytes: usize = self.authorities.iter().chain(&self.revoked).map(Vec::len).sum();
        let max = limits::CLIENT_AUTHORITIES_BYTES_MAX;
        faults.require(bytes <= max, "", format_args!("authorities and lists have more than {max} bytes"));
    }
}

/// What only one way of serving the name can honour. A route that is passed through is bytes: nothing that reads or
/// answers a request can be asked of it.
pub(super) fn look(route: &Route, faults: &mut Faults) {
    if route.tls != TlsMode::Passthrough {
        let holds = route.tls.is_terminated() || route.tls_policy.is_none();
        return faults.require(holds, "tls_policy", "is of routes whose TLS ends at the gateway");
    }
    faults.require(
        matches!(route.host, HostPattern::Exact(_)),
        "host",
        "a name that is passed through is exact: neither a wildcard nor the catch-all",
    );
    let unconditional = route.matchers.is_none() && route.path == PathPrefix::root();
    faults.require(unconditional, "tls", "a pass-through sees no path, method or field to match");
    faults.require(route.tls_policy.is_none(), "tls_policy", "a pass-through leaves TLS to the upstream");
    faults.require(route.hsts_seconds.is_none(), "hsts_seconds", "a pass-through adds no field");
    faults.require(
        route.filters.as_deref().is_none_or(only_networks),
        "filters",
        "a pass-through knows the client's address and nothing else of a request",
    );
    match &route.action {
        Action::Forward(upstream) => {
            let policy = upstream.policy.as_deref();
            let reads = |policy: &UpstreamPolicy| {
                policy.tls.is_some() || policy.sticky.is_some() || policy.protocol != Protocol::default()
            };
            faults.require(
                !policy.is_some_and(reads),
                "upstream.policy",
                "a pass-through carries the client's own TLS and reads nothing in it",
            );
        }
        Action::Service(_) | Action::Redirect(_) | Action::Respond(_) => {
            faults.refuse("action", "a pass-through leads to an upstream");
        }
    }
    let waits = Timeouts {
        connect_ms: None,
        tunnel_ms: None,
        ..route.timeouts.as_deref().copied().unwrap_or_default()
    };
    faults.require(
        waits == Timeouts::default(),
        "timeouts",
        "of a pass-through are those of connecting and of the tunnel's silence",
    );
}

fn only_networks(filters: &Filters) -> bool {
    let rest = Filters { allow: Box::default(), deny: Box::default(), ..filters.clone() };
    rest == Filters::default()
}

//! Whether a request is what a route asks for, besides host and path prefix.

use std::net::IpAddr;

use crate::snapshot::{Matchers, Route, Test, ValueMatch};
use crate::table::Facts;

/// The first condition that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmet<'a> {
    Exact,
    Method,
    Header(&'a str),
    Query(&'a str),
    Client,
}

/// Whether all conditions hold; the path prefix is the caller's to compare. Allocates nothing.
pub(super) fn all_hold(route: &Route, facts: &Facts<'_>) -> bool {
    match &route.matchers {
        None => true,
        Some(matchers) => first_unmet(route, matchers, facts).is_none(),
    }
}

/// What stands in the way, cheapest question first.
pub(super) fn unmet<'a>(route: &'a Route, facts: &Facts<'_>) -> Option<Unmet<'a>> {
    route.matchers.as_deref().and_then(|matchers| first_unmet(route, matchers, facts))
}

fn first_unmet<'a>(route: &Route, matchers: &'a Matchers, facts: &Facts<'_>) -> Option<Unmet<'a>> {
    if matchers.path_exact && route.path.as_str() != facts.path {
        return Some(Unmet::Exact);
    }
    if !matchers.methods.is_empty() && !matchers.methods.iter().any(|method| **method == *facts.method) {
        return Some(Unmet::Method);
    }
    let has_field =
        |condition: &ValueMatch| fits(&condition.test, |fit| facts.fields.any(&condition.name, fit));
    if let Some(condition) = matchers.headers.iter().find(|condition| !has_field(condition)) {
        return Some(Unmet::Header(&condition.name));
    }
    let has_parameter = |condition: &ValueMatch| {
        fits(&condition.test, |fit| any_parameter(facts.query, &condition.name, fit))
    };
    if let Some(condition) = matchers.query.iter().find(|condition| !has_parameter(condition)) {
        return Some(Unmet::Query(&condition.name));
    }
    (!is_client(matchers, facts.client)).then_some(Unmet::Client)
}

/// Whether the values that `any` goes through pass the test.
fn fits(test: &Test, any: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> bool {
    match test {
        Test::Absent => !any(&mut |_| true),
        Test::Present => any(&mut |_| true),
        Test::Equals(wanted) => any(&mut |value| value == wanted.as_bytes()),
        Test::Prefix(wanted) => any(&mut |value| value.starts_with(wanted.as_bytes())),
    }
}

/// Whether the value of one of the parameters with this name fits; nothing is decoded, and `a` means `a=`.
fn any_parameter(query: &str, name: &str, fits: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    query.split('&').any(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        key == name && fits(value.as_bytes())
    })
}

fn is_client(matchers: &Matchers, client: IpAddr) -> bool {
    // An IPv4 client of a socket for both families comes in IPv6 form; networks do not (see `Matchers::check`).
    let client = client.to_canonical();
    matchers.clients.is_empty() || matchers.clients.iter().any(|network| network.contains(&client))
}

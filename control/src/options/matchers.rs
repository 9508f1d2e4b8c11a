//! `match`: what a request has to be for a route, besides host and path prefix.

use std::net::IpAddr;

use config::limits::{MATCHERS_MAX, PRIORITY_MAX};
use config::snapshot::{Matchers, Test, ValueMatch};
use ipnet::IpNet;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::Places;
use super::node::Node;

/// Members.
pub const KNOWN: &[&str] = &["priority", "path_exact", "methods", "headers", "query", "clients"];
/// Members of a condition on a named value.
pub const CONDITION: &[&str] = &["name", "equals", "prefix", "present", "absent"];

/// Longest name or value of a condition in bytes: no head that passes the door holds a longer one that matters.
const TEXT_BYTES_MAX: usize = 1024;

/// Where the model's rules speak of other names.
pub const PLACES: Places = &[("value", "")];

/// Reads the group. Conditions are a set: each is kept once.
pub fn read(node: &mut Node<'_>) -> Matchers {
    let most = i64::from(PRIORITY_MAX);
    Matchers {
        priority: node.number("priority", -most, most).unwrap_or_default(),
        path_exact: node.truth("path_exact").unwrap_or_default(),
        methods: set(node.texts("methods", MATCHERS_MAX, method)),
        headers: set(node.objects("headers", MATCHERS_MAX, |item| condition(item, header_name))),
        query: set(node.objects("query", MATCHERS_MAX, |item| condition(item, parameter_name))),
        clients: set(node.texts("clients", MATCHERS_MAX, network)),
    }
}

fn set<T: PartialEq>(items: Vec<T>) -> Box<[T]> {
    let mut once = Vec::with_capacity(items.len());
    for item in items {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once.into()
}

/// Puts the conditions in the one order in which they are kept.
pub fn sort(matchers: &mut Matchers) {
    matchers.methods.sort_unstable();
    matchers.headers.sort_unstable();
    matchers.query.sort_unstable();
    matchers.clients.sort_unstable();
}

fn method(text: &str) -> Result<Box<str>, String> {
    const USUAL: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    if !is_token(text) || text.len() > 64 {
        return Err(format!("{text:?} is no method"));
    }
    match USUAL.iter().find(|usual| usual.eq_ignore_ascii_case(text)) {
        Some(usual) if *usual != text => Err(format!("methods are case-sensitive; write {usual}")),
        _ if text == "CONNECT" => Err("CONNECT is never answered".into()),
        _ => Ok(text.into()),
    }
}

/// Whether a text is a token (RFC 9110 § 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_char)
}

/// A field name in lower case.
pub(super) fn header_name(text: &str) -> Result<Box<str>, String> {
    if is_token(text) && text.len() <= TEXT_BYTES_MAX {
        Ok(text.to_ascii_lowercase().into())
    } else {
        Err(format!("{:?} is no name of a header field", shown(text)))
    }
}

fn parameter_name(text: &str) -> Result<Box<str>, String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"&=#".contains(&byte);
    if !text.is_empty() && text.len() <= TEXT_BYTES_MAX && text.bytes().all(is_plain) {
        Ok(text.into())
    } else {
        Err(format!("{:?} is no name of a parameter, as it stands in a URL", shown(text)))
    }
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

fn condition(node: &mut Node<'_>, parse: fn(&str) -> Result<Box<str>, String>) -> Option<ValueMatch> {
    let name = node.parsed("name", parse);
    if name.is_none() {
        node.missing("name", "it says whose value is meant");
    }
    let said = CONDITION.iter().skip(1).filter(|name| node.has(name)).count();
    let tests = [
        node.parsed("equals", value).map(Test::Equals),
        node.parsed("prefix", value).map(Test::Prefix),
        flag(node, "present", Test::Present),
        flag(node, "absent", Test::Absent),
    ];
    if said != 1 {
        node.invalid_here("invalid", "say one of equals, prefix, present and absent");
    }
    if tests.iter().flatten().any(|test| *test == Test::Prefix("".into())) {
        node.invalid("prefix", "invalid", "every value begins with nothing; say present");
    }
    Some(ValueMatch { name: name?, test: tests.into_iter().flatten().next()? })
}

fn flag(node: &mut Node<'_>, name: &'static str, test: Test) -> Option<Test> {
    let said = node.truth(name)?;
    if !said {
        node.invalid(name, "invalid", "write true, or leave it out");
    }
    Some(test)
}

fn value(text: &str) -> Result<Box<str>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("at most {TEXT_BYTES_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("it has a control character, which no value has".into());
    }
    Ok(text.into())
}

/// A network, or an address as a network of one.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let wrong = || format!("{:?} is no network; write 10.0.0.0/8, 2001:db8::/32 or an address", shown(text));
    let net = text.parse::<IpNet>().map_err(|_| wrong())?;
    if net != net.trunc() {
        return Err(format!("{text} has bits behind its prefix; write {}", net.trunc()));
    }
    if matches!(net.network(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
        return Err(format!("{text} is IPv4 written as IPv6; write it as IPv4"));
    }
    Ok(net)
}

/// A network as it is written: one address without its length.
pub(crate) fn network_text(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// Shows the group; what keeps its default is left out.
pub fn show(matchers: &Matchers) -> Value {
    let mut members = conditions(matchers);
    if matchers.priority != 0 {
        members.insert("priority".into(), json!(matchers.priority));
    }
    Value::Object(members)
}

fn conditions(matchers: &Matchers) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, items: Vec<Value>| {
        if !items.is_empty() {
            members.insert(name.to_owned(), Value::Array(items));
        }
    };
    put("methods", matchers.methods.iter().map(|method| json!(method)).collect());
    put("headers", matchers.headers.iter().map(show_condition).collect());
    put("query", matchers.query.iter().map(show_condition).collect());
    put("clients", matchers.clients.iter().map(|net| json!(network_text(net))).collect());
    if matchers.path_exact {
        members.insert("path_exact".into(), json!(true));
    }
    members
}

fn show_condition(condition: &ValueMatch) -> Value {
    let name = &condition.name;
    match &condition.test {
        Test::Absent => json!({"name": name, "absent": true}),
        Test::Equals(value) => json!({"name": name, "equals": value}),
        Test::Prefix(value) => json!({"name": name, "prefix": value}),
        Test::Present => json!({"name": name, "present": true}),
    }
}

/// What makes a match unique beside host and path; empty for a route without conditions. The priority is no part of it:
/// of two routes that match the same, one would never answer.
pub fn key(matchers: Option<&Matchers>) -> String {
    let members = matchers.map(conditions).unwrap_or_default();
    if members.is_empty() {
        return String::new();
    }
    // A digest, because an index of PostgreSQL holds no more than 2,704 bytes.
    let mut digest = data_encoding::HEXLOWER.encode(&Sha256::digest(Value::Object(members).to_string()));
    digest.truncate(32);
    digest
}

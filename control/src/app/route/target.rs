//! Targets of routes: how they are written, and what they are for this caller.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::id::EndpointId;
use config::limits::WEIGHT;
use config::name::{HostName, Namespace};
use config::target;
use serde_json::Value;

use super::super::input::Said;
use super::super::{App, Caller, Error, Violation};
use crate::auth::rbac::{Action, Denied, Resource};
use crate::options::upstream::scheme::Scheme;
use crate::options::{Flaws, Node};
use crate::store::route::{EndpointRow, EndpointVm, Own};
use crate::store::vm::VmRow;
use crate::store::{self, Conn};

/// A target as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// `control`, `novnc` or `ttyd`.
    Service(&'static str),
    /// `vm:NAME:PORT`, `vm:NAME.NAMESPACE:PORT` or `vm:ID:PORT`.
    Vm {
        /// The name or id.
        name: String,
        /// The port.
        port: u16,
    },
    /// `http://ADDRESS:PORT`.
    Address(SocketAddr),
    /// `http://NAME:PORT`.
    Name {
        /// The name.
        host: HostName,
        /// The port.
        port: u16,
    },
}

/// A target with what was said about its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Where it is.
    pub written: Written,
    /// What is spoken there, where it is said.
    pub scheme: Option<Scheme>,
    /// Its share.
    pub weight: Said<u16>,
    /// Whether it gets no new requests.
    pub draining: Said<bool>,
}

/// Members of a target that is written as an object.
pub const KNOWN: &[&str] = &["url", "weight", "draining"];

/// Reads one target: its URL, or an object with more. `None` when something is wrong with it.
pub fn asked(item: Value, place: &str, flaws: &mut Flaws) -> Option<Asked> {
    if let Value::String(url) = &item {
        let parsed = parse(url).map_err(|(code, message)| flaws.invalid(place, code, message));
        let (scheme, written) = parsed.ok()?;
        return Some(Asked { written, scheme, weight: Said::Nothing, draining: Said::Nothing });
    }
    if !item.is_object() {
        flaws.invalid(place, "type", format!("{place} is a URL, or an object with url, weight and draining"));
        return None;
    }
    let said = |name: &str| match item.get(name) {
        None => Said::Nothing,
        Some(Value::Null) => Said::Null,
        Some(_) => Said::This(()),
    };
    let (weighed, drained) = (said("weight"), said("draining"));
    let mut node = Node::open(item, place, flaws)?;
    let written = match node.text("url").as_deref().map(parse) {
        Some(Ok(written)) => Some(written),
        Some(Err((code, message))) => {
            node.invalid("url", code, message);
            None
        }
        None => {
            node.missing("url", "write http://HOST:PORT or vm:NAME:PORT");
            None
        }
    };
    let (weight, draining) = share(&mut node);
    if matches!(written, Some((_, Written::Service(_)))) && (weight.is_some() || draining.is_some()) {
        node.invalid_here("invalid", "a service has no share; it stands alone as a target");
    }
    node.finish();
    let (scheme, written) = written?;
    Some(Asked { written, scheme, weight: with(weighed, weight), draining: with(drained, draining) })
}

/// Reads the share of an endpoint.
pub fn share(node: &mut Node<'_>) -> (Option<u16>, Option<bool>) {
    let (least, most) = WEIGHT;
    (node.number("weight", i64::from(least), i64::from(most)), node.truth("draining"))
}

fn with<T>(said: Said<()>, value: Option<T>) -> Said<T> {
    match (said, value) {
        (Said::Null, _) => Said::Null,
        (_, Some(value)) => Said::This(value),
        (_, None) => Said::Nothing,
    }
}

const DEFAULT_PORT: u16 = 80;

/// Parses one target.
///
/// Errors: code and message of the violation.
pub fn parse(text: &str) -> Result<(Option<Scheme>, Written), (&'static str, String)> {
    let invalid = |why: &str| Err(("invalid", format!("{text:?} {why}")));
    if let Some(service) = ["control", "novnc", "ttyd"].into_iter().find(|service| *service == text) {
        return Ok((None, Written::Service(service)));
    }
    let (scheme, rest) = match text.split_once("://") {
        None => (None, text),
        Some(("tcp" | "unix", _)) => {
            let message = format!("{text:?}: a target speaks HTTP; tcp and unix are not supported yet");
            return Err(("unsupported", message));
        }
        Some((scheme, rest)) => match Scheme::parse(scheme) {
            Some(scheme) => (Some(scheme), rest),
            None => return invalid("has a scheme that no target has; write http, https, h2c or h2"),
        },
    };
    let port = scheme.map_or(DEFAULT_PORT, Scheme::port);
    place(text, rest, port).map(|written| (scheme, written))
}

/// Host and port of a target.
fn place(text: &str, rest: &str, default: u16) -> Result<Written, (&'static str, String)> {
    let invalid = |why: &str| Err(("invalid", format!("{text:?} {why}")));
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return invalid(
            "has a path or query; a target is a host and a port, the path of the request is kept",
        );
    }
    if rest.contains('@') {
        return invalid("has a user name, which no target may");
    }
    if let Some(rest) = rest.strip_prefix("vm:") {
        let (name, port) = split_port(rest, default).map_err(|why| ("invalid", format!("{text:?} {why}")))?;
        if name.is_empty() {
            return invalid("names no VM; write vm:NAME:PORT");
        }
        return Ok(Written::Vm { name: name.to_owned(), port });
    }
    if let Some(bracketed) = rest.strip_prefix('[') {
        let Some((address, port)) = bracketed.split_once(']') else {
            return invalid("has a bracket that does not close");
        };
        let Ok(address) = address.parse::<Ipv6Addr>() else {
            return invalid("has no IPv6 address in its brackets");
        };
        if !port.is_empty() && !port.starts_with(':') {
            return invalid("has no port from 1 to 65535 behind its bracket");
        }
        let (_, port) =
            split_port(&format!("x{port}"), default).map_err(|why| ("invalid", format!("{text:?} {why}")))?;
        return Ok(Written::Address(SocketAddr::new(IpAddr::V6(address).to_canonical(), port)));
    }
    let (host, port) = split_port(rest, default).map_err(|why| ("invalid", format!("{text:?} {why}")))?;
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !host.is_empty() {
        // Strict: no leading zeros, which some programs read as octal, and four parts.
        let Ok(address) = host.parse::<Ipv4Addr>() else { return invalid("is no IPv4 address") };
        return Ok(Written::Address(SocketAddr::new(address.into(), port)));
    }
    match HostName::parse(host) {
        Ok(host) => Ok(Written::Name { host, port }),
        Err(why) => Err(("invalid", why.to_string())),
    }
}

fn split_port(text: &str, default: u16) -> Result<(&str, u16), &'static str> {
    let Some((host, port)) = text.split_once(':') else { return Ok((text, default)) };
    if port.contains(':') {
        return Err("has too many colons; write an IPv6 address in brackets: http://[2001:db8::1]:80");
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok((host, port)),
        _ => Err("has no port from 1 to 65535 behind its colon"),
    }
}

/// The scheme that all targets of a route share; `None` when none is said.
pub fn scheme(asked: &[Option<Asked>], violations: &mut Vec<Violation>) -> Option<Scheme> {
    let mut schemes = asked.iter().flatten().filter_map(|asked| asked.scheme);
    let first = schemes.next();
    if schemes.any(|other| Some(other) != first) {
        let message = "the targets of a route share one scheme";
        violations.push(Violation::new("targets", "invalid", message));
    }
    first
}

/// What a list of targets is.
#[derive(Debug)]
pub enum Resolved {
    /// One of our own services.
    Service(Own),
    /// Endpoints, in the order they were written.
    Endpoints(Vec<EndpointRow>),
}

/// What a target is resolved with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Our own listeners.
    pub app: &'a App,
    /// Whose rights count.
    pub caller: &'a Caller,
    /// Endpoints that the route has already: one that stays keeps its id, so its connections live on.
    pub old: &'a [EndpointRow],
}

/// Why a target is not taken: a rule, or a right.
#[derive(Debug)]
pub enum Refused {
    /// Against the rules.
    Rule(&'static str, String),
    /// Not this caller's.
    Denied(Denied),
    /// The store failed.
    Store(Error),
}

impl From<store::Error> for Refused {
    fn from(error: store::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Says what the written targets are. Rules that are broken are added to `violations`, each under its place.
///
/// Errors: a right is missing, or the store fails.
pub async fn resolve(
    conn: &mut Conn,
    context: Context<'_>,
    asked: &[Option<Asked>],
    violations: &mut Vec<Violation>,
) -> Result<Option<Resolved>, Error> {
    if let [Some(Asked { written: Written::Service(service), .. })] = asked {
        context.caller.allow(Action::Create, Resource::ServiceTarget)?;
        let control = || Own::Control(EndpointId::from_uuid(uuid::Uuid::now_v7()));
        let own = match *service {
            "novnc" => Own::Novnc,
            "ttyd" => Own::Ttyd,
            _ => control(),
        };
        return Ok(Some(Resolved::Service(own)));
    }
    let mut endpoints: Vec<EndpointRow> = Vec::with_capacity(asked.len());
    for (place, target) in asked.iter().enumerate() {
        // What could not be parsed is a violation already; it keeps its place.
        let Some(target) = target else { continue };
        match endpoint(conn, context, target).await {
            Ok(endpoint) if endpoints.iter().any(|other| same(other, &endpoint)) => {
                violations.push(Violation::new(
                    format!("targets[{place}]"),
                    "repeated",
                    "the target is given twice",
                ));
            }
            Ok(endpoint) => endpoints.push(endpoint),
            Err(Refused::Rule(code, message)) => {
                violations.push(Violation::new(format!("targets[{place}]"), code, message));
            }
            Err(Refused::Denied(denied)) => return Err(denied.into()),
            Err(Refused::Store(error)) => return Err(error),
        }
    }
    Ok(Some(Resolved::Endpoints(endpoints)))
}

fn same(one: &EndpointRow, other: &EndpointRow) -> bool {
    let key = |endpoint: &EndpointRow| endpoint.vm.as_ref().map(|vm| (vm.id, vm.address));
    one.host == other.host
        && one.port == other.port
        && key(one) == key(other)
        && one.loopback_ok == other.loopback_ok
}

async fn endpoint(conn: &mut Conn, context: Context<'_>, asked: &Asked) -> Result<EndpointRow, Refused> {
    let mut endpoint = match &asked.written {
        Written::Service(service) => {
            return Err(Refused::Rule(
                "invalid",
                format!("{service} is a service; it stands alone as a target"),
            ));
        }
        Written::Vm { name, port } => of_vm(context, &vm_by_name(conn, context.caller, name).await?, *port)?,
        Written::Address(address) => match vm_by_address(conn, context.caller, address.ip()).await? {
            // Root's loopback addresses are many programs of one machine, whatever VM is said to be there.
            Some(vm) if !(address.ip().is_loopback() && context.caller.actor.is_root()) => {
                of_vm(context, &vm, address.port())?
            }
            _ => literal(context, *address)?,
        },
        Written::Name { host, port } => {
            context.caller.allow(Action::Create, Resource::LiteralTarget).map_err(Refused::Denied)?;
            // A name that leads to loopback one day is refused by the gateway then; this one says what it is.
            fresh(host.to_string(), *port, None, host.as_str() == "localhost")
        }
    };
    if let Some(old) = context.old.iter().find(|old| same(old, &endpoint)) {
        // What is not said of a target that stays is kept.
        (endpoint.id, endpoint.weight, endpoint.draining) = (old.id, old.weight, old.draining);
    }
    endpoint.weight = asked.weight.clone().merged(endpoint.weight, 1);
    endpoint.draining = asked.draining.clone().merged(endpoint.draining, false);
    Ok(endpoint)
}

fn fresh(host: String, port: u16, vm: Option<EndpointVm>, loopback_ok: bool) -> EndpointRow {
    let id = EndpointId::from_uuid(uuid::Uuid::now_v7());
    EndpointRow { id, host, port, vm, loopback_ok, weight: 1, draining: false }
}

fn literal(context: Context<'_>, address: SocketAddr) -> Result<EndpointRow, Refused> {
    let is_root = context.caller.allow(Action::Create, Resource::LiteralTarget);
    check(context.app, address, is_root.is_ok())?;
    is_root.map_err(Refused::Denied)?;
    Ok(fresh(address.ip().to_string(), address.port(), None, address.ip().is_loopback()))
}

fn of_vm(context: Context<'_>, vm: &VmRow, port: u16) -> Result<EndpointRow, Refused> {
    check(context.app, SocketAddr::new(vm.address, port), vm.loopback_ok)?;
    let vm = EndpointVm {
        id: vm.id,
        name: vm.name.to_string(),
        namespace: vm.namespace.to_string(),
        address: vm.address,
        loopback_ok: vm.loopback_ok,
    };
    Ok(fresh(String::new(), port, Some(vm), false))
}

fn check(app: &App, address: SocketAddr, loopback_ok: bool) -> Result<(), Refused> {
    target::check(address, loopback_ok, &app.own_listeners())
        .map_err(|why| Refused::Rule("forbidden", format!("{address}: {why}")))
}

/// The VM of that name, `NAME.NAMESPACE` or id that the caller may use.
pub(in crate::app) async fn vm_by_name(
    conn: &mut Conn,
    caller: &Caller,
    name: &str,
) -> Result<VmRow, Refused> {
    let found = match (name.parse(), name.split_once('.')) {
        (Ok(id), _) => store::vm::by_id(conn, id).await?.into_iter().collect(),
        (Err(_), Some((name, namespace))) => {
            let mut found = store::vm::by_name(conn, name).await?;
            found.retain(|vm| vm.namespace.as_str() == namespace);
            found
        }
        (Err(_), None) => store::vm::by_name(conn, name).await?,
    };
    one(caller, found, name, |vm| format!("vm:{}.{}", vm.name, vm.namespace))?
        .ok_or_else(|| Refused::Rule("unknown", format!("no VM of yours is called {name:?}")))
}

/// The VM with this address that the caller may use.
pub(in crate::app) async fn vm_by_address(
    conn: &mut Conn,
    caller: &Caller,
    address: IpAddr,
) -> Result<Option<VmRow>, Refused> {
    let found = store::vm::by_address(conn, address).await?;
    one(caller, found, &address.to_string(), |vm| {
        format!("vm:{}.{} (network {})", vm.name, vm.namespace, vm.network)
    })
}

/// The one VM that the caller may use among these; what they may not use does not exist for them.
fn one(
    caller: &Caller,
    mut found: Vec<VmRow>,
    what: &str,
    name: impl Fn(&VmRow) -> String,
) -> Result<Option<VmRow>, Refused> {
    let may = |namespace: &Namespace| caller.allow(Action::Use, Resource::Vm(namespace)).is_ok();
    found.retain(|vm| may(&vm.namespace));
    if found.len() > 1 {
        let names: Vec<_> = found.iter().take(8).map(name).collect();
        return Err(Refused::Rule("ambiguous", format!("{what} is several VMs: say {}", names.join(" or "))));
    }
    Ok(found.pop())
}

/// How an endpoint is written.
pub fn text(endpoint: &EndpointRow, scheme: Scheme) -> String {
    let scheme = scheme.as_str();
    match &endpoint.vm {
        Some(vm) => format!("{scheme}://vm:{}.{}:{}", vm.name, vm.namespace, endpoint.port),
        None if endpoint.host.contains(':') => format!("{scheme}://[{}]:{}", endpoint.host, endpoint.port),
        None => format!("{scheme}://{}:{}", endpoint.host, endpoint.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_people_write_them() {
        for (text, shown) in [
            ("http://10.0.0.5:8080", "Address(10.0.0.5:8080)"),
            ("10.0.0.5", "Address(10.0.0.5:80)"),
            ("http://[2001:db8::1]/", "Address([2001:db8::1]:80)"),
            ("http://[::ffff:10.0.0.5]:81", "Address(10.0.0.5:81)"),
            ("http://App.Internal:81", "Name { host: \"app.internal\", port: 81 }"),
            ("vm:web01:8080", "Vm { name: \"web01\", port: 8080 }"),
            ("http://vm:web01.ns1", "Vm { name: \"web01.ns1\", port: 80 }"),
            ("https://10.0.0.5", "Address(10.0.0.5:443)"),
            ("grpcs://a.internal", "Name { host: \"a.internal\", port: 443 }"),
            ("h2c://10.0.0.5", "Address(10.0.0.5:80)"),
            ("control", "Service(\"control\")"),
        ] {
            assert_eq!(format!("{:?}", parse(text).unwrap().1), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_named() {
        for (text, code, part) in [
            ("tcp://10.0.0.5", "unsupported", "speaks HTTP"),
            ("ftp://10.0.0.5", "invalid", "scheme"),
            ("http://10.0.0.5/admin", "invalid", "path"),
            ("http://me@10.0.0.5", "invalid", "user name"),
            ("010.0.0.5", "invalid", "IPv4"),
            ("10.0.5", "invalid", "IPv4"),
            ("10.0.0.5:0", "invalid", "port"),
            ("10.0.0.5:65536", "invalid", "port"),
            ("10.0.0.5:", "invalid", "port"),
            ("10.0.0.5:+80", "invalid", "port"),
            ("2001:db8::1", "invalid", "brackets"),
            ("http://[fe80::1%eth0]:80", "invalid", "IPv6"),
            ("http://[::1]80", "invalid", "port"),
            ("vm::80", "invalid", "no VM"),
            ("", "invalid", ""),
            ("a b", "invalid", "a b"),
        ] {
            let (found, message) = parse(text).unwrap_err();
            assert_eq!(found, code, "{text}: {message}");
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

//! What a request says about a forward, checked as far as the request alone can be.

use std::net::IpAddr;

use config::limits::{FORWARD_SOURCES_MAX, TUNNEL_IDLE_MS_MAX};
use config::snapshot::{FlowPolicy, Ports, ProxyProtocol, Transport};
use ipnet::IpNet;
use serde_json::Value;

use super::super::input::{Input, Said};
use super::ports;
use crate::options::matchers::network;
use crate::options::units;
use crate::store::text;

/// Members that may be set.
pub const KNOWN: &[&str] = &[
    "protocol",
    "bind",
    "host_port",
    "host_ports",
    "vm",
    "vm_ip",
    "vm_port",
    "vm_ports",
    "sources",
    "proxy_protocol",
    "max_conns",
    "rate",
    "idle_timeout",
    "on_change",
    "on_delete",
    "enabled",
    "note",
    "namespace",
];

/// Members that are shown only.
const SHOWN: &[&str] =
    &["id", "vm_id", "owner", "gateways", "warnings", "revision", "created_at", "updated_at"];

/// Members that have another name here.
const MOVED: &[(&str, &str)] =
    &[("bind_addr", "bind"), ("source_acl", "sources"), ("target", "vm or vm_ip, and vm_port")];

/// What was said, in types that cannot be wrong.
#[derive(Debug)]
pub struct Draft {
    /// What is carried.
    pub transport: Said<Transport>,
    /// Where it listens; null is everywhere.
    pub bind: Said<Option<IpAddr>>,
    /// The ports of the gate; null is as good as `auto`.
    pub host_ports: Said<Chosen>,
    /// The VM by name or id.
    pub vm: Said<String>,
    /// The VM, or root's target, by address.
    pub vm_ip: Said<IpAddr>,
    /// The ports of the machine: one is the first of as many as the gate's.
    pub target_ports: Said<Ports>,
    /// Who may connect.
    pub sources: Said<Vec<IpNet>>,
    /// A header before the first byte.
    pub proxy_protocol: Said<Option<ProxyProtocol>>,
    /// Connections at once.
    pub flows_max: Said<Option<u32>>,
    /// New ones a second.
    pub flows_per_second: Said<Option<u32>>,
    /// Longest silence.
    pub idle_ms: Said<Option<u32>>,
    /// Open flows at a change.
    pub on_change: Said<FlowPolicy>,
    /// Open flows at the deletion.
    pub on_delete: Said<FlowPolicy>,
    /// Whether it is published.
    pub enabled: Said<bool>,
    /// Free text.
    pub note: Said<String>,
}

/// Ports of the gate as they were said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// The lowest that are free.
    Auto,
    /// These.
    These(Ports),
}

/// Which ports a row is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those it has.
    Kept,
    /// The lowest so many in a row that are free.
    Auto {
        /// How many.
        count: usize,
    },
    /// These.
    These(Ports),
}

impl Draft {
    /// Whether it says where to lead.
    pub const fn names_a_target(&self) -> bool {
        matches!(self.vm, Said::This(_)) || matches!(self.vm_ip, Said::This(_))
    }
}

/// Reads a draft; what is wrong is noted in `input`.
pub fn read(input: &mut Input) -> Draft {
    input.moved(MOVED);
    input.read_only(SHOWN);
    Draft {
        transport: input.parsed("protocol", "unsupported", text::transport),
        bind: bind(input),
        host_ports: host_ports(input),
        vm: input.text("vm"),
        // Strict: no leading zeros, no zone, no shortened forms.
        vm_ip: input.parsed("vm_ip", "invalid", address),
        target_ports: target_ports(input),
        sources: sources(input),
        proxy_protocol: input.parsed("proxy_protocol", "invalid", |text| match text {
            "off" => Ok(None),
            other => text::proxy_protocol(other).map(Some),
        }),
        flows_max: bound(input, "max_conns"),
        flows_per_second: bound(input, "rate"),
        idle_ms: idle(input),
        on_change: policy(input, "on_change"),
        on_delete: policy(input, "on_delete"),
        enabled: input.truth("enabled"),
        note: input.note("note"),
    }
}

/// An address, IPv4 written as IPv6 as what it is.
pub fn address(text: &str) -> Result<IpAddr, String> {
    let shown = || text.chars().take(80).collect::<String>();
    let parsed = text.parse::<IpAddr>().map(|address| address.to_canonical());
    parsed.map_err(|_| format!("{:?} is no IP address", shown()))
}

fn bind(input: &mut Input) -> Said<Option<IpAddr>> {
    input.parsed("bind", "invalid", |text| {
        if matches!(text, "" | "*" | "any") {
            return Ok(None);
        }
        let ip = address(text)?;
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        if ip.is_multicast() || is_link_local {
            return Err(format!("nothing can be forwarded from {ip}; name an address of the gateways"));
        }
        Ok(Some(ip))
    })
}

/// One member with two names: the plural one is how a row of ports is shown.
fn either<T>(input: &mut Input, one: &str, many: &str, read: impl Fn(&Value) -> Read<T>) -> Said<T>
where
    T: Copy + PartialEq,
{
    let mut said = [Said::Nothing, Said::Nothing];
    for (place, name) in said.iter_mut().zip([one, many]) {
        *place = match input.value(name) {
            Said::Nothing => Said::Nothing,
            Said::Null => Said::Null,
            Said::This(value) => match read(&value) {
                Ok(value) => Said::This(value),
                Err((code, message)) => {
                    input.invalid(name, code, format!("{name}: {message}"));
                    Said::Nothing
                }
            },
        };
    }
    let [first, second] = said;
    match (first, second) {
        (Said::This(one_said), Said::This(many_said)) if one_said != many_said => {
            input.invalid(one, "invalid", format!("give either {one} or {many}"));
            Said::Nothing
        }
        (Said::This(said), _) | (Said::Nothing | Said::Null, Said::This(said)) => Said::This(said),
        (Said::Null, _) | (_, Said::Null) => Said::Null,
        (Said::Nothing, Said::Nothing) => Said::Nothing,
    }
}

type Read<T> = Result<T, (&'static str, String)>;

fn host_ports(input: &mut Input) -> Said<Chosen> {
    either(input, "host_port", "host_ports", |value| match value.as_str() {
        Some(text) if text.eq_ignore_ascii_case("auto") => Ok(Chosen::Auto),
        _ => ports::of_json(value).map(Chosen::These),
    })
}

fn target_ports(input: &mut Input) -> Said<Ports> {
    either(input, "vm_port", "vm_ports", ports::of_json)
}

fn sources(input: &mut Input) -> Said<Vec<IpNet>> {
    let texts = match input.texts("sources") {
        Said::Nothing => return Said::Nothing,
        Said::Null => return Said::Null,
        Said::This(texts) => texts,
    };
    if texts.len() > FORWARD_SOURCES_MAX {
        let message = format!("sources: at most {FORWARD_SOURCES_MAX} networks");
        input.invalid("sources", "range", message);
        return Said::Nothing;
    }
    let mut nets = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        match network(text) {
            Ok(net) if nets.contains(&net) => {
                input.invalid(format!("sources[{place}]"), "repeated", format!("{text} is given twice"));
            }
            Ok(net) => nets.push(net),
            Err(why) => input.invalid(format!("sources[{place}]"), "invalid", why),
        }
    }
    Said::This(nets)
}

/// A bound that 0 would make a locked door of.
fn bound(input: &mut Input, name: &str) -> Said<Option<u32>> {
    match input.number(name, 1, u64::from(u32::MAX)) {
        Said::This(number) => Said::This(u32::try_from(number).ok()),
        Said::Null => Said::Null,
        Said::Nothing => Said::Nothing,
    }
}

fn idle(input: &mut Input) -> Said<Option<u32>> {
    let name = "idle_timeout";
    let text = match input.text(name) {
        Said::Nothing => return Said::Nothing,
        Said::Null => return Said::Null,
        Said::This(text) => text,
    };
    match units::time(&text) {
        Err(why) => {
            input.unparsable(name, why);
            Said::Nothing
        }
        Ok(ms) if (1_000..=u64::from(TUNNEL_IDLE_MS_MAX)).contains(&ms) => Said::This(u32::try_from(ms).ok()),
        Ok(_) => {
            let most = units::time_text(u64::from(TUNNEL_IDLE_MS_MAX));
            input.invalid(name, "range", format!("{name}: from 1s to {most}"));
            Said::Nothing
        }
    }
}

/// The text of the duration inside cannot be parsed: 400, as everywhere.
pub(in crate::app) fn policy(input: &mut Input, name: &'static str) -> Said<FlowPolicy> {
    match input.text(name) {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::This(written) => match text::policy(&written) {
            Ok(policy) => Said::This(policy),
            Err(why) => {
                input.unparsable(name, why);
                Said::Nothing
            }
        },
    }
}

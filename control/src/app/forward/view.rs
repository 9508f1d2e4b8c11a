//! How a forward is shown.

use serde::Serialize;
use utoipa::ToSchema;

use super::super::page::time;
use super::ports;
use super::state::GatewayState;
use crate::options::matchers::network_text;
use crate::options::units::time_text;
use crate::store::forward::ForwardRow;
use crate::store::text;

/// A port forward.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ForwardView {
    /// Its id.
    pub id: String,
    /// The tenant that owns it.
    pub namespace: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The address that it listens on; null is every address of both families.
    pub bind: Option<String>,
    /// The port of the gate, the first of a row.
    pub host_port: u16,
    /// A row of ports as `10000-10010`; null for a single one.
    pub host_ports: Option<String>,
    /// The VM that it leads to, as `NAME.NAMESPACE`.
    pub vm: Option<String>,
    /// Its id.
    pub vm_id: Option<String>,
    /// The address that it leads to.
    pub vm_ip: String,
    /// The port there, the first of a row.
    pub vm_port: u16,
    /// The row of ports there; null for a single one.
    pub vm_ports: Option<String>,
    /// Networks that may connect; none is everybody.
    pub sources: Vec<String>,
    /// `off`, `v1` or `v2`.
    pub proxy_protocol: String,
    /// Connections, or UDP sessions, at once in one gateway.
    pub max_conns: Option<u32>,
    /// New ones a second in one gateway.
    pub rate: Option<u32>,
    /// Longest silence; null is the default of the protocol.
    pub idle_timeout: Option<String>,
    /// What a change does to open flows: `keep`, `cut` or `drain 30s`.
    pub on_change: String,
    /// What the deletion does to them.
    pub on_delete: String,
    /// Whether it is published.
    pub enabled: bool,
    /// Free text.
    pub note: String,
    /// What somebody should look at.
    pub warnings: Vec<String>,
    /// What each gateway says of it; only where one forward is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateways: Option<Vec<GatewayState>>,
    /// Who made it.
    pub owner: Option<String>,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// Shows a forward.
pub fn of(row: &ForwardRow) -> ForwardView {
    let several = |which| (row.ports.len() > 1).then(|| ports::text(which));
    let vm = row.leads.vm();
    ForwardView {
        id: row.id.to_string(),
        namespace: row.namespace.to_string(),
        protocol: text::transport_text(row.transport).to_owned(),
        bind: row.bind.map(|ip| ip.to_string()),
        host_port: row.ports.first,
        host_ports: several(row.ports),
        vm: vm.map(|vm| format!("{}.{}", vm.name, vm.namespace)),
        vm_id: vm.map(|vm| vm.id.to_string()),
        vm_ip: row.leads.ip().to_string(),
        vm_port: row.target_port,
        vm_ports: several(row.target_ports()),
        sources: row.sources.iter().map(network_text).collect(),
        proxy_protocol: row.proxy_protocol.map_or("off", text::proxy_protocol_text).to_owned(),
        max_conns: row.flows_max,
        rate: row.flows_per_second,
        idle_timeout: row.idle_ms.map(|ms| time_text(u64::from(ms))),
        on_change: text::policy_text(row.on_change),
        on_delete: text::policy_text(row.on_delete),
        enabled: row.enabled,
        note: row.note.clone(),
        warnings: warnings(row),
        gateways: None,
        owner: row.owner.clone(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
        updated_at: time(row.stamp.updated_at),
    }
}

/// A service that people forward often (C-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// How it is called.
    pub name: &'static str,
    /// Its port on the machine, tcp.
    pub port: u16,
    /// Whether it is a database, which nobody should open to everybody.
    pub is_database: bool,
}

/// All of them.
pub const PRESETS: &[Preset] = &[
    Preset { name: "ssh", port: 22, is_database: false },
    Preset { name: "http", port: 80, is_database: false },
    Preset { name: "https", port: 443, is_database: false },
    Preset { name: "rdp", port: 3389, is_database: false },
    Preset { name: "mysql", port: 3306, is_database: true },
    Preset { name: "postgres", port: 5432, is_database: true },
    Preset { name: "redis", port: 6379, is_database: true },
    Preset { name: "mongodb", port: 27017, is_database: true },
];

/// What somebody should look at.
fn warnings(row: &ForwardRow) -> Vec<String> {
    let is_open = row.sources.is_empty() || row.sources.iter().any(|net| net.prefix_len() == 0);
    let databases =
        PRESETS.iter().filter(|preset| preset.is_database && row.target_ports().contains(preset.port));
    let said = databases.map(|preset| {
        format!(
            "{} is {}'s port and everybody may connect; name the networks that may as sources",
            preset.port, preset.name
        )
    });
    if is_open { said.collect() } else { Vec::new() }
}

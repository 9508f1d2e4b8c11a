//! Port forwards.

use std::net::IpAddr;

use config::id::{EndpointId, ForwardId, VmId};
use config::limits::FORWARD_PORTS_MAX;
use config::name::Namespace;
use config::snapshot::{FlowPolicy, Ports, ProxyProtocol, Transport};
use ipnet::IpNet;

use super::conn::{Conn, Row, args};
use super::route::EndpointVm;
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRow {
    /// Its id.
    pub id: ForwardId,
    /// Whose it is.
    pub namespace: Namespace,
    /// What is carried.
    pub transport: Transport,
    /// Where it listens; `None` is every address.
    pub bind: Option<IpAddr>,
    /// The ports of the gate.
    pub ports: Ports,
    /// Key of its target's health; new when the target changes.
    pub endpoint: EndpointId,
    /// Where it leads.
    pub leads: Leads,
    /// The first port there.
    pub target_port: u16,
    /// Who may connect; nobody named is everybody.
    pub sources: Vec<IpNet>,
    /// A header before the first byte.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Connections or sessions at once.
    pub flows_max: Option<u32>,
    /// New ones a second.
    pub flows_per_second: Option<u32>,
    /// Longest silence in milliseconds.
    pub idle_ms: Option<u32>,
    /// What a change does to open flows.
    pub on_change: FlowPolicy,
    /// What the deletion does to them.
    pub on_delete: FlowPolicy,
    /// Whether it is published.
    pub enabled: bool,
    /// Free text.
    pub note: String,
    /// Who made it.
    pub owner: Option<String>,
    /// Revision and times.
    pub stamp: Stamp,
}

/// Where a forward leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// To a VM, wherever it is.
    Vm(EndpointVm),
    /// To an address that root wrote.
    Address {
        /// The address.
        ip: IpAddr,
        /// Whether it may be a loopback address.
        loopback_ok: bool,
    },
}

impl Leads {
    /// The address, as it is now.
    pub const fn ip(&self) -> IpAddr {
        match self {
            Self::Vm(vm) => vm.address,
            Self::Address { ip, .. } => *ip,
        }
    }

    /// Whether root set a loopback address.
    pub const fn loopback_ok(&self) -> bool {
        match self {
            Self::Vm(vm) => vm.loopback_ok,
            Self::Address { loopback_ok, .. } => *loopback_ok,
        }
    }

    /// The VM, if it is one.
    pub const fn vm(&self) -> Option<&EndpointVm> {
        match self {
            Self::Vm(vm) => Some(vm),
            Self::Address { .. } => None,
        }
    }
}

impl ForwardRow {
    /// The ports of the machine, as many as the gate's; past 65535 they end there, which no row that was checked does.
    pub const fn target_ports(&self) -> Ports {
        let rest = self.ports.last.saturating_sub(self.ports.first);
        Ports { first: self.target_port, last: self.target_port.saturating_add(rest) }
    }
}

/// Filters of a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By namespace.
    pub namespace: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: Option<String>,
    /// A port that is among its own.
    pub host_port: Option<i64>,
    /// By the id of its VM.
    pub vm_id: Option<String>,
    /// By the name of its VM.
    pub vm_name: Option<String>,
    /// By whether it is published.
    pub enabled: Option<bool>,
    /// By exact note.
    pub note: Option<String>,
    /// By owner.
    pub owner: Option<String>,
}

const TABLE: &str = "forwards";

macro_rules! columns {
    () => {
        "SELECT * FROM (SELECT f.id AS id, f.namespace AS namespace, f.protocol AS protocol, f.bind AS bind, \
         f.port_first AS port_first, f.port_last AS port_last, f.endpoint_id AS endpoint_id, f.vm_id AS vm_id, \
         f.address AS address, f.loopback_ok AS loopback_ok, f.target_port AS target_port, f.sources AS sources, \
         f.proxy_protocol AS proxy_protocol, f.flows_max AS flows_max, f.flows_per_second AS flows_per_second, \
         f.idle_ms AS idle_ms, f.on_change AS on_change, f.on_delete AS on_delete, f.enabled AS enabled, \
         f.note AS note, f.owner AS owner, f.revision AS revision, f.created_at AS created_at, \
         f.updated_at AS updated_at, v.name AS vm_name, v.namespace AS vm_namespace, v.address AS vm_address, \
         v.loopback_ok AS vm_loopback_ok FROM forwards f LEFT JOIN vms v ON v.id = f.vm_id \
         WHERE f.deleted_at IS NULL) AS live WHERE port_first >= 0"
    };
}

fn read(row: &Row) -> Result<ForwardRow, Error> {
    let small = |column: &'static str| match row.int_or(column)? {
        Some(_) => text::narrow(row, TABLE, column).map(Some),
        None => Ok(None),
    };
    Ok(ForwardRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        namespace: text::parsed(row, TABLE, "namespace", Namespace::parse)?,
        transport: text::parsed(row, TABLE, "protocol", text::transport)?,
        bind: match row.text("bind")?.as_str() {
            "" => None,
            _ => Some(text::parsed(row, TABLE, "bind", str::parse)?),
        },
        ports: ports(row)?,
        endpoint: text::parsed(row, TABLE, "endpoint_id", str::parse)?,
        leads: leads(row)?,
        target_port: text::narrow(row, TABLE, "target_port")?,
        sources: text::parsed(row, TABLE, "sources", |text| {
            text.split_whitespace().map(str::parse::<IpNet>).collect::<Result<Vec<_>, _>>()
        })?,
        proxy_protocol: match row.text_or("proxy_protocol")? {
            None => None,
            Some(_) => Some(text::parsed(row, TABLE, "proxy_protocol", text::proxy_protocol)?),
        },
        flows_max: small("flows_max")?,
        flows_per_second: small("flows_per_second")?,
        idle_ms: small("idle_ms")?,
        on_change: text::parsed(row, TABLE, "on_change", text::policy)?,
        on_delete: text::parsed(row, TABLE, "on_delete", text::policy)?,
        enabled: row.bool("enabled")?,
        note: row.text("note")?,
        owner: row.text_or("owner")?,
        stamp: Stamp::of(row)?,
    })
}

fn ports(row: &Row) -> Result<Ports, Error> {
    Ok(Ports { first: text::narrow(row, TABLE, "port_first")?, last: text::narrow(row, TABLE, "port_last")? })
}

fn leads(row: &Row) -> Result<Leads, Error> {
    if row.text_or("vm_id")?.is_none() {
        let ip = text::parsed(row, TABLE, "address", str::parse)?;
        return Ok(Leads::Address { ip, loopback_ok: row.bool("loopback_ok")? });
    }
    Ok(Leads::Vm(EndpointVm {
        id: text::parsed(row, TABLE, "vm_id", str::parse)?,
        name: row.text("vm_name")?,
        namespace: row.text("vm_namespace")?,
        address: text::parsed(row, TABLE, "vm_address", str::parse)?,
        loopback_ok: row.bool("vm_loopback_ok")?,
    }))
}

/// What [`insert`] and [`update`] write alike, from `$2` on.
fn values(forward: &ForwardRow) -> [super::Arg; 20] {
    let (vm, address, loopback_ok) = match &forward.leads {
        Leads::Vm(vm) => (Some(vm.id.to_string()), None, false),
        Leads::Address { ip, loopback_ok } => (None, Some(ip.to_string()), *loopback_ok),
    };
    let sources: Vec<_> = forward.sources.iter().map(ToString::to_string).collect();
    args![
        text::transport_text(forward.transport),
        bind_text(forward.bind),
        i64::from(forward.ports.first),
        i64::from(forward.ports.last),
        forward.endpoint.to_string(),
        vm,
        address,
        loopback_ok,
        i64::from(forward.target_port),
        sources.join(" "),
        forward.proxy_protocol.map(text::proxy_protocol_text),
        forward.flows_max.map(i64::from),
        forward.flows_per_second.map(i64::from),
        forward.idle_ms.map(i64::from),
        text::policy_text(forward.on_change),
        text::policy_text(forward.on_delete),
        forward.enabled,
        &forward.note,
        forward.stamp.revision,
        forward.stamp.updated_at,
    ]
}

fn bind_text(bind: Option<IpAddr>) -> String {
    bind.map_or_else(String::new, |ip| ip.to_string())
}

/// Adds one.
pub async fn insert(conn: &mut Conn, forward: &ForwardRow) -> Result<(), Error> {
    let sql = "INSERT INTO forwards (id, protocol, bind, port_first, port_last, endpoint_id, vm_id, address, loopback_ok, \
               target_port, sources, proxy_protocol, flows_max, flows_per_second, idle_ms, on_change, on_delete, \
               enabled, note, revision, updated_at, namespace, owner, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, \
               $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)";
    let mut all = Vec::from(args![forward.id.to_string()]);
    all.extend(values(forward));
    all.extend(args![forward.namespace.as_str(), forward.owner.clone(), forward.stamp.created_at]);
    conn.run(sql, &all).await.map(drop)
}

/// Writes all that may change.
pub async fn update(conn: &mut Conn, forward: &ForwardRow) -> Result<(), Error> {
    let sql = "UPDATE forwards SET protocol = $2, bind = $3, port_first = $4, port_last = $5, endpoint_id = $6, \
               vm_id = $7, address = $8, loopback_ok = $9, target_port = $10, sources = $11, proxy_protocol = $12, \
               flows_max = $13, flows_per_second = $14, idle_ms = $15, on_change = $16, on_delete = $17, \
               enabled = $18, note = $19, revision = $20, updated_at = $21 WHERE id = $1 AND deleted_at IS NULL";
    let mut all = Vec::from(args![forward.id.to_string()]);
    all.extend(values(forward));
    conn.run(sql, &all).await.map(drop)
}

/// Takes one away.
pub async fn delete(conn: &mut Conn, id: ForwardId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE forwards SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: ForwardId) -> Result<Option<ForwardRow>, Error> {
    let row = conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()]).await?;
    row.map(|row| read(&row)).transpose()
}

/// The tenant that a forward was of before it was deleted.
pub async fn deleted(conn: &mut Conn, id: ForwardId) -> Result<Option<Namespace>, Error> {
    let sql = "SELECT id, namespace FROM forwards WHERE id = $1 AND deleted_at IS NOT NULL";
    let row = conn.row(sql, &args![id.to_string()]).await?;
    row.map(|row| text::parsed(&row, TABLE, "namespace", Namespace::parse)).transpose()
}

/// The forwards that lead to a VM.
pub async fn by_vm(conn: &mut Conn, vm: VmId) -> Result<Vec<ForwardRow>, Error> {
    let sql = concat!(columns!(), " AND vm_id = $1 ORDER BY id");
    conn.rows(sql, &args![vm.to_string()]).await?.iter().map(read).collect()
}

/// No row of ports that reaches `port` begins lower: the index is searched from here.
fn lowest(port: u16) -> i64 {
    i64::from(port) - i64::try_from(FORWARD_PORTS_MAX).unwrap_or(i64::MAX) + 1
}

/// Ports that a forward has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// By which one.
    pub id: ForwardId,
    /// On which address.
    pub bind: Option<IpAddr>,
    /// Which.
    pub ports: Ports,
}

/// The ports of this row that forwards have, lowest first and then by id, at most `limit` of them after `after`.
pub async fn held(
    conn: &mut Conn,
    (transport, within): (Transport, Ports),
    after: Option<Held>,
    limit: usize,
) -> Result<Vec<Held>, Error> {
    let sql = "SELECT id, bind, port_first, port_last FROM forwards WHERE deleted_at IS NULL AND protocol = $1 \
               AND port_first <= $2 AND port_last >= $3 AND (port_first > $4 OR (port_first = $4 AND id > $5)) \
               ORDER BY port_first, id LIMIT $6";
    let (from, id) = after.map_or_else(
        || (lowest(within.first) - 1, String::new()),
        |after| (i64::from(after.ports.first), after.id.to_string()),
    );
    let args = args![
        text::transport_text(transport),
        i64::from(within.last),
        i64::from(within.first),
        from,
        id,
        i64::try_from(limit).unwrap_or(i64::MAX),
    ];
    let held = |row: &Row| {
        Ok(Held {
            id: text::parsed(row, TABLE, "id", str::parse)?,
            bind: match row.text("bind")?.as_str() {
                "" => None,
                _ => Some(text::parsed(row, TABLE, "bind", str::parse)?),
            },
            ports: ports(row)?,
        })
    };
    conn.rows(sql, &args).await?.iter().map(held).collect()
}

/// A page, in the order of ids.
pub async fn list(conn: &mut Conn, filter: &Filter, slice: &Slice) -> Result<Vec<ForwardRow>, Error> {
    let mut select = Select::new(columns!())
        .and("namespace =", filter.namespace.as_ref())
        .and("protocol =", filter.protocol.as_ref())
        .and("port_first <=", filter.host_port)
        .and("port_last >=", filter.host_port)
        .and("vm_id =", filter.vm_id.as_ref())
        .and("vm_name =", filter.vm_name.as_ref())
        .and("enabled =", filter.enabled)
        .and("note =", filter.note.as_ref())
        .and("owner =", filter.owner.as_ref());
    select = select.slice("id", slice, false);
    select.rows(conn).await?.iter().map(read).collect()
}

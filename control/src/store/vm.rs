//! VMs.

use std::net::IpAddr;

use config::id::VmId;
use config::name::{Namespace, NetworkName, VmName};

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One VM.
#[derive(Debug, Clone)]
pub struct VmRow {
    /// Its id.
    pub id: VmId,
    /// What people type.
    pub name: VmName,
    /// The DNS label its name becomes.
    pub label: String,
    /// Whose it is.
    pub namespace: Namespace,
    /// Where its address counts.
    pub network: NetworkName,
    /// Where it is.
    pub address: IpAddr,
    /// Where its sshd listens.
    pub ssh_port: u16,
    /// Whether root set a loopback address.
    pub loopback_ok: bool,
    /// Free text.
    pub note: String,
    /// Who made it.
    pub owner: Option<String>,
    /// Revision and times.
    pub stamp: Stamp,
}

/// Filters of a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By exact name.
    pub name: Option<String>,
    /// By namespace.
    pub namespace: Option<String>,
    /// By network.
    pub network: Option<String>,
    /// By address.
    pub address: Option<String>,
}

macro_rules! columns {
    () => {
        "SELECT id, name, label, namespace, network, address, ssh_port, loopback_ok, note, owner, revision, created_at, \
         updated_at FROM vms WHERE deleted_at IS NULL"
    };
}

fn read(row: &Row) -> Result<VmRow, Error> {
    const TABLE: &str = "vms";
    Ok(VmRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        name: text::parsed(row, TABLE, "name", VmName::parse)?,
        label: row.text("label")?,
        namespace: text::parsed(row, TABLE, "namespace", Namespace::parse)?,
        network: text::parsed(row, TABLE, "network", NetworkName::parse)?,
        address: text::parsed(row, TABLE, "address", str::parse)?,
        ssh_port: text::narrow(row, TABLE, "ssh_port")?,
        loopback_ok: row.bool("loopback_ok")?,
        note: row.text("note")?,
        owner: row.text_or("owner")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, vm: &VmRow) -> Result<(), Error> {
    let sql = "INSERT INTO vms (id, name, label, namespace, network, address, ssh_port, loopback_ok, note, owner, \
               revision, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let args = args![
        vm.id.to_string(),
        vm.name.as_str(),
        &vm.label,
        vm.namespace.as_str(),
        vm.network.as_str(),
        vm.address.to_string(),
        i64::from(vm.ssh_port),
        vm.loopback_ok,
        &vm.note,
        vm.owner.clone(),
        vm.stamp.revision,
        vm.stamp.created_at,
        vm.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Writes all that may change.
pub async fn update(conn: &mut Conn, vm: &VmRow) -> Result<(), Error> {
    let sql = "UPDATE vms SET name = $2, label = $3, network = $4, address = $5, ssh_port = $6, loopback_ok = $7, \
               note = $8, revision = $9, updated_at = $10 WHERE id = $1 AND deleted_at IS NULL";
    let args = args![
        vm.id.to_string(),
        vm.name.as_str(),
        &vm.label,
        vm.network.as_str(),
        vm.address.to_string(),
        i64::from(vm.ssh_port),
        vm.loopback_ok,
        &vm.note,
        vm.stamp.revision,
        vm.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Takes one away.
pub async fn delete(conn: &mut Conn, id: VmId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE vms SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: VmId) -> Result<Option<VmRow>, Error> {
    conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()])
        .await?
        .map(|row| read(&row))
        .transpose()
}

/// Whose a VM is, or was before it was taken away.
pub async fn namespace_of(conn: &mut Conn, id: VmId) -> Result<Option<String>, Error> {
    let row = conn.row("SELECT namespace FROM vms WHERE id = $1", &args![id.to_string()]).await?;
    row.map(|row| row.text("namespace")).transpose()
}

/// Finds by name, in all namespaces; bounded, since more than a few are ambiguous anyway.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Vec<VmRow>, Error> {
    let rows = conn.rows(concat!(columns!(), " AND name = $1 ORDER BY id LIMIT 500"), &args![name]).await?;
    rows.iter().map(read).collect()
}

/// Finds by address, in all networks; bounded as [`by_name`] is.
pub async fn by_address(conn: &mut Conn, address: IpAddr) -> Result<Vec<VmRow>, Error> {
    let sql = concat!(columns!(), " AND address = $1 ORDER BY id LIMIT 500");
    conn.rows(sql, &args![address.to_string()]).await?.iter().map(read).collect()
}

/// Who holds this name or its DNS label in the namespace.
pub async fn by_label(conn: &mut Conn, namespace: &Namespace, label: &str) -> Result<Option<VmRow>, Error> {
    let sql = concat!(columns!(), " AND namespace = $1 AND label = $2");
    conn.row(sql, &args![namespace.as_str(), label]).await?.map(|row| read(&row)).transpose()
}

/// Who holds this address in the network.
pub async fn by_place(
    conn: &mut Conn,
    network: &NetworkName,
    address: IpAddr,
) -> Result<Option<VmRow>, Error> {
    let sql = concat!(columns!(), " AND network = $1 AND address = $2");
    conn.row(sql, &args![network.as_str(), address.to_string()]).await?.map(|row| read(&row)).transpose()
}

/// A page, in the order of ids.
pub async fn list(conn: &mut Conn, filter: &Filter, slice: &Slice) -> Result<Vec<VmRow>, Error> {
    let select = Select::new(columns!())
        .and("name =", filter.name.as_ref())
        .and("namespace =", filter.namespace.as_ref())
        .and("network =", filter.network.as_ref())
        .and("address =", filter.address.as_ref())
        .slice("id", slice, false);
    select.rows(conn).await?.iter().map(read).collect()
}

//! Consoles of machines.

use std::net::IpAddr;

use config::id::{ConsoleId, EndpointId, VmId};
use config::name::Namespace;
use config::snapshot::{ConsoleKind, FlowPolicy};

use super::conn::{Conn, Row, args};
use super::route::EndpointVm;
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleRow {
    /// Its id.
    pub id: ConsoleId,
    /// The VM's.
    pub namespace: Namespace,
    /// The machine that it shows, as it is now.
    pub vm: EndpointVm,
    /// What is shown.
    pub kind: ConsoleKind,
    /// Key of its health; new when it is elsewhere.
    pub endpoint: EndpointId,
    /// An address that root wrote; `None` is the VM's.
    pub address: Option<IpAddr>,
    /// Whether that one may be a loopback address.
    pub loopback_ok: bool,
    /// The port there.
    pub port: u16,
    /// What is asked of a console that speaks WebSocket itself; `None` is bytes over TCP.
    pub path: Option<String>,
    /// The account on the VM of a terminal by SSH; `None` is root.
    pub login: Option<String>,
    /// The VNC password, sealed.
    pub secret_sealed: Option<Vec<u8>>,
    /// Whether nobody may do more than look.
    pub read_only: bool,
    /// What a change does to open sessions.
    pub on_change: FlowPolicy,
    /// What the deletion does to them.
    pub on_delete: FlowPolicy,
    /// Free text.
    pub note: String,
    /// Who made it.
    pub owner: Option<String>,
    /// Revision and times.
    pub stamp: Stamp,
}

impl ConsoleRow {
    /// Where it is now.
    pub fn ip(&self) -> IpAddr {
        self.address.unwrap_or(self.vm.address)
    }

    /// The account that a terminal by SSH logs in as.
    pub fn login(&self) -> &str {
        self.login.as_deref().unwrap_or("root")
    }

    /// Whether root set a loopback address.
    pub const fn may_be_loopback(&self) -> bool {
        match self.address {
            Some(_) => self.loopback_ok,
            None => self.vm.loopback_ok,
        }
    }
}

/// Filters of a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By namespace.
    pub namespace: Option<String>,
    /// By kind.
    pub kind: Option<String>,
    /// By the id of its VM.
    pub vm_id: Option<String>,
    /// By the name of its VM.
    pub vm_name: Option<String>,
    /// By owner.
    pub owner: Option<String>,
}

const TABLE: &str = "consoles";

macro_rules! columns {
    () => {
        "SELECT * FROM (SELECT c.id AS id, c.namespace AS namespace, c.vm_id AS vm_id, c.kind AS kind, \
         c.endpoint_id AS endpoint_id, c.address AS address, c.loopback_ok AS loopback_ok, c.port AS port, \
         c.path AS path, c.login AS login, c.secret_sealed AS secret_sealed, c.read_only AS read_only, c.on_change AS on_change, \
         c.on_delete AS on_delete, c.note AS note, c.owner AS owner, c.revision AS revision, \
         c.created_at AS created_at, c.updated_at AS updated_at, v.name AS vm_name, v.namespace AS vm_namespace, \
         v.address AS vm_address, v.loopback_ok AS vm_loopback_ok FROM consoles c JOIN vms v ON v.id = c.vm_id \
         WHERE c.deleted_at IS NULL) AS live WHERE port >= 0"
    };
}

fn read(row: &Row) -> Result<ConsoleRow, Error> {
    let kind = |text: &str| ConsoleKind::parse(text).ok_or_else(|| format!("{text:?} is no kind of console"));
    Ok(ConsoleRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        namespace: text::parsed(row, TABLE, "namespace", Namespace::parse)?,
        vm: EndpointVm {
            id: text::parsed(row, TABLE, "vm_id", str::parse)?,
            name: row.text("vm_name")?,
            namespace: row.text("vm_namespace")?,
            address: text::parsed(row, TABLE, "vm_address", str::parse)?,
            loopback_ok: row.bool("vm_loopback_ok")?,
        },
        kind: text::parsed(row, TABLE, "kind", kind)?,
        endpoint: text::parsed(row, TABLE, "endpoint_id", str::parse)?,
        address: match row.text_or("address")? {
            None => None,
            Some(_) => Some(text::parsed(row, TABLE, "address", str::parse)?),
        },
        loopback_ok: row.bool("loopback_ok")?,
        port: text::narrow(row, TABLE, "port")?,
        path: row.text_or("path")?,
        login: row.text_or("login")?,
        secret_sealed: match row.text_or("secret_sealed")? {
            None => None,
            Some(_) => Some(text::parsed(row, TABLE, "secret_sealed", text::unbase64)?),
        },
        read_only: row.bool("read_only")?,
        on_change: text::parsed(row, TABLE, "on_change", text::policy)?,
        on_delete: text::parsed(row, TABLE, "on_delete", text::policy)?,
        note: row.text("note")?,
        owner: row.text_or("owner")?,
        stamp: Stamp::of(row)?,
    })
}

/// What [`insert`] and [`update`] write alike, from `$2` on.
fn values(console: &ConsoleRow) -> [super::Arg; 13] {
    args![
        console.endpoint.to_string(),
        console.address.map(|ip| ip.to_string()),
        console.loopback_ok,
        i64::from(console.port),
        console.path.clone(),
        console.secret_sealed.as_deref().map(text::base64),
        console.read_only,
        text::policy_text(console.on_change),
        text::policy_text(console.on_delete),
        &console.note,
        console.stamp.revision,
        console.stamp.updated_at,
        console.login.clone(),
    ]
}

/// Adds one.
pub async fn insert(conn: &mut Conn, console: &ConsoleRow) -> Result<(), Error> {
    let sql = "INSERT INTO consoles (id, endpoint_id, address, loopback_ok, port, path, secret_sealed, read_only, \
               on_change, on_delete, note, revision, updated_at, login, namespace, vm_id, kind, owner, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
    let mut all = Vec::from(args![console.id.to_string()]);
    all.extend(values(console));
    all.extend(args![
        console.namespace.as_str(),
        console.vm.id.to_string(),
        console.kind.name(),
        console.owner.clone(),
        console.stamp.created_at,
    ]);
    conn.run(sql, &all).await.map(drop)
}

/// Writes all that may change.
pub async fn update(conn: &mut Conn, console: &ConsoleRow) -> Result<(), Error> {
    let sql = "UPDATE consoles SET endpoint_id = $2, address = $3, loopback_ok = $4, port = $5, path = $6, \
               secret_sealed = $7, read_only = $8, on_change = $9, on_delete = $10, note = $11, revision = $12, \
               updated_at = $13, login = $14 WHERE id = $1 AND deleted_at IS NULL";
    let mut all = Vec::from(args![console.id.to_string()]);
    all.extend(values(console));
    conn.run(sql, &all).await.map(drop)
}

/// Takes one away; its secret is forgotten at once.
pub async fn delete(conn: &mut Conn, id: ConsoleId, now: i64) -> Result<(), Error> {
    let sql =
        "UPDATE consoles SET deleted_at = $2, secret_sealed = NULL WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: ConsoleId) -> Result<Option<ConsoleRow>, Error> {
    let row = conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()]).await?;
    row.map(|row| read(&row)).transpose()
}

/// Whose a console is, or was before it was taken away.
pub async fn namespace_of(conn: &mut Conn, id: ConsoleId) -> Result<Option<String>, Error> {
    let row = conn.row("SELECT namespace FROM consoles WHERE id = $1", &args![id.to_string()]).await?;
    row.map(|row| row.text("namespace")).transpose()
}

/// The consoles of a VM; one of each kind at most.
pub async fn by_vm(conn: &mut Conn, vm: VmId) -> Result<Vec<ConsoleRow>, Error> {
    let sql = concat!(columns!(), " AND vm_id = $1 ORDER BY id");
    conn.rows(sql, &args![vm.to_string()]).await?.iter().map(read).collect()
}

/// A page, in the order of ids.
pub async fn list(conn: &mut Conn, filter: &Filter, slice: &Slice) -> Result<Vec<ConsoleRow>, Error> {
    let mut select = Select::new(columns!())
        .and("namespace =", filter.namespace.as_ref())
        .and("kind =", filter.kind.as_ref())
        .and("vm_id =", filter.vm_id.as_ref())
        .and("vm_name =", filter.vm_name.as_ref())
        .and("owner =", filter.owner.as_ref());
    select = select.slice("id", slice, false);
    select.rows(conn).await?.iter().map(read).collect()
}

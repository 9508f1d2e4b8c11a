//! Routes and their endpoints.

use std::net::IpAddr;

use config::id::{EndpointId, IdentityId, RouteId, VmId};
use config::name::{HostPattern, Namespace, PathPrefix};
use config::snapshot::{Filters, FlowPolicy, Matchers, Timeouts, TlsMode, TlsPolicy, UpstreamPolicy};

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};
use crate::options::action::{self, Answer};
use crate::options::filters::{self, Hashes};
use crate::options::{self, matchers, timeouts, tls_policy, upstream};

/// One route.
#[derive(Debug, Clone)]
pub struct RouteRow {
    /// Its id.
    pub id: RouteId,
    /// Whose it is.
    pub namespace: Namespace,
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPrefix,
    /// The public side.
    pub tls: TlsMode,
    /// The certificate it is served with, where one was uploaded or ordered.
    pub certificate: Option<IdentityId>,
    /// What it asks of handshakes.
    pub tls_policy: Option<Box<TlsPolicy>>,
    /// Whether plain HTTP is sent to https.
    pub redirect_https: bool,
    /// `Strict-Transport-Security`, in seconds.
    pub hsts_seconds: Option<u32>,
    /// Whether upgrades pass.
    pub websocket: bool,
    /// One of our own services, instead of endpoints.
    pub service: Option<Own>,
    /// What it answers by itself, instead of endpoints.
    pub answer: Option<Answer>,
    /// What a request has to be, besides host and path.
    pub matchers: Option<Box<Matchers>>,
    /// What it does to requests and answers.
    pub filters: Option<Box<Filters>>,
    /// How long it waits.
    pub timeouts: Option<Box<Timeouts>>,
    /// How its endpoints share requests; the key of a client certificate is empty in it.
    pub policy: Option<Box<UpstreamPolicy>>,
    /// That key, sealed.
    pub client_key_sealed: Option<Vec<u8>>,
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
    /// Where it leads, in order.
    pub endpoints: Vec<EndpointRow>,
}

impl RouteRow {
    /// What makes it unique beside host and path.
    pub fn match_key(&self) -> String {
        matchers::key(self.matchers.as_deref())
    }
}

/// One of our own services as a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// The admin API; the id keys its connection pool.
    Control(EndpointId),
    /// The noVNC gate.
    Novnc,
    /// The ttyd gate.
    Ttyd,
}

impl Own {
    /// The word that people type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control(_) => "control",
            Self::Novnc => "novnc",
            Self::Ttyd => "ttyd",
        }
    }
}

/// One address of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// Its id; new when the target changes.
    pub id: EndpointId,
    /// An address or a name; empty for a VM, whose row has the address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The VM it belongs to.
    pub vm: Option<EndpointVm>,
    /// Whether root set a loopback address.
    pub loopback_ok: bool,
    /// Its share against the other endpoints'.
    pub weight: u16,
    /// Whether it gets no new requests but those that stick to it.
    pub draining: bool,
}

/// The VM of an endpoint, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointVm {
    /// Its id.
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Where it is.
    pub address: IpAddr,
    /// Whether root set a loopback address for it.
    pub loopback_ok: bool,
}

/// Filters of a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By exact host pattern.
    pub host: Option<String>,
    /// By exact path.
    pub path: Option<String>,
    /// By namespace.
    pub namespace: Option<String>,
    /// By owner.
    pub owner: Option<String>,
}

const TABLE: &str = "routes";

macro_rules! columns {
    () => {
        "SELECT id, namespace, host, path, tls, redirect_https, hsts_seconds, websocket, service, service_endpoint, \
         on_change, on_delete, enabled, note, owner, matchers, filters, timeouts, upstream, \
         client_key_sealed, answer, certificate_id, tls_policy, revision, created_at, updated_at \
         FROM routes WHERE deleted_at IS NULL"
    };
}

macro_rules! endpoint_columns {
    () => {
        "SELECT e.id AS id, e.route_id AS route_id, e.host AS host, e.port AS port, e.vm_id AS vm_id, \
         e.loopback_ok AS loopback_ok, e.weight AS weight, e.draining AS draining, v.name AS vm_name, v.namespace AS vm_namespace, v.address AS vm_address, \
         v.loopback_ok AS vm_loopback_ok FROM endpoints e LEFT JOIN vms v ON v.id = e.vm_id"
    };
}

fn read(row: &Row) -> Result<RouteRow, Error> {
    let hsts_seconds = match row.int_or("hsts_seconds")? {
        Some(_) => Some(text::narrow(row, TABLE, "hsts_seconds")?),
        None => None,
    };
    Ok(RouteRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        namespace: text::parsed(row, TABLE, "namespace", Namespace::parse)?,
        host: text::parsed(row, TABLE, "host", HostPattern::parse)?,
        path: text::parsed(row, TABLE, "path", PathPrefix::parse)?,
        tls: text::parsed(row, TABLE, "tls", text::tls)?,
        certificate: optional(row, "certificate_id", |text| {
            text.parse().map_err(|_| "it is no id".to_owned())
        })?,
        tls_policy: optional(row, "tls_policy", |text| options::stored(text, tls_policy::read))?
            .map(Box::new),
        redirect_https: row.bool("redirect_https")?,
        hsts_seconds,
        websocket: row.bool("websocket")?,
        service: service(row)?,
        answer: optional(row, "answer", action::stored)?,
        matchers: optional(row, "matchers", |text| options::stored(text, matchers::read))?.map(Box::new),
        filters: optional(row, "filters", |text| {
            options::stored(text, |node| filters::read(node, Hashes::Row))
        })?
        .map(Box::new),
        policy: optional(row, "upstream", |text| options::stored(text, upstream::read))?.map(Box::new),
        client_key_sealed: optional(row, "client_key_sealed", text::unbase64)?,
        timeouts: optional(row, "timeouts", |text| options::stored(text, timeouts::read))?.map(Box::new),
        on_change: text::parsed(row, TABLE, "on_change", text::policy)?,
        on_delete: text::parsed(row, TABLE, "on_delete", text::policy)?,
        enabled: row.bool("enabled")?,
        note: row.text("note")?,
        owner: row.text_or("owner")?,
        stamp: Stamp::of(row)?,
        endpoints: Vec::new(),
    })
}

fn optional<T>(
    row: &Row,
    column: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    match row.text_or(column)? {
        None => Ok(None),
        Some(_) => text::parsed(row, TABLE, column, parse).map(Some),
    }
}

fn service(row: &Row) -> Result<Option<Own>, Error> {
    Ok(match row.text_or("service")?.as_deref() {
        None => None,
        Some("novnc") => Some(Own::Novnc),
        Some("ttyd") => Some(Own::Ttyd),
        Some("control") => Some(Own::Control(text::parsed(row, TABLE, "service_endpoint", str::parse)?)),
        Some(other) => {
            let id = row.text("id")?;
            return Err(Error::Damaged { table: TABLE, id, why: format!("no service {other:?}") });
        }
    })
}

fn read_endpoint(row: &Row) -> Result<EndpointRow, Error> {
    const TABLE: &str = "endpoints";
    let vm = match row.text_or("vm_id")? {
        None => None,
        Some(_) => Some(EndpointVm {
            id: text::parsed(row, TABLE, "vm_id", str::parse)?,
            name: row.text("vm_name")?,
            namespace: row.text("vm_namespace")?,
            address: text::parsed(row, TABLE, "vm_address", str::parse)?,
            loopback_ok: row.bool("vm_loopback_ok")?,
        }),
    };
    Ok(EndpointRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        host: row.text("host")?,
        port: text::narrow(row, TABLE, "port")?,
        vm,
        loopback_ok: row.bool("loopback_ok")?,
        weight: text::narrow(row, TABLE, "weight")?,
        draining: row.bool("draining")?,
    })
}

/// Adds one with its endpoints.
pub async fn insert(conn: &mut Conn, route: &RouteRow) -> Result<(), Error> {
    let sql = "INSERT INTO routes (id, namespace, host, path, tls, redirect_https, hsts_seconds, websocket, service, \
               service_endpoint, on_change, on_delete, enabled, note, matchers, match_key, filters, timeouts, \
               upstream, client_key_sealed, answer, owner, revision, created_at, updated_at, certificate_id, \
               tls_policy) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
               $20, $21, $22, $23, $24, $25, $26, $27)";
    let args = args![
        route.id.to_string(),
        route.namespace.as_str(),
        route.host.to_string(),
        route.path.as_str(),
        text::tls_text(route.tls),
        route.redirect_https,
        route.hsts_seconds.map(i64::from),
        route.websocket,
        route.service.map(Own::as_str),
        service_endpoint(route),
        text::policy_text(route.on_change),
        text::policy_text(route.on_delete),
        route.enabled,
        &route.note,
        matchers_text(route),
        route.match_key(),
        route.filters.as_deref().map(filters::stored_text),
        timeouts_text(route),
        route.policy.as_deref().map(|policy| upstream::show(policy).to_string()),
        route.client_key_sealed.as_deref().map(text::base64),
        route.answer.as_ref().map(action::stored_text),
        route.owner.clone(),
        route.stamp.revision,
        route.stamp.created_at,
        route.stamp.updated_at,
        route.certificate.map(|id| id.to_string()),
        policy_text(route),
    ];
    conn.run(sql, &args).await?;
    insert_endpoints(conn, route).await
}

/// Writes all that may change, endpoints included.
pub async fn update(conn: &mut Conn, route: &RouteRow) -> Result<(), Error> {
    let sql = "UPDATE routes SET host = $2, path = $3, tls = $4, redirect_https = $5, hsts_seconds = $6, websocket = $7, \
               service = $8, service_endpoint = $9, on_change = $10, on_delete = $11, enabled = $12, note = $13, \
               matchers = $14, match_key = $15, filters = $16, timeouts = $17, upstream = $18, client_key_sealed = $19, \
               answer = $20, revision = $21, updated_at = $22, certificate_id = $23, tls_policy = $24 \
               WHERE id = $1 AND deleted_at IS NULL";
    let args = args![
        route.id.to_string(),
        route.host.to_string(),
        route.path.as_str(),
        text::tls_text(route.tls),
        route.redirect_https,
        route.hsts_seconds.map(i64::from),
        route.websocket,
        route.service.map(Own::as_str),
        service_endpoint(route),
        text::policy_text(route.on_change),
        text::policy_text(route.on_delete),
        route.enabled,
        &route.note,
        matchers_text(route),
        route.match_key(),
        route.filters.as_deref().map(filters::stored_text),
        timeouts_text(route),
        route.policy.as_deref().map(|policy| upstream::show(policy).to_string()),
        route.client_key_sealed.as_deref().map(text::base64),
        route.answer.as_ref().map(action::stored_text),
        route.stamp.revision,
        route.stamp.updated_at,
        route.certificate.map(|id| id.to_string()),
        policy_text(route),
    ];
    conn.run(sql, &args).await?;
    drop_endpoints(conn, route.id).await?;
    insert_endpoints(conn, route).await
}

fn matchers_text(route: &RouteRow) -> Option<String> {
    route.matchers.as_deref().map(|matchers| matchers::show(matchers).to_string())
}

fn policy_text(route: &RouteRow) -> Option<String> {
    route.tls_policy.as_deref().map(|policy| tls_policy::show(policy).to_string())
}

fn timeouts_text(route: &RouteRow) -> Option<String> {
    route.timeouts.as_deref().map(|timeouts| timeouts::show(timeouts).to_string())
}

fn service_endpoint(route: &RouteRow) -> Option<String> {
    match route.service {
        Some(Own::Control(id)) => Some(id.to_string()),
        Some(Own::Novnc | Own::Ttyd) | None => None,
    }
}

async fn insert_endpoints(conn: &mut Conn, route: &RouteRow) -> Result<(), Error> {
    let sql = "INSERT INTO endpoints (id, route_id, position, host, port, vm_id, loopback_ok, weight, draining) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    for (position, endpoint) in (0i64..).zip(&route.endpoints) {
        let args = args![
            endpoint.id.to_string(),
            route.id.to_string(),
            position,
            &endpoint.host,
            i64::from(endpoint.port),
            endpoint.vm.as_ref().map(|vm| vm.id.to_string()),
            endpoint.loopback_ok,
            i64::from(endpoint.weight),
            endpoint.draining,
        ];
        conn.run(sql, &args).await?;
    }
    Ok(())
}

async fn drop_endpoints(conn: &mut Conn, id: RouteId) -> Result<(), Error> {
    conn.run("DELETE FROM endpoints WHERE route_id = $1", &args![id.to_string()]).await.map(drop)
}

/// Takes one away, endpoints included.
pub async fn delete(conn: &mut Conn, id: RouteId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE routes SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await?;
    drop_endpoints(conn, id).await
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: RouteId) -> Result<Option<RouteRow>, Error> {
    let row = conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()]).await?;
    whole(conn, row).await
}

/// Finds who holds this host and path under these conditions ([`RouteRow::match_key`]).
pub async fn by_match(
    conn: &mut Conn,
    host: &HostPattern,
    path: &PathPrefix,
    match_key: &str,
) -> Result<Option<RouteRow>, Error> {
    let sql = concat!(columns!(), " AND host = $1 AND path = $2 AND match_key = $3");
    let row = conn.row(sql, &args![host.to_string(), path.as_str(), match_key]).await?;
    whole(conn, row).await
}

async fn whole(conn: &mut Conn, row: Option<Row>) -> Result<Option<RouteRow>, Error> {
    let Some(row) = row else { return Ok(None) };
    let mut route = read(&row)?;
    let sql = concat!(endpoint_columns!(), " WHERE e.route_id = $1 ORDER BY e.position");
    let rows = conn.rows(sql, &args![route.id.to_string()]).await?;
    route.endpoints = rows.iter().map(read_endpoint).collect::<Result<_, _>>()?;
    Ok(Some(route))
}

/// The routes that lead to a VM.
pub async fn by_vm(conn: &mut Conn, vm: VmId) -> Result<Vec<RouteRow>, Error> {
    let sql = "SELECT DISTINCT route_id AS id FROM endpoints WHERE vm_id = $1 ORDER BY id";
    let rows = conn.rows(sql, &args![vm.to_string()]).await?;
    each(conn, &rows).await
}

/// The routes that lead to the admin API.
pub async fn to_control(conn: &mut Conn) -> Result<Vec<RouteRow>, Error> {
    let sql = "SELECT id FROM routes WHERE service = 'control' AND deleted_at IS NULL ORDER BY id";
    let rows = conn.rows(sql, &[]).await?;
    each(conn, &rows).await
}

/// The routes that lead to our own consoles of this kind, `novnc` or `ttyd`, by host; the first hundred.
pub async fn to_consoles(conn: &mut Conn, service: &'static str) -> Result<Vec<RouteRow>, Error> {
    let sql = "SELECT id FROM routes WHERE service = $1 AND deleted_at IS NULL ORDER BY host, path LIMIT 100";
    let rows = conn.rows(sql, &args![service]).await?;
    each(conn, &rows).await
}

async fn each(conn: &mut Conn, ids: &[Row]) -> Result<Vec<RouteRow>, Error> {
    let mut routes = Vec::with_capacity(ids.len());
    for row in ids {
        routes.extend(by_id(conn, text::parsed(row, TABLE, "id", str::parse)?).await?);
    }
    Ok(routes)
}

/// How many routes need the leaf of the internal authority for this host: those that ask for it, and those whose own
/// certificate is not there yet.
pub async fn count_self_signed(conn: &mut Conn, host: &HostPattern) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) AS n FROM routes r LEFT JOIN identities i ON i.id = r.certificate_id \
               AND i.deleted_at IS NULL WHERE r.host = $1 AND r.deleted_at IS NULL \
               AND (r.tls = 'self-signed' OR (r.tls IN ('upload', 'acme') AND (i.chain IS NULL OR i.chain = '')))";
    conn.row(sql, &args![host.to_string()]).await?.map_or(Ok(0), |row| row.int("n"))
}

/// The routes of one host pattern, the first hundred.
pub async fn by_host(conn: &mut Conn, host: &HostPattern) -> Result<Vec<RouteRow>, Error> {
    let sql = "SELECT id FROM routes WHERE host = $1 AND deleted_at IS NULL ORDER BY id LIMIT 100";
    let rows = conn.rows(sql, &args![host.to_string()]).await?;
    each(conn, &rows).await
}

/// The routes that are served with a certificate, the first hundred.
pub async fn by_certificate(conn: &mut Conn, id: IdentityId) -> Result<Vec<RouteRow>, Error> {
    let sql = "SELECT id FROM routes WHERE certificate_id = $1 AND tls IN ('upload', 'acme') AND deleted_at IS NULL \
               ORDER BY id LIMIT 100";
    let rows = conn.rows(sql, &args![id.to_string()]).await?;
    each(conn, &rows).await
}

/// A page, in the order of ids, endpoints included: two queries, whatever its size.
pub async fn list(conn: &mut Conn, filter: &Filter, slice: &Slice) -> Result<Vec<RouteRow>, Error> {
    let select = Select::new(columns!())
        .and("host =", filter.host.as_ref())
        .and("path =", filter.path.as_ref())
        .and("namespace =", filter.namespace.as_ref())
        .and("owner =", filter.owner.as_ref())
        .slice("id", slice, false);
    let mut routes = select.rows(conn).await?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<String> = routes.iter().map(|route| route.id.to_string()).collect();
    let select = Select::new(concat!(endpoint_columns!(), " WHERE e.port >= 0")).among(
        "e.route_id",
        &ids,
        "e.position",
    );
    for row in select.rows(conn).await? {
        let id: RouteId = text::parsed(&row, "endpoints", "route_id", str::parse)?;
        if let Ok(place) = routes.binary_search_by_key(&id, |route| route.id)
            && let Some(route) = routes.get_mut(place)
        {
            route.endpoints.push(read_endpoint(&row)?);
        }
    }
    Ok(routes)
}

//! What is asked about the whole: who am I, is it well, how far are the gateways, figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use config::grant::Grants;
use serde::Serialize;
use utoipa::ToSchema;

use super::certificate::view;
use super::page::time;
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::auth::{Actor, Origin};
use crate::store;
use crate::store::identity::IdentityRow;

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who the caller is, in the shape of the reference (INVENTORY E-14).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WhoamiView {
    /// How they proved it: `jwt`, `socket`.
    pub auth: String,
    /// Role to namespaces; a role that holds everywhere has none.
    pub grant: BTreeMap<String, Vec<String>>,
    /// Their name.
    pub name: String,
    /// The namespace that users live in.
    pub namespace: String,
    /// The grants as they are written.
    pub raw_grant: String,
}

/// Says who the caller is.
pub fn whoami(caller: &Caller) -> Result<WhoamiView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let grants = match &caller.actor {
        Actor::Token { grants, .. } => grants.clone(),
        Actor::Local => "root".parse::<Grants>().map_err(|error| Error::Internal(error.to_string()))?,
        Actor::Setup | Actor::Anonymous => Grants::default(),
    };
    let mut grant: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for held in grants.iter() {
        let namespaces = grant.entry(held.role.as_str().to_owned()).or_default();
        namespaces.extend(held.namespace.as_ref().map(ToString::to_string));
    }
    Ok(WhoamiView {
        auth: caller.actor.method().to_owned(),
        grant,
        name: caller.actor.name().to_owned(),
        namespace: "system".to_owned(),
        raw_grant: grants.to_string(),
    })
}

/// A few facts for anyone, and counts for those who may see them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StatsView {
    /// `ok`.
    pub status: String,
    /// This program's version.
    pub version: String,
    /// The newest generation; only for those who may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Routes in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<usize>,
    /// Objects in force: routes, VMs, users, identities, keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<usize>,
    /// Gateways that are connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateways: Option<usize>,
    /// `sqlite` or `postgres`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Certificates that end soon or could not be renewed; only for those who may see the whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The reference's health check: 200 while the store answers. Counts of the whole are root's.
pub async fn stats(app: &App, caller: &Caller) -> Result<StatsView, Error> {
    app.db.probe().await?;
    let may = caller.allow(Action::Read, Resource::Status).is_ok();
    let state = app.desired.current();
    Ok(StatsView {
        status: "ok".to_owned(),
        version: VERSION.to_owned(),
        generation: may.then(|| state.snapshot.generation().0),
        routes: may.then(|| state.table.routes_len()),
        objects: may.then(|| state.snapshot.len()),
        gateways: may.then(|| connected(app)),
        database: may.then(|| app.db.engine_name().to_owned()),
        warnings: if may { warnings(app).await? } else { Vec::new() },
    })
}

/// Certificates that are warned about at once.
const WARNINGS_MAX: i64 = 100;
/// Certificates whose end is a figure: those that end first. More would make every scrape slow.
const FIGURES_MAX: i64 = 1_000;

/// What somebody should look at.
async fn warnings(app: &App) -> Result<Vec<String>, Error> {
    let now = app.clock.now();
    let then = now.saturating_add(view::WARN_BEFORE);
    let rows = store::identity::alarming(&mut app.db.read().await?, then, WARNINGS_MAX).await?;
    let say = |row: &IdentityRow| Some(format!("certificate {}: {}", row.name, view::warning(row, now)?));
    Ok(rows.iter().filter_map(say).collect())
}

/// Figures of certificates.
async fn certificates(app: &App, text: &mut String) -> Result<(), Error> {
    let rows = store::identity::alarming(&mut app.db.read().await?, i64::MAX, FIGURES_MAX).await?;
    let mut put = |name: &str, help: &str, value: &dyn Fn(&IdentityRow) -> Option<i64>| {
        _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for row in &rows {
            let Some(value) = value(row) else { continue };
            let label: String =
                row.name.chars().filter(|c| !c.is_control() && !['"', '\\'].contains(c)).collect();
            let (id, namespace, source) = (row.id, &row.namespace, row.source.as_str());
            _ = writeln!(
                text,
                "{name}{{name=\"{label}\",id=\"{id}\",namespace=\"{namespace}\",source=\"{source}\"}} {value}"
            );
        }
    };
    put("gatehouse_tls_cert_not_after_timestamp_seconds", "When a certificate ends.", &|row| {
        row.is_issued().then_some(row.expires_at / 1_000_000)
    });
    put("gatehouse_tls_cert_renewal_failed", "Whether the last try for a certificate failed.", &|row| {
        Some(i64::from(row.last_error.is_some()))
    });
    Ok(())
}

/// Figures of orders.
fn orders(app: &App, text: &mut String) {
    let name = "gatehouse_acme_orders_total";
    _ = writeln!(
        text,
        "# HELP {name} Orders that ended, and tries of orders that failed.\n# TYPE {name} counter"
    );
    for (issuer, ended, count) in app.acme.tally().all() {
        _ = writeln!(text, "{name}{{issuer=\"{issuer}\",result=\"{}\"}} {count}", ended.as_str());
    }
}

fn connected(app: &App) -> usize {
    app.gateways.all().iter().filter(|(_, said)| said.streams > 0).count()
}

/// How far the whole is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StatusView {
    /// The newest generation.
    pub generation: u64,
    /// The mark of this database.
    pub lineage: String,
    /// Its digest.
    pub digest: String,
    /// Objects in force.
    pub objects: usize,
    /// Routes in force.
    pub routes: usize,
    /// Per gateway that is connected or was since the start.
    pub gateways: Vec<ProgressView>,
}

/// How far one gateway is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProgressView {
    /// The gateway.
    pub id: String,
    /// Whether a stream is open.
    pub connected: bool,
    /// The generation it serves.
    pub generation: Option<u64>,
    /// The last one it refused, and why.
    pub refused: Option<String>,
    /// What is paused at it.
    pub degraded: Vec<String>,
    /// When it last said anything, RFC 3339.
    pub seen_at: String,
}

/// Says how far the whole is.
pub fn status(app: &App, caller: &Caller) -> Result<StatusView, Error> {
    caller.allow(Action::Read, Resource::Status)?;
    let state = app.desired.current();
    let progress = |(id, said): (config::id::GatewayId, super::gateway::Said)| ProgressView {
        id: id.to_string(),
        connected: said.streams > 0,
        generation: said.acked.map(|generation| generation.0),
        refused: said.refused.map(|(generation, why)| format!("generation {generation}: {why}")),
        degraded: said.degraded,
        seen_at: time(said.seen_at),
    };
    Ok(StatusView {
        generation: state.snapshot.generation().0,
        lineage: uuid::Uuid::from_bytes(state.snapshot.lineage().0).to_string(),
        digest: format!("{:?}", state.snapshot.digest()),
        objects: state.snapshot.len(),
        routes: state.table.routes_len(),
        gateways: app.gateways.all().into_iter().map(progress).collect(),
    })
}

/// Whether control can do its work; the reason when it cannot.
pub async fn ready(app: &App) -> Result<(), String> {
    app.db.probe().await.map_err(|error| match error {
        store::Error::Unavailable(cause) => format!("the database cannot be used: {}", kind(&cause)),
        store::Error::Unique { .. } | store::Error::Damaged { .. } => "the database is damaged".to_owned(),
    })
}

/// Kinds only: the text of a cause may name hosts and users.
fn kind(cause: &sqlx::Error) -> String {
    if let sqlx::Error::Io(cause) = cause {
        return format!("the file is {}", cause.kind());
    }
    let kind = if matches!(cause, sqlx::Error::PoolTimedOut) {
        "no connection was free in time"
    } else if matches!(cause, sqlx::Error::PoolClosed) {
        "it is closed"
    } else if cause.as_database_error().is_some() {
        "the engine refuses"
    } else {
        "no answer"
    };
    kind.to_owned()
}

/// Prometheus figures of control. By token, or from this machine itself: neither through a proxy nor by a web page.
pub async fn metrics(app: &App, caller: &Caller, is_direct: bool) -> Result<String, Error> {
    let is_local = match caller.origin {
        Origin::Socket => true,
        Origin::Peer(peer) => peer.ip().to_canonical().is_loopback() && is_direct,
    };
    if !is_local {
        caller.allow(Action::Read, Resource::Metrics)?;
    }
    let state = app.desired.current();
    let mut text = String::new();
    let mut figure = |name: &str, help: &str, value: u64| {
        _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    };
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    figure("gatehouse_config_revision", "The newest generation.", state.snapshot.generation().0);
    figure("gatehouse_config_objects", "Objects in force.", count(state.snapshot.len()));
    figure("gatehouse_config_routes", "Routes in force.", count(state.table.routes_len()));
    figure("gatehouse_gateways_connected", "Gateways with an open stream.", count(connected(app)));
    let behind = app
        .gateways
        .all()
        .iter()
        .filter(|(_, said)| said.streams > 0 && said.acked != Some(state.snapshot.generation()))
        .count();
    figure("gatehouse_gateways_behind", "Connected gateways that serve an older generation.", count(behind));
    certificates(app, &mut text).await?;
    orders(app, &mut text);
    _ = writeln!(text, "# HELP gatehouse_build_info The program.\n# TYPE gatehouse_build_info gauge");
    _ = writeln!(text, "gatehouse_build_info{{version=\"{VERSION}\"}} 1");
    Ok(text)
}

/// The certificate of the authority that users trust, as PEM: public by nature.
pub async fn authority(app: &App, caller: &Caller) -> Result<String, Error> {
    caller.allow(Action::Read, Resource::Authority)?;
    super::authority::trusted_pem(app).await
}

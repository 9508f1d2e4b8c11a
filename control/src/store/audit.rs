//! Audit rows: only ever added.

use super::Error;
use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};

/// One thing that was done, or tried.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// Its id, in the order of time.
    pub id: String,
    /// When, in microseconds UTC.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// How they proved it.
    pub method: String,
    /// By which token.
    pub token_id: Option<String>,
    /// From where.
    pub source: String,
    /// In which request.
    pub request_id: String,
    /// `create`, `update`, `delete`, …
    pub action: String,
    /// `route`, `vm`, …
    pub object_kind: String,
    /// Which one.
    pub object_id: Option<String>,
    /// Whose.
    pub namespace: Option<String>,
    /// The object before, as JSON without secrets.
    pub before: Option<String>,
    /// The object after, as JSON without secrets.
    pub after: Option<String>,
    /// `done`, or why not.
    pub result: String,
}

/// Filters of a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By actor.
    pub actor: Option<String>,
    /// By action.
    pub action: Option<String>,
    /// By kind of object.
    pub object_kind: Option<String>,
    /// By object.
    pub object_id: Option<String>,
    /// By namespace.
    pub namespace: Option<String>,
}

fn read(row: &Row) -> Result<AuditRow, Error> {
    Ok(AuditRow {
        id: row.text("id")?,
        at: row.int("at")?,
        actor: row.text("actor")?,
        method: row.text("method")?,
        token_id: row.text_or("token_id")?,
        source: row.text("source")?,
        request_id: row.text("request_id")?,
        action: row.text("action")?,
        object_kind: row.text("object_kind")?,
        object_id: row.text_or("object_id")?,
        namespace: row.text_or("namespace")?,
        before: row.text_or("before")?,
        after: row.text_or("after")?,
        result: row.text("result")?,
    })
}

const INSERT: &str = "INSERT INTO audits (id, at, actor, method, token_id, source, request_id, action, object_kind, \
                      object_id, namespace, before, after, result) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const INSERT_ONCE: &str = "INSERT INTO audits (id, at, actor, method, token_id, source, request_id, action, object_kind, \
                           object_id, namespace, before, after, result) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
                           ON CONFLICT (id) DO NOTHING";

/// Adds one.
pub async fn insert(conn: &mut Conn, audit: AuditRow) -> Result<(), Error> {
    run(conn, INSERT, audit).await
}

/// Adds one whose id was made elsewhere, if it is not there yet.
pub async fn insert_once(conn: &mut Conn, audit: AuditRow) -> Result<(), Error> {
    run(conn, INSERT_ONCE, audit).await
}

async fn run(conn: &mut Conn, sql: &'static str, audit: AuditRow) -> Result<(), Error> {
    let args = args![
        audit.id,
        audit.at,
        audit.actor,
        audit.method,
        audit.token_id,
        audit.source,
        audit.request_id,
        audit.action,
        audit.object_kind,
        audit.object_id,
        audit.namespace,
        audit.before,
        audit.after,
        audit.result,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// A page, newest first.
pub async fn list(conn: &mut Conn, filter: &Filter, slice: &Slice) -> Result<Vec<AuditRow>, Error> {
    let base = "SELECT id, at, actor, method, token_id, source, request_id, action, object_kind, object_id, namespace, \
                before, after, result FROM audits WHERE at >= 0";
    let select = Select::new(base)
        .and("actor =", filter.actor.as_ref())
        .and("action =", filter.action.as_ref())
        .and("object_kind =", filter.object_kind.as_ref())
        .and("object_id =", filter.object_id.as_ref())
        .and("namespace =", filter.namespace.as_ref())
        .slice("id", slice, true);
    select.rows(conn).await?.iter().map(read).collect()
}

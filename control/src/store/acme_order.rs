//! Orders of certificates, as jobs with a log.

use config::id::{AcmeAccountId, AcmeOrderId, IdentityId};
use config::name::{HostPattern, Namespace};

use super::acme_account::bytes;
use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One order.
#[derive(Debug, Clone)]
pub struct OrderRow {
    /// Its id.
    pub id: AcmeOrderId,
    /// The account that it is made with.
    pub account: AcmeAccountId,
    /// The certificate that it is for.
    pub certificate: IdentityId,
    /// Whose that is.
    pub namespace: Namespace,
    /// The names, sorted.
    pub names: Vec<HostPattern>,
    /// How they are proved.
    pub challenge: String,
    /// `request` or `renewal`.
    pub reason: String,
    /// What is done next.
    pub step: String,
    /// Failures so far.
    pub attempts: i64,
    /// When the next step is taken, in microseconds UTC.
    pub next_try: i64,
    /// Why the last step failed.
    pub last_error: Option<String>,
    /// What each step left for the next, as JSON.
    pub progress: String,
    /// The key of the certificate to be, sealed.
    pub key_sealed: Option<Vec<u8>>,
    /// When it ended, in microseconds UTC.
    pub finished_at: Option<i64>,
    /// Revision and times.
    pub stamp: Stamp,
}

/// One line of an order's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// When, in microseconds UTC.
    pub at: i64,
    /// What.
    pub message: String,
}

/// Filters of a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By certificate.
    pub certificate: Option<String>,
    /// Only those under way, or only those that ended.
    pub open: Option<bool>,
}

const TABLE: &str = "acme_orders";
/// Lines of the log that one order keeps: several full attempts.
const LOG_LINES_MAX: i64 = 200;

macro_rules! columns {
    () => {
        "SELECT id, account_id, certificate_id, namespace, names, challenge, reason, step, attempts, next_try, last_error, \
         progress, key_sealed, finished_at, revision, created_at, updated_at FROM acme_orders WHERE id <> ''"
    };
}

fn read(row: &Row) -> Result<OrderRow, Error> {
    Ok(OrderRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        account: text::parsed(row, TABLE, "account_id", str::parse)?,
        certificate: text::parsed(row, TABLE, "certificate_id", str::parse)?,
        namespace: text::parsed(row, TABLE, "namespace", Namespace::parse)?,
        names: text::parsed(row, TABLE, "names", |text| text.split(' ').map(HostPattern::parse).collect())?,
        challenge: row.text("challenge")?,
        reason: row.text("reason")?,
        step: row.text("step")?,
        attempts: row.int("attempts")?,
        next_try: row.int("next_try")?,
        last_error: row.text_or("last_error")?,
        progress: row.text("progress")?,
        key_sealed: bytes(row, TABLE, "key_sealed")?,
        finished_at: row.int_or("finished_at")?,
        stamp: Stamp::of(row)?,
    })
}

/// The set of names as it is unique: sorted, each once.
pub fn names_key(names: &[HostPattern]) -> String {
    let mut names: Vec<_> = names.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

/// Adds one.
///
/// Errors: [`Error::Unique`] when one for the same names is under way.
pub async fn insert(conn: &mut Conn, order: &OrderRow) -> Result<(), Error> {
    let sql = "INSERT INTO acme_orders (id, account_id, certificate_id, namespace, names, challenge, reason, step, \
               attempts, next_try, progress, revision, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let args = args![
        order.id.to_string(),
        order.account.to_string(),
        order.certificate.to_string(),
        order.namespace.as_str(),
        names_key(&order.names),
        &order.challenge,
        &order.reason,
        &order.step,
        order.attempts,
        order.next_try,
        &order.progress,
        order.stamp.revision,
        order.stamp.created_at,
        order.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Writes what a step changed; false when somebody else took a step in the meantime, whose row stands then.
pub async fn update(conn: &mut Conn, order: &OrderRow, seen: i64) -> Result<bool, Error> {
    let sql = "UPDATE acme_orders SET step = $2, attempts = $3, next_try = $4, last_error = $5, progress = $6, \
               key_sealed = $7, finished_at = $8, revision = $9, updated_at = $10 \
               WHERE id = $1 AND revision = $11 AND finished_at IS NULL";
    let args = args![
        order.id.to_string(),
        &order.step,
        order.attempts,
        order.next_try,
        order.last_error.clone(),
        &order.progress,
        order.key_sealed.as_deref().map(text::base64),
        order.finished_at,
        order.stamp.revision,
        order.stamp.updated_at,
        seen,
    ];
    Ok(conn.run(sql, &args).await? == 1)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: AcmeOrderId) -> Result<Option<OrderRow>, Error> {
    let row = conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()]).await?;
    row.map(|row| read(&row)).transpose()
}

/// The one under way for exactly these names.
pub async fn open_for(conn: &mut Conn, names: &[HostPattern]) -> Result<Option<OrderRow>, Error> {
    let sql = concat!(columns!(), " AND names = $1 AND finished_at IS NULL");
    conn.row(sql, &args![names_key(names)]).await?.map(|row| read(&row)).transpose()
}

/// The one under way for a certificate.
pub async fn open_of_certificate(conn: &mut Conn, id: IdentityId) -> Result<Option<OrderRow>, Error> {
    let sql = concat!(columns!(), " AND certificate_id = $1 AND finished_at IS NULL ORDER BY id LIMIT 1");
    conn.row(sql, &args![id.to_string()]).await?.map(|row| read(&row)).transpose()
}

/// The names of an order that is under way with this account.
pub async fn open_of_account(conn: &mut Conn, account: AcmeAccountId) -> Result<Option<String>, Error> {
    let sql =
        "SELECT names FROM acme_orders WHERE account_id = $1 AND finished_at IS NULL ORDER BY id LIMIT 1";
    let row = conn.row(sql, &args![account.to_string()]).await?;
    row.map(|row| row.text("names")).transpose()
}

/// The certificates that orders are under way for, and whether the last step of that failed.
pub async fn certificates(conn: &mut Conn) -> Result<Vec<(IdentityId, bool)>, Error> {
    let sql = "SELECT certificate_id, last_error FROM acme_orders WHERE finished_at IS NULL LIMIT 100000";
    let rows = conn.rows(sql, &[]).await?;
    let read = |row: &Row| {
        let id = text::parsed(row, TABLE, "certificate_id", str::parse)?;
        Ok((id, row.text_or("last_error")?.is_some()))
    };
    rows.iter().map(read).collect()
}

/// Those whose next step is to be taken, the longest due first. One that waits until after `latest` does so because the
/// clock was ahead, and is due as well.
pub async fn due(conn: &mut Conn, now: i64, latest: i64) -> Result<Vec<AcmeOrderId>, Error> {
    let sql = "SELECT id FROM acme_orders WHERE finished_at IS NULL AND (next_try <= $1 OR next_try > $2) \
               ORDER BY next_try, id LIMIT 100";
    let rows = conn.rows(sql, &args![now, latest]).await?;
    rows.iter().map(|row| text::parsed(row, TABLE, "id", str::parse)).collect()
}

/// A page, newest first.
pub async fn list(conn: &mut Conn, filter: &Filter, slice: &Slice) -> Result<Vec<OrderRow>, Error> {
    let (open, ended) = (filter.open == Some(true), filter.open == Some(false));
    let select = Select::new(columns!())
        .and("certificate_id =", filter.certificate.as_ref())
        .and("finished_at IS NULL AND '' =", open.then_some(""))
        .and("finished_at IS NOT NULL AND '' =", ended.then_some(""))
        .slice("id", slice, true);
    select.rows(conn).await?.iter().map(read).collect()
}

/// Adds a line to an order's log, and forgets the oldest beyond its bound.
pub async fn log(conn: &mut Conn, id: AcmeOrderId, at: i64, message: &str) -> Result<(), Error> {
    let sql = "INSERT INTO acme_log (order_id, line, at, message) \
               SELECT $1, COALESCE(MAX(line), 0) + 1, $2, $3 FROM acme_log WHERE order_id = $1";
    conn.run(sql, &args![id.to_string(), at, message]).await?;
    let sql = "DELETE FROM acme_log WHERE order_id = $1 AND line <= \
               (SELECT MAX(line) FROM acme_log WHERE order_id = $1) - $2";
    conn.run(sql, &args![id.to_string(), LOG_LINES_MAX]).await.map(drop)
}

/// The log of an order, oldest line first.
pub async fn lines(conn: &mut Conn, id: AcmeOrderId) -> Result<Vec<LogRow>, Error> {
    let sql = "SELECT at, message FROM acme_log WHERE order_id = $1 ORDER BY line";
    let rows = conn.rows(sql, &args![id.to_string()]).await?;
    rows.iter().map(|row| Ok(LogRow { at: row.int("at")?, message: row.text("message")? })).collect()
}

/// Forgets orders that ended before `then`.
pub async fn purge(conn: &mut Conn, then: i64) -> Result<(), Error> {
    let sql = "DELETE FROM acme_log WHERE order_id IN (SELECT id FROM acme_orders WHERE finished_at < $1)";
    conn.run(sql, &args![then]).await?;
    conn.run("DELETE FROM acme_orders WHERE finished_at < $1", &args![then]).await.map(drop)
}

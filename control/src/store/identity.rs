//! Certificates: chains with their sealed keys, and those that still wait for a chain.

use std::fmt::Display;

use config::id::IdentityId;
use config::name::{HostPattern, Namespace};

use super::conn::{Arg, Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// How a certificate came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Issued by the internal authority for the host of a route.
    SelfSigned,
    /// Brought by somebody; also what was signed elsewhere for a request of ours.
    Upload,
    /// Ordered from an ACME authority.
    Acme,
}

impl Source {
    /// The word of rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SelfSigned => "self-signed",
            Self::Upload => "upload",
            Self::Acme => "acme",
        }
    }

    /// Reads [`Source::as_str`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let all = [Self::SelfSigned, Self::Upload, Self::Acme];
        let found = all.into_iter().find(|source| source.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no source; sources are self-signed, upload and acme"))
    }
}

/// What became of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was asked for and never issued: an order is under way or comes.
    Pending,
    /// Its request is signed elsewhere; the chain is loaded later.
    Waiting,
    /// It has a chain and can be served. `last_error` may tell of a renewal that failed.
    Active,
    /// It never had a chain and the last try failed; `next_try` says when the next one is.
    Failed,
    /// Its authority was told that it must not be trusted any more.
    Revoked,
}

impl Status {
    /// The word of rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Failed => "failed",
            Self::Revoked => "revoked",
        }
    }

    /// Reads [`Status::as_str`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let all = [Self::Pending, Self::Waiting, Self::Active, Self::Failed, Self::Revoked];
        let found = all.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| {
            format!("{text:?} is no status; they are pending, waiting, active, failed and revoked")
        })
    }
}

/// One certificate.
#[derive(Debug, Clone)]
pub struct IdentityRow {
    /// Its id, also of the identity that is published; the same before and after a renewal.
    pub id: IdentityId,
    /// What people call it; its first name unless they said otherwise. Not unique.
    pub name: String,
    /// Whose it is.
    pub namespace: Namespace,
    /// How it came.
    pub source: Source,
    /// What became of it.
    pub status: Status,
    /// The names it is for: those of its leaf, or those asked for until there is one.
    pub names: Vec<HostPattern>,
    /// The hosts of the routes that use it. Read only: rows of routes say it.
    pub served: Vec<HostPattern>,
    /// Certificates in DER, leaf first; empty until there are any.
    pub chain: Vec<Vec<u8>>,
    /// The key, sealed; empty until there is a chain.
    pub key_sealed: Vec<u8>,
    /// When it begins, in microseconds UTC.
    pub not_before: Option<i64>,
    /// When it ends, in microseconds UTC; 0 until there is a chain.
    pub expires_at: i64,
    /// Who signed it.
    pub issuer: Option<String>,
    /// Its number at the issuer, in lower-case hexadecimal digits.
    pub serial: Option<String>,
    /// `ecdsa-p256`, `rsa-2048`, …: of the key there is, or of the one to make.
    pub key_kind: Option<String>,
    /// The ACME account it is ordered with; `None` is the default one.
    pub account: Option<String>,
    /// `http-01`, `tls-alpn-01` or `dns-01`; `None` leaves the choice to the order.
    pub challenge: Option<String>,
    /// Why the last try failed, for people.
    pub last_error: Option<String>,
    /// When the next try is, in microseconds UTC.
    pub next_try: Option<i64>,
    /// The request that waits for its chain, in DER.
    pub csr: Option<Vec<u8>>,
    /// The key of that request, sealed.
    pub csr_key_sealed: Option<Vec<u8>>,
    /// Free text.
    pub note: String,
    /// Who made it.
    pub owner: Option<String>,
    /// Revision and times.
    pub stamp: Stamp,
}

impl IdentityRow {
    /// A certificate without a chain, for `names`.
    pub fn new(source: Source, namespace: Namespace, names: Vec<HostPattern>, now: i64) -> Self {
        Self {
            id: IdentityId::from_uuid(uuid::Uuid::now_v7()),
            name: names.first().map(HostPattern::to_string).unwrap_or_default(),
            namespace,
            source,
            status: Status::Pending,
            names,
            served: Vec::new(),
            chain: Vec::new(),
            key_sealed: Vec::new(),
            not_before: None,
            expires_at: 0,
            issuer: None,
            serial: None,
            key_kind: None,
            account: None,
            challenge: None,
            last_error: None,
            next_try: None,
            csr: None,
            csr_key_sealed: None,
            note: String::new(),
            owner: None,
            stamp: Stamp::new(now),
        }
    }

    /// Whether it has a chain and its key.
    pub fn is_issued(&self) -> bool {
        !self.chain.is_empty()
    }
}

/// Filters of a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By what people call it.
    pub name: Option<String>,
    /// By how it came.
    pub source: Option<String>,
    /// By what became of it.
    pub status: Option<String>,
    /// By namespace.
    pub namespace: Option<String>,
    /// Those that end before, in microseconds UTC.
    pub ends_before: Option<i64>,
}

const TABLE: &str = "identities";

macro_rules! columns {
    () => {
        "SELECT id, name, namespace, source, status, chain, key_sealed, not_before, expires_at, issuer, serial, key_kind, \
         account, challenge, last_error, next_try, csr, csr_key_sealed, note, owner, revision, created_at, updated_at \
         FROM identities WHERE deleted_at IS NULL"
    };
}

fn read(row: &Row) -> Result<IdentityRow, Error> {
    Ok(IdentityRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        name: row.text("name")?,
        namespace: text::parsed(row, TABLE, "namespace", Namespace::parse)?,
        source: text::parsed(row, TABLE, "source", Source::parse)?,
        status: text::parsed(row, TABLE, "status", Status::parse)?,
        names: Vec::new(),
        served: Vec::new(),
        chain: text::parsed(row, TABLE, "chain", |text| {
            text.split(' ').filter(|der| !der.is_empty()).map(text::unbase64).collect::<Result<_, _>>()
        })?,
        key_sealed: text::parsed(row, TABLE, "key_sealed", text::unbase64)?,
        not_before: row.int_or("not_before")?,
        expires_at: row.int("expires_at")?,
        issuer: row.text_or("issuer")?,
        serial: row.text_or("serial")?,
        key_kind: row.text_or("key_kind")?,
        account: row.text_or("account")?,
        challenge: row.text_or("challenge")?,
        last_error: row.text_or("last_error")?,
        next_try: row.int_or("next_try")?,
        csr: optional(row, "csr")?,
        csr_key_sealed: optional(row, "csr_key_sealed")?,
        note: row.text("note")?,
        owner: row.text_or("owner")?,
        stamp: Stamp::of(row)?,
    })
}

fn optional(row: &Row, column: &'static str) -> Result<Option<Vec<u8>>, Error> {
    match row.text_or(column)? {
        None => Ok(None),
        Some(_) => text::parsed(row, TABLE, column, text::unbase64).map(Some),
    }
}

/// All columns but the id and the time it was made, in the order of `$2` …
fn values(identity: &IdentityRow) -> [Arg; 21] {
    let chain: Vec<_> = identity.chain.iter().map(|der| text::base64(der)).collect();
    args![
        &identity.name,
        identity.namespace.as_str(),
        identity.source.as_str(),
        identity.status.as_str(),
        chain.join(" "),
        text::base64(&identity.key_sealed),
        identity.not_before,
        identity.expires_at,
        identity.issuer.clone(),
        identity.serial.clone(),
        identity.key_kind.clone(),
        identity.account.clone(),
        identity.challenge.clone(),
        identity.last_error.clone(),
        identity.next_try,
        identity.csr.as_deref().map(text::base64),
        identity.csr_key_sealed.as_deref().map(text::base64),
        &identity.note,
        identity.owner.clone(),
        identity.stamp.revision,
        identity.stamp.updated_at,
    ]
}

/// Adds one with its names.
pub async fn insert(conn: &mut Conn, identity: &IdentityRow) -> Result<(), Error> {
    let sql = "INSERT INTO identities (id, name, namespace, source, status, chain, key_sealed, not_before, expires_at, \
               issuer, serial, key_kind, account, challenge, last_error, next_try, csr, csr_key_sealed, note, owner, \
               revision, updated_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
               $15, $16, $17, $18, $19, $20, $21, $22, $23)";
    let mut args = args![identity.id.to_string()].to_vec();
    args.extend(values(identity));
    args.extend(args![identity.stamp.created_at]);
    conn.run(sql, &args).await?;
    insert_names(conn, identity).await
}

/// Writes all that may change, names included.
pub async fn update(conn: &mut Conn, identity: &IdentityRow) -> Result<(), Error> {
    let sql = "UPDATE identities SET name = $2, namespace = $3, source = $4, status = $5, chain = $6, key_sealed = $7, \
               not_before = $8, expires_at = $9, issuer = $10, serial = $11, key_kind = $12, account = $13, \
               challenge = $14, last_error = $15, next_try = $16, csr = $17, csr_key_sealed = $18, note = $19, \
               owner = $20, revision = $21, updated_at = $22 WHERE id = $1 AND deleted_at IS NULL";
    let mut args = args![identity.id.to_string()].to_vec();
    args.extend(values(identity));
    conn.run(sql, &args).await?;
    drop_names(conn, identity.id).await?;
    insert_names(conn, identity).await
}

async fn insert_names(conn: &mut Conn, identity: &IdentityRow) -> Result<(), Error> {
    for name in &identity.names {
        let sql = "INSERT INTO identity_names (pattern, identity_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        conn.run(sql, &args![name.to_string(), identity.id.to_string()]).await?;
    }
    Ok(())
}

async fn drop_names(conn: &mut Conn, id: IdentityId) -> Result<(), Error> {
    conn.run("DELETE FROM identity_names WHERE identity_id = $1", &args![id.to_string()]).await.map(drop)
}

/// Takes one away; its names are free again, its keys are gone.
pub async fn delete(conn: &mut Conn, id: IdentityId, now: i64) -> Result<(), Error> {
    drop_names(conn, id).await?;
    let sql = "UPDATE identities SET deleted_at = $2, key_sealed = '', csr_key_sealed = NULL \
               WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: IdentityId) -> Result<Option<IdentityRow>, Error> {
    let row = conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()]).await?;
    let Some(row) = row else { return Ok(None) };
    let mut found = [read(&row)?];
    complete(conn, &mut found).await?;
    Ok(found.into_iter().next())
}

const NAMES: &str = "SELECT identity_id AS id, pattern FROM identity_names WHERE pattern <> ''";
const SERVED: &str = "SELECT DISTINCT certificate_id AS id, host AS pattern FROM routes WHERE deleted_at IS NULL \
                      AND tls IN ('upload', 'acme')";

/// Reads the names, and what is served; `rows` are in the order of ids.
async fn complete(conn: &mut Conn, rows: &mut [IdentityRow]) -> Result<(), Error> {
    let ids: Vec<_> = rows.iter().map(|identity| identity.id.to_string()).collect();
    for row in Select::new(NAMES).among("identity_id", &ids, "pattern").rows(conn).await? {
        let (place, name) = pattern(rows, &row)?;
        if let Some(identity) = place {
            identity.names.push(name);
        }
    }
    for row in Select::new(SERVED).among("certificate_id", &ids, "host").rows(conn).await? {
        let (place, name) = pattern(rows, &row)?;
        if let Some(identity) = place {
            identity.served.push(name);
        }
    }
    Ok(())
}

fn pattern<'a>(
    rows: &'a mut [IdentityRow],
    row: &Row,
) -> Result<(Option<&'a mut IdentityRow>, HostPattern), Error> {
    let id: IdentityId = text::parsed(row, "identity_names", "id", str::parse)?;
    let name = text::parsed(row, "identity_names", "pattern", HostPattern::parse)?;
    let place = rows.binary_search_by_key(&id, |identity| identity.id).ok();
    Ok((place.and_then(|place| rows.get_mut(place)), name))
}

/// The leaf of the internal authority that is for exactly this pattern.
pub async fn self_signed(conn: &mut Conn, pattern: &HostPattern) -> Result<Option<IdentityId>, Error> {
    let sql = "SELECT i.id AS id FROM identity_names n JOIN identities i ON i.id = n.identity_id \
               WHERE n.pattern = $1 AND i.source = 'self-signed' AND i.deleted_at IS NULL ORDER BY i.id LIMIT 1";
    let row = conn.row(sql, &args![pattern.to_string()]).await?;
    row.map(|row| text::parsed(&row, TABLE, "id", str::parse)).transpose()
}

/// Those of one source whose names include one of `patterns`, newest first, a hundred at most.
pub async fn named(
    conn: &mut Conn,
    source: Source,
    patterns: &[impl Display + Sync],
) -> Result<Vec<IdentityRow>, Error> {
    let mut ids: Vec<IdentityId> = Vec::new();
    for pattern in patterns {
        let sql = "SELECT i.id AS id FROM identity_names n JOIN identities i ON i.id = n.identity_id \
                   WHERE n.pattern = $1 AND i.source = $2 AND i.deleted_at IS NULL ORDER BY i.id DESC LIMIT 100";
        for row in conn.rows(sql, &args![pattern.to_string(), source.as_str()]).await? {
            ids.push(text::parsed(&row, TABLE, "id", str::parse)?);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let mut found = Vec::with_capacity(ids.len());
    for id in ids.into_iter().rev().take(100) {
        found.extend(by_id(conn, id).await?);
    }
    Ok(found)
}

/// A page, in the order of ids, names included: three queries, whatever its size.
pub async fn list(conn: &mut Conn, filter: &Filter, slice: &Slice) -> Result<Vec<IdentityRow>, Error> {
    let select = Select::new(columns!())
        .and("name =", filter.name.as_ref())
        .and("source =", filter.source.as_ref())
        .and("status =", filter.status.as_ref())
        .and("namespace =", filter.namespace.as_ref())
        .and("chain <> '' AND expires_at <", filter.ends_before)
        .slice("id", slice, false);
    let mut identities = select.rows(conn).await?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    complete(conn, &mut identities).await?;
    Ok(identities)
}

/// The leaves of the internal authority that end before `then`, the first hundred.
pub async fn ending(conn: &mut Conn, then: i64) -> Result<Vec<IdentityId>, Error> {
    let sql = "SELECT id FROM identities WHERE expires_at < $1 AND source = 'self-signed' AND deleted_at IS NULL \
               ORDER BY expires_at LIMIT 100";
    let rows = conn.rows(sql, &args![then]).await?;
    rows.iter().map(|row| text::parsed(row, TABLE, "id", str::parse)).collect()
}

/// All leaves of the internal authority.
pub async fn all_self_signed(conn: &mut Conn) -> Result<Vec<IdentityId>, Error> {
    let sql = "SELECT id FROM identities WHERE source = 'self-signed' AND deleted_at IS NULL ORDER BY id";
    let rows = conn.rows(sql, &args![]).await?;
    rows.iter().map(|row| text::parsed(row, TABLE, "id", str::parse)).collect()
}

/// What is to be looked at: the certificates that end before `then` or whose last try failed, the first to end first.
pub async fn alarming(conn: &mut Conn, then: i64, most: i64) -> Result<Vec<IdentityRow>, Error> {
    let sql = concat!(
        columns!(),
        " AND ((chain <> '' AND expires_at < $1) OR last_error IS NOT NULL) ORDER BY expires_at, id LIMIT $2"
    );
    conn.rows(sql, &args![then, most]).await?.iter().map(read).collect()
}

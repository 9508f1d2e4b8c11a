//! How a certificate is shown: never with a key.

use serde::Serialize;
use utoipa::ToSchema;

use super::super::page::time;
use crate::options::tls_policy::pem;
use crate::store::identity::IdentityRow;

pub(super) const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// How long before its end a certificate is warned about, in microseconds: thirty days.
pub const WARN_BEFORE: i64 = 30 * DAY;

/// A certificate.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CertificateView {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The tenant that owns it.
    pub namespace: String,
    /// `self-signed`, `upload` or `acme`.
    pub source: String,
    /// `pending`, `waiting`, `active`, `failed` or `revoked`.
    pub status: String,
    /// The names it is for; those asked for until it is issued.
    pub names: Vec<String>,
    /// The hosts of the routes that use it.
    pub used_by: Vec<String>,
    /// Who signed it.
    pub issuer: Option<String>,
    /// Its number at the issuer, in hexadecimal digits.
    pub serial: Option<String>,
    /// From when it counts, RFC 3339.
    pub not_before: Option<String>,
    /// Until when it counts, RFC 3339.
    pub not_after: Option<String>,
    /// Whole days until then; negative when it ended.
    pub days: Option<i64>,
    /// What is to be looked at: it ends soon, or a renewal failed.
    pub warning: Option<String>,
    /// What was odd about what was brought, told once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// `ecdsa-p256`, `rsa-2048`, …
    pub key_type: Option<String>,
    /// The ACME account.
    pub account: Option<String>,
    /// `http-01`, `tls-alpn-01` or `dns-01`.
    pub challenge: Option<String>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// The order that is under way for it; of a single certificate only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Whom that order waits for: `authority`, `gateways`, `name-servers`, `control` or `next-try`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// When the next try is, RFC 3339.
    pub next_try: Option<String>,
    /// The certificates as PEM, leaf first; empty until there are any.
    pub certificate_chain: String,
    /// The request that waits to be signed, as PEM.
    pub certificate_signing_request: Option<String>,
    /// Free text.
    pub note: String,
    /// Who made it.
    pub owner: Option<String>,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// Shows a certificate.
pub fn of(row: &IdentityRow, now: i64) -> CertificateView {
    let ends = row.is_issued().then_some(row.expires_at);
    let used_by = if row.served.is_empty() && row.source == crate::store::identity::Source::SelfSigned {
        &row.names
    } else {
        &row.served
    };
    CertificateView {
        id: row.id.to_string(),
        name: row.name.clone(),
        namespace: row.namespace.to_string(),
        source: row.source.as_str().to_owned(),
        status: row.status.as_str().to_owned(),
        names: row.names.iter().map(ToString::to_string).collect(),
        used_by: used_by.iter().map(ToString::to_string).collect(),
        issuer: row.issuer.clone(),
        serial: row.serial.clone(),
        not_before: row.not_before.map(time),
        not_after: ends.map(time),
        days: ends.map(|ends| ends.saturating_sub(now).div_euclid(DAY)),
        warning: warning(row, now),
        warnings: Vec::new(),
        key_type: row.key_kind.clone(),
        account: row.account.clone(),
        challenge: row.challenge.clone(),
        last_error: row.last_error.clone(),
        order: None,
        waiting_for: None,
        next_try: row.next_try.map(time),
        certificate_chain: pem("CERTIFICATE", &row.chain),
        certificate_signing_request: row
            .csr
            .as_ref()
            .map(|csr| pem("CERTIFICATE REQUEST", std::slice::from_ref(csr))),
        note: row.note.clone(),
        owner: row.owner.clone(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
        updated_at: time(row.stamp.updated_at),
    }
}

/// What is to be looked at, if anything.
pub fn warning(row: &IdentityRow, now: i64) -> Option<String> {
    let left = row.expires_at.saturating_sub(now);
    let end = match (row.is_issued(), left.div_euclid(DAY)) {
        (false, _) => None,
        (true, _) if left < 0 => Some("it has ended".to_owned()),
        (true, 0) => Some("it ends today".to_owned()),
        (true, days) if left < WARN_BEFORE => Some(format!("it ends in {days} days")),
        (true, _) => None,
    };
    let failed = row.last_error.as_ref().map(|why| format!("the last try failed: {why}"));
    match (end, failed) {
        (Some(end), Some(failed)) => Some(format!("{end}; {failed}")),
        (end, failed) => end.or(failed),
    }
}

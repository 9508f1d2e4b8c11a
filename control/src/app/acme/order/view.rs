//! How an order is shown.

use serde::Serialize;
use utoipa::ToSchema;

use super::super::super::page::time;
use super::{Left, Step};
use crate::store::acme_order::{LogRow, OrderRow};

/// An order of a certificate.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OrderView {
    /// Its id.
    pub id: String,
    /// The certificate that it is for.
    pub certificate: String,
    /// Whose that is.
    pub namespace: String,
    /// The ACME account.
    pub account: String,
    /// The names, sorted.
    pub names: Vec<String>,
    /// How they are proved.
    pub challenge: String,
    /// `request` or `renewal`.
    pub reason: String,
    /// `open`, `done` or `cancelled`.
    pub state: String,
    /// What is done next: `register`, `preflight`, `prepare`, `start`, `publish`, `confirm`, `tell`, `validate`,
    /// `finalize`, `issue`, `download`, `install`, `clean`; `done` or `cancelled` in the end.
    pub step: String,
    /// Whom it waits for: `authority`, `gateways`, `name-servers`, `control`, or `next-try` after a failure; null when it
    /// ended.
    pub waiting_for: Option<String>,
    /// Failures so far.
    pub attempts: i64,
    /// When the next step is taken, RFC 3339; null when it ended.
    pub next_try: Option<String>,
    /// Why the last step failed.
    pub last_error: Option<String>,
    /// When it ended, RFC 3339.
    pub finished_at: Option<String>,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// What happened, oldest line first; of a single order only.
    pub log: Vec<LineView>,
}

/// One line of the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LineView {
    /// RFC 3339.
    pub at: String,
    /// What happened.
    pub message: String,
}

pub(super) fn of(row: &OrderRow, lines: Vec<LogRow>) -> OrderView {
    let state = match Step::parse(&row.step) {
        Some(Step::Done) => "done",
        Some(Step::Cancelled) => "cancelled",
        _ => "open",
    };
    OrderView {
        id: row.id.to_string(),
        certificate: row.certificate.to_string(),
        namespace: row.namespace.to_string(),
        account: row.account.to_string(),
        names: row.names.iter().map(ToString::to_string).collect(),
        challenge: row.challenge.clone(),
        reason: row.reason.clone(),
        state: state.to_owned(),
        step: row.step.clone(),
        waiting_for: waiting_for(row).map(str::to_owned),
        attempts: row.attempts,
        next_try: row.finished_at.is_none().then(|| time(row.next_try)),
        last_error: row.last_error.clone(),
        finished_at: row.finished_at.map(time),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
        updated_at: time(row.stamp.updated_at),
        log: lines.into_iter().map(|line| LineView { at: time(line.at), message: line.message }).collect(),
    }
}

/// Whom an order waits for.
pub(in super::super::super) fn waiting_for(row: &OrderRow) -> Option<&'static str> {
    if row.finished_at.is_some() {
        return None;
    }
    if row.last_error.is_some() {
        return Some("next-try");
    }
    Some(match Step::parse(&row.step)? {
        Step::Register
        | Step::Start
        | Step::Tell
        | Step::Validate
        | Step::Finalize
        | Step::Issue
        | Step::Download => "authority",
        Step::Confirm => match Left::parse(&row.progress) {
            Ok(left) if left.generation.is_none() => "name-servers",
            _ => "gateways",
        },
        Step::Preflight | Step::Clean => "name-servers",
        Step::Prepare | Step::Publish | Step::Install => "control",
        Step::Done | Step::Cancelled => return None,
    })
}

//! Audit rows: written with each change, listed for those who may see them, kept of what was refused.

pub mod told;

use config::grant::Role;
use config::name::Namespace;
use serde::Serialize;
use utoipa::ToSchema;

use super::change::{self, Note};
use super::page::{Asked, Page, page, time};
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::store::audit::{AuditRow, Filter, list as rows};

/// One thing that was done, or refused.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuditView {
    /// Its id, in the order of time.
    pub id: String,
    /// When, RFC 3339.
    pub at: String,
    /// Who.
    pub actor: String,
    /// How they proved it: `jwt`, `socket`, `setup`.
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
    /// The object before, without secrets.
    pub before: Option<serde_json::Value>,
    /// The object after, without secrets; of what happened at a gateway, what is known of it. One row may stand for several: its
    /// `why` says for how many more within a minute, its bytes and seconds are of all of them, and it has no session.
    pub after: Option<serde_json::Value>,
    /// `done`, or why not.
    pub result: String,
}

fn view(row: &AuditRow) -> AuditView {
    let json = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str(text).ok());
    AuditView {
        id: row.id.clone(),
        at: time(row.at),
        actor: row.actor.clone(),
        method: row.method.clone(),
        token_id: row.token_id.clone(),
        source: row.source.clone(),
        request_id: row.request_id.clone(),
        action: row.action.clone(),
        object_kind: row.object_kind.clone(),
        object_id: row.object_id.clone(),
        namespace: row.namespace.clone(),
        before: json(&row.before),
        after: json(&row.after),
        result: row.result.clone(),
    }
}

/// A page, newest first: everything for root, the rows of their namespaces for administrators.
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    asked: &Asked,
) -> Result<Page<AuditView>, Error> {
    let visible = if caller.actor.is_root() { None } else { Some(namespaces(caller)?) };
    let slice = asked.slice(visible)?;
    let rows = rows(&mut app.db.read().await?, filter, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.clone(), view))
}

/// The namespaces whose rows the caller may read, by name: rows of no namespace are about the whole, and root's.
fn namespaces(caller: &Caller) -> Result<Vec<String>, Error> {
    let names = caller.visible(Role::Admin)?.unwrap_or_default();
    match names.first() {
        Some(name) => {
            let name = Namespace::parse(name).map_err(|error| Error::Internal(error.to_string()))?;
            caller.allow(Action::Read, Resource::Audits(Some(&name)))?;
            Ok(names)
        }
        None => {
            caller.allow(Action::Read, Resource::Audits(None))?;
            Ok(names)
        }
    }
}

/// Writes down that a signed-in caller was refused. Best effort: a failure here changes no answer.
pub async fn refused(app: &App, caller: &Caller, action: &'static str, what: &str, why: &str) {
    if !matches!(caller.actor, crate::auth::Actor::Token { .. }) {
        // Anonymous attempts would let anyone fill the table; they are counted and logged instead.
        return;
    }
    let note = Note { action, kind: "request", id: Some(what.chars().take(200).collect()), namespace: None };
    let row = change::row(caller, app.clock.now(), note, why);
    let written = async {
        let mut conn = app.db.write().await?;
        crate::store::audit::insert(&mut conn, row).await?;
        conn.commit().await
    };
    if let Err(error) = written.await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a refusal could not be written to the audit"
        );
    }
}

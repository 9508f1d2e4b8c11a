//! Accounts with ACME authorities. What they are known by, and what opens a DNS zone, is sealed and never shown.

mod dns;
mod input;

use config::id::AcmeAccountId;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::change::{Note, Scope};
use super::super::input::{Input, Members};
use super::super::page::{Asked, Page, Precondition, page, time};
use super::super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::store::acme_account::AccountRow;
use crate::store::{self, Conn};

pub use dns::{DNS_PURPOSE, Dns, Provider};
pub use input::KNOWN;

/// What credentials are sealed for.
pub const CREDENTIALS_PURPOSE: &str = "acme-account";
/// What the keys of external accounts are sealed for.
pub const EAB_PURPOSE: &str = "acme-external-account";

/// An account without its secrets.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AccountView {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// URL of the authority's directory.
    pub directory: String,
    /// Mail addresses.
    pub contacts: Vec<String>,
    /// How names are proved unless a certificate says otherwise.
    pub challenge: String,
    /// Key id of an external account.
    pub eab_kid: Option<String>,
    /// Whether roots besides the machine's are trusted for it.
    pub has_roots: bool,
    /// Where names are looked up; empty for the resolvers of control's machine.
    pub resolvers: Vec<String>,
    /// Where TXT records are put, without the secret.
    #[schema(value_type = Option<Object>)]
    pub dns: Option<Value>,
    /// URL of the account at the authority; null until the first order registered it.
    pub url: Option<String>,
    /// When the authority's terms were agreed to, RFC 3339.
    pub terms_agreed_at: String,
    /// Why the last registration failed.
    pub last_error: Option<String>,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
}

fn view(row: &AccountRow) -> AccountView {
    AccountView {
        id: row.id.to_string(),
        name: row.name.clone(),
        directory: row.directory.clone(),
        contacts: row.contacts.clone(),
        challenge: row.challenge.clone(),
        eab_kid: row.eab_kid.clone(),
        has_roots: !row.roots.is_empty(),
        resolvers: row.resolvers.iter().map(ToString::to_string).collect(),
        dns: row.dns.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        url: row.url.clone(),
        terms_agreed_at: time(row.agreed_at),
        last_error: row.last_error.clone(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
    }
}

/// Makes an account known. The authority is asked at the first order.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<AccountView, Error> {
    caller.allow(Action::Create, Resource::AcmeAccounts)?;
    let read = input::read(Input::new(members), app.keys.as_ref())?;
    let mut change = app.begin(caller, Scope::Private).await?;
    if let Some(other) = store::acme_account::by_name(change.conn(), &read.name).await? {
        let message = format!("an ACME account is called {} already ({})", other.name, other.id);
        return Err(Error::Conflict { field: "name", message });
    }
    let row = read.row(change.now());
    store::acme_account::insert(change.conn(), &row).await?;
    let view = view(&row);
    change.audit(note("create", &row), None, Some(&view)).await?;
    change.commit().await?;
    Ok(view)
}

/// A page of accounts.
pub async fn list(
    app: &App,
    caller: &Caller,
    name: Option<&str>,
    asked: &Asked,
) -> Result<Page<AccountView>, Error> {
    caller.allow(Action::Read, Resource::AcmeAccounts)?;
    let slice = asked.slice(None)?;
    let rows = store::acme_account::list(&mut app.db.read().await?, name, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), view))
}

/// Shows an account, by id or name.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<AccountView, Error> {
    caller.allow(Action::Read, Resource::AcmeAccounts)?;
    Ok(view(&found(&mut app.db.read().await?, id).await?))
}

/// Takes an account away, unless an open order or a certificate needs it. The authority keeps its side: certificates
/// that it issued stay valid.
pub async fn delete(app: &App, caller: &Caller, id: &str, precondition: &Precondition) -> Result<(), Error> {
    caller.allow(Action::Delete, Resource::AcmeAccounts)?;
    let mut change = app.begin(caller, Scope::Private).await?;
    let row = found(change.conn(), id).await?;
    precondition.allow(row.stamp.revision)?;
    if let Some(names) = store::acme_order::open_of_account(change.conn(), row.id).await? {
        let message = format!("an order for {names} is under way with {}; cancel it first", row.name);
        return Err(Error::Conflict { field: "", message });
    }
    let now = change.now();
    store::acme_account::delete(change.conn(), row.id, now).await?;
    change.audit(note("delete", &row), Some(&view(&row)), None).await?;
    change.commit().await.map(drop)
}

/// The account that this names, by id or name.
pub async fn found(conn: &mut Conn, id: &str) -> Result<AccountRow, Error> {
    let row = match id.parse::<AcmeAccountId>() {
        Ok(id) => store::acme_account::by_id(conn, id).await?,
        Err(_) => store::acme_account::by_name(conn, id).await?,
    };
    row.ok_or_else(|| Error::NotFound { kind: "ACME account", name: id.chars().take(80).collect() })
}

fn note<'a>(action: &'static str, row: &AccountRow) -> Note<'a> {
    Note { action, kind: "acme_account", id: Some(row.id.to_string()), namespace: None }
}

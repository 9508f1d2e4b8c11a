//! API tokens: made, listed, revoked. The text of a token is shown once, to whoever had it made.

use config::grant::Grants;
use config::id::TokenId;
use config::limits::TOKEN_SECONDS;
use serde::Serialize;
use utoipa::ToSchema;

use super::change::{Change, Note, Scope};
use super::input::{Input, Members, Said};
use super::page::{Asked, Page, page, time};
use super::{App, Caller, Error, user};
use crate::auth::rbac::{Action, Denied, Resource};
use crate::auth::{Actor, duration, token};
use crate::store::token::TokenRow;
use crate::store::user::UserRow;
use crate::store::{self, Stamp};

/// A token without its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenView {
    /// Its id, the claim `jti`.
    pub id: String,
    /// The name of its user.
    pub subject: String,
    /// The id of its user.
    pub user: String,
    /// What it may do at most.
    pub grant: String,
    /// Free text.
    pub note: String,
    /// Who had it made.
    pub issued_by: String,
    /// RFC 3339.
    pub expires_at: String,
    /// RFC 3339.
    pub created_at: String,
}

/// A token that was just made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NewToken {
    /// What to send behind `Authorization: Bearer`. Shown this once.
    pub token: String,
    /// The rest.
    #[serde(flatten)]
    pub view: TokenView,
}

/// Members that may be set.
pub const KNOWN: &[&str] = &["subject", "duration", "grant", "grants", "note"];
const PLANNED: &[&str] = &["aud", "ip_allow", "token_use"];

fn view(row: &TokenRow, subject: &str) -> TokenView {
    TokenView {
        id: row.id.to_string(),
        subject: subject.to_owned(),
        user: row.user.to_string(),
        grant: row.grants.to_string(),
        note: row.note.clone(),
        issued_by: row.issued_by.clone(),
        expires_at: time(row.expires_at),
        created_at: time(row.stamp.created_at),
    }
}

/// Makes a token: for oneself, or for anyone by root.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<NewToken, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    input.unsupported(PLANNED);
    let subject = match (input.text("subject").some(), &caller.actor) {
        (Some(subject), _) => Some(subject),
        (None, Actor::Token { name, .. }) => Some(name.to_string()),
        (None, Actor::Local | Actor::Setup | Actor::Anonymous) => {
            if input.is_sound_at("subject") {
                input.invalid("subject", "required", "subject is missing: whose token is it?");
            }
            None
        }
    };
    let seconds = seconds(&mut input);
    let asked = user::grants(&mut input);
    let note = input.note("note");
    let Some(subject) = subject else { return Err(input.refuse(KNOWN)) };
    input.finish(KNOWN)?;
    let mut change = app.begin(caller, Scope::Private).await?;
    let user = subject_row(&mut change, caller, &subject).await?;
    let grants = asked.or(user.grants.clone());
    if !user.grants.covers(&grants) {
        let message = format!("{} holds {:?}; a token cannot have more", user.name, user.grants.to_string());
        return Err(Error::Invalid(vec![super::Violation::new("grant", "exceeds", message)]));
    }
    user::may_grant(caller, &grants)?;
    let expires_at = change.now() + i64::try_from(seconds).unwrap_or(0) * 1_000_000;
    outlives(&mut change, caller, expires_at).await?;
    let new = issue(app, &mut change, &user, (grants, expires_at, note.or(String::new()))).await?;
    change.commit().await?;
    Ok(new)
}

/// Makes a token inside a larger change.
pub(super) async fn issue(
    app: &App,
    change: &mut Change<'_>,
    user: &UserRow,
    (grants, expires_at, note): (Grants, i64, String),
) -> Result<NewToken, Error> {
    let row = TokenRow {
        id: TokenId::from_uuid(uuid::Uuid::now_v7()),
        user: user.id,
        grants,
        note,
        issued_by: change.caller().actor.name().to_owned(),
        expires_at,
        stamp: Stamp::new(change.now()),
    };
    store::token::insert(change.conn(), &row).await?;
    let claims = token::claims(&row, user.name.as_str());
    let text = app.keys.sign_token(&claims).map_err(|error| Error::Internal(error.to_string()))?;
    let view = view(&row, user.name.as_str());
    change.audit(audit("create", &row), None, Some(&view)).await?;
    Ok(NewToken { token: text, view })
}

fn seconds(input: &mut Input) -> u64 {
    let Said::This(text) = input.text("duration") else { return TOKEN_SECONDS.0 };
    match duration::parse(&text) {
        Ok(seconds) if (1..=TOKEN_SECONDS.1).contains(&seconds) => seconds,
        Ok(_) => {
            let message = format!("{text:?} is not between 1s and {}h", TOKEN_SECONDS.1 / 3600);
            input.invalid("duration", "range", message);
            TOKEN_SECONDS.0
        }
        Err(why) => {
            input.unparsable("duration", why);
            TOKEN_SECONDS.0
        }
    }
}

async fn subject_row(change: &mut Change<'_>, caller: &Caller, subject: &str) -> Result<UserRow, Error> {
    let user = match user::found(change.conn(), caller, subject).await {
        Ok(user) => user,
        Err(Error::NotFound { .. }) if caller.actor.is_root() => {
            let message = format!("no user is called {:?}", subject.chars().take(80).collect::<String>());
            return Err(Error::Invalid(vec![super::Violation::new("subject", "unknown", message)]));
        }
        // The same answer whether or not there is such a user: names are not to be guessed here.
        Err(Error::NotFound { .. }) => return Err(Denied { missing: "root".into(), anonymous: false }.into()),
        Err(error) => return Err(error),
    };
    caller.allow(Action::Create, Resource::Tokens(user.id))?;
    if !user.enabled {
        let message = format!("user {} is disabled", user.name);
        return Err(Error::Invalid(vec![super::Violation::new("subject", "disabled", message)]));
    }
    Ok(user)
}

/// A token makes no token that outlives it: a stolen one could otherwise renew itself for ever.
async fn outlives(change: &mut Change<'_>, caller: &Caller, expires_at: i64) -> Result<(), Error> {
    let Actor::Token { token, .. } = &caller.actor else { return Ok(()) };
    let own = store::token::by_id(change.conn(), *token).await?;
    if own.is_none_or(|own| own.expires_at < expires_at) {
        let message =
            "a token makes no token that outlives it; ask for less, or make it on the machine itself";
        return Err(Error::Invalid(vec![super::Violation::new("duration", "exceeds", message)]));
    }
    Ok(())
}

/// A page of the tokens that have not ended: all for root, one's own for others.
pub async fn list(app: &App, caller: &Caller, asked: &Asked) -> Result<Page<TokenView>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let own = match &caller.actor {
        Actor::Token { user, grants, .. } if !grants.is_root() => Some(*user),
        Actor::Token { .. } | Actor::Local | Actor::Setup | Actor::Anonymous => None,
    };
    let slice = asked.slice(None)?;
    let mut conn = app.db.read().await?;
    let rows = store::token::list(&mut conn, own, app.clock.now(), &slice).await?;
    let mut named = Vec::with_capacity(rows.len());
    for row in rows {
        let user = store::user::by_id(&mut conn, row.user).await?;
        named.push((row, user.map(|user| user.name.to_string()).unwrap_or_default()));
    }
    Ok(page(named, &slice, |(row, _)| row.id.to_string(), |(row, subject)| view(row, subject)))
}

/// Revokes a token: one's own, or anyone's by root.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let nothing = || Error::NotFound { kind: "token", name: id.chars().take(80).collect() };
    let token = id.parse().map_err(|_| nothing())?;
    let mut change = app.begin(caller, Scope::Private).await?;
    let row = store::token::by_id(change.conn(), token).await?.ok_or_else(nothing)?;
    caller.allow(Action::Delete, Resource::Tokens(row.user)).map_err(|_| nothing())?;
    let now = change.now();
    store::token::delete(change.conn(), row.id, now).await?;
    let subject = store::user::by_id(change.conn(), row.user).await?.map(|user| user.name.to_string());
    let before = view(&row, subject.as_deref().unwrap_or_default());
    change.audit(audit("delete", &row), Some(&before), None).await?;
    change.commit().await.map(drop)
}

fn audit<'a>(action: &'static str, row: &TokenRow) -> Note<'a> {
    Note { action, kind: "token", id: Some(row.id.to_string()), namespace: None }
}

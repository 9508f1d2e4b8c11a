//! The first start: one root user, made once by whoever holds the printed token.

use config::id::UserId;
use config::limits::TOKEN_SECONDS;
use config::name::UserName;
use config::secret::Secret;

use super::change::Scope;
use super::input::{Input, Members, Said};
use super::token::NewToken;
use super::{App, Caller, Error, token, user};
use crate::auth::Actor;
use crate::auth::rbac::{Action, Resource};
use crate::auth::token::{SETUP_PREFIX, authenticate, hash, one_time};
use crate::store::user::UserRow;
use crate::store::{self, Stamp};

/// Members that may be set.
pub const KNOWN: &[&str] = &["token", "name"];

impl App {
    /// The one-time token of the first start: new at each start until a root user exists, `None` for ever afterwards.
    /// It is stored as a hash only; print it once.
    pub async fn setup_token(&self) -> Result<Option<Secret<String>>, Error> {
        let caller = Caller::ourselves("setup");
        let mut change = self.begin(&caller, Scope::Private).await?;
        if store::meta::read(change.conn()).await?.setup_closed {
            return Ok(None);
        }
        let token = one_time(SETUP_PREFIX)?;
        store::meta::set_setup_hash(change.conn(), &hash(token.expose())).await?;
        change.commit().await?;
        Ok(Some(token))
    }
}

/// Makes the first root user and gives a token for it. The setup token comes as bearer or in the body.
pub async fn run(app: &App, caller: &Caller, members: Members) -> Result<NewToken, Error> {
    let mut input = Input::new(members);
    let shown = input.text("token").some();
    let mut caller = caller.clone();
    if let Some(shown) = shown
        && caller.actor != Actor::Setup
    {
        if !shown.starts_with(SETUP_PREFIX) {
            return Err(Error::Unauthenticated("this is no setup token; the start prints one".into()));
        }
        caller.actor = authenticate(app, &shown).await?;
    }
    caller.allow(Action::Create, Resource::Setup)?;
    let name = input.parsed("name", "invalid", UserName::parse);
    let root = UserName::parse("root").map_err(|error| Error::Internal(error.to_string()))?;
    let name = match name {
        Said::This(name) if name.as_str().len() < 3 => {
            input.invalid("name", "invalid", "a name has 3 to 32 characters");
            name
        }
        Said::This(name) => name,
        Said::Nothing | Said::Null => root,
    };
    input.finish(KNOWN)?;
    let mut change = app.begin(&caller, Scope::Published).await?;
    // Two holders at once: the second finds the door closed.
    if store::meta::read(change.conn()).await?.setup_closed {
        return Err(Error::Conflict { field: "token", message: "the setup is closed".into() });
    }
    let grants =
        "root".parse().map_err(|error: config::grant::GrantError| Error::Internal(error.to_string()))?;
    let row = UserRow {
        id: UserId::from_uuid(uuid::Uuid::now_v7()),
        name,
        enabled: true,
        grants,
        ssh_until: None,
        ssh_sessions_max: None,
        note: String::new(),
        stamp: Stamp::new(change.now()),
    };
    user::insert(&mut change, &row).await?;
    let seconds = i64::try_from(TOKEN_SECONDS.1).unwrap_or(0);
    let expires_at = change.now() + seconds * 1_000_000;
    let new = token::issue(app, &mut change, &row, (row.grants.clone(), expires_at, "setup".into())).await?;
    change.commit().await?;
    Ok(new)
}

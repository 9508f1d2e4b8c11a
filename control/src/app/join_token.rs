//! Join tokens: one use, one hour, made by root for a gateway to be.

use config::id::TokenId;
use config::limits::JOIN_TOKEN_SECONDS;
use config::name::GatewayName;
use config::secret::Secret;
use config::sync::join::JoinToken;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use utoipa::ToSchema;

use super::change::{Change, Note, Scope};
use super::input::{Input, Members, Said};
use super::page::{Asked, Page, page, time};
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::auth::{duration, token};
use crate::store::join_token::JoinTokenRow;
use crate::store::{self, Stamp};

/// A join token without its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JoinTokenView {
    /// Its id.
    pub id: String,
    /// The only name it may enrol.
    pub name: Option<String>,
    /// Who had it made.
    pub issued_by: String,
    /// RFC 3339.
    pub expires_at: String,
    /// When it was used, RFC 3339.
    pub used_at: Option<String>,
    /// RFC 3339.
    pub created_at: String,
}

/// A join token that was just made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NewJoinToken {
    /// What the gateway is started with. Shown this once.
    pub token: String,
    /// The internal authority, so that the gateway's first connection is already verified.
    pub ca: String,
    /// The rest.
    #[serde(flatten)]
    pub view: JoinTokenView,
}

/// Members that may be set.
pub const KNOWN: &[&str] = &["name", "duration"];

fn view(row: &JoinTokenRow) -> JoinTokenView {
    JoinTokenView {
        id: row.id.to_string(),
        name: row.gateway_name.as_ref().map(ToString::to_string),
        issued_by: row.issued_by.clone(),
        expires_at: time(row.expires_at),
        used_at: row.used_at.map(time),
        created_at: time(row.stamp.created_at),
    }
}

/// Makes a join token.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<NewJoinToken, Error> {
    caller.allow(Action::Create, Resource::Gateways)?;
    let mut input = Input::new(members);
    let name = input.parsed("name", "invalid", GatewayName::parse).some();
    let seconds = match input.text("duration") {
        Said::Nothing | Said::Null => JOIN_TOKEN_SECONDS,
        Said::This(text) => match duration::parse(&text) {
            Ok(seconds) if (1..=JOIN_TOKEN_SECONDS * 24).contains(&seconds) => seconds,
            Ok(_) => {
                input.invalid("duration", "range", format!("{text:?} is not between 1s and 24h"));
                JOIN_TOKEN_SECONDS
            }
            Err(why) => {
                input.unparsable("duration", why);
                JOIN_TOKEN_SECONDS
            }
        },
    };
    input.finish(KNOWN)?;
    let mut change = app.begin(caller, Scope::Private).await?;
    let (text, view) = issue(&mut change, name, seconds).await?;
    change.commit().await?;
    let token = word(app, text)?.expose().clone();
    Ok(NewJoinToken { token, ca: app.authority.certificate_pem(), view })
}

async fn issue(
    change: &mut Change<'_>,
    gateway_name: Option<GatewayName>,
    seconds: u64,
) -> Result<(Secret<String>, JoinTokenView), Error> {
    let text = token::one_time(token::JOIN_PREFIX)?;
    let row = JoinTokenRow {
        id: TokenId::from_uuid(uuid::Uuid::now_v7()),
        hash: token::hash(text.expose()),
        gateway_name,
        issued_by: change.caller().actor.name().to_owned(),
        expires_at: change.now() + i64::try_from(seconds).unwrap_or(0) * 1_000_000,
        used_at: None,
        gateway: None,
        csr_digest: None,
        stamp: Stamp::new(change.now()),
    };
    store::join_token::insert(change.conn(), &row).await?;
    let view = view(&row);
    change.audit(note("create", &row), None, Some(&view)).await?;
    Ok((text, view))
}

/// A join token for a gateway of this machine, made by control itself.
pub async fn local(app: &App, name: &GatewayName) -> Result<Secret<String>, Error> {
    let caller = Caller::ourselves("up");
    let mut change = app.begin(&caller, Scope::Private).await?;
    let (text, _) = issue(&mut change, Some(name.clone()), JOIN_TOKEN_SECONDS).await?;
    change.commit().await?;
    word(app, text)
}

/// The secret with what a gateway needs besides it, as one word: whom to trust and where to dial.
fn word(app: &App, secret: Secret<String>) -> Result<Secret<String>, Error> {
    let pem = app.authority.certificate_pem();
    let authority = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| Error::Internal(format!("the authority cannot be read: {error}")))?
        .to_vec();
    // An address that only this machine can dial is still right for the gateway beside us.
    let addresses = app.addresses().sync.into_iter().map(|at| crate::up::dialled(at).to_string()).collect();
    Ok(JoinToken { secret, authority, addresses }.format())
}

/// A page of join tokens, used ones included.
pub async fn list(app: &App, caller: &Caller, asked: &Asked) -> Result<Page<JoinTokenView>, Error> {
    caller.allow(Action::Read, Resource::Gateways)?;
    let slice = asked.slice(None)?;
    let rows = store::join_token::list(&mut app.db.read().await?, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), view))
}

/// Takes a join token back.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<(), Error> {
    caller.allow(Action::Delete, Resource::Gateways)?;
    let nothing = || Error::NotFound { kind: "join token", name: id.chars().take(80).collect() };
    let id = id.parse().map_err(|_| nothing())?;
    let mut change = app.begin(caller, Scope::Private).await?;
    let row = store::join_token::by_id(change.conn(), id).await?.ok_or_else(nothing)?;
    let now = change.now();
    store::join_token::delete(change.conn(), row.id, now).await?;
    change.audit(note("delete", &row), Some(&view(&row)), None).await?;
    change.commit().await.map(drop)
}

fn note<'a>(action: &'static str, row: &JoinTokenRow) -> Note<'a> {
    Note { action, kind: "join_token", id: Some(row.id.to_string()), namespace: None }
}

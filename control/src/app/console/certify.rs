//! What gateways ask to open a terminal, and what is answered: a certificate of minutes, and whose host key is the VM's.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use config::grant::Role;
use config::id::{GatewayId, VmId};
use config::limits;
use config::secret::Secret;
use config::snapshot::ConsoleKind;
use config::sync::asking::Answer;
use config::ticket::{self, Claims, Seen};
use russh::keys::PublicKey;
use serde::Serialize;

use super::super::change::{Note, Scope};
use super::super::ssh::own::{Terminal, certify_terminal};
use super::super::vm_host_key;
use super::super::{App, Caller, Error};
use crate::store;
use crate::store::console::ConsoleRow;

/// A certificate for the key of a gateway that showed its own. What fails inside is logged, and told as that.
pub async fn answer_certify(app: &App, gateway: GatewayId, ticket: &Secret<String>, key: &[u8]) -> Answer {
    told(gateway, certify(app, gateway, ticket, key).await)
}

/// Whether a host key that a gateway met is the VM's.
pub async fn answer_host_key(app: &App, gateway: GatewayId, vm: VmId, key: &[u8]) -> Answer {
    let seen = vm_host_key::seen(app, vm, key).await;
    told(gateway, seen.map(|seen| seen.map_or_else(refused, Answer::HostKey)))
}

fn told(gateway: GatewayId, answered: Result<Answer, Error>) -> Answer {
    answered.unwrap_or_else(|error| {
        tracing::warn!(%gateway, error = &error as &dyn std::error::Error, "a gateway was not answered");
        refused("control cannot answer just now; try again in a moment")
    })
}

fn refused(why: &str) -> Answer {
    Answer::Refused(why.to_owned())
}

/// What the audit keeps of a certificate.
#[derive(Debug, Serialize)]
struct Certified<'a> {
    session: String,
    user: Option<String>,
    login: &'a str,
    gateway: String,
    key: String,
}

/// Certifies a gateway's key for the account of a terminal: for whoever holds the ticket, and only while that person may
/// use the machine.
async fn certify(
    app: &App,
    gateway: GatewayId,
    ticket: &Secret<String>,
    key: &[u8],
) -> Result<Answer, Error> {
    let caller = Caller::ourselves("terminals");
    let mut change = app.begin(&caller, Scope::Private).await?;
    let now_ms = u64::try_from(change.now() / 1_000).unwrap_or(0);
    let Some(claims) = verified(change.conn(), ticket, now_ms).await? else {
        return Ok(refused("the ticket is not, or no longer, good; ask for a new one"));
    };
    let Some(row) = store::console::by_id(change.conn(), claims.console).await? else {
        return Ok(refused("the console of this ticket does not exist any more"));
    };
    // Which gateway it names is no matter here: another one that shows it has redeemed it there.
    let is_its = claims.vm == row.vm.id && row.kind == ConsoleKind::Ssh;
    if !is_its || claims.kind != ConsoleKind::Ssh {
        return Ok(refused("the ticket is not for a terminal of this gate"));
    }
    let now = change.now();
    let Some(who) = person(change.conn(), &claims, &row, now).await? else {
        return Ok(refused("you may not open this console any more"));
    };
    let Ok(key) = PublicKey::from_bytes(key) else {
        return Ok(refused("the gate's key cannot be read"));
    };
    // Stands in the log of the VM's sshd.
    let key_id = format!("gatehouse terminal of {who}, session {}", claims.session);
    let certificate = certify_terminal(app, Terminal { key: &key, login: row.login(), key_id }).await?;
    let certificate = certificate.to_openssh().map_err(|error| Error::Internal(error.to_string()))?;
    let certified = Certified {
        session: claims.session.to_string(),
        user: claims.user.map(|user| user.to_string()),
        login: row.login(),
        gateway: gateway.to_string(),
        key: key.fingerprint(russh::keys::HashAlg::Sha256).to_string(),
    };
    let (id, namespace) = (Some(row.id.to_string()), Some(row.namespace.as_str()));
    change.audit(Note { action: "certify", kind: "console", id, namespace }, None, Some(&certified)).await?;
    change.commit().await?;
    Ok(Answer::Certified { certificate, login: row.login().to_owned() })
}

async fn verified(
    conn: &mut store::Conn,
    ticket: &Secret<String>,
    now_ms: u64,
) -> Result<Option<Claims>, Error> {
    let keys = store::signing_key::all(conn).await?;
    let look = |id, bytes: &[u8], signature: &[u8; 64]| match keys.iter().find(|key| key.id == id) {
        None => Seen::UnknownKey,
        Some(key) => match UnparsedPublicKey::new(&ED25519, key.public_key).verify(bytes, signature) {
            Ok(()) => Seen::Authentic,
            Err(_) => Seen::Forged,
        },
    };
    // The gateway redeemed it in time; what it does until it asks takes a moment.
    let at = (now_ms, limits::TERMINAL_OPEN_DEADLINE_MS);
    Ok(ticket::verify(ticket.expose(), at, look).ok())
}

/// Who the ticket is for, as they may use the machine now; root on control's own machine has no account.
async fn person(
    conn: &mut store::Conn,
    claims: &Claims,
    row: &ConsoleRow,
    now: i64,
) -> Result<Option<String>, Error> {
    let Some(user) = claims.user else { return Ok(Some("root".to_owned())) };
    let user = store::user::by_id(conn, user).await?;
    let may = user.filter(|user| {
        user.enabled && user.grants.allows(Role::Operator, &row.namespace) && user.has_ssh(now)
    });
    Ok(may.map(|user| user.name.to_string()))
}

//! Bearer tokens: what is in them, and what they are worth at the moment they are shown.

use config::grant::Grants;
use config::id::{TokenId, UserId};
use config::secret::Secret;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Actor;
use crate::app::{App, Error};
use crate::store;
use crate::store::token::TokenRow;

/// Who signs.
const ISSUER: &str = "gatehouse";
/// What a token may be used as.
const USE: &str = "access";
/// How the setup token begins.
pub const SETUP_PREFIX: &str = "gh-setup-";
/// How join tokens begin.
pub const JOIN_PREFIX: &str = "gh-join-";
/// Random bytes of a one-time token.
const ONE_TIME_BYTES: usize = 32;
/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The claims of a token.
pub fn claims(row: &TokenRow, subject: &str) -> Value {
    json!({
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": subject,
        "uid": row.user.to_string(),
        "jti": row.id.to_string(),
        "iat": row.stamp.created_at / 1_000_000,
        // Rounded up: the row, which is exact, decides.
        "exp": row.expires_at.div_euclid(1_000_000) + 1,
        "token_use": USE,
        "grant": row.grants.to_string(),
    })
}

/// Who a bearer token speaks for now.
///
/// Checked at every use: signature, end, revocation, that the user is there and enabled, and that the user still holds
/// what the token was given.
///
/// Errors: [`Error::Unauthenticated`], saying which; or the store fails.
pub async fn authenticate(app: &App, token: &str) -> Result<Actor, Error> {
    let refused = |why: &str| Error::Unauthenticated(why.to_owned());
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refused("the token is too long to be one"));
    }
    if token.starts_with(SETUP_PREFIX) {
        return setup(app, token).await;
    }
    let claims = app
        .keys
        .verify_token(token)
        .map_err(|_| refused("the token is not one of this installation, or was altered"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("token_use") != USE || text("iss") != ISSUER {
        return Err(refused("the token is not an access token"));
    }
    let id: TokenId = text("jti").parse().map_err(|_| refused("the token has no id"))?;
    let user: UserId = text("uid").parse().map_err(|_| refused("the token has no user"))?;
    let now = app.clock.now();
    let ends = claims.get("exp").and_then(Value::as_i64).ok_or_else(|| refused("the token has no end"))?;
    if now >= ends.saturating_mul(1_000_000) {
        return Err(refused("the token has expired; create a new one"));
    }
    let mut conn = app.db.read().await?;
    let row = store::token::by_id(&mut conn, id).await?;
    let row = row.filter(|row| row.user == user).ok_or_else(|| refused("the token was revoked"))?;
    if now >= row.expires_at {
        return Err(refused("the token has expired; create a new one"));
    }
    let user =
        store::user::by_id(&mut conn, user).await?.ok_or_else(|| refused("the user of the token is gone"))?;
    if !user.enabled {
        return Err(refused("the user of the token is disabled"));
    }
    Ok(Actor::Token {
        user: user.id,
        name: user.name,
        grants: narrowed(&row.grants, &user.grants),
        token: row.id,
    })
}

/// What is left of a token's grants when the user holds these.
fn narrowed(token: &Grants, held: &Grants) -> Grants {
    let alone = |text: &str| text.parse::<Grants>().unwrap_or_default();
    let kept: Vec<_> = token
        .to_string()
        .split(' ')
        .filter(|grant| !grant.is_empty() && held.covers(&alone(grant)))
        .map(str::to_owned)
        .collect();
    alone(&kept.join(" "))
}

async fn setup(app: &App, token: &str) -> Result<Actor, Error> {
    let meta = store::meta::read(&mut app.db.read().await?).await?;
    match meta.setup_hash {
        Some(wanted) if !meta.setup_closed && same(&wanted, &hash(token)) => Ok(Actor::Setup),
        _ => Err(Error::Unauthenticated(
            "the setup is closed, or the token is not the one printed last".into(),
        )),
    }
}

/// A new one-time token.
pub fn one_time(prefix: &str) -> Result<Secret<String>, Error> {
    let mut bytes = [0; ONE_TIME_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Internal("no random bytes".into()))?;
    Ok(Secret::new(format!("{prefix}{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))))
}

/// What the store keeps of a one-time token. Unsalted is enough: 256 random bits are not guessed.
pub fn hash(token: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}

fn same(one: &str, other: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_keeps_only_what_its_user_still_holds() {
        let grants = |text: &str| text.parse::<Grants>().unwrap();
        let left = |token: &str, held: &str| narrowed(&grants(token), &grants(held)).to_string();
        assert_eq!(left("admin:ns1 guest:ns2", "admin:ns1 guest:ns2"), "admin:ns1 guest:ns2");
        assert_eq!(left("admin:ns1 guest:ns2", "guest"), "guest:ns2");
        assert_eq!(left("root", "admin:ns1"), "");
    }
}

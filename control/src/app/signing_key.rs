//! The keys that sign console tickets: made at the first start, kept sealed, rotated; gateways have the public halves.
//!
//! A key is on every gateway as the next one for a whole period before it signs, so a gateway that lags refuses no
//! ticket. One that signed stays in force until every ticket of it is over, and is then forgotten.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use config::id::KeyId;
use config::secret::Secret;
use config::snapshot::{Kind, Value};
use config::ticket::{self, Claims};
use tokio_util::sync::CancellationToken;

use super::change::{Change, Scope};
use super::{App, Caller, Error};
use crate::publish::build::{self, SIGNING_PURPOSE};
use crate::store;
use crate::store::signing_key::SigningKeyRow;
use crate::store::ticket_key::Stage;

/// How long a key signs, in microseconds: thirty days.
const SIGNS_FOR: i64 = 30 * 24 * 60 * 60 * 1_000_000;
/// How long it opens after that, in microseconds: an hour, far beyond the life of a ticket and the skew of clocks.
const OPENS_FOR: i64 = 60 * 60 * 1_000_000;
/// How often the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Bytes of a seed.
const SEED_BYTES: usize = 32;

/// Whether `since` lies a whole `period` back. A moment to come is due as well: the clock was ahead when it was noted.
const fn is_due(since: i64, period: i64, now: i64) -> bool {
    since > now || now.saturating_sub(since) >= period
}

fn is_settled(keys: &[SigningKeyRow], now: i64) -> bool {
    let count = |stage| keys.iter().filter(|key| key.stage == stage).count();
    let has_ended = |key: &SigningKeyRow| match key.stage {
        Stage::Next => false,
        Stage::Current => is_due(key.staged_at, SIGNS_FOR, now),
        Stage::Old => is_due(key.staged_at, OPENS_FOR, now),
    };
    count(Stage::Current) == 1 && count(Stage::Next) == 1 && !keys.iter().any(has_ended)
}

/// Makes the keys of the first start and rotates those whose time has come, in one generation. Cheap when there is
/// nothing to do; several controls on one database may call it at once.
pub async fn rotate(app: &App) -> Result<(), Error> {
    if is_settled(&store::signing_key::all(&mut app.db.read().await?).await?, app.clock.now()) {
        return Ok(());
    }
    let caller = Caller::ourselves("signing keys");
    let mut change = app.begin(&caller, Scope::Published).await?;
    let mut keys = store::signing_key::all(change.conn()).await?;
    let now = change.now();
    if is_settled(&keys, now) {
        return Ok(());
    }
    for key in keys.extract_if(.., |key| key.stage == Stage::Old && is_due(key.staged_at, OPENS_FOR, now)) {
        store::signing_key::delete(change.conn(), key.id).await?;
        change.remove(Kind::TICKET_AUTHORITY, key.id.to_bytes());
    }
    for key in &mut keys {
        if key.stage == Stage::Current && is_due(key.staged_at, SIGNS_FOR, now) {
            (key.stage, key.staged_at) = (Stage::Old, now);
        }
    }
    if !keys.iter().any(|key| key.stage == Stage::Current) {
        match keys.iter_mut().find(|key| key.stage == Stage::Next) {
            Some(next) => (next.stage, next.staged_at) = (Stage::Current, now),
            None => keys.push(made(&mut change, Stage::Current).await?),
        }
    }
    if !keys.iter().any(|key| key.stage == Stage::Next) {
        keys.push(made(&mut change, Stage::Next).await?);
    }
    for key in &keys {
        store::signing_key::stage(change.conn(), key).await?;
        change.put(Value::TicketAuthority(build::ticket_authority(key)));
    }
    change.commit().await.map(drop)
}

async fn made(change: &mut Change<'_>, stage: Stage) -> Result<SigningKeyRow, Error> {
    let internal = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
    let mut seed = vec![0; SEED_BYTES];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| internal(&"the system has no randomness"))?;
    let seed = Secret::new(seed);
    let public_key = pair(&seed)?.public_key().as_ref().try_into().map_err(|error| internal(&error))?;
    let seed_sealed = change.keys().seal(SIGNING_PURPOSE, seed.expose()).map_err(|error| internal(&error))?;
    let now = change.now();
    let id = KeyId::from_uuid(uuid::Uuid::now_v7());
    let row = SigningKeyRow { id, seed_sealed, public_key, stage, staged_at: now, created_at: now };
    store::signing_key::insert(change.conn(), &row).await?;
    Ok(row)
}

fn pair(seed: &Secret<Vec<u8>>) -> Result<Ed25519KeyPair, Error> {
    Ed25519KeyPair::from_seed_unchecked(seed.expose())
        .map_err(|error| Error::Internal(format!("a signing key cannot be used: {error}")))
}

/// Signs a ticket with the key that signs now.
pub(super) async fn sign(app: &App, conn: &mut store::Conn, claims: &Claims) -> Result<String, Error> {
    let keys = store::signing_key::all(conn).await?;
    let key = keys.iter().find(|key| key.stage == Stage::Current);
    let key = key.ok_or_else(|| Error::Internal("there is no key that signs tickets".to_owned()))?;
    let seed = app.keys.unseal(SIGNING_PURPOSE, &key.seed_sealed).map_err(|why| {
        Error::Internal(format!("signing key {} does not open: {why}; was the secret key replaced?", key.id))
    })?;
    let pair = pair(&seed)?;
    let mut is_whole = true;
    let ticket = ticket::seal(claims, key.id, |bytes| {
        let signature = pair.sign(bytes);
        <[u8; 64]>::try_from(signature.as_ref()).unwrap_or_else(|_| {
            is_whole = false;
            [0; 64]
        })
    });
    if is_whole { Ok(ticket) } else { Err(Error::Internal("a signature has not 64 bytes".to_owned())) }
}

/// Rotates when it is time, until `stop`; run it once beside the listeners.
pub async fn tend(app: Arc<App>, stop: CancellationToken) {
    let mut often = tokio::time::interval(LOOK_EVERY);
    often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = often.tick() => {}
        }
        if let Err(error) = rotate(&app).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the keys of console tickets were not rotated; the old ones stay in force and it is tried again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use config::id::{ConsoleId, GatewayId, SessionId, VmId};
    use config::snapshot::{ConsoleKind, TicketAuthority};
    use config::ticket::Seen;

    use super::*;
    use crate::app::testing::Fixture;

    fn published(app: &App) -> Vec<TicketAuthority> {
        let snapshot = Arc::clone(&app.desired.current().snapshot);
        let objects = snapshot.objects().filter(|object| object.key().kind == Kind::TICKET_AUTHORITY);
        objects
            .map(|object| {
                let Value::TicketAuthority(key) = object.decode().unwrap() else { panic!("another kind") };
                key
            })
            .collect()
    }

    fn claims(now_ms: u64) -> Claims {
        Claims {
            session: SessionId::from_bytes([1; 16]),
            user: None,
            vm: VmId::from_bytes([2; 16]),
            console: ConsoleId::from_bytes([3; 16]),
            kind: ConsoleKind::Vnc,
            read_only: false,
            source: None,
            gateway: GatewayId::from_bytes([4; 16]),
            issued_ms: now_ms,
            expires_ms: now_ms + 60_000,
        }
    }

    async fn signed(app: &App) -> String {
        let now_ms = u64::try_from(app.clock.now() / 1_000).unwrap();
        sign(app, &mut app.db.read().await.unwrap(), &claims(now_ms)).await.unwrap()
    }

    fn opens(app: &App, text: &str) -> bool {
        let now_ms = u64::try_from(app.clock.now() / 1_000).unwrap();
        let keys = published(app);
        ticket::verify(text, (now_ms, 0), |id, bytes, signature| match keys.iter().find(|key| key.id == id) {
            None => Seen::UnknownKey,
            Some(key) => match UnparsedPublicKey::new(&ED25519, key.public_key).verify(bytes, signature) {
                Ok(()) => Seen::Authentic,
                Err(_) => Seen::Forged,
            },
        })
        .is_ok()
    }

    #[tokio::test]
    async fn the_keys_are_made_once_kept_sealed_and_their_public_halves_published() {
        let fixture = Fixture::new().await;
        let keys = published(&fixture.app);
        assert_eq!(keys.len(), 2, "one that signs, and the next one");
        assert!(opens(&fixture.app, &signed(&fixture.app).await));
        let rows = store::signing_key::all(&mut fixture.app.db.read().await.unwrap()).await.unwrap();
        for row in &rows {
            let seed = fixture.app.keys.unseal(SIGNING_PURPOSE, &row.seed_sealed).unwrap();
            let is_bare = row.seed_sealed.windows(SEED_BYTES).any(|bytes| bytes == &seed.expose()[..]);
            assert!(!is_bare, "it is sealed");
        }
        assert_eq!(published(&*fixture.reopened().await), keys);
    }

    #[tokio::test]
    async fn a_key_is_known_before_it_signs_and_stays_until_its_tickets_are_over() {
        let fixture = Fixture::new().await;
        let known_before = published(&fixture.app);
        fixture.pass(SIGNS_FOR / 1_000_000 - 1);
        rotate(&fixture.app).await.unwrap();
        let last = signed(&fixture.app).await;
        fixture.pass(1);
        rotate(&fixture.app).await.unwrap();

        assert!(opens(&fixture.app, &last), "the ticket of a moment ago still opens");
        let new = signed(&fixture.app).await;
        assert_ne!(last, new);
        let key_of = |text: &str| {
            let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
            KeyId::from_bytes(bytes[1..17].try_into().unwrap())
        };
        assert_ne!(key_of(&last), key_of(&new), "another key signs");
        assert!(known_before.iter().any(|key| key.id == key_of(&new)), "and gateways had it long before");
        assert_eq!(published(&fixture.app).len(), 3);

        fixture.pass(OPENS_FOR / 1_000_000);
        rotate(&fixture.app).await.unwrap();
        let after = published(&fixture.app);
        assert_eq!(after.len(), 2);
        assert!(!after.iter().any(|key| key.id == key_of(&last)), "forgotten");
    }
}

//! The keys that gateways seal session tickets with: made at the first start, rotated, the same on every gateway.
//!
//! There is always one key that seals and one that follows it. A key is on every gateway as the next one for a whole
//! period before any gateway seals with it, so a ticket of one gateway opens on all others. A key that sealed goes on
//! opening as long as a ticket may live, and is then forgotten for good.

use std::sync::Arc;
use std::time::Duration;

use config::id::KeyId;
use config::snapshot::{Kind, Value};
use tokio_util::sync::CancellationToken;

use super::change::{Change, Scope};
use super::{App, Caller, Error};
use crate::publish::build::{self, TICKET_PURPOSE};
use crate::store;
use crate::store::ticket_key::{Stage, TicketKeyRow};

/// How long a key seals, in microseconds: twelve hours.
const SEALS_FOR: i64 = 12 * 60 * 60 * 1_000_000;
/// How long it opens after that, in microseconds: a day, as long as our tickets live.
const OPENS_FOR: i64 = 24 * 60 * 60 * 1_000_000;
/// How often the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Bytes of a key.
const SECRET_BYTES: usize = 32;

/// Whether `since` lies a whole `period` back. A moment to come is due as well: the clock was ahead when it was noted,
/// and must not keep a key in place until it is there again.
const fn is_due(since: i64, period: i64, now: i64) -> bool {
    since > now || now.saturating_sub(since) >= period
}

/// What has to be done to these keys.
fn is_settled(keys: &[TicketKeyRow], now: i64) -> bool {
    let count = |stage| keys.iter().filter(|key| key.stage == stage).count();
    let has_ended = |key: &TicketKeyRow| match key.stage {
        Stage::Next => false,
        Stage::Current => is_due(key.staged_at, SEALS_FOR, now),
        Stage::Old => is_due(key.staged_at, OPENS_FOR, now),
    };
    count(Stage::Current) == 1 && count(Stage::Next) == 1 && !keys.iter().any(has_ended)
}

/// Makes the keys of the first start, and rotates those whose time has come; in one generation. Cheap when there is
/// nothing to do. Several controls on one database may call it at once: the first one's change is what the others find.
pub async fn rotate(app: &App) -> Result<(), Error> {
    let keys = store::ticket_key::all(&mut app.db.read().await?).await?;
    if is_settled(&keys, app.clock.now()) {
        return Ok(());
    }
    let caller = Caller::ourselves("ticket keys");
    let mut change = app.begin(&caller, Scope::Published).await?;
    let mut keys = store::ticket_key::all(change.conn()).await?;
    let now = change.now();
    if is_settled(&keys, now) {
        return Ok(());
    }
    for key in keys.extract_if(.., |key| key.stage == Stage::Old && is_due(key.staged_at, OPENS_FOR, now)) {
        store::ticket_key::delete(change.conn(), key.id).await?;
        change.remove(Kind::TICKET_KEY, key.id.to_bytes());
    }
    let current = keys.iter_mut().find(|key| key.stage == Stage::Current);
    let seals = current.is_some_and(|key| {
        let stays = !is_due(key.staged_at, SEALS_FOR, now);
        if !stays {
            (key.stage, key.staged_at) = (Stage::Old, now);
        }
        stays
    });
    if !seals {
        match keys.iter_mut().find(|key| key.stage == Stage::Next) {
            Some(next) => (next.stage, next.staged_at) = (Stage::Current, now),
            None => keys.push(made(&mut change, Stage::Current).await?),
        }
    }
    if !keys.iter().any(|key| key.stage == Stage::Next) {
        keys.push(made(&mut change, Stage::Next).await?);
    }
    for key in &keys {
        store::ticket_key::stage(change.conn(), key).await?;
        change.put(Value::TicketKey(build::ticket_key(key, app.keys.as_ref())?));
    }
    change.commit().await.map(drop)
}

async fn made(change: &mut Change<'_>, stage: Stage) -> Result<TicketKeyRow, Error> {
    let mut secret = vec![0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret)
        .map_err(|_| Error::Internal("the system has no randomness".to_owned()))?;
    let secret = config::secret::Secret::new(secret);
    let secret_sealed = change
        .keys()
        .seal(TICKET_PURPOSE, secret.expose())
        .map_err(|error| Error::Internal(error.to_string()))?;
    let now = change.now();
    let id = KeyId::from_uuid(uuid::Uuid::now_v7());
    let row = TicketKeyRow { id, secret_sealed, stage, staged_at: now, created_at: now };
    store::ticket_key::insert(change.conn(), &row).await?;
    Ok(row)
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
                "ticket keys were not rotated; the old ones stay in force and it is tried again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use config::snapshot::TicketKey;

    use super::*;
    use crate::app::testing::Fixture;

    const HOUR: i64 = 3600;

    fn published(app: &App) -> Vec<TicketKey> {
        let snapshot = Arc::clone(&app.desired.current().snapshot);
        let mut keys: Vec<_> = snapshot
            .objects()
            .filter(|object| object.key().kind == Kind::TICKET_KEY)
            .map(|object| {
                let Value::TicketKey(key) = object.decode().unwrap() else { panic!("another kind") };
                key
            })
            .collect();
        keys.sort_by_key(|key| key.id);
        keys
    }

    fn sealing(keys: &[TicketKey]) -> KeyId {
        let seals: Vec<_> = keys.iter().filter(|key| key.seals).collect();
        assert_eq!(seals.len(), 1, "exactly one seals");
        seals[0].id
    }

    #[tokio::test]
    async fn the_first_start_makes_one_key_that_seals_and_the_next_one() {
        let fixture = Fixture::new().await;
        let keys = published(&fixture.app);
        assert_eq!(keys.len(), 2);
        sealing(&keys);
        assert!(keys.iter().all(|key| key.secret.expose().len() == SECRET_BYTES));
        assert_ne!(keys[0].secret, keys[1].secret);
    }

    #[tokio::test]
    async fn a_restart_and_another_control_find_the_same_keys() {
        let fixture = Fixture::new().await;
        let before = published(&fixture.app);
        assert_eq!(published(&*fixture.reopened().await), before);
        let generation = fixture.app.desired.current().snapshot.generation();
        rotate(&fixture.app).await.unwrap();
        assert_eq!(fixture.app.desired.current().snapshot.generation(), generation, "nothing was to be done");
    }

    #[tokio::test]
    async fn a_key_is_known_for_a_period_before_it_seals_and_opens_for_a_day_after() {
        let fixture = Fixture::new().await;
        let mut known_since = std::collections::BTreeMap::new();
        let mut sealed_last = std::collections::BTreeMap::new();
        let mut rotations = 0;
        let mut last = None;
        for hour in 0..24 * 7 {
            rotate(&fixture.app).await.unwrap();
            let keys = published(&fixture.app);
            let seals = sealing(&keys);
            for key in &keys {
                known_since.entry(key.id).or_insert(hour);
            }
            if last != Some(seals) {
                rotations += 1;
                assert!(hour == 0 || hour - known_since[&seals] >= 12, "sealed before all could open");
            }
            last = Some(seals);
            sealed_last.insert(seals, hour);
            for (id, at) in &sealed_last {
                let opens = keys.iter().any(|key| key.id == *id);
                assert!(opens || hour - at >= 24, "a ticket sealed at {at} does not open at {hour}");
                assert!(!opens || hour - at <= 26, "a key is kept for ever");
            }
            assert!(keys.len() <= 5);
            fixture.pass(HOUR);
        }
        assert_eq!(rotations, 14, "each 12 hours of a week");
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_does_not_keep_a_key_in_place() {
        let fixture = Fixture::new().await;
        fixture.pass(365 * 24 * HOUR);
        rotate(&fixture.app).await.unwrap();
        let ahead = sealing(&published(&fixture.app));
        fixture.pass(-365 * 24 * HOUR);
        rotate(&fixture.app).await.unwrap();
        assert_ne!(sealing(&published(&fixture.app)), ahead);
    }

    #[tokio::test]
    async fn secrets_are_sealed_in_the_rows() {
        let fixture = Fixture::new().await;
        let rows = store::ticket_key::all(&mut fixture.app.db.read().await.unwrap()).await.unwrap();
        for key in published(&fixture.app) {
            let secret = key.secret.expose();
            assert!(
                !rows.iter().any(|row| row.secret_sealed.windows(secret.len()).any(|part| part == secret))
            );
        }
    }
}

//! From the store to a running [`App`], and the upkeep of what it keeps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::id::KeyId;
use config::limits::GENERATIONS_KEPT_MAX;
use config::secret::Secret;
use config::snapshot::{Generation, Value};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::change::Scope;
use super::{Addresses, App, Caller, Error, Parts, certificate, route, signing_key, ssh, ticket_key};
use crate::publish::{Desired, build};
use crate::store;
use crate::store::cookie_key::CookieKeyRow;

/// How often leaves and old rows are looked at.
const UPKEEP_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often the newest generation of the database is looked at: one read of one row.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Ended tokens are kept this long, for the audit's sake, in microseconds: thirty days.
const TOKENS_KEPT: i64 = 30 * 24 * 60 * 60 * 1_000_000;

impl App {
    /// Reads the whole desired state from the store and compiles it; makes the SSH host key and the key of cookies on
    /// the first start. Cost:
    /// proportional to the state; once a start.
    ///
    /// Errors: the rows cannot be read, a sealed key does not open, or the state does not compile.
    pub async fn start(parts: Parts) -> Result<Self, Error> {
        let Parts { db, keys, authority, clock, forward_ports } = parts;
        let snapshot = build::snapshot(&mut db.read().await?, keys.as_ref()).await?;
        let desired = Desired::new(snapshot).map_err(|conflicts| Error::Internal(conflicts.to_string()))?;
        let (gateways, acme, addresses, writers) = Default::default();
        let app =
            Self { db, desired, keys, authority, clock, gateways, acme, forward_ports, addresses, writers };
        app.ensure_host_key().await?;
        app.ensure_cookie_key().await?;
        ticket_key::rotate(&app).await?;
        signing_key::rotate(&app).await?;
        Ok(app)
    }

    async fn ensure_cookie_key(&self) -> Result<(), Error> {
        if !store::cookie_key::all(&mut self.db.read().await?).await?.is_empty() {
            return Ok(());
        }
        let caller = Caller::ourselves("start");
        let mut change = self.begin(&caller, Scope::Published).await?;
        if !store::cookie_key::all(change.conn()).await?.is_empty() {
            return Ok(());
        }
        let internal = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
        let mut secret = vec![0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| internal(&"the system has no randomness"))?;
        let secret = Secret::new(secret);
        let secret_sealed =
            self.keys.seal(build::COOKIE_PURPOSE, secret.expose()).map_err(|error| internal(&error))?;
        let id = KeyId::from_uuid(uuid::Uuid::now_v7());
        let row = CookieKeyRow { id, secret_sealed, created_at: change.now() };
        store::cookie_key::insert(change.conn(), &row).await?;
        change.put(Value::CookieKey(build::cookie_key(&row, self.keys.as_ref())?));
        change.commit().await.map(drop)
    }

    /// Notes where control listens. Routes and jumps to `control` follow, in a generation of their own, when the admin
    /// address that most gateways reach is another than the one last published.
    pub async fn set_addresses(&self, addresses: Addresses) -> Result<(), Error> {
        let admin = best(&addresses.admin);
        *self.addresses.write().unwrap_or_else(std::sync::PoisonError::into_inner) = addresses;
        let Some(admin) = admin else { return Ok(()) };
        if store::meta::read(&mut self.db.read().await?).await?.admin_address == Some(admin) {
            return Ok(());
        }
        let caller = Caller::ourselves("start");
        let mut change = self.begin(&caller, Scope::Published).await?;
        store::meta::set_admin_address(change.conn(), admin).await?;
        ssh::host_key::publish_gate(&mut change).await?;
        for row in store::route::to_control(change.conn()).await? {
            route::publish(&mut change, &row).await?;
        }
        change.commit().await.map(drop)
    }

    /// Numbers the desired state above `seen`: a gateway of this lineage is ahead, so the database lost its latest
    /// changes.
    pub async fn skip_above(&self, seen: Generation) -> Result<(), Error> {
        if self.desired.current().snapshot.generation() > seen {
            return Ok(());
        }
        let caller = Caller::ourselves("skip");
        let mut change = self.begin(&caller, Scope::Published).await?;
        change.raise_above(seen).await?;
        change.commit().await.map(drop)
    }

    /// Takes in what another control committed to the same database. Cheap when there is nothing.
    pub async fn follow(&self) -> Result<(), Error> {
        let newest = store::meta::read(&mut self.db.read().await?).await?.generation;
        if newest <= self.desired.current().snapshot.generation() {
            return Ok(());
        }
        let caller = Caller::ourselves("follow");
        self.begin(&caller, Scope::Follow).await?.commit().await.map(drop)
    }

    /// Does [`App::upkeep`] every hour and [`App::follow`] every second until `stop`; run it once beside the listeners.
    pub async fn tend(self: Arc<Self>, stop: CancellationToken) {
        let mut hourly = tokio::time::interval(UPKEEP_EVERY);
        let mut often = tokio::time::interval(FOLLOW_EVERY);
        for timer in [&mut hourly, &mut often] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let done = tokio::select! {
                () = stop.cancelled() => return,
                _ = hourly.tick() => self.upkeep().await,
                _ = often.tick() => self.follow().await,
            };
            if let Err(error) = done {
                tracing::warn!(error = &error as &dyn std::error::Error, "upkeep failed and is tried again");
            }
        }
    }

    /// What has to be done now and then: leaves that end are replaced, ended tokens and old log rows forgotten.
    pub async fn upkeep(&self) -> Result<(), Error> {
        certificate::self_signed::renew(self).await?;
        let caller = Caller::ourselves("upkeep");
        let mut change = self.begin(&caller, Scope::Private).await?;
        let then = change.now() - TOKENS_KEPT;
        store::token::purge(change.conn(), then).await?;
        let newest = self.desired.current().snapshot.generation();
        let kept = u64::try_from(GENERATIONS_KEPT_MAX).unwrap_or(u64::MAX).saturating_mul(16);
        store::meta::prune_log(change.conn(), Generation(newest.0.saturating_sub(kept))).await?;
        change.commit().await.map(drop)
    }
}

/// The admin address to tell gateways of: one that is the same from everywhere, or else loopback, or else what stands
/// for every address, of which a gateway has to find out where that is.
fn best(admin: &[SocketAddr]) -> Option<SocketAddr> {
    let rank = |address: &&SocketAddr| (address.ip().is_unspecified(), address.ip().is_loopback());
    admin.iter().min_by_key(rank).copied()
}

#[cfg(test)]
mod tests {
    use config::snapshot::{Kind, Object};

    use super::*;
    use crate::app::testing::Fixture;

    fn published(app: &App) -> Vec<Object> {
        let snapshot = Arc::clone(&app.desired.current().snapshot);
        snapshot.objects().filter(|object| object.key().kind == Kind::COOKIE_KEY).cloned().collect()
    }

    #[test]
    fn gateways_are_told_of_the_address_that_most_of_them_reach() {
        for (listens, told) in [
            (&[][..], None),
            (&["127.0.0.1:1880"][..], Some("127.0.0.1:1880")),
            (&["127.0.0.1:1880", "10.0.0.1:1880", "10.0.0.2:1880"], Some("10.0.0.1:1880")),
            (&["0.0.0.0:1880", "127.0.0.1:1881"], Some("127.0.0.1:1881")),
            (&["[::]:1880"], Some("[::]:1880")),
        ] {
            let listens: Vec<SocketAddr> = listens.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(best(&listens), told.map(|text| text.parse().unwrap()), "{listens:?}");
        }
    }

    #[tokio::test]
    async fn the_key_of_cookies_is_made_once_kept_sealed_and_published() {
        let fixture = Fixture::new().await;
        let first = published(&fixture.app);
        assert_eq!(first.len(), 1);
        let Value::CookieKey(key) = first[0].decode().unwrap() else { panic!("another kind") };
        let rows = store::cookie_key::all(&mut fixture.app.db.read().await.unwrap()).await.unwrap();
        assert_eq!(rows.len(), 1);
        let is_bare = rows[0].secret_sealed.windows(32).any(|bytes| bytes == &key.secret.expose()[..]);
        assert!(!is_bare, "it is sealed");

        let again = fixture.reopened().await;

        assert_eq!(published(&again), first);
    }
}

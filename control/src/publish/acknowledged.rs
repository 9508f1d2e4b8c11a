//! Waiting until every gateway serves a generation.

use std::collections::BTreeSet;
use std::time::Duration;

use config::id::GatewayId;
use config::snapshot::Generation;

use crate::app::App;
use crate::store;

/// Not every gateway serves the generation; the next attempt asks those that are connected then.
#[derive(Debug, thiserror::Error)]
pub enum Unacknowledged {
    /// Nobody could answer.
    #[error("no gateway is connected that could answer")]
    NoGateway,
    /// Some did not say so in time.
    #[error("generation {generation} was not acknowledged within {seconds} seconds by gateway {gateways}")]
    Late {
        /// Which generation.
        generation: Generation,
        /// How long was waited.
        seconds: u64,
        /// Their names.
        gateways: String,
    },
    /// One said that it will not.
    #[error("gateway {gateway} refused generation {generation}: {why}")]
    Refused {
        /// Its name.
        gateway: String,
        /// Which generation.
        generation: Generation,
        /// Its reason.
        why: String,
    },
    /// The names of gateways cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Waits until every gateway that is connected, now or in the meantime, serves `generation` or a newer one, durably.
///
/// A gateway whose stream ends while we wait is waited for: it still serves what it has, and dials again soon. One that
/// is withdrawn is not.
pub async fn await_acknowledged(
    app: &App,
    generation: Generation,
    within: Duration,
) -> Result<(), Unacknowledged> {
    let deadline = tokio::time::Instant::now() + within;
    let mut progress = app.gateways.progress();
    let mut wanted = BTreeSet::new();
    loop {
        progress.borrow_and_update();
        let said = app.gateways.all();
        wanted.extend(said.iter().filter(|(_, said)| said.streams > 0).map(|(id, _)| *id));
        wanted.retain(|id| said.iter().any(|(known, _)| known == id));
        if wanted.is_empty() {
            return Err(Unacknowledged::NoGateway);
        }
        let behind: Vec<_> = said
            .iter()
            .filter(|(id, said)| wanted.contains(id) && said.acked.is_none_or(|acked| acked < generation))
            .collect();
        if behind.is_empty() {
            return Ok(());
        }
        let refusal = behind.iter().find_map(|(id, said)| {
            let (refused, why) = said.refused.as_ref()?;
            (*refused >= generation).then(|| (*id, why.clone()))
        });
        if let Some((id, why)) = refusal {
            return Err(Unacknowledged::Refused { gateway: name(app, id).await?, generation, why });
        }
        if tokio::time::timeout_at(deadline, progress.changed()).await.is_err() {
            let mut names = Vec::new();
            for (id, _) in &behind {
                names.push(name(app, *id).await?);
            }
            names.sort();
            let (seconds, gateways) = (within.as_secs(), names.join(", "));
            return Err(Unacknowledged::Late { generation, seconds, gateways });
        }
    }
}

async fn name(app: &App, id: GatewayId) -> Result<String, store::Error> {
    let row = store::gateway::by_id(&mut app.db.read().await?, id).await?;
    Ok(row.map_or_else(|| id.to_string(), |row| row.name.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::name::GatewayName;
    use config::sync::message::{Ack, Have, Hello, Nack};

    use super::*;
    use crate::app::testing::Fixture;
    use crate::store::Stamp;
    use crate::store::gateway::GatewayRow;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(30);

    async fn gateway(app: &App, byte: u8, name: &str) -> GatewayId {
        let id = GatewayId::from_bytes([byte; 16]);
        let mut conn = app.db.write().await.unwrap();
        let row = GatewayRow {
            id,
            name: GatewayName::parse(name).unwrap(),
            fingerprint: name.to_owned(),
            expires_at: i64::MAX,
            stamp: Stamp::new(0),
        };
        store::gateway::insert(&mut conn, &row).await.unwrap();
        conn.commit().await.unwrap();
        let snapshot = Arc::clone(&app.desired.current().snapshot);
        let hello = Hello {
            boot: u64::from(byte),
            version: "test".into(),
            formats: vec![1],
            listeners: Vec::new(),
            draining: false,
            degraded: Vec::new(),
            undurable: false,
            have: Some(Have {
                lineage: snapshot.lineage(),
                generation: Generation(1),
                digest: snapshot.digest(),
            }),
        };
        app.gateways.introduced(id, 0, &hello);
        id
    }

    fn ack(generation: u64) -> Ack {
        Ack { generation: Generation(generation), degraded: Vec::new() }
    }

    #[tokio::test]
    async fn all_gateways_are_waited_for_and_the_late_one_is_named() {
        let fixture = Fixture::new().await;
        let app = Arc::clone(&fixture.app);
        let (one, two) = (gateway(&app, 1, "gw-one").await, gateway(&app, 2, "gw-two").await);
        app.gateways.acked(one, 0, &ack(9));
        let error = await_acknowledged(&app, Generation(9), SHORT).await.unwrap_err();
        assert!(error.to_string().ends_with("by gateway gw-two"), "{error}");

        let waiting = {
            let app = Arc::clone(&app);
            tokio::spawn(async move { await_acknowledged(&app, Generation(9), LONG).await })
        };
        tokio::task::yield_now().await;
        app.gateways.acked(two, 0, &ack(12));
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn one_that_is_cut_off_is_waited_for_and_one_that_is_withdrawn_is_not() {
        let fixture = Fixture::new().await;
        let app = Arc::clone(&fixture.app);
        let (one, two) = (gateway(&app, 1, "gw-one").await, gateway(&app, 2, "gw-two").await);
        app.gateways.acked(one, 0, &ack(9));
        let waiting = {
            let app = Arc::clone(&app);
            tokio::spawn(async move { await_acknowledged(&app, Generation(9), LONG).await })
        };
        tokio::task::yield_now().await;
        app.gateways.closed(two, 0);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished(), "it may still be asked by the authority");
        app.gateways.forget(two);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_refusal_ends_the_wait_at_once_and_nobody_is_no_success() {
        let fixture = Fixture::new().await;
        let app = Arc::clone(&fixture.app);
        let nobody = await_acknowledged(&app, Generation(9), LONG).await.unwrap_err();
        assert!(matches!(nobody, Unacknowledged::NoGateway));
        let one = gateway(&app, 1, "gw-one").await;
        app.gateways.refused(
            one,
            0,
            &Nack { generation: Generation(9), reason: "no room".into(), want_snapshot: false },
        );
        let error = await_acknowledged(&app, Generation(9), LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "gateway gw-one refused generation 9: no room");
    }
}

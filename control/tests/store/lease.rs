//! What only one control may do at a time.

use control::app::ticket_key;
use control::store::lease::{self, fence, release, take};
use control::store::ticket_key::Stage;

use crate::app::start;
use crate::engines::Place;

const LASTS: i64 = 3_600_000_000;

pub(crate) async fn one_control_holds_a_lease_and_an_older_one_writes_nothing(place: &Place) {
    let (one, two) = (place.open().await, place.open().await);
    let first = take(&one, "test", "one", LASTS).await.unwrap().unwrap();
    assert_eq!(take(&one, "test", "one", LASTS).await.unwrap(), Some(first), "it lasts longer");
    if one.engine_name() == "postgres" {
        assert_eq!(take(&two, "test", "two", LASTS).await.unwrap(), None, "somebody else holds it");
        // It runs out while its holder is suspended.
        let mut conn = two.write().await.unwrap();
        conn.run("UPDATE leases SET expires_at = 1 WHERE name = 'test'", &[]).await.unwrap();
        conn.commit().await.unwrap();
    }
    let second = take(&two, "test", "two", LASTS).await.unwrap().unwrap();
    assert!(second.epoch > first.epoch);
    assert!(is_newest(&two, second).await && !is_newest(&one, first).await, "the older one is kept out");
    // The older one gives nothing back that is not its own.
    release(&one, first).await.unwrap();
    assert!(is_newest(&two, second).await);
    release(&two, second).await.unwrap();
    let third = take(&one, "test", "one", LASTS).await.unwrap().unwrap();
    assert!(third.epoch > second.epoch && !is_newest(&two, second).await);
}

async fn is_newest(db: &control::store::Db, lease: lease::Lease) -> bool {
    fence(&mut db.write().await.unwrap(), lease).await.unwrap()
}

/// They need no lease: what is due is looked at again inside the one writing transaction.
pub(crate) async fn two_controls_make_one_set_of_ticket_keys(place: &Place) {
    let (one, two) = (start(place).await, start(place).await);
    let (at_one, at_two) = tokio::join!(ticket_key::rotate(&one), ticket_key::rotate(&two));
    at_one.unwrap();
    at_two.unwrap();
    let keys = control::store::ticket_key::all(&mut one.db.read().await.unwrap()).await.unwrap();
    let stages: Vec<_> = keys.iter().map(|key| key.stage).collect();
    assert_eq!(stages.len(), 2, "{stages:?}");
    assert_eq!(stages.iter().filter(|stage| **stage == Stage::Current).count(), 1);
}

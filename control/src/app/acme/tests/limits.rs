//! What authorities allow, and what is counted of it.

use config::id::AcmeOrderId;
use config::name::HostPattern;
use jiff::tz::TimeZone;

use super::fake::{World, app_seconds};
use crate::app::acme::order::{Step, job};
use crate::app::acme::renewal::{Memory, look};
use crate::store;
use crate::store::acme_ledger::Entry;

const DAY: i64 = 86_400;
const DIRECTORY: &str = "https://ca.test/dir";

/// What was asked of the authority before.
async fn asked(world: &World, names: impl Iterator<Item = String>, is_renewal: bool) {
    let mut conn = world.app.db.write().await.unwrap();
    for (number, name) in names.enumerate() {
        let entry = Entry {
            id: format!("{number}-{name}"),
            order: AcmeOrderId::from_bytes([7; 16]),
            directory: DIRECTORY.into(),
            names: vec![HostPattern::parse(&name).unwrap()],
            at: world.app.clock.now(),
            is_renewal,
            is_failed: false,
        };
        store::acme_ledger::book(&mut conn, &entry).await.unwrap();
    }
    conn.commit().await.unwrap();
}

async fn ledger(world: &World) -> Vec<Entry> {
    store::acme_ledger::since(&mut world.app.db.read().await.unwrap(), DIRECTORY, 0).await.unwrap()
}

#[tokio::test]
async fn a_name_beyond_the_weeks_limit_of_its_domain_is_held_back_and_says_until_when() {
    let world = World::new().await;
    asked(&world, (0..45).map(|number| format!("h{number}.a.test")), false).await;
    let (certificate, id) = world.order(&["new.a.test"]).await;
    let waits = world.drive(id).await;
    let why = waits.last_error.clone().unwrap();
    assert!(
        why.starts_with("held back until 2026-01-08T00:00:00Z: 50 certificates per registered domain"),
        "{why}"
    );
    assert_eq!((waits.attempts, waits.step.as_str()), (0, "start"), "nothing failed");
    assert_eq!(world.certificate(&certificate).await.last_error, Some(why));
    assert!(!world.ca.state().calls.contains(&"start"), "the authority is not bothered");
    // Another domain has its own.
    let (_, other) = world.order(&["new.b.test"]).await;
    assert_eq!(world.drive(other).await.step, "done");
    // The count outlives a restart, and ends with the week.
    world.fixture.pass(7 * DAY);
    world.ca.state().now = app_seconds(&world.app);
    assert_eq!(world.drive(id).await.step, "done", "{}", world.log(id).await);
}

#[tokio::test]
async fn a_renewal_of_names_that_were_renewed_too_often_waits_and_says_so_at_the_certificate() {
    let world = World::new().await;
    let (certificate, id) = world.order(&["a.test"]).await;
    assert_eq!(world.drive(id).await.step, "done");
    world.fixture.pass(80 * DAY);
    asked(&world, (0..4).map(|_| "a.test".to_owned()), true).await;
    let mut memory = Memory::default();
    let outside = world.ca.outside();
    assert_eq!(look(&world.app, &outside, &mut memory, &TimeZone::UTC).await.unwrap(), 0);
    let row = world.certificate(&certificate).await;
    let why = row.last_error.unwrap();
    assert!(
        why.starts_with("held back until ") && why.contains("5 certificates for the same names in a week"),
        "{why}"
    );
    assert_eq!(row.chain, world.certificate(&certificate).await.chain, "it serves on");
    world.fixture.pass(8 * DAY);
    assert_eq!(look(&world.app, &outside, &mut memory, &TimeZone::UTC).await.unwrap(), 1);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_and_counted_once() {
    for (is_forgetful, lists, orders) in [(false, false, 1), (true, true, 1), (true, false, 2)] {
        let mut world = World::new().await;
        (world.ca.state().is_forgetful, world.ca.state().lists_orders) = (is_forgetful, lists);
        let (_, id) = world.order(&["a.test"]).await;
        world.until(id, Step::Start).await;
        // Killed after the authority's answer, before its URL is written down.
        super::orders::trigger(&world, "BEFORE UPDATE ON acme_orders WHEN NEW.progress LIKE '%/order/%'")
            .await;
        assert!(job::step(&world.app, &world.ca.outside(), id).await.is_err());
        super::orders::untrigger(&world).await;
        assert_eq!(ledger(&world).await.len(), 1, "written down before the question");
        world.restart().await;
        assert_eq!(world.drive(id).await.step, "done");
        assert!(world.log(id).await.contains("was lost; what became of it is asked first"));
        assert_eq!(ledger(&world).await.len(), 1);
        assert_eq!(
            world.ca.state().orders.len(),
            orders,
            "one, where the authority lists its orders or gives a pending one again"
        );
    }
}

#[tokio::test]
async fn an_order_that_failed_is_no_certificate_of_the_week() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    world.until(id, Step::Validate).await;
    world.ca.state().faults.push_back(("poll", crate::app::acme::outside::Fault::anew("no")));
    world.step(id).await;
    assert!(ledger(&world).await[0].is_failed);
    assert_eq!(world.drive(id).await.step, "done");
    let mut states: Vec<_> = ledger(&world).await.into_iter().map(|entry| entry.is_failed).collect();
    states.sort_unstable();
    assert_eq!(states, [false, true]);
}

#[tokio::test]
async fn a_certificate_of_a_day_is_renewed_in_its_last_third_without_waiting_for_the_hour() {
    let world = World::new().await;
    world.ca.state().days = 1;
    let (_, first) = world.order(&["a.test"]).await;
    assert_eq!(world.drive(first).await.step, "done");
    let mut memory = Memory::default();
    let mut renewed = Vec::new();
    for minute in 1..=3 * 24 * 60 {
        world.fixture.pass(60);
        if look(&world.app, &world.ca.outside(), &mut memory, &TimeZone::UTC).await.unwrap() == 0 {
            continue;
        }
        // The fake issues from the start of a day on.
        world.ca.state().now = app_seconds(&world.app);
        let due = store::acme_order::due(&mut world.app.db.read().await.unwrap(), i64::MAX, i64::MAX).await;
        assert_eq!(world.drive(due.unwrap()[0]).await.step, "done");
        memory.is_stale();
        renewed.push(minute);
        break;
    }
    assert!((16 * 60..=16 * 60 + 15).contains(&renewed[0]), "{renewed:?}");
}

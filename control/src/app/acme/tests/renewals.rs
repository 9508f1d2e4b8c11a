//! When certificates are renewed.

use std::time::Duration;

use certs::acme::renewal_info::Window;
use jiff::tz::TimeZone;

use super::fake::{World, app_seconds};
use crate::app::acme::renewal::{self, Memory, look, next_scan};
use crate::app::{Caller, Error};
use crate::store::identity::IdentityRow;

const DAY: i64 = 86_400;

async fn issued(world: &World, days: i64) -> IdentityRow {
    world.ca.state().days = days;
    let (certificate, id) = world.order(&["a.test"]).await;
    assert_eq!(world.drive(id).await.step, "done", "{}", world.log(id).await);
    world.certificate(&certificate).await
}

async fn scan(world: &World, memory: &mut Memory) -> usize {
    look(&world.app, &world.ca.outside(), memory, &TimeZone::UTC).await.unwrap()
}

async fn open(world: &World) -> Option<config::id::AcmeOrderId> {
    let rows =
        crate::store::acme_order::due(&mut world.app.db.read().await.unwrap(), i64::MAX, i64::MAX).await;
    rows.unwrap().first().copied()
}

#[tokio::test]
async fn with_29_days_left_it_is_renewed_and_with_31_it_is_not() {
    let world = World::new().await;
    let certificate = issued(&world, 90).await;
    world.fixture.pass(59 * DAY);
    assert_eq!(scan(&world, &mut Memory::default()).await, 0, "31 days are left");
    world.fixture.pass(2 * DAY);
    assert_eq!(scan(&world, &mut Memory::default()).await, 1, "29 days are left");
    assert_eq!(scan(&world, &mut Memory::default()).await, 0, "its order is under way");
    world.ca.state().now = app_seconds(&world.app);
    let id = open(&world).await.unwrap();
    assert_eq!(world.drive(id).await.reason, "renewal");
    let renewed = world.certificate(&certificate).await;
    assert_eq!(renewed.id, certificate.id, "routes need not be told");
    assert_ne!(renewed.chain, certificate.chain);
    assert_ne!(renewed.key_sealed, certificate.key_sealed, "a new key for each");
    assert!(renewed.expires_at > certificate.expires_at);
}

#[tokio::test]
async fn the_old_certificate_serves_on_while_a_renewal_fails() {
    let world = World::new().await;
    let certificate = issued(&world, 90).await;
    world.fixture.pass(80 * DAY);
    assert_eq!(scan(&world, &mut Memory::default()).await, 1);
    let fault = crate::app::acme::outside::Fault::again("no way there");
    world.ca.state().faults.push_back(("start", fault));
    world.drive(open(&world).await.unwrap()).await;
    let row = world.certificate(&certificate).await;
    assert_eq!((row.status, &row.chain), (certificate.status, &certificate.chain));
    assert_eq!(row.last_error.as_deref(), Some("no way there"));
    assert!(row.next_try.unwrap() > world.app.clock.now());
}

#[tokio::test]
async fn a_certificate_of_six_days_is_renewed_each_fourth_and_not_each_day() {
    let world = World::new().await;
    issued(&world, 6).await;
    let mut memory = Memory::default();
    let mut renewals = Vec::new();
    for hour in 1..=24 * 20 {
        world.fixture.pass(3600);
        if scan(&world, &mut memory).await > 0 {
            world.ca.state().now = app_seconds(&world.app);
            assert_eq!(world.drive(open(&world).await.unwrap()).await.step, "done");
            renewals.push(hour);
        }
    }
    // When a third of its life is left, a jitter of at most 80 minutes later, at the next look of an hour.
    let pauses: Vec<_> = std::iter::once(0).chain(renewals.clone()).zip(renewals.clone()).collect();
    assert!(
        pauses.len() >= 4 && pauses.iter().all(|(from, to)| (96..=98).contains(&(to - from))),
        "{pauses:?}"
    );
}

#[tokio::test]
async fn the_authority_may_ask_for_an_earlier_renewal() {
    let world = World::new().await;
    issued(&world, 90).await;
    let now = u64::try_from(app_seconds(&world.app)).unwrap();
    let window = |start: u64, end: u64| {
        Some(Window { start, end, explanation: None, retry_after: Duration::from_secs(6 * 3600) })
    };
    world.ca.state().window = window(now + 20 * 86_400, now + 21 * 86_400);
    let mut memory = Memory::default();
    for _ in 0..4 {
        assert_eq!(scan(&world, &mut memory).await, 0);
        world.fixture.pass(3600);
    }
    let asked = world.ca.state().calls.iter().filter(|call| **call == "renewal_info").count();
    assert_eq!(asked, 1, "not before its Retry-After");
    world.ca.state().window = window(now - 86_400, now + 3_600);
    world.fixture.pass(6 * 3600);
    assert_eq!(scan(&world, &mut memory).await, 1, "its window is past: now");
}

#[tokio::test]
async fn whoever_asks_gets_what_is_due_or_by_force_everything() {
    let world = World::new().await;
    let certificate = issued(&world, 90).await;
    let caller = Caller::ourselves("test");
    let views = renewal::renew(&world.app, &caller, &[], false).await.unwrap();
    assert_eq!(views.len(), 1);
    assert!(views[0].order.is_none() && views[0].message.as_deref().unwrap().contains("not due"));
    let unknown = renewal::renew(&world.app, &caller, &["b.test".into()], true).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
    let views = renewal::renew(&world.app, &caller, &["a.test".into()], true).await.unwrap();
    let order = views[0].order.clone().unwrap();
    let again = renewal::renew(&world.app, &caller, &[certificate.id.to_string()], true).await.unwrap();
    assert_eq!(again[0].order.as_deref(), Some(order.as_str()), "one order");
    assert_eq!(world.drive(order.parse().unwrap()).await.step, "done");
}

#[tokio::test]
async fn a_revoked_certificate_is_not_renewed() {
    let world = World::new().await;
    let certificate = issued(&world, 90).await;
    let caller = Caller::ourselves("test");
    let reason = certs::acme::order::Reason::Superseded;
    renewal::revoke(&world.app, &caller, &world.ca.outside(), &certificate, reason).await.unwrap();
    assert_eq!(world.ca.state().revoked, 1);
    world.fixture.pass(85 * DAY);
    assert_eq!(scan(&world, &mut Memory::default()).await, 0);
}

#[test]
fn the_scan_is_at_two_each_day_also_when_clocks_change() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let micros = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    for (now, next) in [
        // Winter, two o'clock is one o'clock UTC; before it and at it.
        ("2026-01-10T00:59:59Z", "2026-01-10T01:00:00Z"),
        ("2026-01-10T01:00:00Z", "2026-01-11T01:00:00Z"),
        // The night without a two o'clock, and the one after.
        ("2026-03-28T23:30:00Z", "2026-03-29T01:00:00Z"),
        ("2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"),
        // The night with two of them.
        ("2026-10-24T22:30:00Z", "2026-10-25T00:00:00Z"),
        ("2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"),
    ] {
        assert_eq!(next_scan(micros(now), &zone), micros(next), "{now}");
    }
}

//! Whatever goes wrong: what is served stays, the reason is shown, the next try is set.

use std::time::Duration;

use certs::acme::{AcmeError, Kind};

use super::fake::{World, connect};
use super::orders::{trigger, untrigger};
use crate::app::acme::order::{Step, job};
use crate::app::acme::outside::{Fault, Then};
use crate::store::identity::Status;

fn error(kind: Kind, after: Option<Duration>) -> Fault {
    let authority = "ca.test".to_owned();
    AcmeError { kind, step: "speaking", authority, detail: "in its words".into(), names: Vec::new(), after }
        .into()
}

#[tokio::test]
async fn an_authority_that_is_down_or_fails_at_any_call_is_tried_again_and_ordered_from_once() {
    for call in ["register", "preflight", "start", "tasks", "ready", "poll", "finalize", "download"] {
        for kind in [Kind::Unreachable, Kind::ServerInternal, Kind::BadNonce, Kind::Dns] {
            let world = World::new().await;
            let (certificate, id) = world.order(&["a.test"]).await;
            world.ca.state().faults.push_back((call, error(kind, None)));
            let waits = world.drive(id).await;
            let why = waits.last_error.clone().unwrap();
            assert!(why.contains("in its words"), "{why}");
            assert!(waits.next_try > world.app.clock.now(), "a next try is set");
            assert_eq!(waits.attempts, 1);
            let row = world.certificate(&certificate).await;
            assert_eq!((row.status, row.last_error), (Status::Failed, Some(why.clone())));
            assert!(world.log(id).await.contains(&why));
            let done = world.drive(id).await;
            assert_eq!((done.step.as_str(), done.last_error), ("done", None), "{call} {kind:?}");
            assert_eq!(world.ca.state().orders.len(), 1, "{call} {kind:?}");
        }
    }
}

#[tokio::test]
async fn what_the_authority_says_about_waiting_is_kept() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    let hours = Duration::from_secs(7 * 3600);
    world.ca.state().faults.push_back(("start", error(Kind::RateLimited, Some(hours))));
    let waits = world.drive(id).await;
    assert!(waits.next_try >= world.app.clock.now() + 7 * 3600 * 1_000_000);
    let why = waits.last_error.unwrap();
    assert!(why.starts_with("held back until 2026-01-01T07:00:00"), "{why}");
    assert!(why.contains("rate") || why.contains("in its words"), "{why}");
    world.ca.state().faults.push_back(("start", error(Kind::RateLimited, None)));
    let waits = world.drive(id).await;
    assert!(waits.next_try >= world.app.clock.now() + 3600 * 1_000_000, "an hour when it names no time");
}

#[tokio::test]
async fn pauses_grow_and_end_at_a_bound() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    let mut last = 0;
    for attempt in 0..40 {
        world.ca.state().faults.push_back(("preflight", Fault::again("no")));
        let waits = world.drive(id).await;
        let pause = waits.next_try - world.app.clock.now();
        assert!(pause <= 3600 * 1_100_000, "{pause}");
        assert!(attempt > 5 || pause > last, "{pause} after {last}");
        last = pause;
    }
}

#[tokio::test]
async fn a_validation_that_never_comes_to_an_end_begins_anew_later() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    world.ca.state().is_slow = true;
    world.until(id, Step::Validate).await;
    let mut polls = 0;
    while world.row(id).await.attempts == 0 {
        assert_eq!(world.step(id).await, job::Outcome::Waits);
        polls += 1;
        assert!(polls < 200);
    }
    let waits = world.row(id).await;
    assert!(waits.last_error.unwrap().contains("never looked at the names"));
    assert_eq!(waits.step, "preflight");
    assert!(waits.next_try >= world.app.clock.now() + 10 * 60 * 1_000_000);
}

#[tokio::test]
async fn an_order_that_the_authority_failed_begins_anew_with_another_key() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    world.until(id, Step::Validate).await;
    let first = world.row(id).await.key_sealed;
    world.ca.state().orders[0].failed = true;
    world.ca.state().faults.push_back(("poll", error(Kind::OrderFailed, None)));
    world.step(id).await;
    let done = world.drive(id).await;
    assert_eq!(done.step, "done");
    assert!(first.is_some());
    assert_eq!(world.ca.state().orders.len(), 2);
}

#[tokio::test]
async fn an_account_that_the_authority_forgot_is_registered_again() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    world.ca.state().faults.push_back(("start", error(Kind::AccountDoesNotExist, None)));
    world.drive(id).await;
    assert_eq!(world.drive(id).await.step, "done");
    assert_eq!(world.ca.state().accounts, 2);
}

#[tokio::test]
async fn a_gateway_that_does_not_acknowledge_is_named_and_the_authority_is_not_told_to_look() {
    let world = World::new().await;
    connect(&world.app, 1);
    let (_, id) = world.order(&["a.test"]).await;
    let waits = world.drive(id).await;
    let why = waits.last_error.unwrap();
    assert!(why.contains("gateway gw-one") && why.contains("not acknowledged"), "{why}");
    assert!(!world.ca.state().calls.contains(&"ready"));
    connect(&world.app, u64::MAX);
    assert_eq!(world.drive(id).await.step, "done");
}

#[tokio::test]
async fn a_store_that_takes_nothing_stops_an_order_before_the_authority_is_bothered() {
    let world = World::new().await;
    let (certificate, id) = world.order(&["a.test"]).await;
    world.until(id, Step::Start).await;
    trigger(&world, "BEFORE INSERT ON acme_log").await;
    let calls = world.ca.state().calls.len();
    assert!(job::step(&world.app, &world.ca.outside(), id).await.is_err());
    assert_eq!(world.ca.state().calls.len(), calls);
    untrigger(&world).await;
    assert_eq!(world.drive(id).await.step, "done");
    assert_eq!(world.ca.state().orders.len(), 1);
    assert_eq!(world.certificate(&certificate).await.status, Status::Active);
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_swap_leaves_the_order_to_be_ended_later() {
    let world = World::new().await;
    let (certificate, id) = world.order(&["a.test"]).await;
    world.until(id, Step::Install).await;
    trigger(&world, "BEFORE UPDATE ON identities").await;
    assert!(job::step(&world.app, &world.ca.outside(), id).await.is_err());
    assert_eq!(world.certificate(&certificate).await.status, Status::Pending);
    untrigger(&world).await;
    assert_eq!(world.drive(id).await.step, "done");
    assert_eq!(world.ca.state().orders.len(), 1);
}

#[tokio::test]
async fn a_clock_that_jumps_a_day_neither_loses_nor_repeats_an_order() {
    for jump in [86_400, -86_400] {
        let world = World::new().await;
        let (_, id) = world.order(&["a.test"]).await;
        world.until(id, Step::Validate).await;
        world.fixture.pass(jump);
        assert_eq!(world.drive(id).await.step, "done", "{jump}");
        assert_eq!(world.ca.state().orders.len(), 1);
    }
}

#[tokio::test]
async fn no_fault_leads_to_a_secret_in_the_log_or_the_view() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    world
        .ca
        .state()
        .faults
        .push_back(("finalize", Fault { then: Then::Again, message: "no".into(), after: None }));
    world.drive(id).await;
    let shown =
        world.fixture.get(crate::api::testing::LOCAL, &format!("/api/v1/acme/orders/{id}")).await.expect(200);
    for secret in ["sealed", "credentials", "PRIVATE", "csr", "key_sealed", "progress"] {
        assert!(!shown.text.contains(secret), "{secret} in {}", shown.text);
    }
    assert!(shown.json()["log"].as_array().unwrap().len() > 5);
}

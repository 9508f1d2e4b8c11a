//! From a request to a served certificate, once, whatever happens in between.

use config::snapshot::Kind;

use super::fake::World;
use crate::app::acme::order::{self, Step, job};
use crate::app::change::Scope;
use crate::app::{Caller, Error};
use crate::store;
use crate::store::identity::Status;

fn challenges(app: &crate::app::App) -> usize {
    let snapshot = std::sync::Arc::clone(&app.desired.current().snapshot);
    snapshot.objects().filter(|object| object.key().kind == Kind::CHALLENGE).count()
}

#[tokio::test]
async fn an_order_goes_from_a_request_to_a_certificate_in_force() {
    let world = World::new().await;
    let (certificate, id) = world.order(&["b.test", "a.test"]).await;
    world.until(id, Step::Confirm).await;
    assert_eq!(challenges(&world.app), 2);
    let done = world.drive(id).await;
    assert_eq!((done.step.as_str(), done.finished_at.is_some()), ("done", true), "{}", world.log(id).await);
    assert!(done.key_sealed.is_none(), "the key lies in the certificate alone");
    let row = world.certificate(&certificate).await;
    assert_eq!(row.status, Status::Active);
    assert_eq!(row.chain.len(), 2);
    assert_eq!(challenges(&world.app), 0, "answers are taken back with the swap");
    let calls = world.ca.state().calls.clone();
    assert_eq!(
        calls,
        ["register", "preflight", "start", "tasks", "ready", "poll", "finalize", "poll", "download"]
    );
}

#[tokio::test]
async fn control_killed_after_each_step_goes_on_with_the_same_order() {
    let mut world = World::new().await;
    let (certificate, id) = world.order(&["a.test"]).await;
    let mut seen = Vec::new();
    for _ in 0..40 {
        seen.push(world.row(id).await.step);
        if world.step(id).await == job::Outcome::Over {
            break;
        }
        world.restart().await;
    }
    assert_eq!(seen.len(), 13, "every step was killed once: {seen:?}");
    assert_eq!(world.certificate(&certificate).await.status, Status::Active);
    let state = world.ca.state();
    assert_eq!((state.orders.len(), state.accounts), (1, 1));
}

#[tokio::test]
async fn control_killed_before_a_step_was_written_down_takes_it_again() {
    let mut world = World::new().await;
    let (certificate, id) = world.order(&["a.test"]).await;
    for _ in 0..40 {
        // The row cannot be written after what the step did in the world.
        trigger(&world, "BEFORE UPDATE ON acme_orders").await;
        let lost = job::step(&world.app, &world.ca.outside(), id).await;
        assert!(lost.is_err() || matches!(lost, Ok(job::Outcome::Over)), "{lost:?}");
        untrigger(&world).await;
        world.restart().await;
        if world.step(id).await == job::Outcome::Over {
            break;
        }
    }
    assert_eq!(world.certificate(&certificate).await.status, Status::Active, "{}", world.log(id).await);
    let state = world.ca.state();
    assert_eq!((state.orders.len(), state.accounts), (1, 1));
}

/// A disk that is full.
pub(super) async fn trigger(world: &World, what: &str) {
    let sql: &'static str = Box::leak(
        format!("CREATE TRIGGER full {what} BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END")
            .into_boxed_str(),
    );
    let mut conn = world.app.db.write().await.unwrap();
    conn.run(sql, &[]).await.unwrap();
    conn.commit().await.unwrap();
}

pub(super) async fn untrigger(world: &World) {
    let mut conn = world.app.db.write().await.unwrap();
    conn.run("DROP TRIGGER full", &[]).await.unwrap();
    conn.commit().await.unwrap();
}

#[tokio::test]
async fn the_same_names_have_one_order_however_often_they_are_asked_for() {
    let world = World::new().await;
    let (certificate, id) = world.order(&["a.test", "b.test"]).await;
    let caller = Caller::ourselves("test");
    let mut change = world.app.begin(&caller, Scope::Private).await.unwrap();
    let again = order::request(&mut change, &certificate, order::Reason::Renewal).await.unwrap();
    assert_eq!(again, id);
    let mut other = certificate.clone();
    other.id = config::id::IdentityId::from_bytes([9; 16]);
    other.names.reverse();
    let taken = order::request(&mut change, &other, order::Reason::Request).await;
    assert!(matches!(taken, Err(Error::Conflict { .. })), "{taken:?}");
    let mut row = world.row(id).await;
    row.id = config::id::AcmeOrderId::from_bytes([9; 16]);
    let unique = store::acme_order::insert(change.conn(), &row).await;
    assert!(matches!(unique, Err(store::Error::Unique { .. })), "the index holds too: {unique:?}");
}

#[tokio::test]
async fn a_wildcard_goes_by_dns_and_by_nothing_else() {
    let world = World::new().await;
    let (certificate, id) = world.order_by(&["*.a.test", "a.test"], Some("dns-01")).await;
    let done = world.drive(id).await;
    assert_eq!(done.step, "done", "{}", world.log(id).await);
    let calls = world.ca.state().calls.clone();
    assert!(calls.contains(&"put") && calls.contains(&"remove"), "{calls:?}");
    let caller = Caller::ourselves("test");
    let mut change = world.app.begin(&caller, Scope::Private).await.unwrap();
    let mut other = certificate;
    other.challenge = Some("http-01".into());
    let refused = order::request(&mut change, &other, order::Reason::Request).await;
    let Err(Error::Invalid(violations)) = refused else { panic!("{refused:?}") };
    assert_eq!((violations[0].field.as_str(), violations[0].code), ("names[0]", "needs_dns_01"));
    assert!(violations[0].message.contains("needs DNS-01"));
}

#[tokio::test]
async fn a_cancelled_order_takes_its_answers_back_and_is_over() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    world.until(id, Step::Tell).await;
    assert_eq!(challenges(&world.app), 1);
    order::cancel(&world.app, &Caller::ourselves("test"), &id.to_string()).await.unwrap();
    assert_eq!(challenges(&world.app), 0);
    assert_eq!(world.step(id).await, job::Outcome::Over);
    assert_eq!(world.row(id).await.step, "cancelled");
}

#[tokio::test]
async fn two_controls_on_one_database_take_a_step_once() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    let mut stale = world.row(id).await;
    let seen = stale.stamp.revision;
    world.step(id).await;
    stale.step = "done".into();
    let mut conn = world.app.db.write().await.unwrap();
    assert!(!store::acme_order::update(&mut conn, &stale, seen).await.unwrap(), "the older row does not win");
}

#[tokio::test]
async fn the_log_of_an_order_is_bounded() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    let mut conn = world.app.db.write().await.unwrap();
    for line in 0..450 {
        store::acme_order::log(&mut conn, id, 0, &format!("line {line}")).await.unwrap();
    }
    let lines = store::acme_order::lines(&mut conn, id).await.unwrap();
    assert_eq!(lines.len(), 200);
    assert_eq!(lines.last().unwrap().message, "line 449");
}

#[tokio::test]
async fn an_order_says_whom_it_waits_for_and_how_it_ended_is_counted() {
    use crate::api::testing::LOCAL;
    let world = World::new().await;
    let (certificate, id) = world.order(&["a.test"]).await;
    let whom = async || {
        let order = world.fixture.get(LOCAL, &format!("/api/v1/acme/orders/{id}")).await.expect(200).json();
        let path = format!("/api/v1/certificates/{}", certificate.id);
        let shown = world.fixture.get(LOCAL, &path).await.expect(200).json();
        assert_eq!(order["waiting_for"], shown["waiting_for"]);
        order["waiting_for"].as_str().map(str::to_owned)
    };
    world.until(id, Step::Start).await;
    assert_eq!(whom().await.as_deref(), Some("authority"));
    world.until(id, Step::Confirm).await;
    assert_eq!(whom().await.as_deref(), Some("gateways"));
    world.ca.state().faults.push_back(("ready", crate::app::acme::outside::Fault::again("no")));
    world.drive(id).await;
    assert_eq!(whom().await.as_deref(), Some("next-try"));
    world.drive(id).await;
    assert_eq!(whom().await, None);

    let text = world.fixture.get(LOCAL, "/metrics").await.expect(200).text;
    for line in [
        "gatehouse_acme_orders_total{issuer=\"ca.test\",result=\"issued\"} 1",
        "gatehouse_acme_orders_total{issuer=\"ca.test\",result=\"failed\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing: {text}");
    }
    let ends = text.lines().find(|line| line.starts_with("gatehouse_tls_cert_not_after_timestamp_seconds{"));
    assert!(ends.is_some_and(|line| line.contains("source=\"acme\"")), "{text}");
}

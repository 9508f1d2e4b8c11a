//! `kill -9` of control at each step of an order, with the real control, gateway and authority.

pub(crate) mod tap;

use serde_json::Value;
use tests::binaries::signal;
use tests::wait::{DEADLINE, wait_at_most, wait_for};

use crate::machine::{Machine, items, only};
use crate::pebble::{self, Pebble};
use tap::{Moment, Tap};

/// Requests of an order in their order, each by a part of its line.
const REQUESTS: [&str; 8] = [
    "POST /sign-me-up",
    "POST /order-plz",
    // The tasks: the order and its authorizations are read.
    "POST /authZ/",
    // The answers are published and acknowledged by the gateway.
    "POST /chalZ/",
    "POST /my-order/",
    "POST /finalize-order/",
    "POST /certZ/",
    "GET /dir",
];

#[tokio::test(flavor = "multi_thread")]
async fn control_killed_at_each_request_of_an_order_goes_on_with_that_order() {
    // The mock name server answers 127.0.0.1 for every name.
    let options = pebble::Options { bad_nonces: Some(0), ..pebble::Options::default() };
    let Some(pebble) = Pebble::start(&options).await else { return };
    let mut tap = Tap::start(&pebble.url, &pebble.root_pem).await;
    let mut machine = Machine::start(pebble.http_port).await;
    machine.knows(&tap.url, &tap.root_pem, &pebble.dns());
    // Each request is held twice: before the authority sees it, and when its answer is on the way.
    for what in REQUESTS {
        tap.hold(what, Moment::Before);
        tap.hold(what, Moment::Answered);
    }

    machine.cli(&["route", "add", "app.example.com", "http://127.0.0.1:9", "--tls", "acme"]);

    let order = only(&machine.cli(&["acme", "order", "ls", "-o", "json"]))["id"].clone();
    let mut steps = Vec::new();
    for _ in 0..2 * REQUESTS.len() {
        let held = tokio::time::timeout(8 * DEADLINE, tap.next()).await;
        let held = held.unwrap_or_else(|_| {
            panic!("nothing is asked any more after {steps:?}: {}", machine.said(&order))
        });
        machine.kill();
        steps.push(held.what.clone());
        drop(held);
        machine.revive().await;
        let now = only(&machine.cli(&["acme", "order", "ls", "-o", "json"]));
        assert_eq!(now["id"], order, "another order after {steps:?}");
    }
    wait_at_most(4 * DEADLINE, "the order is done", || async {
        let now = only(&machine.cli(&["acme", "order", "ls", "-o", "json"]));
        (now["state"] == "done").then_some(())
    })
    .await;

    assert_eq!(pebble.orders(), 1, "one order for one set of names: {steps:?}\n{}", pebble.log());
    assert_eq!(issued(&pebble.log()), 1, "one certificate: {}", pebble.log());
    let certificates: Value = serde_json::from_str(&machine.cli(&["cert", "ls", "-o", "json"])).unwrap();
    let mine = items(&certificates).iter().filter(|item| item["source"] == "acme").count();
    assert_eq!(mine, 1, "{certificates}");
    wait_for("the gateway serves it", || async { machine.serves("app.example.com").await }).await;
    assert!(steps.iter().any(|step| step.contains("order-plz") && step.contains("Answered")), "{steps:?}");
}

/// The moment that no request tells: the answers are published, and the gateway has not said yet that it has them.
#[tokio::test(flavor = "multi_thread")]
async fn control_killed_while_a_gateway_owes_its_word_waits_for_it_again() {
    let options = pebble::Options { bad_nonces: Some(0), ..pebble::Options::default() };
    let Some(pebble) = Pebble::start(&options).await else { return };
    let mut tap = Tap::start(&pebble.url, &pebble.root_pem).await;
    let mut machine = Machine::start(pebble.http_port).await;
    machine.knows(&tap.url, &tap.root_pem, &pebble.dns());
    tap.hold("POST /authZ/", Moment::Answered);
    machine.cli(&["route", "add", "app.example.com", "http://127.0.0.1:9", "--tls", "acme"]);
    // What is held breaks when it is let go, so the answers are asked for once more, and published to a gateway that is deaf.
    let held = tap.next().await;
    signal(machine.gateway.id(), "STOP");
    drop(held);
    let order = only(&machine.cli(&["acme", "order", "ls", "-o", "json"]))["id"].clone();
    machine.cli(&["acme", "order", "retry", order.as_str().unwrap()]);
    wait_at_most(4 * DEADLINE, "the answers are published", || async {
        machine.said(&order).contains("waiting until every gateway answers it").then_some(())
    })
    .await;

    machine.kill();
    signal(machine.gateway.id(), "CONT");
    machine.revive().await;

    wait_at_most(4 * DEADLINE, "the order is done", || async {
        let now = only(&machine.cli(&["acme", "order", "ls", "-o", "json"]));
        assert_eq!(now["id"], order);
        (now["state"] == "done").then_some(())
    })
    .await;
    assert_eq!((pebble.orders(), issued(&pebble.log())), (1, 1), "{}", pebble.log());
}

/// Certificates that the authority made, by its log.
fn issued(log: &str) -> usize {
    log.lines().filter(|line| line.contains("Issued certificate")).count()
}

//! Ports that control picks, at gateways where other programs have some.

use std::sync::{Arc, Mutex};

use config::snapshot::{Ports, Transport};
use config::sync::asking::{Answer, Question};
use config::sync::message::Hello;
use serde_json::{Value, json};

use super::sessions::enrolled;
use crate::api::testing::{As, LOCAL};
use crate::app::lines::{Held, Order, orders};
use crate::app::testing::Fixture;

const LIST: &str = "/api/v1/forwards";

/// A connected gateway on whose machine another program has these ports of TCP.
struct Busy {
    _line: Held,
    asked: Arc<Mutex<Vec<Ports>>>,
}

async fn busy(fixture: &Fixture, byte: u8, name: &str, taken: impl Fn(u16) -> bool + Send + 'static) -> Busy {
    let id = enrolled(fixture, byte, name).await;
    fixture.app.gateways.introduced(id, 0, &Hello::default());
    let (send, mut ordered) = orders();
    let line = fixture.app.gateways.lines.hold(id, false, send);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Some(order) = ordered.recv().await {
            let Order::Ask(Question::Ports { transport, ports, .. }, asker) = order else { continue };
            noted.lock().unwrap().push(ports);
            let is_taken = |port: &u16| transport == Transport::Tcp && taken(*port);
            let _ = asker.send(Answer::Taken((ports.first..=ports.last).rev().find(is_taken)));
        }
    });
    Busy { _line: line, asked }
}

async fn made(fixture: &Fixture, more: Value) -> Value {
    let mut body = json!({"protocol": "tcp", "vm_ip": "10.0.0.5", "vm_port": 22});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fixture.post(LOCAL, LIST, body).await.expect(201).json()
}

#[tokio::test]
async fn ports_that_other_programs_have_are_passed_over_and_told() {
    let fixture = Fixture::new().await;
    let one = busy(&fixture, 1, "gw-one", |port| port == 20_000).await;
    let _two = busy(&fixture, 2, "gw-two", |port| port == 20_001).await;

    let made_one = made(&fixture, json!({})).await;

    assert_eq!(made_one["host_port"], 20_002);
    assert_eq!(
        made_one["warnings"],
        json!([
            "20000/tcp was passed over: another program has it on gateway gw-one",
            "20001/tcp was passed over: another program has it on gateway gw-two"
        ])
    );
    let audit = fixture.get(LOCAL, "/api/v1/audits").await.json();
    let rows = audit["items"].as_array().unwrap();
    assert_eq!(rows.iter().filter(|row| row["action"] == "create").count(), 1, "tries leave nothing behind");
    let row = rows.iter().find(|row| row["action"] == "create").unwrap();
    assert!(row.to_string().contains("20000/tcp was passed over"), "{row}");
    assert_eq!(one.asked.lock().unwrap().len(), 3);
    // Another transport is another port; what was named is what is wanted.
    assert_eq!(made(&fixture, json!({"protocol": "udp"})).await["host_port"], 20_000);
    assert_eq!(made(&fixture, json!({"host_port": 20_000})).await["host_port"], 20_000);
    let place = format!("{LIST}/{}", made_one["id"].as_str().unwrap());
    let anyhow = As { if_match: Some("*"), ..LOCAL };
    let again = fixture.call(anyhow, "PATCH", &place, json!({"host_port": "auto"})).await.expect(200).json();
    assert_eq!(again["host_port"], 20_002, "its own port is in nobody's way");
}

#[tokio::test]
async fn a_row_of_ports_goes_past_the_last_that_is_taken() {
    let fixture = Fixture::new().await;
    let gateway = busy(&fixture, 1, "gw-one", |port| matches!(port, 20_001 | 20_003)).await;
    let row = made(&fixture, json!({"vm_port": "5000-5004"})).await;
    assert_eq!(row["host_ports"], "20004-20008");
    let asked: Vec<_> = gateway.asked.lock().unwrap().iter().map(|ports| ports.first).collect();
    assert_eq!(asked, [20_000, 20_004], "each is asked for once");
}

#[tokio::test]
async fn a_machine_full_of_other_programs_is_told_and_one_that_is_silent_is_not_waited_for_long() {
    let fixture = Fixture::new().await;
    let full = busy(&fixture, 1, "gw-one", |_| true).await;
    let body = json!({"protocol": "tcp", "vm_ip": "10.0.0.5", "vm_port": 22});
    let refused = fixture.post(LOCAL, LIST, body).await.expect(409);
    assert!(refused.text.contains("other programs have 64 of the lowest free ports"), "{}", refused.text);
    assert!(refused.text.contains("gateway gw-one; give host_port"), "{}", refused.text);
    drop(full);
    // Its stream is gone and nobody has noticed yet.
    assert_eq!(made(&fixture, json!({})).await["host_port"], 20_000);
}

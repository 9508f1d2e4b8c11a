//! Ports that control picks, at gateways where other programs have some.

use std::sync::{Arc, Mutex};

use config::snapshot::{Ports, Transport};
use config::sync::asking::{Answer, Question};
use config::sync::message::Hello;
use serde_json::{Value, json};

use super::sessions::enrolled;
use crate::api::testing::{As, LOCAL, token};
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

#[tokio::test]
async fn people_take_the_ports_that_they_may_and_root_any() {
    let fixture = Fixture::new().await;
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let operator = fixture.user("usr-o", "operator:ns1").await;
    let asked = |port: &str| json!({"protocol": "tcp", "host_port": port, "vm": "web01.ns1", "vm_port": 22, "namespace": "ns1"});
    for port in ["80", "1023", "1000-1030"] {
        let refused = fixture.post(token(&operator), LIST, asked(port)).await.expect(422);
        assert_eq!(refused.violations(), ["host_port range"], "{port}");
        assert!(refused.text.contains("1024-65535, the setting forwards.ports"), "{}", refused.text);
    }
    let mine = fixture.post(token(&operator), LIST, asked("1024")).await.expect(201).json();
    let roots = fixture.post(LOCAL, LIST, asked("80")).await.expect(201).json();
    let change = async |who: As<'_>, view: &Value, body: Value| {
        let place = format!("{LIST}/{}", view["id"].as_str().unwrap());
        fixture.call(As { if_match: Some("*"), ..who }, "PATCH", &place, body).await
    };
    change(token(&operator), &mine, json!({"host_port": 443})).await.expect(422);
    // What is there and is not touched is not judged again.
    change(token(&operator), &roots, json!({"note": "web"})).await.expect(200);
    // The same number elsewhere is another port, which nobody gave them.
    for moved in [json!({"protocol": "udp"}), json!({"bind": "10.0.0.1"})] {
        let refused = change(token(&operator), &roots, moved.clone()).await.expect(422);
        assert_eq!(refused.violations(), ["host_port range"], "{moved}");
        change(token(&operator), &mine, moved).await.expect(200);
    }
    change(LOCAL, &roots, json!({"protocol": "udp", "bind": "10.0.0.1"})).await.expect(200);
    let csv = "protocol,host_port,vm_ip,vm_port,note\ntcp,81,10.0.0.5,80,\n";
    let csv = fixture
        .raw(
            As { fields: vec![("content-type", "text/csv")], ..token(&operator) },
            "POST",
            &format!("{LIST}/import?namespace=ns1"),
            csv,
        )
        .await
        .expect(422);
    assert_eq!(csv.violations(), ["line 2 range"]);
    let auto = fixture.post(token(&operator), LIST, asked("auto")).await.expect(201).json();
    assert_eq!(auto["host_port"], 20_000);
}

//! What gateways tell the audit, and who reads it there.

use config::id::{AuditId, ConsoleId, GatewayId, SessionId, UserId, VmId};
use config::sync::audit::{AuditEvent, Carried, On, What, Who};
use serde_json::{Value, json};

use super::sessions::enrolled;
use crate::api::testing::{As, LOCAL, token};
use crate::app::audit::told;
use crate::app::testing::Fixture;

fn id(number: u8) -> String {
    SessionId::from_bytes([number; 16]).to_string()
}

fn event(number: u8, what: What, on: On, who: Who) -> AuditEvent {
    AuditEvent {
        id: AuditId::from_bytes([number; 16]),
        at_ms: 1_767_225_600_000,
        what,
        on,
        who,
        proof: "ticket".into(),
        source: "192.0.2.9".parse().unwrap(),
        session: Some(SessionId::from_bytes([7; 16])),
        why: String::new(),
        totals: None,
    }
}

/// A tenant with a VM and a console, its administrator, and a gateway.
struct World {
    fixture: Fixture,
    console: ConsoleId,
    vm: VmId,
    user: UserId,
    admin: String,
    gateway: GatewayId,
}

async fn world() -> World {
    let fixture = Fixture::new().await;
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let console = json!({"vm": "web01", "kind": "vnc"});
    let console = fixture.post(LOCAL, "/api/v1/consoles", console).await.expect(201).json();
    let admin = fixture.user("usr-a", "admin:ns1").await;
    let users = fixture.get(LOCAL, "/api/v1/users").await.json();
    let vms = fixture.get(LOCAL, "/api/v1/vms").await.json();
    let gateway = enrolled(&fixture, 1, "gw1").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    World {
        console: text(&console["id"]).parse().unwrap(),
        vm: text(&vms["items"][0]["id"]).parse().unwrap(),
        user: text(&users["items"][0]["id"]).parse().unwrap(),
        fixture,
        admin,
        gateway,
    }
}

impl World {
    async fn rows(&self, who: As<'_>, query: &str) -> Vec<Value> {
        let path = format!("/api/v1/audits?limit=500{query}");
        self.fixture.get(who, &path).await.expect(200).json()["items"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn what_becomes_of_consoles_is_in_the_audit_of_their_tenant() {
    let world = world().await;
    let on = || On::Console(world.console);
    let who = Who::User(world.user);
    let refused = AuditEvent { why: "used".into(), ..event(2, What::Refuse, on(), who) };
    let carried = Carried { up: 5, down: 6, ms: 1_500 };
    let ended =
        AuditEvent { totals: Some(carried), why: "finished".into(), ..event(3, What::End, on(), who) };
    let events = [event(1, What::Open, on(), who), refused, ended];
    told::write(&world.fixture.app, world.gateway, &events).await.unwrap();

    let rows = world.rows(token(&world.admin), "&object_kind=console").await;

    let of =
        |action: &str| rows.iter().find(|row| row["action"] == action && row["method"] == "ticket").unwrap();
    assert_eq!((&of("open")["actor"], &of("open")["source"]), (&json!("usr-a"), &json!("192.0.2.9")));
    assert_eq!(of("open")["object_id"], json!(world.console.to_string()));
    assert_eq!(of("open")["namespace"], json!("ns1"));
    assert_eq!(of("refuse")["result"], "used");
    let wanted = json!({"session": id(7), "gateway": "gw1", "bytes_up": 5, "bytes_down": 6, "seconds": 1.5, "why": "finished"});
    assert_eq!(of("end")["after"], wanted);
}

#[tokio::test]
async fn a_jump_is_in_the_audit_with_key_and_target_and_outlives_its_vm() {
    let world = world().await;
    let on = |vm| On::Jump { vm, target: "web01:22".into() };
    let who = Who::User(world.user);
    let open = AuditEvent { proof: "SHA256:abc".into(), ..event(1, What::Open, on(Some(world.vm)), who) };
    told::write(&world.fixture.app, world.gateway, std::slice::from_ref(&open)).await.unwrap();
    let vms = format!("/api/v1/vms/{}", world.vm);
    let consoles = format!("/api/v1/consoles/{}", world.console);
    world.fixture.call(LOCAL, "DELETE", &consoles, Value::Null).await.expect(204);
    world.fixture.call(LOCAL, "DELETE", &vms, Value::Null).await.expect(204);

    let end = AuditEvent {
        why: "cut".into(),
        ..AuditEvent { id: AuditId::from_bytes([2; 16]), what: What::End, ..open }
    };
    let refused = AuditEvent { why: "no".into(), ..event(3, What::Refuse, on(None), who) };
    let stranger = event(4, What::Refuse, On::Ssh { login: "admin".into() }, Who::Nobody);
    told::write(&world.fixture.app, world.gateway, &[end, refused, stranger]).await.unwrap();

    let theirs = world.rows(token(&world.admin), "&object_kind=jump").await;
    let actions: Vec<_> = theirs.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["end", "open"], "a refused target is not a tenant's to hear of");
    assert_eq!(theirs[0]["object_id"], json!(world.vm.to_string()));
    assert_eq!(theirs[1]["after"]["proof"], "SHA256:abc");
    assert_eq!(theirs[1]["after"]["target"], "web01:22");
    let all = world.rows(LOCAL, "&action=refuse").await;
    let kinds: Vec<_> = all
        .iter()
        .map(|row| (row["object_kind"].as_str().unwrap(), row["actor"].as_str().unwrap()))
        .collect();
    assert_eq!(kinds, [("ssh", "anonymous"), ("jump", "usr-a")]);
    assert_eq!(all[0]["after"]["login"], "admin");
}

#[tokio::test]
async fn what_is_told_twice_is_written_once() {
    let world = world().await;
    let one = event(1, What::Open, On::Console(world.console), Who::Root);
    let lost =
        AuditEvent { why: "3 events were lost".into(), ..event(2, What::Lose, On::Audit, Who::Nobody) };
    for _ in 0..2 {
        told::write(&world.fixture.app, world.gateway, &[one.clone(), lost.clone()]).await.unwrap();
    }
    assert_eq!(world.rows(LOCAL, "&action=open").await.len(), 1);
    assert_eq!(world.rows(LOCAL, "&action=lose").await[0]["after"]["why"], "3 events were lost");
}

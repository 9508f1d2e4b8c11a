//! Open sessions of gateways, seen through control.

use std::sync::{Arc, Mutex};

use config::id::{GatewayId, SessionId, VmId};
use config::name::GatewayName;
use config::sync::asking::{Answer, Question, Redemption, SessionSeen};
use serde_json::{Value, json};

use crate::api::testing::{LOCAL, NOBODY, token};
use crate::app::console::redeem;
use crate::app::lines::{Held, Order, orders};
use crate::app::testing::Fixture;
use crate::store::{self, Stamp, gateway::GatewayRow};

const SESSIONS: &str = "/api/v1/sessions";

/// A gateway that answers as the test wants, and what it was told to end.
struct Fake {
    _line: Held,
    ended: Arc<Mutex<Vec<SessionId>>>,
}

pub(super) async fn enrolled(fixture: &Fixture, byte: u8, name: &str) -> GatewayId {
    let id = GatewayId::from_bytes([byte; 16]);
    let mut conn = fixture.app.db.write().await.unwrap();
    let name = GatewayName::parse(name).unwrap();
    let fingerprint = name.to_string();
    let row = GatewayRow { id, name, fingerprint, expires_at: i64::MAX, stamp: Stamp::new(0) };
    store::gateway::insert(&mut conn, &row).await.unwrap();
    conn.commit().await.unwrap();
    id
}

async fn gateway(fixture: &Fixture, byte: u8, name: &str, open: Vec<SessionSeen>) -> Fake {
    let id = enrolled(fixture, byte, name).await;
    let (send, mut ordered) = orders();
    let line = fixture.app.gateways.lines.hold(id, false, send);
    let ended = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&ended);
    tokio::spawn(async move {
        while let Some(order) = ordered.recv().await {
            let Order::Ask(question, asker) = order else { continue };
            let answer = match question {
                Question::Sessions { only: Some(only), .. } => {
                    let items = open.iter().filter(|seen| seen.id == only).cloned().collect();
                    Answer::Sessions { items, more: false }
                }
                // Pages of three, to see that they are put together.
                Question::Sessions { after, .. } => {
                    let later = open.iter().filter(|seen| after.is_none_or(|after| seen.id > after));
                    let mut items: Vec<_> = later.cloned().collect();
                    let more = items.len() > 3;
                    items.truncate(3);
                    Answer::Sessions { items, more }
                }
                Question::End(id) => {
                    noted.lock().unwrap().push(id);
                    Answer::Ended(true)
                }
                Question::Redeem { .. } => Answer::Redeemed(Redemption::Yours),
                Question::Ports { .. } => Answer::Taken(None),
                Question::Audit(_)
                | Question::Certify { .. }
                | Question::HostKeySeen { .. }
                | Question::Unknown => continue,
            };
            let _ = asker.send(answer);
        }
    });
    Fake { _line: line, ended }
}

fn seen(number: u8, vm: &Value) -> SessionSeen {
    SessionSeen {
        id: SessionId::from_bytes([number; 16]),
        kind: "console".into(),
        peer: "192.0.2.9:4000".parse().unwrap(),
        principal: None,
        route: None,
        forward: None,
        endpoint: None,
        vm: vm["id"].as_str().map(|id| id.parse::<VmId>().unwrap()),
        console: None,
        started_ms: 1_767_225_600_000,
        bytes_up: 10,
        bytes_down: 20,
        target: None,
    }
}

fn ids(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

fn id(number: u8) -> String {
    SessionId::from_bytes([number; 16]).to_string()
}

#[tokio::test]
async fn sessions_of_all_gateways_are_one_list_in_pages_and_one_that_is_away_is_named() {
    let fixture = Fixture::new().await;
    let vm = fixture.vm("web01", "ns1", "10.0.0.5").await;
    let of = |numbers: &[u8]| numbers.iter().map(|number| seen(*number, &vm)).collect::<Vec<_>>();
    let _one = gateway(&fixture, 1, "gw1", of(&[1, 3, 5, 7, 9, 11])).await;
    let _two = gateway(&fixture, 2, "gw2", of(&[2, 4, 6])).await;
    enrolled(&fixture, 3, "gw3").await;

    let all = fixture.get(LOCAL, SESSIONS).await.expect(200).json();

    assert_eq!(ids(&all), [1, 2, 3, 4, 5, 6, 7, 9, 11].map(id));
    assert_eq!(all["away"], json!([{"gateway": "gw3", "why": "it is not connected"}]));
    let first = &all["items"][0];
    assert_eq!((&first["gateway"], &first["vm"]), (&json!("gw1"), &json!("web01.ns1")));
    assert_eq!((&first["from"], &first["namespace"]), (&json!("192.0.2.9:4000"), &json!("ns1")));
    assert_eq!((&first["bytes_up"], &first["since"]), (&json!(10), &json!("2026-01-01T00:00:00Z")));

    let (mut paged, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = fixture.get(LOCAL, &format!("{SESSIONS}?limit=2{after}")).await.expect(200).json();
        paged.extend(ids(&page));
        assert!(page["items"].as_array().unwrap().len() <= 2);
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(paged, ids(&all), "nothing is left out, nothing comes twice");

    let of_one = fixture.get(LOCAL, &format!("{SESSIONS}?gateway=gw2&kind=console&vm=web01")).await.json();
    assert_eq!((ids(&of_one), &of_one["away"]), ([2, 4, 6].map(id).to_vec(), &json!([])));
    assert!(ids(&fixture.get(LOCAL, &format!("{SESSIONS}?kind=ssh")).await.json()).is_empty());
    fixture.get(LOCAL, &format!("{SESSIONS}?from=x")).await.expect(400);
}

#[tokio::test]
async fn a_jump_shows_where_it_goes_and_an_old_gateway_what_it_knows() {
    let fixture = Fixture::new().await;
    let vm = fixture.vm("web01", "ns1", "10.0.0.5").await;
    let jump = |number, vm: &Value, target: Option<&str>| SessionSeen {
        kind: "jump".into(),
        target: target.map(str::to_owned),
        ..seen(number, vm)
    };
    let open = vec![
        jump(1, &vm, Some("10.0.0.5:5432")),
        jump(2, &Value::Null, Some("localhost:1880")),
        jump(3, &Value::Null, Some("2001:db8::1:22")),
        jump(4, &vm, None),
        jump(5, &Value::Null, None),
    ];
    let _gateway = gateway(&fixture, 1, "gw1", open).await;

    let all = fixture.get(LOCAL, SESSIONS).await.expect(200).json();

    let to: Vec<_> = all["items"].as_array().unwrap().iter().map(|item| &item["to"]).collect();
    assert_eq!(to, ["web01.ns1:5432", "localhost:1880", "2001:db8::1:22", "web01.ns1", "-"]);
}

#[tokio::test]
async fn a_tenant_sees_and_ends_only_its_own() {
    let fixture = Fixture::new().await;
    let mine = fixture.vm("web01", "ns1", "10.0.0.5").await;
    let theirs = fixture.vm("db01", "ns2", "10.0.0.6").await;
    let open =
        vec![seen(1, &theirs), seen(2, &theirs), seen(3, &theirs), seen(4, &mine), seen(5, &Value::Null)];
    let fake = gateway(&fixture, 1, "gw1", open).await;
    let operator = fixture.user("usr-o", "operator:ns1").await;
    let guest = fixture.user("usr-g", "guest:ns1").await;

    for who in [&operator, &guest] {
        assert_eq!(ids(&fixture.get(token(who), SESSIONS).await.expect(200).json()), [id(4)]);
        fixture.get(token(who), &format!("{SESSIONS}/{}", id(4))).await.expect(200);
        for other in [1, 5] {
            fixture.get(token(who), &format!("{SESSIONS}/{}", id(other))).await.expect(404);
            fixture
                .call(token(who), "DELETE", &format!("{SESSIONS}/{}", id(other)), Value::Null)
                .await
                .expect(404);
        }
    }
    fixture.get(NOBODY, SESSIONS).await.expect(401);
    let own = format!("{SESSIONS}/{}", id(4));
    fixture.call(token(&guest), "DELETE", &own, Value::Null).await.expect(403);
    assert!(fake.ended.lock().unwrap().is_empty());

    fixture.call(token(&operator), "DELETE", &own, Value::Null).await.expect(204);

    assert_eq!(*fake.ended.lock().unwrap(), [SessionId::from_bytes([4; 16])]);
    let audit = fixture.get(LOCAL, "/api/v1/audits").await.json();
    let row = audit["items"].as_array().unwrap().iter().find(|row| row["action"] == "end").unwrap();
    assert_eq!((&row["actor"], &row["object_id"]), (&json!("usr-o"), &json!(id(4))));
    assert_eq!((&row["namespace"], &row["object_kind"]), (&json!("ns1"), &json!("session")));
    fixture.call(LOCAL, "DELETE", &format!("{SESSIONS}/{}", id(5)), Value::Null).await.expect(204);
    fixture.call(LOCAL, "DELETE", &format!("{SESSIONS}/{}", id(9)), Value::Null).await.expect(404);
    enrolled(&fixture, 2, "gw2").await;
    fixture.call(LOCAL, "DELETE", &format!("{SESSIONS}/none"), Value::Null).await.expect(404);
}

#[tokio::test]
async fn a_session_of_a_gateway_that_is_away_is_not_said_to_be_gone() {
    let fixture = Fixture::new().await;
    let vm = fixture.vm("web01", "ns1", "10.0.0.5").await;
    let fake = gateway(&fixture, 1, "gw1", vec![seen(1, &vm)]).await;
    let operator = fixture.user("usr-o", "operator:ns1").await;
    enrolled(&fixture, 2, "gw2").await;
    for method in ["GET", "DELETE"] {
        let elsewhere = format!("{SESSIONS}/{}", id(2));
        let told = fixture.call(LOCAL, method, &elsewhere, Value::Null).await.expect(409).json().to_string();
        assert!(told.contains("of gw2, it is not connected"), "{told}");
        let told = fixture.call(token(&operator), method, &elsewhere, Value::Null).await.expect(409).json();
        let told = told.to_string();
        assert!(told.contains("not all gateways can be asked") && !told.contains("gw2"), "{told}");
    }
    // One that is found is shown and ended all the same.
    fixture.get(LOCAL, &format!("{SESSIONS}/{}", id(1))).await.expect(200);
    fixture.call(LOCAL, "DELETE", &format!("{SESSIONS}/{}", id(1)), Value::Null).await.expect(204);
    drop(fake);
}

#[tokio::test]
async fn a_ticket_is_redeemed_by_the_gateway_that_it_names_or_nobody_says_yes() {
    let fixture = Fixture::new().await;
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let console = json!({"vm": "web01", "kind": "vnc"});
    let console = fixture.post(LOCAL, "/api/v1/consoles", console).await.expect(201).json();
    let fake = gateway(&fixture, 1, "gw1", Vec::new()).await;
    fixture.app.gateways.introduced(GatewayId::from_bytes([1; 16]), 0, &Default::default());
    let path = format!("/api/v1/consoles/{}/tickets", console["id"].as_str().unwrap());
    let made = fixture.post(LOCAL, &path, json!({})).await.expect(201).json();
    let ticket = || config::secret::Secret::new(made["ticket"].as_str().unwrap().to_owned());
    let source = "192.0.2.9".parse().unwrap();

    assert_eq!(redeem::redeem(&fixture.app, ticket(), source, 1).await, Redemption::Yours);
    let forged = config::secret::Secret::new("A".repeat(ticket().expose().len()));
    assert_eq!(redeem::redeem(&fixture.app, forged, source, 1).await, Redemption::Forged);
    drop(fake);
    assert_eq!(redeem::redeem(&fixture.app, ticket(), source, 1).await, Redemption::Unanswered);
    fixture.pass(3600);
    assert_eq!(redeem::redeem(&fixture.app, ticket(), source, 1).await, Redemption::Expired);
}

//! Consoles and their tickets over the API.

use std::sync::Arc;

use config::id::GatewayId;
use config::name::GatewayName;
use config::snapshot::{Console, ConsoleWire, Kind, TicketAuthority, Value as Object};
use config::sync::message::{Hello, Listening};
use config::ticket::{self, Claims, Seen, TicketError};
use serde_json::{Value, json};

use crate::api::testing::{As, LOCAL, NOBODY, token};
use crate::app::testing::Fixture;
use crate::store::{self, Stamp, gateway::GatewayRow};

const CONSOLES: &str = "/api/v1/consoles";

/// A VM in namespace `ns1`, its VNC console, and a gateway that is connected.
async fn stage() -> (Fixture, Value) {
    let fixture = Fixture::new().await;
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let body = json!({"vm": "web01.ns1", "kind": "vnc", "secret": "geheim"});
    let console = fixture.post(LOCAL, CONSOLES, body).await.expect(201).json();
    gateway(&fixture, 1, "gw1").await;
    (fixture, console)
}

async fn gateway(fixture: &Fixture, byte: u8, name: &str) -> GatewayId {
    let id = GatewayId::from_bytes([byte; 16]);
    let mut conn = fixture.app.db.write().await.unwrap();
    let name = GatewayName::parse(name).unwrap();
    let fingerprint = name.to_string();
    let row = GatewayRow { id, name, fingerprint, expires_at: i64::MAX, stamp: Stamp::new(0) };
    store::gateway::insert(&mut conn, &row).await.unwrap();
    conn.commit().await.unwrap();
    let at = |kind: &str, address: &str| Listening { kind: kind.into(), address: address.parse().unwrap() };
    let hello = Hello {
        listeners: vec![at("https", "[::]:443"), at("novnc", "192.0.2.1:6080"), at("ttyd", "0.0.0.0:7681")],
        ..Hello::default()
    };
    fixture.app.gateways.introduced(id, 0, &hello);
    id
}

fn published(fixture: &Fixture) -> Vec<Object> {
    let snapshot = Arc::clone(&fixture.app.desired.current().snapshot);
    let kinds = [Kind::CONSOLE, Kind::TICKET_AUTHORITY];
    snapshot
        .objects()
        .filter(|object| kinds.contains(&object.key().kind))
        .map(|o| o.decode().unwrap())
        .collect()
}

fn consoles(fixture: &Fixture) -> Vec<Console> {
    let console = |value| if let Object::Console(console) = value { Some(console) } else { None };
    published(fixture).into_iter().filter_map(console).collect()
}

fn read(fixture: &Fixture, text: &str) -> Result<Claims, TicketError> {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    let authority = |value| if let Object::TicketAuthority(key) = value { Some(key) } else { None };
    let keys: Vec<TicketAuthority> = published(fixture).into_iter().filter_map(authority).collect();
    let now_ms = u64::try_from(fixture.app.clock.now() / 1_000).unwrap();
    ticket::verify(text, (now_ms, 0), |id, bytes, signature| match keys.iter().find(|key| key.id == id) {
        None => Seen::UnknownKey,
        Some(key) => match UnparsedPublicKey::new(&ED25519, key.public_key).verify(bytes, signature) {
            Ok(()) => Seen::Authentic,
            Err(_) => Seen::Forged,
        },
    })
}

fn tickets(console: &Value) -> String {
    format!("{CONSOLES}/{}/tickets", console["id"].as_str().unwrap())
}

async fn opened(fixture: &Fixture, who: As<'_>, console: &Value, body: Value) -> Value {
    fixture.post(who, &tickets(console), body).await.expect(201).json()
}

#[tokio::test]
async fn a_console_is_published_and_its_secret_is_never_shown() {
    let (fixture, console) = stage().await;
    assert_eq!(
        (&console["namespace"], &console["port"], &console["wire"]),
        (&json!("ns1"), &json!(5900), &json!("tcp"))
    );
    assert_eq!((&console["has_secret"], &console["vm"]), (&json!(true), &json!("web01.ns1")));
    assert_eq!((&console["on_change"], &console["on_delete"]), (&json!("keep"), &json!("drain 30s")));
    let found = consoles(&fixture);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].secret.as_ref().map(|secret| secret.expose().as_str()), Some("geheim"));
    assert_eq!(found[0].endpoint.target.to_string(), "10.0.0.5:5900");
    let place = format!("{CONSOLES}/{}", console["id"].as_str().unwrap());
    for path in [CONSOLES, &place, "/api/v1/audits"] {
        assert!(!fixture.get(LOCAL, path).await.expect(200).text.contains("geheim"), "{path}");
    }
    let rows = store::console::by_vm(&mut fixture.app.db.read().await.unwrap(), found[0].vm).await.unwrap();
    let sealed = rows[0].secret_sealed.as_ref().unwrap();
    assert!(!sealed.windows(6).any(|part| part == b"geheim"), "it is sealed");
    assert_eq!(consoles(&fixture), {
        let again = fixture.reopened().await;
        let snapshot = Arc::clone(&again.desired.current().snapshot);
        let object = snapshot.objects().find(|object| object.key().kind == Kind::CONSOLE).cloned().unwrap();
        let Object::Console(console) = object.decode().unwrap() else { panic!("another kind") };
        vec![console]
    });
}

#[tokio::test]
async fn a_change_takes_back_defaults_and_keeps_the_rest() {
    let (fixture, console) = stage().await;
    let place = format!("{CONSOLES}/{}", console["id"].as_str().unwrap());
    let any = As { if_match: Some("*"), ..LOCAL };
    let body =
        json!({"port": 5901, "secret": null, "read_only": true, "on_change": "cut", "vm": "web01.ns1"});
    let changed = fixture.call(any.clone(), "PATCH", &place, body).await.expect(200).json();
    assert_eq!((&changed["has_secret"], &changed["read_only"]), (&json!(false), &json!(true)));
    assert_eq!((&changed["port"], &changed["on_change"]), (&json!(5901), &json!("cut")));
    let before = consoles(&fixture)[0].endpoint.id;

    // A screen behind websockify cannot be held to looking.
    let wrong = fixture.call(any.clone(), "PATCH", &place, json!({"wire": "websocket"})).await.expect(422);
    assert_eq!(wrong.violations(), ["read_only invalid"]);
    let body = json!({"wire": "websocket", "read_only": null, "port": null});
    let changed = fixture.call(any.clone(), "PATCH", &place, body).await.expect(200).json();
    assert_eq!((&changed["path"], &changed["port"]), (&json!("/websockify"), &json!(5900)));
    let now = consoles(&fixture);
    assert_eq!(now[0].wire, ConsoleWire::WebSocket { path: "/websockify".into() });
    assert_ne!(now[0].endpoint.id, before, "it is elsewhere: pools of the old place are not its");

    fixture.call(any, "DELETE", &place, Value::Null).await.expect(204);
    assert!(consoles(&fixture).is_empty());
    fixture.get(LOCAL, &place).await.expect(404);
}

#[tokio::test]
async fn every_wrong_member_is_named() {
    let (fixture, _) = stage().await;
    for (body, wanted) in [
        (json!({}), &["vm required", "kind required"][..]),
        (json!({"vm": "nobody", "kind": "vnc"}), &["vm unknown"]),
        (json!({"vm": "web01", "kind": "spice"}), &["kind unsupported"]),
        (json!({"vm": "web01", "kind": "serial"}), &["port required"]),
        (json!({"vm": "web01", "kind": "serial", "port": 0}), &["port type"]),
        (json!({"vm": "web01", "kind": "serial", "port": 70000}), &["port type"]),
        (json!({"vm": "web01", "kind": "serial", "port": 7, "wire": "udp"}), &["wire unsupported"]),
        (json!({"vm": "web01", "kind": "serial", "port": 7, "wire": "websocket"}), &["wire invalid"]),
        (json!({"vm": "web01", "kind": "serial", "port": 7, "secret": "x"}), &["secret invalid"]),
        (json!({"vm": "web01", "kind": "serial", "port": 7, "read_only": true}), &["read_only invalid"]),
        (json!({"vm": "web01", "kind": "ttyd", "wire": "tcp"}), &["wire invalid"]),
        (json!({"vm": "web01", "kind": "ttyd", "path": "ws"}), &["path invalid"]),
        (json!({"vm": "web01", "kind": "ttyd", "path": "/a b"}), &["path invalid"]),
        (json!({"vm": "web01", "kind": "ssh", "wire": "tcp", "path": "/"}), &["path invalid"]),
        (json!({"vm": "web01", "kind": "ssh", "address": "10.0.0"}), &["address invalid"]),
        (json!({"vm": "web01", "kind": "ssh", "address": "169.254.169.254"}), &["address forbidden"]),
        (json!({"vm": "web01", "kind": "ssh", "address": "127.0.0.1", "port": 1880}), &["address forbidden"]),
        (json!({"vm": "web01", "kind": "ssh", "namespace": "ns2"}), &["namespace read_only"]),
        (json!({"vm": "web01", "kind": "ssh", "addr": "10.0.0.1"}), &["addr unknown"]),
        (
            json!({"vm": "web01", "kind": "ssh", "has_secret": true, "prot": 1}),
            &["has_secret read_only", "prot unknown"],
        ),
    ] {
        let answer = fixture.post(LOCAL, CONSOLES, body.clone()).await.expect(422);
        assert_eq!(answer.violations(), wanted, "{body}");
    }
    for secret in ["", "more than eight"] {
        let any = As { if_match: Some("*"), ..LOCAL };
        let list = fixture.get(LOCAL, CONSOLES).await.json();
        let place = format!("{CONSOLES}/{}", list["items"][0]["id"].as_str().unwrap());
        let answer = fixture.call(any, "PATCH", &place, json!({"secret": secret})).await.expect(422);
        assert_eq!(answer.violations(), ["secret invalid"]);
        assert!(secret.is_empty() || !answer.text.contains(secret), "{}", answer.text);
    }
    let policy = json!({"vm": "web01", "kind": "ssh", "on_change": "sometimes", "on_delete": "drain long"});
    let answer = fixture.post(LOCAL, CONSOLES, policy).await.expect(400);
    assert_eq!(answer.violations(), ["on_change unparsable", "on_delete unparsable"]);
    let second = fixture.post(LOCAL, CONSOLES, json!({"vm": "web01", "kind": "vnc"})).await.expect(409);
    assert!(second.text.contains("has a vnc console already"), "{}", second.text);
}

#[tokio::test]
async fn a_console_follows_its_vm_and_goes_with_it() {
    let (fixture, console) = stage().await;
    let elsewhere = json!({"vm": "web01", "kind": "serial", "address": "10.9.9.9", "port": 4000});
    fixture.post(LOCAL, CONSOLES, elsewhere).await.expect(201);
    let any = As { if_match: Some("*"), ..LOCAL };
    let vm = format!("/api/v1/vms/{}", console["vm_id"].as_str().unwrap());
    fixture.call(any.clone(), "PATCH", &vm, json!({"address": "10.0.0.6"})).await.expect(200);
    let mut targets: Vec<_> =
        consoles(&fixture).iter().map(|console| console.endpoint.target.to_string()).collect();
    targets.sort();
    assert_eq!(targets, ["10.0.0.6:5900", "10.9.9.9:4000"]);
    fixture.call(any, "DELETE", &vm, Value::Null).await.expect(204);
    assert!(consoles(&fixture).is_empty());
    assert_eq!(fixture.get(LOCAL, CONSOLES).await.json()["items"], json!([]));
}

#[tokio::test]
async fn who_may_do_what_to_a_console() {
    let (fixture, console) = stage().await;
    let place = format!("{CONSOLES}/{}", console["id"].as_str().unwrap());
    let admin = fixture.user("usr-a", "admin:ns1").await;
    let operator = fixture.user("usr-o", "operator:ns1").await;
    let guest = fixture.user("usr-g", "guest:ns1").await;
    let stranger = fixture.user("usr-s", "admin:ns2").await;
    let make = |kind: &str| json!({"vm": "web01", "kind": kind, "port": 4001});
    fixture.post(NOBODY, CONSOLES, make("serial")).await.expect(401);
    fixture.post(token(&operator), CONSOLES, make("serial")).await.expect(403);
    assert_eq!(
        fixture.post(token(&stranger), CONSOLES, make("serial")).await.expect(422).violations(),
        ["vm unknown"]
    );
    fixture.post(token(&admin), CONSOLES, make("serial")).await.expect(201);
    let literal = json!({"vm": "web01", "kind": "ssh", "address": "10.9.9.9"});
    fixture.post(token(&admin), CONSOLES, literal).await.expect(403);
    for who in [&operator, &guest] {
        assert_eq!(
            fixture.get(token(who), CONSOLES).await.expect(200).json()["items"].as_array().unwrap().len(),
            2
        );
        let any = As { if_match: Some("*"), ..token(who) };
        fixture.call(any.clone(), "PATCH", &place, json!({"port": 1})).await.expect(403);
        fixture.call(any, "DELETE", &place, Value::Null).await.expect(403);
    }
    assert_eq!(fixture.get(token(&stranger), CONSOLES).await.expect(200).json()["items"], json!([]));
    fixture.get(token(&stranger), &place).await.expect(404);
    fixture.post(token(&stranger), &tickets(&console), json!({})).await.expect(404);
}

#[tokio::test]
async fn a_ticket_says_who_what_where_and_how_long() {
    let (fixture, console) = stage().await;
    let operator = fixture.user("usr-o", "operator:ns1").await;
    let answer = fixture
        .post(token(&operator), &tickets(&console), json!({"source": "198.51.100.7"}))
        .await
        .expect(201);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let made = answer.json();
    let text = made["ticket"].as_str().unwrap();
    assert_eq!(made["url"], json!(format!("http://192.0.2.1:6080/console/{text}")));
    assert_eq!(made["websocket_url"], json!(format!("ws://192.0.2.1:6080/console/{text}")));
    let claims = read(&fixture, text).unwrap();
    let users = fixture.get(LOCAL, "/api/v1/users").await.json();
    let user = users["items"].as_array().unwrap().iter().find(|user| user["name"] == "usr-o").unwrap();
    assert_eq!(json!(claims.user.unwrap().to_string()), user["id"]);
    assert_eq!(
        (json!(claims.console.to_string()), json!(claims.vm.to_string())),
        (console["id"].clone(), console["vm_id"].clone())
    );
    assert_eq!(claims.gateway, GatewayId::from_bytes([1; 16]));
    assert_eq!((claims.source, claims.read_only), (Some("198.51.100.7".parse().unwrap()), false));
    assert_eq!(claims.expires_ms - claims.issued_ms, 60_000);
    fixture.pass(60);
    assert_eq!(read(&fixture, text), Err(TicketError::Expired));

    let mine = opened(&fixture, LOCAL, &console, json!({"seconds": 5, "read_only": true})).await;
    let claims = read(&fixture, mine["ticket"].as_str().unwrap()).unwrap();
    assert_eq!((claims.user, claims.read_only), (None, true));
    assert_eq!(claims.expires_ms - claims.issued_ms, 5_000);

    let audit = fixture.get(LOCAL, "/api/v1/audits").await.expect(200);
    assert!(!audit.text.contains(text), "the audit opens nothing");
    let rows = audit.json();
    let issued = |row: &&Value| row["action"] == "ticket" && row["actor"] == "usr-o";
    let row = rows["items"].as_array().unwrap().iter().find(issued).unwrap();
    assert_eq!((&row["object_id"], &row["namespace"]), (&console["id"], &json!("ns1")));
    assert_eq!((&row["after"]["session"], &row["after"]["gateway"]), (&made["session"], &json!("gw1")));
}

/// Where control knows the address of whoever asks, the ticket is bound to it (issue 6).
#[tokio::test]
async fn a_ticket_is_bound_to_the_address_of_whoever_asks_for_it_from_another_machine() {
    let (fixture, console) = stage().await;
    let operator = fixture.user("usr-o", "operator:ns1").await;
    let from = |peer: &str| As { peer: Some(peer.parse().unwrap()), ..token(&operator) };
    let proxied = |field| As { fields: vec![(field, "198.51.100.1")], ..from("203.0.113.9:4000") };
    for (who, body, wanted) in [
        (from("203.0.113.9:4000"), json!({}), Some("203.0.113.9")),
        (from("203.0.113.9:4000"), json!({ "source": null }), Some("203.0.113.9")),
        (from("[::ffff:203.0.113.9]:4000"), json!({}), Some("203.0.113.9")),
        (from("[2001:db8::7]:4000"), json!({}), Some("2001:db8::7")),
        (from("203.0.113.9:4000"), json!({ "source": "any" }), None),
        (from("203.0.113.9:4000"), json!({ "source": "198.51.100.7" }), Some("198.51.100.7")),
        // Where the browser is, nobody knows.
        (LOCAL, json!({}), None),
        (from("127.0.0.1:4000"), json!({}), None),
        (from("[::1]:4000"), json!({}), None),
        (proxied("x-forwarded-for"), json!({}), None),
        (proxied("forwarded"), json!({}), None),
        (proxied("via"), json!({}), None),
        (proxied("x-real-ip"), json!({}), None),
    ] {
        let shown = format!("{who:?} {body}");
        let made = opened(&fixture, who, &console, body).await;
        let claims = read(&fixture, made["ticket"].as_str().unwrap()).unwrap();
        assert_eq!(claims.source, wanted.map(|source| source.parse().unwrap()), "{shown}");
        assert_eq!(made["source"], json!(wanted), "{shown}");
    }
}

#[tokio::test]
async fn a_guest_may_only_look() {
    let (fixture, console) = stage().await;
    let guest = fixture.user("usr-g", "guest:ns1").await;
    let ticket = opened(&fixture, token(&guest), &console, json!({})).await;
    assert_eq!(ticket["read_only"], true);
    assert!(read(&fixture, ticket["ticket"].as_str().unwrap()).unwrap().read_only);
    let refused =
        fixture.post(token(&guest), &tickets(&console), json!({"read_only": false})).await.expect(403);
    assert!(refused.text.contains("operator:ns1"), "{}", refused.text);

    let terminal =
        fixture.post(LOCAL, CONSOLES, json!({"vm": "web01", "kind": "ttyd"})).await.expect(201).json();
    for body in [json!({}), json!({"read_only": true})] {
        fixture.post(token(&guest), &tickets(&terminal), body).await.expect(403);
    }
    let wrong = fixture.post(LOCAL, &tickets(&terminal), json!({"read_only": true})).await.expect(422);
    assert_eq!(wrong.violations(), ["read_only unsupported"]);
}

#[tokio::test]
async fn a_ticket_with_wrong_members_is_none() {
    let (fixture, console) = stage().await;
    for (body, wanted) in [
        (json!({"seconds": 61}), "seconds type"),
        (json!({"seconds": 0}), "seconds type"),
        (json!({"source": "here"}), "source invalid"),
        (json!({"host": "a b"}), "host invalid"),
        (json!({"gateway": "gw9"}), "gateway unknown"),
        (json!({"ttl": 5}), "ttl unknown"),
    ] {
        assert_eq!(
            fixture.post(LOCAL, &tickets(&console), body.clone()).await.expect(422).violations(),
            [wanted],
            "{body}"
        );
    }
    gateway(&fixture, 2, "gw2").await;
    let named = opened(&fixture, LOCAL, &console, json!({"gateway": "gw2"})).await;
    assert_eq!(
        read(&fixture, named["ticket"].as_str().unwrap()).unwrap().gateway,
        GatewayId::from_bytes([2; 16])
    );
    fixture.app.gateways.closed(GatewayId::from_bytes([2; 16]), 0);
    let away = fixture.post(LOCAL, &tickets(&console), json!({"gateway": "gw2"})).await.expect(409);
    assert!(away.text.contains("gw2 is not connected"), "{}", away.text);
    fixture.app.gateways.closed(GatewayId::from_bytes([1; 16]), 0);
    let none = fixture.post(LOCAL, &tickets(&console), json!({})).await.expect(409);
    assert!(none.text.contains("no gateway is connected"), "{}", none.text);
}

#[tokio::test]
async fn the_address_of_a_ticket_is_the_route_that_people_know() {
    let (fixture, console) = stage().await;
    let route = |host: &str, path: &str, tls: &str| json!({"host": host, "path": path, "target": "novnc", "tls": tls});
    fixture.post(LOCAL, "/api/v1/routes", route("plain.example.com", "/", "off")).await.expect(201);
    fixture.post(LOCAL, "/api/v1/routes", route("gate.example.com", "/vnc", "self-signed")).await.expect(201);
    let made = opened(&fixture, LOCAL, &console, json!({})).await;
    let text = made["ticket"].as_str().unwrap();
    assert_eq!(made["url"], json!(format!("https://gate.example.com/vnc/console/{text}")));
    assert_eq!(made["websocket_url"], json!(format!("wss://gate.example.com/vnc/console/{text}")));
    let made = opened(&fixture, LOCAL, &console, json!({"host": "plain.example.com"})).await;
    assert!(made["url"].as_str().unwrap().starts_with("http://plain.example.com/console/"), "{made}");
    let made = opened(&fixture, LOCAL, &console, json!({"host": "2001:db8::1"})).await;
    assert!(made["url"].as_str().unwrap().starts_with("http://[2001:db8::1]:6080/console/"), "{made}");

    let terminal =
        fixture.post(LOCAL, CONSOLES, json!({"vm": "web01", "kind": "ttyd"})).await.expect(201).json();
    let made = opened(&fixture, LOCAL, &terminal, json!({})).await;
    assert!(made["url"].as_str().unwrap().starts_with("http://localhost:7681/console/"), "{made}");
}

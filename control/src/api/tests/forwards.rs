//! Port forwards: their life, their ports, their targets.

use config::id::{ForwardId, GatewayId};
use config::name::GatewayName;
use config::snapshot::{Generation, Kind, ObjectKey, Value as Wire};
use config::sync::message::{Ack, Have, Hello, Listening};
use serde_json::{Value, json};

use crate::api::testing::{As, LOCAL, NOBODY, token};
use crate::app::testing::Fixture;
use crate::store::Stamp;
use crate::store::gateway::GatewayRow;

const LIST: &str = "/api/v1/forwards";

fn ssh() -> Value {
    json!({"protocol": "tcp", "host_port": 10022, "vm_ip": "10.0.0.5", "vm_port": 22, "note": "SSH"})
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn place(view: &Value) -> String {
    format!("{LIST}/{}", view["id"].as_str().unwrap())
}

impl Fixture {
    async fn forward(&self, body: Value) -> Value {
        self.post(LOCAL, LIST, body).await.expect(201).json()
    }

    /// What gateways are told about it.
    fn published(&self, view: &Value) -> Option<config::snapshot::Forward> {
        let id: ForwardId = view["id"].as_str().unwrap().parse().unwrap();
        let key = ObjectKey { kind: Kind::FORWARD, id: id.to_bytes() };
        match self.app.desired.current().snapshot.get(key)?.decode() {
            Ok(Wire::Forward(forward)) => Some(forward),
            other => panic!("{other:?}"),
        }
    }

    async fn assert_a_restart_builds_the_same(&self) {
        let again = self.reopened().await;
        assert_eq!(*again.desired.current().snapshot, *self.app.desired.current().snapshot);
    }

    /// A connected gateway that listens there.
    pub(super) async fn gateway(&self, listeners: &[(&str, &str)]) -> GatewayId {
        let id = GatewayId::from_bytes([7; 16]);
        let mut conn = self.app.db.write().await.unwrap();
        let name = GatewayName::parse("gw-one").unwrap();
        let stamp = Stamp::new(0);
        let row = GatewayRow { id, name, fingerprint: "x".into(), expires_at: i64::MAX, stamp };
        crate::store::gateway::insert(&mut conn, &row).await.unwrap();
        conn.commit().await.unwrap();
        let listening = |(kind, address): &(&str, &str)| Listening {
            kind: (*kind).to_owned(),
            address: address.parse().unwrap(),
        };
        let snapshot = std::sync::Arc::clone(&self.app.desired.current().snapshot);
        let hello = Hello {
            listeners: listeners.iter().map(listening).collect(),
            have: Some(Have { generation: Generation(1), ..Have::of(&snapshot) }),
            ..Hello::default()
        };
        self.app.gateways.introduced(id, 0, &hello);
        id
    }

    pub(super) fn acked(&self, gateway: GatewayId, degraded: &[String]) {
        let generation = self.app.desired.current().snapshot.generation();
        self.app.gateways.acked(gateway, 0, &Ack { generation, degraded: degraded.to_vec() });
    }
}

#[tokio::test]
async fn a_forward_is_made_shown_changed_and_taken_away() {
    let fixture = Fixture::new().await;
    let vm = fixture.vm("web01", "default", "10.0.0.5").await;
    let made = fixture.post(LOCAL, LIST, ssh()).await.expect(201);
    assert_eq!(made.headers["etag"], "\"1\"");
    let made = made.json();
    for (name, value) in [
        ("protocol", json!("tcp")),
        ("bind", Value::Null),
        ("host_port", json!(10022)),
        ("host_ports", Value::Null),
        ("vm", json!("web01.default")),
        ("vm_id", vm["id"].clone()),
        ("vm_ip", json!("10.0.0.5")),
        ("vm_port", json!(22)),
        ("sources", json!([])),
        ("proxy_protocol", json!("off")),
        ("max_conns", Value::Null),
        ("idle_timeout", Value::Null),
        ("on_change", json!("keep")),
        ("on_delete", json!("drain 30s")),
        ("enabled", json!(true)),
        ("note", json!("SSH")),
    ] {
        assert_eq!(made[name], value, "{name}");
    }
    let told = fixture.published(&made).unwrap();
    assert_eq!(told.endpoint.vm.unwrap().to_string(), vm["id"].as_str().unwrap());
    assert_eq!(told.endpoint.target.to_string(), "10.0.0.5:22");
    fixture.assert_a_restart_builds_the_same().await;

    fixture.call(LOCAL, "PATCH", &place(&made), json!({"note": "x"})).await.expect(428);
    let who = As { if_match: Some("\"1\""), ..LOCAL };
    let more = json!({
        "sources": ["10.0.0.0/8", "192.0.2.1"], "proxy_protocol": "v2", "max_conns": 10, "rate": 5,
        "idle_timeout": "5m", "on_change": "cut", "on_delete": "cut", "bind": "192.0.2.9",
    });
    let changed = fixture.call(who.clone(), "PATCH", &place(&made), more).await.expect(200).json();
    assert_eq!(changed["sources"], json!(["10.0.0.0/8", "192.0.2.1"]));
    assert_eq!((&changed["idle_timeout"], &changed["revision"]), (&json!("5m"), &json!(2)));
    let now = fixture.published(&made).unwrap();
    assert_eq!(now.endpoint.id, told.endpoint.id, "the target is the same");
    assert_eq!((now.flows_max, now.flows_per_second, now.idle_ms), (Some(10), Some(5), Some(300_000)));
    fixture.call(who, "PATCH", &place(&made), json!({"note": "x"})).await.expect(412);
    let who = As { if_match: Some("*"), ..LOCAL };
    let moved = json!({"vm_port": 2222, "enabled": true, "max_conns": null});
    fixture.call(who.clone(), "PATCH", &place(&made), moved).await.expect(200);
    let now = fixture.published(&made).unwrap();
    assert_ne!(now.endpoint.id, told.endpoint.id, "another port is another endpoint");
    assert_eq!(now.flows_max, None);
    fixture.call(who, "PATCH", &place(&made), json!({"enabled": false})).await.expect(200);
    assert!(fixture.published(&made).is_none());
    fixture.assert_a_restart_builds_the_same().await;

    fixture.call(LOCAL, "DELETE", &place(&made), Value::Null).await.expect(204);
    fixture.get(LOCAL, &place(&made)).await.expect(404);
    fixture.forward(ssh()).await;
    let rows = fixture.get(LOCAL, "/api/v1/audits").await.expect(200).json();
    let actions: Vec<_> =
        rows["items"].as_array().unwrap().iter().filter(|row| row["object_kind"] == "forward").collect();
    assert_eq!(actions.len(), 6, "{rows}");
}

#[tokio::test]
async fn what_is_no_forward_is_refused_with_every_reason() {
    let fixture = Fixture::new().await;
    for (more, wanted) in [
        (json!({"host_port": 0}), vec!["host_port range"]),
        (json!({"host_port": 65536}), vec!["host_port range"]),
        (json!({"host_port": "22a"}), vec!["host_port invalid"]),
        (json!({"host_port": -1}), vec!["host_port invalid"]),
        (json!({"host_port": 1.5}), vec!["host_port invalid"]),
        (json!({"host_port": [1]}), vec!["host_port type"]),
        (json!({"host_ports": "10010-10000"}), vec!["host_ports range"]),
        (json!({"host_port": 1, "host_ports": "10000-10001"}), vec!["host_port invalid"]),
        (json!({"host_port": "10000-10001", "vm_port": "20-25"}), vec!["vm_port length"]),
        (json!({"host_port": "10000-10001", "vm_port": 65535}), vec!["vm_port range"]),
        (json!({"vm_port": "70000"}), vec!["vm_port range"]),
        (json!({"vm_port": null}), vec!["vm_port required"]),
        (json!({"protocol": "icmp"}), vec!["protocol unsupported"]),
        (json!({"protocol": null}), vec!["protocol required"]),
        (json!({"protocol": "udp", "proxy_protocol": "v1"}), vec!["proxy_protocol invalid"]),
        (json!({"proxy_protocol": "v3"}), vec!["proxy_protocol invalid"]),
        (json!({"bind": "eth0"}), vec!["bind invalid"]),
        (json!({"bind": "224.0.0.1"}), vec!["bind invalid"]),
        (json!({"sources": ["10.0.0.1/8", "x"]}), vec!["sources[0] invalid", "sources[1] invalid"]),
        (json!({"max_conns": 0, "rate": 0}), vec!["max_conns type", "rate type"]),
        (json!({"idle_timeout": "1ms"}), vec!["idle_timeout range"]),
        (json!({"vm_ip": "169.254.169.254"}), vec!["vm_ip forbidden"]),
        (json!({"vm_ip": "fd00:ec2::254"}), vec!["vm_ip forbidden"]),
        (json!({"vm_ip": "0.0.0.0"}), vec!["vm_ip forbidden"]),
        (json!({"vm_ip": "127.0.0.1", "vm_port": 1880}), vec!["vm_ip forbidden"]),
        (
            json!({"vm_ip": "127.0.0.1", "host_ports": "30000-30010", "host_port": null, "vm_port": 1875}),
            vec!["vm_ip forbidden"],
        ),
        (json!({"vm_ip": "010.0.0.5"}), vec!["vm_ip invalid"]),
        (json!({"vm_ip": null}), vec!["vm required"]),
        (json!({"vm": "nobody"}), vec!["vm unknown"]),
        (json!({"source_acl": []}), vec!["source_acl unknown"]),
        (json!({"id": "x", "hots_port": 1}), vec!["id read_only", "hots_port unknown"]),
        (
            json!({"protocol": "sctp", "host_port": "x", "vm_port": 0, "vm_ip": "1", "note": 7}),
            vec!["protocol unsupported", "host_port invalid", "vm_ip invalid", "vm_port range", "note type"],
        ),
    ] {
        let answer = fixture.post(LOCAL, LIST, with(ssh(), more.clone())).await.expect(422);
        assert_eq!(answer.violations(), wanted, "{more}: {}", answer.text);
    }
    let answer = fixture.post(LOCAL, LIST, json!({})).await.expect(422);
    assert_eq!(answer.violations(), ["protocol required", "vm_port required", "vm required"]);
    for (name, value) in [("idle_timeout", "5"), ("on_change", "drain"), ("on_delete", "never")] {
        let answer = fixture.post(LOCAL, LIST, with(ssh(), json!({name: value}))).await.expect(400);
        assert_eq!(answer.violations(), [format!("{name} unparsable")]);
    }
    let none = fixture.get(LOCAL, LIST).await.json();
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn a_port_that_is_taken_names_who_has_it() {
    let fixture = Fixture::new().await;
    let first = fixture.forward(ssh()).await;
    let id = first["id"].as_str().unwrap();
    fixture.forward(with(ssh(), json!({"protocol": "udp"}))).await;
    for more in [
        json!({}),
        json!({"bind": "192.0.2.1"}),
        json!({"bind": "0.0.0.0"}),
        json!({"bind": "2001:db8::1"}),
        json!({"host_port": "10000-10022"}),
        json!({"host_port": "10022-10030"}),
        json!({"enabled": false}),
    ] {
        let answer = fixture.post(LOCAL, LIST, with(ssh(), more.clone())).await.expect(409);
        let said = format!("10022/tcp is taken by forward {id} (\\\"SSH\\\") of namespace default");
        assert!(answer.text.contains(&said), "{more}: {}", answer.text);
    }
    // A disabled one keeps its port.
    let who = As { if_match: Some("*"), ..LOCAL };
    fixture.call(who.clone(), "PATCH", &place(&first), json!({"enabled": false})).await.expect(200);
    fixture.post(LOCAL, LIST, ssh()).await.expect(409);
    // So does one that is changed to a port of another.
    let other = fixture.forward(with(ssh(), json!({"host_port": 10023}))).await;
    fixture.call(who.clone(), "PATCH", &place(&other), json!({"host_port": 10022})).await.expect(409);
    fixture
        .call(who, "PATCH", &place(&other), json!({"note": "its own port is no conflict"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn one_port_is_shared_by_different_addresses() {
    let fixture = Fixture::new().await;
    for bind in ["192.0.2.1", "192.0.2.2", "::"] {
        fixture.forward(with(ssh(), json!({"bind": bind}))).await;
    }
    for bind in
        [json!("192.0.2.2"), json!("0.0.0.0"), json!("2001:db8::1"), json!("::ffff:192.0.2.1"), Value::Null]
    {
        fixture.post(LOCAL, LIST, with(ssh(), json!({"bind": bind}))).await.expect(409);
    }
}

#[tokio::test]
async fn a_port_of_our_own_is_used_by_the_gateway() {
    let fixture = Fixture::new().await;
    fixture.gateway(&[("https", "0.0.0.0:443"), ("admin", "127.0.0.1:1882"), ("ssh", "[::]:2222")]).await;
    for (more, said) in [
        (json!({"host_port": 443}), "443/tcp is used by the gateway: https listens there"),
        (json!({"host_port": 1880}), "1880/tcp is used by the gateway: the admin API listens there"),
        (json!({"host_port": 1881}), "1881/tcp is used by the gateway: the gateways' stream listens there"),
        (json!({"host_port": 1882}), "1882/tcp is used by the gateway: its own admin endpoint listens there"),
        (json!({"host_port": "2220-2230"}), "2222/tcp is used by the gateway: ssh listens there"),
        (json!({"host_port": 443, "bind": "192.0.2.1"}), "used by the gateway"),
        (json!({"host_port": 2222, "bind": "192.0.2.1"}), "used by the gateway"),
    ] {
        let answer = fixture.post(LOCAL, LIST, with(ssh(), more.clone())).await.expect(409);
        assert!(answer.text.contains(said), "{more}: {}", answer.text);
    }
    for more in [
        json!({"host_port": 443, "protocol": "udp"}),
        json!({"host_port": 443, "bind": "2001:db8::1"}),
        json!({"host_port": 1880, "bind": "192.0.2.1"}),
    ] {
        fixture.forward(with(ssh(), more)).await;
    }
}

#[tokio::test]
async fn an_automatic_port_is_the_lowest_that_is_free() {
    let fixture = Fixture::new().await;
    fixture.gateway(&[("http", "0.0.0.0:20001")]).await;
    let auto = |more: Value| with(json!({"protocol": "tcp", "vm_ip": "10.0.0.5", "vm_port": 22}), more);
    let port = |view: &Value| view["host_port"].as_u64().unwrap();
    let first = fixture.forward(auto(json!({}))).await;
    assert_eq!(port(&first), 20_000);
    assert_eq!(port(&fixture.forward(auto(json!({"host_port": "auto"}))).await), 20_002);
    assert_eq!(port(&fixture.forward(auto(json!({"protocol": "udp"}))).await), 20_000);
    fixture.forward(auto(json!({"host_port": "20004-20005"}))).await;
    let row = fixture.forward(auto(json!({"vm_port": "8000-8002"}))).await;
    assert_eq!((&row["host_ports"], &row["vm_ports"]), (&json!("20006-20008"), &json!("8000-8002")));
    assert_eq!(port(&fixture.forward(auto(json!({}))).await), 20_003);
    fixture.call(LOCAL, "DELETE", &place(&first), Value::Null).await.expect(204);
    assert_eq!(port(&fixture.forward(auto(json!({}))).await), 20_000);
    // A row keeps its length when it is moved.
    let who = As { if_match: Some("*"), ..LOCAL };
    let moved = fixture.call(who, "PATCH", &place(&row), json!({"host_port": null})).await.expect(200).json();
    assert_eq!(moved["host_ports"], "20006-20008", "its own ports are not in its way");
}

#[tokio::test]
async fn when_no_port_is_left_the_counts_are_said() {
    let fixture = Fixture::new().await;
    fixture.gateway(&[("http", "0.0.0.0:29999")]).await;
    for first in (20_000..30_000).step_by(1_000) {
        let last = if first == 29_000 { first + 998 } else { first + 999 };
        let ports = format!("{first}-{last}");
        fixture.forward(with(ssh(), json!({"host_port": ports, "vm_port": 1}))).await;
    }
    let answer = fixture.post(LOCAL, LIST, with(ssh(), json!({"host_port": "auto"}))).await.expect(409);
    assert!(
        answer.text.contains("no port from 20000 to 29999 is free: forwards have 9999, the gateway 1"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_tenant_forwards_to_machines_of_its_own_and_sees_no_others() {
    let fixture = Fixture::new().await;
    let (operator, guest) =
        (fixture.user("usr1", "operator:ns1").await, fixture.user("usr2", "guest:ns1").await);
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    fixture.vm("db01", "ns2", "10.0.0.6").await;
    let theirs = json!({"protocol": "tcp", "host_port": 10099, "vm": "db01", "vm_port": 22, "namespace": "ns2", "note": "secret"});
    let theirs = fixture.forward(theirs).await;
    let who = || token(&operator);
    let own = fixture.post(who(), LIST, ssh()).await.expect(201).json();
    assert_eq!((&own["namespace"], &own["owner"]), (&json!("ns1"), &json!("usr1")));

    for (more, status, part) in [
        (json!({"vm_ip": "10.0.0.6"}), 403, "root"),
        (json!({"vm_ip": "10.9.9.9"}), 403, "root"),
        (json!({"vm_ip": "127.0.0.1"}), 403, "root"),
        (json!({"vm_ip": "169.254.169.254"}), 422, "metadata"),
        (json!({"vm": "db01"}), 422, "no VM of yours"),
        (json!({"vm": "web01", "vm_ip": "10.0.0.6"}), 422, "is not the address of VM web01"),
        (json!({"namespace": "ns2"}), 403, "operator:ns2"),
    ] {
        let body = with(with(ssh(), json!({"host_port": 10050})), more.clone());
        let answer = fixture.post(who(), LIST, body).await.expect(status);
        assert!(answer.text.contains(part), "{more}: {}", answer.text);
    }
    let taken = fixture.post(who(), LIST, with(ssh(), json!({"host_port": 10099}))).await.expect(409);
    assert!(taken.text.contains("10099/tcp is taken by a forward of another namespace"), "{}", taken.text);
    assert!(!taken.text.contains("secret") && !taken.text.contains("ns2"), "{}", taken.text);
    fixture.get(who(), &place(&theirs)).await.expect(404);
    fixture.call(who(), "DELETE", &place(&theirs), Value::Null).await.expect(404);
    let listed = fixture.get(who(), LIST).await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);

    fixture.get(token(&guest), &place(&own)).await.expect(200);
    fixture.post(token(&guest), LIST, with(ssh(), json!({"namespace": "ns1"}))).await.expect(403);
    fixture.call(token(&guest), "DELETE", &place(&own), Value::Null).await.expect(403);
    fixture.get(NOBODY, LIST).await.expect(401);
    fixture.call(who(), "DELETE", &place(&own), Value::Null).await.expect(204);
}

#[tokio::test]
async fn root_may_write_any_address_and_loopback_too() {
    let fixture = Fixture::new().await;
    let literal = fixture.forward(with(ssh(), json!({"vm_ip": "203.0.113.7"}))).await;
    assert_eq!((&literal["vm"], &literal["vm_ip"]), (&Value::Null, &json!("203.0.113.7")));
    assert!(!fixture.published(&literal).unwrap().endpoint.loopback_ok);
    let here = fixture.forward(with(ssh(), json!({"vm_ip": "127.0.0.1", "host_port": 10023}))).await;
    assert!(fixture.published(&here).unwrap().endpoint.loopback_ok);
    fixture.assert_a_restart_builds_the_same().await;
}

#[tokio::test]
async fn forwards_follow_a_vm_that_moves_and_go_with_one_that_is_deleted() {
    let fixture = Fixture::new().await;
    let vm = fixture.vm("web01", "ns1", "10.0.0.5").await;
    let to_vm = fixture.forward(ssh()).await;
    let elsewhere = fixture.forward(with(ssh(), json!({"vm_ip": "10.0.0.9", "host_port": 10023}))).await;
    let before = fixture.published(&to_vm).unwrap();
    let path = format!("/api/v1/vms/{}", vm["id"].as_str().unwrap());
    let who = As { if_match: Some("\"1\""), ..LOCAL };
    fixture.call(who, "PATCH", &path, json!({"address": "10.0.0.7"})).await.expect(200);

    let after = fixture.published(&to_vm).unwrap();
    assert_eq!(after.endpoint.target.to_string(), "10.0.0.7:22");
    assert_ne!(
        after.endpoint.id, before.endpoint.id,
        "what is known of the old address is not the new one's"
    );
    fixture.assert_a_restart_builds_the_same().await;

    let generation = fixture.app.desired.current().snapshot.generation();
    fixture.call(LOCAL, "DELETE", &path, Value::Null).await.expect(204);

    assert_eq!(fixture.app.desired.current().snapshot.generation().0, generation.0 + 1, "one generation");
    fixture.get(LOCAL, &place(&to_vm)).await.expect(404);
    assert!(fixture.published(&to_vm).is_none());
    assert!(fixture.published(&elsewhere).is_some());
    fixture.assert_a_restart_builds_the_same().await;
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let fixture = Fixture::new().await;
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    fixture.forward(with(ssh(), json!({"namespace": "ns1"}))).await;
    fixture.forward(with(ssh(), json!({"protocol": "udp", "host_port": "10000-10100", "note": "b"}))).await;
    fixture.forward(with(ssh(), json!({"vm_ip": "10.0.0.9", "host_port": 10023, "enabled": false}))).await;
    for (query, count) in [
        ("", 3),
        ("?namespace=ns1", 1),
        ("?protocol=UDP", 1),
        ("?host_port=10022", 2),
        ("?protocol=tcp&host_port=10022", 1),
        ("?vm=web01", 2),
        ("?enabled=false", 1),
        ("?note=b", 1),
        ("?limit=2", 2),
    ] {
        let page = fixture.get(LOCAL, &format!("{LIST}{query}")).await.expect(200).json();
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
        assert_eq!(page["next"].is_null(), query != "?limit=2", "{query}");
    }
    for query in ["?host_port=x", "?enabled=yes", "?hots=1"] {
        fixture.get(LOCAL, &format!("{LIST}{query}")).await.expect(400);
    }
}

#[tokio::test]
async fn a_forward_shows_what_each_gateway_says_of_it() {
    let fixture = Fixture::new().await;
    let gateway = fixture.gateway(&[]).await;
    let (one, two) =
        (fixture.forward(ssh()).await, fixture.forward(with(ssh(), json!({"host_port": 10023}))).await);
    let state = async |view: &Value| {
        let shown = fixture.get(LOCAL, &place(view)).await.expect(200).json();
        let state = &shown["gateways"][0];
        assert_eq!(state["gateway"], "gw-one");
        (state["state"].as_str().unwrap().to_owned(), state["why"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(state(&one).await.0, "waiting");
    let (first, second) = (one["id"].as_str().unwrap(), two["id"].as_str().unwrap());
    let why = "0.0.0.0:10022/tcp is taken by another program (os error 98)";
    fixture.acked(
        gateway,
        &[
            format!("forward {first}: {why}"),
            format!("forward {second}: a port of it is taken by forward {first}"),
        ],
    );
    assert_eq!(state(&one).await, ("paused".to_owned(), why.to_owned()));
    assert!(state(&two).await.1.starts_with("a port of it"));
    fixture.acked(gateway, &[]);
    assert_eq!(state(&one).await, ("listening".to_owned(), String::new()));
    // The change of another object does not make this one late.
    fixture.forward(with(ssh(), json!({"host_port": 10024}))).await;
    assert_eq!(state(&one).await.0, "listening");
    fixture.app.gateways.closed(gateway, 0);
    assert_eq!(state(&one).await.0, "away");
}

#[tokio::test]
async fn a_forward_that_was_deleted_or_disabled_shows_where_its_port_is_closed() {
    let fixture = Fixture::new().await;
    let gateway = fixture.gateway(&[]).await;
    let (one, two) =
        (fixture.forward(ssh()).await, fixture.forward(with(ssh(), json!({"host_port": 10023}))).await);
    let guest = fixture.user("usr-g", "guest:ns2").await;
    let state = async |view: &Value| {
        let said = fixture.get(LOCAL, &format!("{}/gateways", place(view))).await.expect(200).json();
        assert_eq!(said["next"], Value::Null);
        said["items"][0]["state"].as_str().unwrap().to_owned()
    };
    fixture.acked(gateway, &[]);
    assert_eq!(state(&one).await, "listening");

    fixture.call(LOCAL, "DELETE", &place(&one), Value::Null).await.expect(204);
    let anyhow = As { if_match: Some("*"), ..LOCAL };
    fixture.call(anyhow, "PATCH", &place(&two), json!({"enabled": false})).await.expect(200);

    assert_eq!((state(&one).await, state(&two).await), ("waiting".into(), "waiting".into()));
    let open = |view: &Value| format!("forward {}: its port is still open", view["id"].as_str().unwrap());
    fixture.acked(gateway, &[open(&one), open(&two)]);
    assert_eq!((state(&one).await, state(&two).await), ("closing".into(), "closing".into()));
    fixture.acked(gateway, &[]);
    assert_eq!((state(&one).await, state(&two).await), ("closed".into(), "off".into()));
    fixture.app.gateways.closed(gateway, 0);
    assert_eq!(state(&one).await, "away");
    fixture.get(LOCAL, &place(&one)).await.expect(404);
    for nothing in [place(&one), format!("{LIST}/{}", ForwardId::from_bytes([1; 16])), format!("{LIST}/x")] {
        fixture.get(token(&guest), &format!("{nothing}/gateways")).await.expect(404);
    }
}

#[tokio::test]
async fn a_database_that_is_open_to_everybody_is_warned_of() {
    let fixture = Fixture::new().await;
    let open = fixture.forward(with(ssh(), json!({"vm_port": 3306}))).await;
    assert!(open["warnings"][0].as_str().unwrap().contains("mysql"), "{open}");
    let closed = fixture
        .forward(with(ssh(), json!({"vm_port": 3306, "host_port": 10023, "sources": ["10.0.0.0/8"]})))
        .await;
    assert_eq!(closed["warnings"], json!([]));
}

#[tokio::test]
async fn why_a_gateway_refused_a_change_is_for_root_alone() {
    let fixture = Fixture::new().await;
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let gateway = fixture.gateway(&[]).await;
    let (guest, operator) =
        (fixture.user("usr-g", "guest:ns1").await, fixture.user("usr-o", "operator:ns1").await);
    let one = fixture.forward(with(ssh(), json!({"namespace": "ns1"}))).await;
    let reason = "route 7: secret.ns2.example is another one's".to_owned();
    let generation = fixture.app.desired.current().snapshot.generation();
    let nack = config::sync::message::Nack { generation, reason, want_snapshot: false };
    fixture.app.gateways.refused(gateway, 0, &nack);
    let place = place(&one);

    let shown = fixture.get(LOCAL, &place).await.expect(200).json();

    let why = shown["gateways"][0]["why"].as_str().unwrap();
    assert_eq!(why, format!("generation {generation}: route 7: secret.ns2.example is another one's"));
    for who in [&guest, &operator] {
        for place in [place.clone(), format!("{place}/gateways")] {
            let shown = fixture.get(token(who), &place).await.expect(200);
            assert!(shown.text.contains("\"refused\""), "{}", shown.text);
            assert!(shown.text.contains("whoever runs it is told why"), "{}", shown.text);
            assert!(!shown.text.contains("ns2"), "{}", shown.text);
        }
    }
}

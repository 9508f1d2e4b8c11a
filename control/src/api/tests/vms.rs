use serde_json::{Value, json};

use crate::api::testing::{As, LOCAL, token};
use crate::app::testing::Fixture;

#[tokio::test]
async fn a_name_or_address_that_is_taken_names_its_holder() {
    let fixture = Fixture::new().await;
    fixture.vm("web_1", "ns1", "10.0.0.5").await;
    for (body, part) in [
        (json!({"name": "web_1", "namespace": "ns1", "address": "10.0.0.6"}), "web_1"),
        (json!({"name": "web-1", "namespace": "ns1", "address": "10.0.0.6"}), "same DNS label"),
        (json!({"name": "WEB_1", "namespace": "ns1", "address": "10.0.0.6"}), "same DNS label"),
        (json!({"name": "other", "namespace": "ns2", "address": "10.0.0.5"}), "VM web_1 of namespace ns1"),
        (
            json!({"name": "other", "namespace": "ns2", "address": "::ffff:10.0.0.5"}),
            "VM web_1 of namespace ns1",
        ),
    ] {
        let answer = fixture.post(LOCAL, "/api/v1/vms", body).await.expect(409);
        assert!(answer.text.contains(part), "{}", answer.text);
    }
    fixture.vm("web_1", "ns2", "10.0.0.6").await;
    let elsewhere = json!({"name": "other", "namespace": "ns2", "network": "lab", "address": "10.0.0.5"});
    fixture.post(LOCAL, "/api/v1/vms", elsewhere).await.expect(201);
}

#[tokio::test]
async fn what_is_no_vm_is_refused() {
    let fixture = Fixture::new().await;
    for (name, address, wanted) in [
        ("..", "10.0.0.5", "name invalid"),
        ("a b", "10.0.0.5", "name invalid"),
        ("$(reboot)", "10.0.0.5", "name invalid"),
        ("a/b", "10.0.0.5", "name invalid"),
        ("-a", "10.0.0.5", "name invalid"),
        ("a_", "10.0.0.5", "name invalid"),
        ("web", "010.0.0.5", "address invalid"),
        ("web", "10.0.5", "address invalid"),
        ("web", "web.example.com", "address invalid"),
        ("web", "fe80::1%eth0", "address invalid"),
        ("web", "169.254.169.254", "address forbidden"),
        ("web", "0.0.0.0", "address forbidden"),
        ("web", "224.0.0.1", "address forbidden"),
    ] {
        let answer =
            fixture.post(LOCAL, "/api/v1/vms", json!({"name": name, "address": address})).await.expect(422);
        assert_eq!(answer.violations(), [wanted], "{name} {address}");
    }
    let body = json!({"name": "web", "address": "10.0.0.5", "ssh_port": 65536, "console": {}});
    let answer = fixture.post(LOCAL, "/api/v1/vms", body).await.expect(422);
    assert_eq!(answer.violations(), ["console unsupported", "ssh_port type"]);
    assert_eq!(
        fixture.post(LOCAL, "/api/v1/vms", json!({})).await.expect(422).violations(),
        ["name required", "address required"]
    );
}

#[tokio::test]
async fn the_address_of_a_vm_is_roots_alone() {
    let fixture = Fixture::new().await;
    let admin = fixture.user("usr1", "admin:ns1").await;
    let vm = fixture.vm("web01", "ns1", "10.0.0.5").await;
    let path = format!("/api/v1/vms/{}", vm["id"].as_str().unwrap());
    fixture
        .post(token(&admin), "/api/v1/vms", json!({"name": "web02", "address": "10.0.0.6"}))
        .await
        .expect(403);
    let who = As { if_match: Some("\"1\""), ..token(&admin) };
    fixture.call(who.clone(), "PATCH", &path, json!({"address": "10.0.0.6"})).await.expect(403);
    fixture.call(who, "PATCH", &path, json!({"name": "web03", "note": "ours"})).await.expect(200);
}

#[tokio::test]
async fn routes_follow_a_vm_that_moves_and_go_with_one_that_is_deleted() {
    let fixture = Fixture::new().await;
    let vm = fixture.vm("web01", "ns1", "10.0.0.5").await;
    let route = |host: &str, targets: Value| json!({"host": host, "targets": targets, "namespace": "ns1"});
    let only = fixture
        .post(LOCAL, "/api/v1/routes", route("a.example.com", json!(["vm:web01"])))
        .await
        .expect(201)
        .json();
    let both = route("b.example.com", json!(["vm:web01", "http://10.9.9.9"]));
    let both = fixture.post(LOCAL, "/api/v1/routes", both).await.expect(201).json();
    let path = format!("/api/v1/vms/{}", vm["id"].as_str().unwrap());

    let who = As { if_match: Some("\"1\""), ..LOCAL };
    fixture.call(who, "PATCH", &path, json!({"address": "10.0.0.7"})).await.expect(200);

    let shown = |json: &Value| format!("/api/v1/routes/{}", json["id"].as_str().unwrap());
    let moved = fixture.get(LOCAL, &shown(&only)).await.expect(200).json();
    assert_ne!(
        moved["endpoints"][0]["id"], only["endpoints"][0]["id"],
        "pools of the old address are not the new one's"
    );
    let restarted = fixture.reopened().await;
    assert_eq!(*restarted.desired.current().snapshot, *fixture.app.desired.current().snapshot);

    fixture.call(LOCAL, "DELETE", &path, Value::Null).await.expect(204);

    fixture.get(LOCAL, &shown(&only)).await.expect(404);
    let left = fixture.get(LOCAL, &shown(&both)).await.expect(200).json();
    assert_eq!(left["targets"], json!(["http://10.9.9.9:80"]));
    let restarted = fixture.reopened().await;
    assert_eq!(*restarted.desired.current().snapshot, *fixture.app.desired.current().snapshot);
}

use config::name::{HostPattern, Namespace};
use config::snapshot::{Action, Kind, Value as Published};
use serde_json::{Value, json};

use crate::api::testing::{As, LOCAL, token};
use crate::app::testing::Fixture;

fn published(fixture: &Fixture, kind: Kind) -> Vec<Published> {
    let state = fixture.app.desired.current();
    let of_kind = state.snapshot.objects().filter(|object| object.key().kind == kind);
    of_kind.map(|object| object.decode().unwrap()).collect()
}

fn route(host: &str, target: &str) -> Value {
    json!({"host": host, "target": target})
}

#[tokio::test]
async fn a_created_route_is_answered_stored_and_published() {
    let fixture = Fixture::new().await;
    let before = fixture.app.desired.current().snapshot.generation();

    let made = fixture
        .post(LOCAL, "/api/v1/routes", route("App.Example.com", "http://10.0.0.5:8080"))
        .await
        .expect(201);

    let json = made.json();
    let id = json["id"].as_str().unwrap();
    assert_eq!(made.headers["etag"], "\"1\"");
    assert_eq!(made.headers["location"], format!("/api/v1/routes/{id}"));
    assert_eq!(json["host"], "app.example.com");
    assert_eq!(json["targets"], json!(["http://10.0.0.5:8080"]));
    assert_eq!((json["tls"].as_str(), json["websocket"].as_bool()), (Some("off"), Some(false)));
    let [Published::Route(route)] = &published(&fixture, Kind::ROUTE)[..] else { panic!() };
    assert_eq!(route.host, HostPattern::parse("app.example.com").unwrap());
    assert!(matches!(&route.action, Action::Forward(upstream) if upstream.endpoints.len() == 1));
    assert_eq!(fixture.app.desired.current().snapshot.generation().0, before.0 + 1);
    let shown = fixture.get(LOCAL, &format!("/api/v1/routes/{id}")).await.expect(200);
    assert_eq!(shown.json(), json);
}

#[tokio::test]
async fn bad_hosts_are_refused_by_name_and_change_nothing() {
    let fixture = Fixture::new().await;
    let before = fixture.app.desired.current().snapshot.generation();
    for host in [
        "http://app.example.com",
        "app example",
        "",
        "app\nexample",
        "app{example",
        "app.example.com:80",
        "10.0.0.5",
        "a*.example.com",
        "app_1.example.com/",
    ] {
        let answer = fixture.post(LOCAL, "/api/v1/routes", route(host, "http://10.0.0.5")).await.expect(422);
        assert_eq!(answer.violations(), ["host invalid"], "{host:?}");
    }
    assert_eq!(fixture.app.desired.current().snapshot.generation(), before);
    assert_eq!(published(&fixture, Kind::ROUTE), []);
}

#[tokio::test]
async fn all_violations_are_named_at_once() {
    let fixture = Fixture::new().await;
    let body = json!({
        "host": "app example", "path": "a//b", "targets": ["http://10.0.0.5:0", "http://169.254.169.254"],
        "tls": "acne", "listener": {}, "websocket": "yes", "hots": "x",
    });
    let answer = fixture.post(LOCAL, "/api/v1/routes", body).await.expect(422);
    let mut found = answer.violations();
    found.sort();
    let mut wanted = [
        "host invalid",
        "hots unknown",
        "listener unsupported",
        "path invalid",
        "targets[0] invalid",
        "targets[1] forbidden",
        "tls invalid",
        "websocket type",
    ];
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert!(answer.text.contains("did you mean host?"), "{}", answer.text);
}

#[tokio::test]
async fn fields_that_are_not_honoured_yet_are_refused() {
    let fixture = Fixture::new().await;
    for field in ["listener", "listeners"] {
        let mut body = route("app.example.com", "http://10.0.0.5");
        body[field] = json!("x");
        let answer = fixture.post(LOCAL, "/api/v1/routes", body).await.expect(422);
        assert_eq!(answer.violations(), [format!("{field} unsupported")]);
    }
}

#[tokio::test]
async fn targets_that_nobody_may_reach_are_refused_to_root_too() {
    let fixture = Fixture::new().await;
    for target in [
        "http://169.254.169.254",
        "http://[fe80::1]",
        "http://[fd00:ec2::254]",
        "http://0.0.0.0",
        "http://127.0.0.1:1880",
        "http://127.0.0.1:1881",
    ] {
        let answer = fixture.post(LOCAL, "/api/v1/routes", route("a.example.com", target)).await.expect(422);
        assert_eq!(answer.violations(), ["targets[0] forbidden"], "{target}");
    }
    let made = fixture
        .post(LOCAL, "/api/v1/routes", route("a.example.com", "http://127.0.0.1:9000"))
        .await
        .expect(201);
    assert_eq!(made.json()["endpoints"][0]["loopback_ok"], true);
}

#[tokio::test]
async fn a_second_route_with_the_same_match_is_refused_naming_the_first() {
    let fixture = Fixture::new().await;
    let first =
        fixture.post(LOCAL, "/api/v1/routes", route("app.example.com", "http://10.0.0.5")).await.expect(201);
    let id = first.json()["id"].as_str().unwrap().to_owned();
    let before = fixture.app.desired.current().snapshot.generation();

    let second =
        fixture.post(LOCAL, "/api/v1/routes", route("APP.example.com.", "http://10.0.0.6")).await.expect(409);

    assert!(second.text.contains(&id) && second.text.contains("app.example.com"), "{}", second.text);
    assert_eq!(fixture.app.desired.current().snapshot.generation(), before);
    // Another path is another route.
    let mut deeper = route("app.example.com", "http://10.0.0.6");
    deeper["path"] = json!("/api");
    fixture.post(LOCAL, "/api/v1/routes", deeper).await.expect(201);
}

#[tokio::test]
async fn a_change_wants_the_revision_it_changes() {
    let fixture = Fixture::new().await;
    let made =
        fixture.post(LOCAL, "/api/v1/routes", route("app.example.com", "http://10.0.0.5")).await.expect(201);
    let json = made.json();
    let path = format!("/api/v1/routes/{}", json["id"].as_str().unwrap());
    let with = |tag: &'static str| As { if_match: Some(tag), ..LOCAL };
    let patch = json!({"note": "mine", "websocket": true});

    fixture.call(LOCAL, "PATCH", &path, patch.clone()).await.expect(428);
    fixture.call(with("\"7\""), "PATCH", &path, patch.clone()).await.expect(412);
    fixture.call(with("W/\"1\""), "PATCH", &path, patch.clone()).await.expect(412);
    let changed = fixture.call(with("\"1\""), "PATCH", &path, patch.clone()).await.expect(200);
    assert_eq!(changed.headers["etag"], "\"2\"");
    let after = changed.json();
    assert_eq!((after["note"].as_str(), after["websocket"].as_bool()), (Some("mine"), Some(true)));
    // What is not named stays, the endpoint's id included: its connections live on.
    assert_eq!(after["endpoints"], json["endpoints"]);
    fixture.call(with("\"1\""), "PATCH", &path, patch).await.expect(412);
    fixture.call(with("\"1\""), "DELETE", &path, Value::Null).await.expect(412);
    fixture.call(LOCAL, "DELETE", &path, Value::Null).await.expect(204);
    fixture.get(LOCAL, &path).await.expect(404);
    assert_eq!(published(&fixture, Kind::ROUTE), []);
}

#[tokio::test]
async fn a_self_signed_route_brings_its_identity_and_the_last_one_takes_it_away() {
    let fixture = Fixture::new().await;
    let body = |path: &str| json!({"host": "app.example.com", "path": path, "target": "http://10.0.0.5", "tls": "self-signed"});
    let one = fixture.post(LOCAL, "/api/v1/routes", body("/")).await.expect(201).json();
    assert_eq!(one["redirect_https"], true);
    let two = fixture.post(LOCAL, "/api/v1/routes", body("/two")).await.expect(201).json();
    let [Published::Identity(identity)] = &published(&fixture, Kind::IDENTITY)[..] else { panic!() };
    assert_eq!(identity.names[..], [HostPattern::parse("app.example.com").unwrap()]);

    for made in [&one, &two] {
        assert_eq!(published(&fixture, Kind::IDENTITY).len(), 1);
        let path = format!("/api/v1/routes/{}", made["id"].as_str().unwrap());
        fixture.call(LOCAL, "DELETE", &path, Value::Null).await.expect(204);
    }
    assert_eq!(published(&fixture, Kind::IDENTITY), []);
}

#[tokio::test]
async fn options_of_https_need_tls() {
    let fixture = Fixture::new().await;
    let body = json!({"host": "a.example.com", "target": "http://10.0.0.5", "redirect_https": true, "hsts_seconds": 60});
    let answer = fixture.post(LOCAL, "/api/v1/routes", body).await.expect(422);
    assert_eq!(answer.violations(), ["redirect_https invalid", "hsts_seconds invalid"]);
}

#[tokio::test]
async fn tenants_see_and_change_only_what_is_theirs() {
    let fixture = Fixture::new().await;
    let (one, two, guest) = (
        fixture.user("usr1", "admin:ns1").await,
        fixture.user("usr2", "admin:ns2").await,
        fixture.user("usr3", "guest:ns1").await,
    );
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let made = fixture
        .post(token(&one), "/api/v1/routes", route("one.example.com", "vm:web01:8080"))
        .await
        .expect(201);
    let json = made.json();
    assert_eq!((json["namespace"].as_str(), json["owner"].as_str()), (Some("ns1"), Some("usr1")));
    let path = format!("/api/v1/routes/{}", json["id"].as_str().unwrap());

    assert_eq!(fixture.get(token(&two), "/api/v1/routes").await.expect(200).json()["items"], json!([]));
    assert_eq!(fixture.get(token(&two), "/api/v1/vms").await.expect(200).json()["items"], json!([]));
    fixture.get(token(&two), &path).await.expect(404);
    fixture.call(token(&two), "DELETE", &path, Value::Null).await.expect(404);
    let taken =
        fixture.post(token(&two), "/api/v1/routes", route("one.example.com", "vm:web01")).await.expect(422);
    assert!(taken.text.contains("no VM of yours"), "{}", taken.text);
    assert_eq!(
        fixture.get(token(&guest), "/api/v1/routes").await.expect(200).json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let denied = fixture.call(token(&guest), "DELETE", &path, Value::Null).await.expect(403);
    assert!(denied.text.contains("admin:ns1"), "{}", denied.text);
    let mut elsewhere = route("x.example.com", "vm:web01");
    elsewhere["namespace"] = json!("ns9");
    let denied = fixture.post(token(&one), "/api/v1/routes", elsewhere).await.expect(403);
    assert!(denied.text.contains("admin:ns9"), "{}", denied.text);
}

#[tokio::test]
async fn what_is_roots_alone_is_refused_to_administrators() {
    let fixture = Fixture::new().await;
    let admin = fixture.user("usr1", "admin").await;
    for (host, target) in [
        ("a.example.com", "http://10.0.0.5"),
        ("a.example.com", "http://db.internal"),
        ("a.example.com", "control"),
        ("a.example.com", "novnc"),
        ("*", "vm:web01"),
        ("*.com", "vm:web01"),
        ("*.co.uk", "vm:web01"),
    ] {
        let answer = fixture.post(token(&admin), "/api/v1/routes", route(host, target)).await.expect(403);
        assert!(answer.text.contains("the grant root"), "{host} {target}: {}", answer.text);
    }
    let loopback =
        fixture.post(token(&admin), "/api/v1/routes", route("a.example.com", "http://127.0.0.1:9000")).await;
    assert_eq!(loopback.expect(422).violations(), ["targets[0] forbidden"]);
    for (host, target) in
        [("*", "http://10.0.0.5"), ("*.com", "http://10.0.0.5"), ("c.example.com", "control")]
    {
        fixture.post(LOCAL, "/api/v1/routes", route(host, target)).await.expect(201);
    }
}

#[tokio::test]
async fn a_target_by_address_is_the_vm_that_is_there() {
    let fixture = Fixture::new().await;
    let one = fixture.user("usr1", "admin:ns1").await;
    let vm = fixture.vm("web01", "ns1", "10.0.0.5").await;
    let made = fixture
        .post(token(&one), "/api/v1/routes", route("a.example.com", "http://10.0.0.5:81"))
        .await
        .expect(201);
    assert_eq!(made.json()["endpoints"][0]["vm"], vm["id"]);
    assert_eq!(made.json()["targets"], json!(["http://vm:web01.ns1:81"]));
    // The same address on another network has two meanings for root, one for the tenant.
    let body = json!({"name": "web02", "namespace": "ns2", "network": "other", "address": "10.0.0.5"});
    fixture.post(LOCAL, "/api/v1/vms", body).await.expect(201);
    let answer =
        fixture.post(LOCAL, "/api/v1/routes", route("b.example.com", "http://10.0.0.5:81")).await.expect(422);
    assert_eq!(answer.violations(), ["targets[0] ambiguous"]);
    fixture
        .post(token(&one), "/api/v1/routes", route("c.example.com", "http://10.0.0.5:81"))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_route_survives_a_restart_byte_for_byte() {
    let fixture = Fixture::new().await;
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let body = json!({"host": "*.example.com", "path": "/a", "targets": ["vm:web01:81", "http://10.1.1.1"],
        "tls": "self-signed", "hsts_seconds": 60, "on_change": "cut", "on_delete": "drain 5m", "namespace": "ns1"});
    fixture.post(LOCAL, "/api/v1/routes", body).await.expect(201);
    fixture.post(LOCAL, "/api/v1/routes", route("c.example.com", "control")).await.expect(201);
    let before = fixture.app.desired.current();

    let after = fixture.reopened().await.desired.current();

    assert_eq!(*before.snapshot, *after.snapshot);
}

#[tokio::test]
async fn a_disabled_route_is_kept_and_not_published() {
    let fixture = Fixture::new().await;
    let mut body = route("a.example.com", "http://10.0.0.5");
    body["enabled"] = json!(false);
    let made = fixture.post(LOCAL, "/api/v1/routes", body).await.expect(201).json();
    assert_eq!(published(&fixture, Kind::ROUTE), []);
    let path = format!("/api/v1/routes/{}", made["id"].as_str().unwrap());
    let who = As { if_match: Some("*"), ..LOCAL };
    fixture.call(who, "PATCH", &path, json!({"enabled": true})).await.expect(200);
    assert_eq!(published(&fixture, Kind::ROUTE).len(), 1);
}

#[tokio::test]
async fn lists_come_in_pages_and_know_their_filters() {
    let fixture = Fixture::new().await;
    for number in 0..5 {
        let host = format!("h{number}.example.com");
        fixture.post(LOCAL, "/api/v1/routes", route(&host, "http://10.0.0.5")).await.expect(201);
    }
    let first = fixture.get(LOCAL, "/api/v1/routes?limit=3").await.expect(200).json();
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let next = first["next"].as_str().unwrap();
    let rest = fixture.get(LOCAL, &format!("/api/v1/routes?limit=3&cursor={next}")).await.expect(200).json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));
    let one = fixture.get(LOCAL, "/api/v1/routes?host=H2.example.com.").await.expect(200).json();
    assert_eq!(one["items"][0]["host"], "h2.example.com");
    for query in ["limit=0", "limit=501", "limit=x", "cursor=x", "colour=red", "host=a&host=b"] {
        fixture.get(LOCAL, &format!("/api/v1/routes?{query}")).await.expect(400);
    }
    assert_eq!(Namespace::parse("default").unwrap().as_str(), one["items"][0]["namespace"].as_str().unwrap());
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let fixture = Fixture::new().await;
    for body in ["", "{", "[]", "7", r#"{"host":"a","host":"b"}"#] {
        fixture.raw(LOCAL, "POST", "/api/v1/routes", body.to_owned()).await.expect(400);
    }
    let form = As { fields: vec![("content-type", "application/x-www-form-urlencoded")], ..LOCAL };
    fixture.raw(form, "POST", "/api/v1/routes", "host=a").await.expect(415);
    let long = format!(r#"{{"note":"{}"}}"#, "x".repeat(1024 * 1024));
    let answer = fixture.raw(LOCAL, "POST", "/api/v1/routes", long).await.expect(413);
    assert_eq!(answer.violations(), [""; 0]);
    let wrong = fixture.raw(LOCAL, "PUT", "/api/v1/routes", "").await.expect(405);
    assert_eq!(wrong.violations(), [""; 0]);
    let mut allowed: Vec<_> = wrong.headers["allow"].to_str().unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    fixture.get(LOCAL, "/api/v1/nothing").await.expect(404);
    fixture.get(LOCAL, "/api/v1/routes/not-an-id").await.expect(404);
}

#[tokio::test]
async fn a_policy_out_of_grammar_is_refused() {
    let fixture = Fixture::new().await;
    for policy in ["drain", "drain 30", "drain 10x", "drain 25h", "sometimes", ""] {
        let mut body = route("a.example.com", "http://10.0.0.5");
        body["on_delete"] = json!(policy);
        assert_eq!(
            fixture.post(LOCAL, "/api/v1/routes", body).await.expect(400).violations(),
            ["on_delete unparsable"]
        );
    }
}

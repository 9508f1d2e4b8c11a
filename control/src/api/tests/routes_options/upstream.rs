//! `upstream`, and the schemes of targets.

use config::snapshot::{
    Action, Balance, HashKey, Probe, Protocol, RetryPolicy, Sticky, UpstreamPolicy, Verify,
};
use serde_json::{Value, json};

use super::{made, patch, published, refused, route};
use crate::api::testing::{As, LOCAL, token};
use crate::app::testing::Fixture;

async fn policy(fixture: &Fixture) -> Option<UpstreamPolicy> {
    let Action::Forward(upstream) = published(fixture).await.unwrap().action else { panic!() };
    upstream.policy.map(|policy| *policy)
}

fn all() -> Value {
    json!({
        "balance": "hash:header:x-user",
        "sticky": {"learned": {"header": "infid", "path": "/infrastructures", "field": 3, "expire": "30m", "keys_max": 10}},
        "protocol": "http2", "proxy_protocol": "v2",
        "check": {"http": {"path": "/version", "host": "app.internal", "statuses": ["200-299", "404"]},
            "interval": "1s", "timeout": "500ms", "rise": 1, "fall": 2},
        "ejection": {"failures": 4, "for": "10s"}, "slow_start": "10s", "in_flight_max": 64,
        "retry": {"tries": 2, "budget_percent": 10},
    })
}

/// A certificate and its key, as PEM.
fn identity() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["client.example.com".into()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[tokio::test]
async fn each_member_is_shown_as_it_was_set_and_may_be_taken_back() {
    let fixture = Fixture::new().await;
    let made = made(&fixture, json!({"upstream": all()})).await;
    assert_eq!(made["upstream"], all());
    assert_eq!(made["targets"], json!(["h2c://10.0.0.5:80"]));
    let told = policy(&fixture).await.unwrap();
    assert_eq!(told.balance, Balance::Hash(HashKey::Header("x-user".into())));
    assert!(matches!(told.sticky, Some(Sticky::Learned(learned)) if learned.expire_seconds == 1800));
    let Some(Probe::Http { statuses, .. }) = told.check.map(|check| check.probe) else { panic!() };
    assert_eq!(statuses[..], [(200, 299), (404, 404)]);
    assert_eq!(told.retry, RetryPolicy { tries_max: 2, budget_percent: 10 });
    let mut left = all();
    for name in all().as_object().unwrap().keys().filter(|name| *name != "protocol") {
        left.as_object_mut().unwrap().remove(name);
        let after = patch(&fixture, &made["id"], json!({"upstream": {name: null}})).await.expect(200).json();
        assert_eq!(after["upstream"], left, "{name}");
    }
    let after =
        patch(&fixture, &made["id"], json!({"upstream": {"protocol": "http1"}})).await.expect(200).json();
    assert_eq!((&after["upstream"], policy(&fixture).await), (&Value::Null, None));
    assert_eq!(after["targets"], json!(["http://10.0.0.5:80"]));
}

#[tokio::test]
async fn what_is_not_said_has_the_documented_default() {
    let fixture = Fixture::new().await;
    let short = json!({"upstream": {"check": {"http": {}}, "sticky": {"cookie": {}}, "ejection": {}, "balance": "least"}});
    let made = fixture.post(LOCAL, "/api/v1/routes", route(short)).await.expect(201).json();
    let check = json!({"http": {"path": "/", "statuses": ["200-399"]}, "interval": "5s", "timeout": "2s", "rise": 2, "fall": 3});
    assert_eq!(made["upstream"]["check"], check);
    assert_eq!(made["upstream"]["sticky"], json!({"cookie": {"name": "gatehouse"}}));
    assert_eq!(made["upstream"]["ejection"], json!({"failures": 5, "for": "30s"}));
    // Another kind takes the place of the first, the rest of the group stays.
    let change = json!({"upstream": {"check": {"tcp": true}, "sticky": {"learned": {"header": "InfID"}}}});
    let after = patch(&fixture, &made["id"], change).await.expect(200).json();
    let check = json!({"tcp": true, "interval": "5s", "timeout": "2s", "rise": 2, "fall": 3});
    assert_eq!(after["upstream"]["check"], check);
    let learned = json!({"header": "infid", "path": "/", "field": 3, "expire": "1h", "keys_max": 30000});
    assert_eq!(after["upstream"]["sticky"], json!({"learned": learned}));
    for balance in ["round-robin", "least", "p2c", "hash:address", "hash:header:x-a", "hash:cookie:Sid"] {
        let change = json!({"upstream": {"balance": balance}});
        let after = patch(&fixture, &made["id"], change).await.expect(200).json();
        let shown = if balance == "round-robin" { Value::Null } else { json!(balance) };
        assert_eq!(after["upstream"]["balance"], shown);
    }
}

#[tokio::test]
async fn the_scheme_of_targets_says_what_is_spoken() {
    let fixture = Fixture::new().await;
    let made = fixture.post(LOCAL, "/api/v1/routes", route(json!({"target": "https://10.0.0.5"}))).await;
    let made = made.expect(201).json();
    assert_eq!(made["targets"], json!(["https://10.0.0.5:443"]));
    assert_eq!(made["upstream"], json!({"tls": {"verify": "system"}}));
    for (target, shown, protocol, is_secure) in [
        ("h2c://10.0.0.5", "h2c://10.0.0.5:80", Protocol::Http2, false),
        ("grpcs://10.0.0.5", "h2://10.0.0.5:443", Protocol::Http2, true),
        ("h2://10.0.0.5", "h2://10.0.0.5:443", Protocol::Http2, true),
        ("https://10.0.0.5", "https://10.0.0.5:443", Protocol::Http1, true),
    ] {
        let after = patch(&fixture, &made["id"], json!({"target": target})).await.expect(200).json();
        assert_eq!(after["targets"], json!([shown]));
        let told = policy(&fixture).await.unwrap();
        assert_eq!((told.protocol, told.tls.is_some()), (protocol, is_secure), "{target}");
    }
    // Nothing short of another scheme makes it plain.
    for change in
        [json!({"upstream": null}), json!({"upstream": {"tls": null}}), json!({"target": "10.0.0.6:443"})]
    {
        let after = patch(&fixture, &made["id"], change).await.expect(200).json();
        assert_eq!(after["upstream"]["tls"]["verify"], "system");
    }
    let after = patch(&fixture, &made["id"], json!({"target": "http://10.0.0.6"})).await.expect(200).json();
    assert_eq!((&after["upstream"], policy(&fixture).await), (&Value::Null, None));
}

#[tokio::test]
async fn upgrades_need_targets_that_speak_http1() {
    let fixture = Fixture::new().await;
    let list = "/api/v1/routes";
    for target in ["h2c://10.0.0.5", "h2://10.0.0.5", "grpc://10.0.0.5", "grpcs://10.0.0.5"] {
        let both = json!({"target": target, "websocket": true, "filters": {"upgrades": ["tcp"]}});
        let refused = fixture.post(LOCAL, list, route(both)).await.expect(422);
        assert_eq!(
            refused.violations(),
            ["websocket unsupported", "filters.upgrades unsupported"],
            "{target}"
        );
    }
    let chosen = json!({"target": "https://10.0.0.5", "websocket": true, "upstream": {"protocol": "http2"}});
    fixture.post(LOCAL, list, route(chosen)).await.expect(422);
    let made = fixture.post(LOCAL, list, route(json!({"websocket": true}))).await.expect(201).json();
    let refused = patch(&fixture, &made["id"], json!({"target": "h2c://10.0.0.5"})).await.expect(422);
    assert!(
        refused.text.contains("websocket: upgrades need targets that speak HTTP/1.1"),
        "{}",
        refused.text
    );
    let both = json!({"target": "h2c://10.0.0.5", "websocket": false});
    patch(&fixture, &made["id"], both).await.expect(200);
    patch(&fixture, &made["id"], json!({"websocket": true})).await.expect(422);
}

#[tokio::test]
async fn an_upstream_proves_itself_in_one_of_four_ways_and_not_at_all_for_root_alone() {
    let fixture = Fixture::new().await;
    let (pem, _) = identity();
    let print = "ab".repeat(32);
    let made = made(&fixture, json!({"target": "https://10.0.0.5", "upstream": {"tls": {"ca_pem": pem, "server_name": "Db.Internal"}}})).await;
    let tls = &made["upstream"]["tls"];
    assert_eq!((&tls["verify"], &tls["server_name"]), (&json!("ca"), &json!("db.internal")));
    assert_eq!(tls["ca_pem"].as_str().unwrap().replace('\n', ""), pem.replace(['\r', '\n'], ""));
    for (change, verify) in [
        (json!({"fingerprint": print}), "fingerprint"),
        (json!({"verify": "system"}), "system"),
        (json!({"verify": "off"}), "off"),
    ] {
        let after =
            patch(&fixture, &made["id"], json!({"upstream": {"tls": change}})).await.expect(200).json();
        assert_eq!(after["upstream"]["tls"]["verify"], verify);
        assert_eq!(after["upstream"]["tls"]["server_name"], "db.internal");
    }
    assert_eq!(policy(&fixture).await.unwrap().tls.unwrap().verify, Verify::Nothing);

    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let admin = fixture.user("usr1", "admin:ns1").await;
    let own = |verify: &str| json!({"host": "b.example.com", "target": "https://vm:web01", "upstream": {"tls": {"verify": verify}}});
    let denied = fixture.post(token(&admin), "/api/v1/routes", own("off")).await.expect(403);
    assert!(denied.text.contains("root"), "{}", denied.text);
    let own = fixture.post(token(&admin), "/api/v1/routes", own("system")).await.expect(201).json();
    let path = format!("/api/v1/routes/{}", own["id"].as_str().unwrap());
    let who = || As { if_match: Some("*"), ..token(&admin) };
    fixture.call(who(), "PATCH", &path, json!({"upstream": {"tls": {"verify": "off"}}})).await.expect(403);
    patch(&fixture, &own["id"], json!({"upstream": {"tls": {"verify": "off"}}})).await.expect(200);
    // Root set it; leading it elsewhere is setting it again.
    fixture.call(who(), "PATCH", &path, json!({"note": "mine"})).await.expect(200);
    fixture.call(who(), "PATCH", &path, json!({"target": "https://vm:web01:8443"})).await.expect(403);
}

#[tokio::test]
async fn a_client_key_is_sealed_never_shown_and_kept_with_its_certificate() {
    let fixture = Fixture::new().await;
    let ((cert, key), (other_cert, other_key)) = (identity(), identity());
    let tls = |cert: &str, key: Value| json!({"upstream": {"tls": {"client_cert_pem": cert, "client_key_pem": key}}});
    let mut body = tls(&cert, json!(key));
    body["target"] = json!("https://10.0.0.5");
    let made = fixture.post(LOCAL, "/api/v1/routes", route(body)).await.expect(201);
    assert!(!made.text.contains("PRIVATE") && !made.text.contains("client_key"), "{}", made.text);
    let made = made.json();
    let told = async || policy(&fixture).await.unwrap().tls.unwrap().client.unwrap();
    let first = told().await;
    assert!(!first.key.expose().is_empty());
    patch(&fixture, &made["id"], json!({"upstream": {"tls": {"server_name": "a.example.com"}}}))
        .await
        .expect(200);
    assert_eq!(told().await, first);
    for wrong in [tls(&other_cert, Value::Null), tls(&cert, json!(other_key)), tls(&cert, json!("x"))] {
        let answer = patch(&fixture, &made["id"], wrong).await.expect(422);
        assert_eq!(answer.violations(), ["upstream.tls.client_key_pem invalid"], "{}", answer.text);
    }
    assert_eq!(told().await, first);
    patch(&fixture, &made["id"], tls(&other_cert, json!(other_key))).await.expect(200);
    assert_ne!(told().await, first);
    assert_eq!(*fixture.app.desired.current().snapshot, *fixture.reopened().await.desired.current().snapshot);
    let stored = std::fs::read(fixture.directory.path().join("database.db")).unwrap();
    let wal = std::fs::read(fixture.directory.path().join("database.db-wal")).unwrap_or_default();
    let inner: String = key.lines().nth(1).unwrap().chars().take(32).collect();
    assert!(![stored, wal].iter().any(|bytes| bytes.windows(32).any(|w| w == inner.as_bytes())));
    patch(&fixture, &made["id"], json!({"upstream": {"tls": {"client_cert_pem": null}}})).await.expect(200);
    assert_eq!(policy(&fixture).await.unwrap().tls.unwrap().client, None);
}

#[tokio::test]
async fn wrong_upstreams_are_refused_by_their_place() {
    let u = |name: &str, value: Value| json!({"upstream": {name: value}});
    let tls = |value: Value| json!({"target": "https://10.0.0.5", "upstream": {"tls": value}});
    refused(
        422,
        &[
            (json!({"upstream": []}), &["upstream type"]),
            (u("balance", json!("random")), &["upstream.balance invalid"]),
            (u("balance", json!("hash:header:a b")), &["upstream.balance invalid"]),
            (u("sticky", json!({})), &["upstream.sticky invalid"]),
            (u("sticky", json!({"cookie": {}, "learned": {"header": "a"}})), &["upstream.sticky invalid"]),
            (u("sticky", json!({"cookie": {"name": "a;b"}})), &["upstream.sticky.cookie.name invalid"]),
            (
                u("sticky", json!({"learned": {"field": 0}})),
                &["upstream.sticky.learned.header required", "upstream.sticky.learned.field type"],
            ),
            (u("protocol", json!("spdy")), &["upstream.protocol invalid"]),
            (
                json!({"target": "h2c://10.0.0.5", "upstream": {"protocol": "http1"}}),
                &["upstream.protocol invalid"],
            ),
            (u("tls", json!({})), &["upstream.tls invalid"]),
            (tls(json!({"verify": "maybe"})), &["upstream.tls.verify invalid"]),
            (tls(json!({"verify": "ca"})), &["upstream.tls.ca_pem required"]),
            (tls(json!({"verify": "system", "ca_pem": "x"})), &["upstream.tls.ca_pem invalid"]),
            (tls(json!({"fingerprint": "abc"})), &["upstream.tls.fingerprint invalid"]),
            (tls(json!({"server_name": "10.0.0.1"})), &["upstream.tls.server_name invalid"]),
            (tls(json!({"client_cert_pem": identity().0})), &["upstream.tls.client_key_pem required"]),
            (tls(json!({"client_key_pem": identity().1})), &["upstream.tls.client_cert_pem required"]),
            (u("proxy_protocol", json!(2)), &["upstream.proxy_protocol type"]),
            (u("check", json!({"interval": "5s"})), &["upstream.check invalid"]),
            (
                u("check", json!({"tcp": true, "interval": "1ms", "timeout": "2m", "rise": 0, "fall": 256})),
                &[
                    "upstream.check.interval range",
                    "upstream.check.timeout range",
                    "upstream.check.rise type",
                    "upstream.check.fall type",
                ],
            ),
            (
                u("check", json!({"http": {"path": "x", "statuses": ["2xx"], "host": "a b"}})),
                &[
                    "upstream.check.http.path invalid",
                    "upstream.check.http.host invalid",
                    "upstream.check.http.statuses[0] invalid",
                ],
            ),
            (u("check", json!({"http": {"path": "/a b"}})), &["upstream.check.http.path invalid"]),
            (u("ejection", json!({"failures": 0})), &["upstream.ejection.failures type"]),
            (u("slow_start", json!("2h")), &["upstream.slow_start range"]),
            (u("in_flight_max", json!(0)), &["upstream.in_flight_max type"]),
            (
                u("retry", json!({"tries": 11, "budget_percent": 101})),
                &["upstream.retry.tries type", "upstream.retry.budget_percent type"],
            ),
            (u("blance", json!("least")), &["upstream.blance unknown"]),
            (json!({"targets": ["http://10.0.0.5", "https://10.0.0.6"]}), &["targets invalid"]),
            (json!({"redirect": {"to": "/x"}, "upstream": {"balance": "least"}}), &["upstream invalid"]),
            (json!({"target": "control", "upstream": {"balance": "least"}}), &["upstream invalid"]),
        ],
    )
    .await;
    refused(
        400,
        &[(u("check", json!({"tcp": true, "interval": "5"})), &["upstream.check.interval unparsable"])],
    )
    .await;
}

//! `filters`.

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use config::snapshot::{Edit, Filters, RateKey};
use serde_json::{Value, json};

use super::{made, patch, published, refused, route};
use crate::api::testing::{LOCAL, token};
use crate::app::testing::Fixture;

async fn filters(fixture: &Fixture) -> Option<Filters> {
    published(fixture).await.unwrap().filters.map(|filters| *filters)
}

fn all() -> Value {
    json!({
        "maintenance": {"retry_after": "10m", "content_type": "text/html", "body": "<p>soon</p>"},
        "allow": ["10.0.0.0/8"], "deny": ["10.0.0.9"],
        "rate": {"requests": 10, "per": "1s", "burst": 20, "key": "route"},
        "in_flight_max": 100, "body_max": "10MiB", "gzip": true, "upgrades": ["tcp"],
        "path": {"strip": "/api", "add": "/v1"},
        "request_headers": [{"set": "X-From", "value": "gate"}, {"remove": "Cookie"}],
        "response_headers": [{"add": "X-Frame-Options", "value": "DENY", "always": true}],
        "error_pages": [{"statuses": [502, 503], "content_type": "text/html", "body": "<p>away</p>", "replace_origin": true}],
    })
}

#[tokio::test]
async fn each_filter_is_shown_as_it_was_set_and_may_be_taken_back() {
    let fixture = Fixture::new().await;
    let made = made(&fixture, json!({"filters": all()})).await;
    assert_eq!(made["filters"], all());
    let told = filters(&fixture).await.unwrap();
    assert_eq!((told.body_bytes_max, told.in_flight_max, told.gzip), (Some(10 << 20), Some(100), true));
    assert_eq!(*told.upgrades, ["tcp".into()]);
    assert_eq!(told.rate.unwrap().key, RateKey::Route);
    assert_eq!(told.request_fields[1].edit, Edit::Remove);
    assert!(told.response_fields[0].always && told.error_pages[0].replaces_origin);
    assert_eq!(told.maintenance.unwrap().retry_after_seconds, 600);
    let mut left = all();
    for name in all().as_object().unwrap().keys() {
        left.as_object_mut().unwrap().remove(name);
        let after = patch(&fixture, &made["id"], json!({"filters": {name: null}})).await.expect(200).json();
        let wanted = if left == json!({}) { Value::Null } else { left.clone() };
        assert_eq!(after["filters"], wanted, "{name}");
    }
    assert_eq!(filters(&fixture).await, None);
}

#[tokio::test]
async fn what_is_not_said_has_the_documented_default() {
    let fixture = Fixture::new().await;
    let short = json!({"filters": {"maintenance": true, "rate": {"requests": 5}, "path": {"strip": "/a"},
        "error_pages": {"statuses": "500-503", "body": "x"}}});
    let made = fixture.post(LOCAL, "/api/v1/routes", route(short)).await.expect(201).json();
    assert_eq!(made["filters"]["maintenance"], json!({"retry_after": "5m"}));
    assert_eq!(made["filters"]["rate"], json!({"requests": 5, "per": "1s", "burst": 5, "key": "client"}));
    assert_eq!(made["filters"]["path"], json!({"strip": "/a", "add": "/"}));
    let page = json!({"statuses": [500, 501, 502, 503], "content_type": "text/plain; charset=utf-8", "body": "x",
        "replace_origin": false});
    assert_eq!(made["filters"]["error_pages"], json!([page]));
    let off =
        patch(&fixture, &made["id"], json!({"filters": {"maintenance": false}})).await.expect(200).json();
    assert_eq!(off["filters"]["maintenance"], Value::Null);
}

#[tokio::test]
async fn a_password_is_kept_as_its_hash_alone_and_by_those_who_are_not_given_another() {
    let fixture = Fixture::new().await;
    let auth = |users: Value| json!({"filters": {"basic_auth": {"realm": "ours", "users": users}}});
    let users = json!([{"name": "ada", "password": "correct horse"}, {"name": "bob", "password": "battery"}]);
    let made = fixture.post(LOCAL, "/api/v1/routes", route(auth(users))).await.expect(201).json();
    let shown = json!({"realm": "ours", "users": [{"name": "ada"}, {"name": "bob"}]});
    assert_eq!(made["filters"]["basic_auth"], shown);
    let verify = |filters: &Filters, place: usize, password: &str| {
        let user = &filters.basic_auth.as_ref().unwrap().users[place];
        let hash = user.password_hash.expose();
        assert!(hash.starts_with("$argon2id$v=19$"));
        let hash = PasswordHash::new(hash).unwrap();
        Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    };
    let before = filters(&fixture).await.unwrap();
    assert!(
        verify(&before, 0, "correct horse")
            && verify(&before, 1, "battery")
            && !verify(&before, 0, "battery")
    );

    // Another order, one new password, one kept.
    let users = json!([{"name": "bob"}, {"name": "ada", "password": "new"}]);
    patch(&fixture, &made["id"], auth(users)).await.expect(200);
    let after = filters(&fixture).await.unwrap();
    assert!(verify(&after, 0, "battery") && verify(&after, 1, "new"));
    patch(&fixture, &made["id"], json!({"filters": {"basic_auth": {"realm": "yours"}}})).await.expect(200);
    assert!(verify(&filters(&fixture).await.unwrap(), 1, "new"));
    let unknown = patch(&fixture, &made["id"], auth(json!([{"name": "eve"}]))).await.expect(422);
    assert_eq!(unknown.violations(), ["filters.basic_auth.users[0].password required"]);
    let forged = json!([{"name": "bob", "password_hash": "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA"}]);
    let forged = patch(&fixture, &made["id"], auth(forged)).await.expect(422);
    assert_eq!(forged.violations(), ["filters.basic_auth.users[0].password_hash unknown"]);

    let audits = fixture.get(LOCAL, "/api/v1/audits?object_kind=route").await.expect(200).text;
    assert!(!audits.contains("argon2") && !audits.contains("battery"), "{audits}");
    assert_eq!(*fixture.app.desired.current().snapshot, *fixture.reopened().await.desired.current().snapshot);
}

#[tokio::test]
async fn wrong_filters_are_refused_by_their_place() {
    let f = |name: &str, value: Value| json!({"filters": {name: value}});
    let users = |users: Value| json!({"filters": {"basic_auth": {"users": users}}});
    refused(
        422,
        &[
            (json!({"filters": 1}), &["filters type"]),
            (f("maintenance", json!("on")), &["filters.maintenance type"]),
            (f("maintenance", json!({"retry_after": "1500ms"})), &["filters.maintenance.retry_after range"]),
            (
                f("allow", json!(["10.0.0.1/8", "x"])),
                &["filters.allow[0] invalid", "filters.allow[1] invalid"],
            ),
            (f("rate", json!({"requests": 0})), &["filters.rate.requests type"]),
            (f("rate", json!({})), &["filters.rate.requests required"]),
            (f("rate", json!({"requests": 1, "per": "2d"})), &["filters.rate.per range"]),
            (f("rate", json!({"requests": 1, "key": "ip"})), &["filters.rate.key invalid"]),
            (users(json!([])), &["filters.basic_auth.users required"]),
            (users(json!([{"name": "a:b", "password": "x"}])), &["filters.basic_auth.users[0] invalid"]),
            (
                users(json!([{"name": "a", "password": ""}])),
                &["filters.basic_auth.users[0].password invalid"],
            ),
            (users(json!([{"name": "a"}])), &["filters.basic_auth.users[0].password required"]),
            (
                users(json!([{"name": "a", "password": "x"}, {"name": "a", "password": "y"}])),
                &["filters.basic_auth.users[1].name repeated"],
            ),
            (f("in_flight_max", json!(0)), &["filters.in_flight_max type"]),
            (f("body_max", json!(5)), &["filters.body_max type"]),
            (f("path", json!({"strip": "a"})), &["filters.path.strip invalid"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn wrong_edits_and_pages_are_refused_by_their_place() {
    let f = |name: &str, value: Value| json!({"filters": {name: value}});
    refused(
        422,
        &[
            (
                f("request_headers", json!([{"set": "Content-Length", "value": "1"}])),
                &["filters.request_headers[0] invalid"],
            ),
            (
                f("request_headers", json!([{"set": "A", "value": "x\r\ny"}])),
                &["filters.request_headers[0].value invalid"],
            ),
            (
                f("request_headers", json!([{"set": "A", "add": "B", "value": "x"}])),
                &["filters.request_headers[0] invalid"],
            ),
            (f("request_headers", json!([{"set": "A"}])), &["filters.request_headers[0].value required"]),
            (
                f("request_headers", json!([{"remove": "A", "value": "x"}])),
                &["filters.request_headers[0].value invalid"],
            ),
            (
                f("request_headers", json!([{"remove": "A", "always": true}])),
                &["filters.request_headers[0].always unknown"],
            ),
            (f("request_headers", json!([{"remove": "Host"}])), &["filters.request_headers[0] invalid"]),
            (
                f("error_pages", json!([{"statuses": [200], "body": "x"}])),
                &["filters.error_pages[0].statuses[0] range"],
            ),
            (
                f("error_pages", json!([{"statuses": ["5xx"], "body": "x"}])),
                &["filters.error_pages[0].statuses[0] invalid"],
            ),
            (f("error_pages", json!([{"statuses": [502]}])), &["filters.error_pages[0].body required"]),
            (f("gzip", json!("yes")), &["filters.gzip type"]),
            (f("gzpi", json!(true)), &["filters.gzpi unknown"]),
            (f("upgrades", json!(["h2c"])), &["filters.upgrades[0] invalid"]),
            (
                json!({"redirect": {"to": "/x"}, "filters": {"upgrades": ["tcp"]}}),
                &["filters.upgrades invalid"],
            ),
            (
                json!({"redirect": {"to": "/x"}, "filters": {"path": {"strip": "/a"}}}),
                &["filters.path invalid"],
            ),
        ],
    )
    .await;
    refused(400, &[(f("body_max", json!("10")), &["filters.body_max unparsable"])]).await;
}

#[tokio::test]
async fn a_stranger_has_no_password_hashed() {
    let fixture = Fixture::new().await;
    let guest = fixture.user("usr1", "guest:default").await;
    let body = route(json!({"filters": {"basic_auth": {"users": [{"name": "a", "password": "x"}]}}}));
    fixture.post(token(&guest), "/api/v1/routes", body).await.expect(403);
}

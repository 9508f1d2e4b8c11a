use config::snapshot::{Kind, Value as Published};
use serde_json::{Value, json};

use crate::api::testing::{As, LOCAL, NOBODY, token};
use crate::app::testing::Fixture;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@example";

#[tokio::test]
async fn whoami_is_what_the_reference_shows() {
    let fixture = Fixture::new().await;
    let one = fixture.user("usr1", "admin:ns1 guest:ns2").await;
    for path in ["/whoami", "/api/v1/whoami"] {
        let answer = fixture.get(token(&one), path).await.expect(200).json();
        let wanted = json!({"auth":"jwt","grant":{"guest":["ns2"],"admin":["ns1"]},"name":"usr1","namespace":"system",
            "raw_grant":"admin:ns1 guest:ns2"});
        assert_eq!(answer, wanted);
    }
    let local = fixture.get(LOCAL, "/whoami").await.expect(200).json();
    assert_eq!((local["name"].as_str(), local["raw_grant"].as_str()), (Some("root"), Some("root")));
    let nobody = fixture.get(NOBODY, "/whoami").await.expect(401);
    assert_eq!(nobody.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn grants_and_durations_out_of_grammar_answer_400() {
    let fixture = Fixture::new().await;
    for grant in ["root:ns1", "chief:ns1", "admin:", "admin:ns1 admin:ns1"] {
        let answer =
            fixture.post(LOCAL, "/api/v1/users", json!({"name": "usr1", "grant": grant})).await.expect(400);
        assert_eq!(answer.violations(), ["grant unparsable"], "{grant}");
    }
    fixture.user("usr1", "guest:ns1").await;
    for (duration, status) in
        [("10x", 400), ("10", 400), ("", 400), ("0s", 422), ("25h", 422), ("1s", 201), ("24h", 201)]
    {
        let body = json!({"subject": "usr1", "duration": duration});
        fixture.post(LOCAL, "/api/v1/tokens", body).await.expect(status);
    }
}

#[tokio::test]
async fn names_are_checked_and_unique_without_regard_to_case() {
    let fixture = Fixture::new().await;
    fixture.user("usr1", "guest").await;
    let clash = fixture.post(LOCAL, "/api/v1/users", json!({"name": "USR1"})).await.expect(409);
    assert!(clash.text.contains("usr1"), "{}", clash.text);
    for name in ["ab", &"x".repeat(33), "a b c", "ä-name", "node-1", "admin"] {
        fixture.post(LOCAL, "/api/v1/users", json!({"name": name})).await.expect(422);
    }
    fixture.post(LOCAL, "/api/v1/users", json!({"name": "root", "grant": "root"})).await.expect(201);
}

#[tokio::test]
async fn a_token_ends_is_revoked_and_dies_with_its_user() {
    let fixture = Fixture::new().await;
    let one = fixture.user("usr1", "guest:ns1").await;
    fixture.get(token(&one), "/whoami").await.expect(200);
    fixture.pass(601);
    let late = fixture.get(token(&one), "/whoami").await.expect(401);
    assert!(late.text.contains("expired"), "{}", late.text);

    let two = fixture.user("usr2", "guest:ns1").await;
    let listed = fixture.get(token(&two), "/api/v1/tokens").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(&two), "the text of a token is shown once");
    let path = format!("/api/v1/tokens/{}", listed["items"][0]["id"].as_str().unwrap());
    fixture.call(token(&two), "DELETE", &path, Value::Null).await.expect(204);
    let revoked = fixture.get(token(&two), "/whoami").await.expect(401);
    assert!(revoked.text.contains("revoked"), "{}", revoked.text);

    let three = fixture.user("usr3", "guest:ns1").await;
    let who = As { if_match: Some("*"), ..LOCAL };
    fixture.call(who, "PATCH", "/api/v1/users/usr3", json!({"enabled": false})).await.expect(200);
    assert!(fixture.get(token(&three), "/whoami").await.expect(401).text.contains("disabled"));
    fixture.post(LOCAL, "/api/v1/tokens", json!({"subject": "usr3"})).await.expect(422);
    fixture.call(LOCAL, "DELETE", "/api/v1/users/usr3", Value::Null).await.expect(204);
    fixture.get(token(&three), "/whoami").await.expect(401);
    fixture.post(LOCAL, "/api/v1/tokens", json!({"subject": "usr3"})).await.expect(422);
}

#[tokio::test]
async fn altered_and_foreign_tokens_are_refused() {
    let (fixture, other) = (Fixture::new().await, Fixture::new().await);
    let foreign = other.user("usr1", "root").await;
    let own = fixture.user("usr1", "guest:ns1").await;
    let altered = format!("{}x", own);
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c3IxIn0.";
    for text in [foreign.as_str(), altered.as_str(), none, "x", "", &"x".repeat(20_000)] {
        fixture.get(token(text), "/whoami").await.expect(401);
    }
    let twice = As { fields: vec![("authorization", "Bearer x")], ..token(&own) };
    fixture.get(twice, "/whoami").await.expect(401);
    let basic = As { fields: vec![("authorization", "Basic eDp4")], ..NOBODY };
    fixture.get(basic, "/whoami").await.expect(401);
}

#[tokio::test]
async fn nobody_gives_more_than_they_hold() {
    let fixture = Fixture::new().await;
    let one = fixture.user("usr1", "admin:ns1").await;
    let more = json!({"subject": "usr1", "grant": "admin:ns2", "duration": "1m"});
    assert_eq!(
        fixture.post(token(&one), "/api/v1/tokens", more.clone()).await.expect(422).violations(),
        ["grant exceeds"]
    );
    fixture.post(LOCAL, "/api/v1/tokens", more).await.expect(422);
    let less = json!({"grant": "guest:ns1", "duration": "1m"});
    let less = fixture.post(token(&one), "/api/v1/tokens", less).await.expect(201).json();
    assert_eq!(less["grant"], "guest:ns1");
    let weak = less["token"].as_str().unwrap();
    // The weak token cannot make itself strong or old.
    fixture
        .post(token(weak), "/api/v1/tokens", json!({"grant": "admin:ns1", "duration": "10s"}))
        .await
        .expect(403);
    let longer = json!({"grant": "guest:ns1", "duration": "24h"});
    assert_eq!(
        fixture.post(token(weak), "/api/v1/tokens", longer).await.expect(422).violations(),
        ["duration exceeds"]
    );
    fixture.post(token(&one), "/api/v1/tokens", json!({"subject": "somebody"})).await.expect(403);
    fixture
        .post(token(&one), "/api/v1/users", json!({"name": "usr2", "grant": "guest:ns1"}))
        .await
        .expect(403);
    // A grant that is taken away is gone at the next use.
    let who = As { if_match: Some("*"), ..LOCAL };
    fixture.call(who, "PATCH", "/api/v1/users/usr1", json!({"grant": "guest:ns1"})).await.expect(200);
    assert_eq!(fixture.get(token(&one), "/whoami").await.expect(200).json()["raw_grant"], "");
}

#[tokio::test]
async fn the_last_root_user_stays() {
    let fixture = Fixture::new().await;
    fixture.user("boss", "root").await;
    let who = As { if_match: Some("*"), ..LOCAL };
    for patch in [json!({"enabled": false}), json!({"grant": "admin"})] {
        let answer = fixture.call(who.clone(), "PATCH", "/api/v1/users/boss", patch).await.expect(409);
        assert!(answer.text.contains("last"), "{}", answer.text);
    }
    fixture.call(LOCAL, "DELETE", "/api/v1/users/boss", Value::Null).await.expect(409);
    fixture.user("boss2", "root").await;
    fixture.call(LOCAL, "DELETE", "/api/v1/users/boss", Value::Null).await.expect(204);
}

#[tokio::test]
async fn keys_are_published_with_their_user_and_belong_to_one() {
    let fixture = Fixture::new().await;
    let one = fixture.user("usr1", "operator:ns1").await;
    let two = fixture.user("usr2", "operator:ns1").await;
    let made =
        fixture.post(token(&one), "/api/v1/users/usr1/keys", json!({"key": KEY})).await.expect(201).json();
    assert_eq!((made["type"].as_str(), made["comment"].as_str()), (Some("ssh-ed25519"), Some("me@example")));
    assert!(made["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    let blob = data_encoding::BASE64.decode(KEY.split(' ').nth(1).unwrap().as_bytes()).unwrap();
    let principals = |fixture: &Fixture| {
        let state = fixture.app.desired.current();
        let of_kind = state.snapshot.objects().filter(|object| object.key().kind == Kind::PRINCIPAL);
        let with_keys = of_kind.filter_map(|object| {
            let Published::Principal(principal) = object.decode().unwrap() else { return None };
            (!principal.keys.is_empty()).then_some(principal)
        });
        with_keys.collect::<Vec<_>>()
    };
    assert_eq!(principals(&fixture)[0].keys[0].blob[..], blob[..]);

    let twice = fixture.post(LOCAL, "/api/v1/users/usr2/keys", json!({"key": KEY})).await.expect(409);
    assert!(twice.text.contains("user usr1"), "{}", twice.text);
    let hidden = fixture.post(token(&two), "/api/v1/users/usr2/keys", json!({"key": KEY})).await.expect(409);
    assert!(!hidden.text.contains("usr1"), "{}", hidden.text);
    fixture.post(token(&two), "/api/v1/users/usr1/keys", json!({"key": KEY})).await.expect(404);
    fixture.post(LOCAL, "/api/v1/users/usr1/keys", json!({"key": "ssh-dss AAAA"})).await.expect(422);

    let who = As { if_match: Some("*"), ..LOCAL };
    fixture.call(who, "PATCH", "/api/v1/users/usr1", json!({"enabled": false})).await.expect(200);
    assert_eq!(principals(&fixture), [], "a disabled user is not in the snapshot");
    let path = format!("/api/v1/users/usr1/keys/{}", made["id"].as_str().unwrap());
    fixture.call(LOCAL, "DELETE", &path, Value::Null).await.expect(204);
    assert_eq!(fixture.get(LOCAL, "/api/v1/users/usr1/keys").await.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn users_see_themselves_and_no_others() {
    let fixture = Fixture::new().await;
    let one = fixture.user("usr1", "admin").await;
    fixture.user("usr2", "guest").await;
    let listed = fixture.get(token(&one), "/api/v1/users").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    fixture.get(token(&one), "/api/v1/users/usr1").await.expect(200);
    fixture.get(token(&one), "/api/v1/users/usr2").await.expect(404);
    assert_eq!(
        fixture.get(token(&one), "/api/v1/tokens").await.expect(200).json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn the_setup_makes_one_root_user_once() {
    let fixture = Fixture::new().await;
    let printed = fixture.app.setup_token().await.unwrap().unwrap();
    let again = fixture.app.setup_token().await.unwrap().unwrap();
    let setup = |token: &str| json!({"token": token, "name": "boss"});
    fixture.post(NOBODY, "/api/v1/setup", setup(printed.expose())).await.expect(401);
    fixture.post(NOBODY, "/api/v1/setup", setup("gh-setup-guess")).await.expect(401);
    fixture.post(NOBODY, "/api/v1/setup", json!({})).await.expect(401);
    fixture.get(token(again.expose()), "/whoami").await.expect(401);
    fixture
        .post(token(again.expose()), "/api/v1/users", json!({"name": "evil", "grant": "root"}))
        .await
        .expect(401);

    let made = fixture.post(NOBODY, "/api/v1/setup", setup(again.expose())).await.expect(201).json();

    let root = made["token"].as_str().unwrap();
    assert_eq!(fixture.get(token(root), "/whoami").await.expect(200).json()["raw_grant"], "root");
    fixture.post(NOBODY, "/api/v1/setup", setup(again.expose())).await.expect(401);
    assert!(fixture.app.setup_token().await.unwrap().is_none(), "closed for ever");
}

#[tokio::test]
async fn a_token_of_less_adds_no_key_that_is_worth_more() {
    let fixture = Fixture::new().await;
    let whole = fixture.user("usr1", "admin:ns1").await;
    let body = json!({"grant": "guest:ns1", "duration": "1m"});
    let made = fixture.post(token(&whole), "/api/v1/tokens", body).await.expect(201).json();
    let less = made["token"].as_str().unwrap();
    fixture.post(token(less), "/api/v1/users/usr1/keys", json!({"key": KEY})).await.expect(403);
    let made = fixture.post(token(&whole), "/api/v1/users/usr1/keys", json!({"key": KEY})).await.expect(201);
    let path = format!("/api/v1/users/usr1/keys/{}", made.json()["id"].as_str().unwrap());
    fixture.call(token(less), "DELETE", &path, Value::Null).await.expect(403);
    fixture.call(token(&whole), "DELETE", &path, Value::Null).await.expect(204);
}

use serde_json::{Value, json};

use crate::api::testing::{As, LOCAL, NOBODY, token};
use crate::app::testing::Fixture;

#[tokio::test]
async fn the_documented_health_check_needs_no_credentials_and_shows_counts_to_those_who_may() {
    let fixture = Fixture::new().await;
    let tenant = fixture.user("usr1", "admin:ns1").await;
    for who in [NOBODY, token(&tenant)] {
        let stats = fixture.get(who, "/api/system/stats").await.expect(200).json();
        assert_eq!(stats, json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}));
    }
    let stats = fixture.get(LOCAL, "/api/system/stats").await.expect(200).json();
    assert_eq!((stats["routes"].as_u64(), stats["database"].as_str()), (Some(0), Some("sqlite")));
}

#[tokio::test]
async fn a_database_that_is_gone_is_not_ready_and_alive() {
    let fixture = Fixture::new().await;
    fixture.get(NOBODY, "/readyz").await.expect(200);
    std::fs::remove_file(fixture.directory.path().join("database.db")).unwrap();
    let answer = fixture.get(NOBODY, "/readyz").await.expect(503);
    assert!(answer.text.contains("database"), "{}", answer.text);
    assert!(!answer.text.contains(fixture.directory.path().to_str().unwrap()), "{}", answer.text);
    fixture.get(NOBODY, "/api/system/stats").await.expect(503);
    for path in ["/healthz", "/livez"] {
        fixture.get(NOBODY, path).await.expect(200);
    }
}

#[tokio::test]
async fn metrics_are_for_tokens_and_for_this_machine() {
    let fixture = Fixture::new().await;
    let (tenant, watcher) = (fixture.user("usr1", "admin:ns1").await, fixture.user("usr2", "guest").await);
    fixture.get(NOBODY, "/metrics").await.expect(401);
    fixture.get(token(&tenant), "/metrics").await.expect(403);
    for who in [LOCAL, token(&watcher)] {
        let text = fixture.get(who, "/metrics").await.expect(200).text;
        assert!(text.contains("\ngatehouse_config_revision "), "{text}");
    }
}

#[tokio::test]
async fn a_page_that_was_led_to_this_machine_reads_no_metrics() {
    let fixture = Fixture::new().await;
    let here = "127.0.0.1:4000".parse().unwrap();
    for host in ["127.0.0.1:1880", "localhost:1880", "LOCALHOST", "[::1]:1880", "[::1]"] {
        fixture
            .get(As { peer: Some(here), fields: vec![("host", host)], ..NOBODY }, "/metrics")
            .await
            .expect(200);
    }
    for (name, value) in [
        ("host", "rebound.example:1880"),
        ("host", "127.0.0.1.rebound.example"),
        ("host", "localhost.rebound.example:1880"),
        ("host", ""),
        ("origin", "http://127.0.0.1:8000"),
        ("referer", "http://localhost/"),
        ("sec-fetch-site", "cross-site"),
        ("x-forwarded-for", "203.0.113.9"),
    ] {
        let fields = vec![(name, value)];
        fixture.get(As { peer: Some(here), fields, ..NOBODY }, "/metrics").await.expect(401);
    }
}

#[tokio::test]
async fn a_nul_is_refused_before_a_database_sees_it() {
    let fixture = Fixture::new().await;
    for path in ["/api/v1/users/%00", "/api/v1/routes?host=%00", "/api/v1/audits?actor=a%00b"] {
        fixture.get(LOCAL, path).await.expect(400);
    }
    for (path, body, wrong) in [
        ("/api/v1/users", json!({"name": "usr1", "note": "a\0b"}), "note type"),
        ("/api/v1/users", json!({"name": "usr1", "note": "\u{1b}[31m"}), "note invalid"),
        ("/api/v1/tokens", json!({"subject": "a\0b"}), "subject type"),
    ] {
        assert_eq!(fixture.post(LOCAL, path, body).await.expect(422).violations(), [wrong]);
    }
    let note = json!({"name": "usr1", "note": "two\nlines\tand a tab"});
    fixture.post(LOCAL, "/api/v1/users", note).await.expect(201);
}

#[tokio::test]
async fn nobody_has_a_body_read() {
    let fixture = Fixture::new().await;
    for body in ["{", "{}", ""] {
        fixture.raw(NOBODY, "POST", "/api/v1/routes", body).await.expect(401);
    }
    let text = As { fields: vec![("content-type", "text/plain")], ..NOBODY };
    fixture.raw(text, "POST", "/api/v1/tokens", "x").await.expect(401);
    fixture.raw(NOBODY, "POST", "/api/v1/setup", "{").await.expect(400);
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_plain() {
    let fixture = Fixture::new().await;
    let with = |id: &'static str| As { fields: vec![("x-request-id", id)], ..NOBODY };
    assert_eq!(fixture.get(with("abc-1"), "/livez").await.headers["x-request-id"], "abc-1");
    for odd in ["a b", "a\u{e9}", ""] {
        assert_eq!(fixture.get(with(odd), "/livez").await.headers["x-request-id"].len(), 36);
    }
}

#[tokio::test]
async fn every_change_is_audited_and_refusals_are_too() {
    let fixture = Fixture::new().await;
    let one = fixture.user("usr1", "admin:ns1").await;
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    let route = json!({"host": "a.example.com", "target": "vm:web01"});
    let named = As { fields: vec![("x-request-id", "req-7")], ..token(&one) };
    let made = fixture.post(named, "/api/v1/routes", route).await.expect(201).json();
    let path = format!("/api/v1/routes/{}", made["id"].as_str().unwrap());
    let patch = As { if_match: Some("\"1\""), ..token(&one) };
    fixture.call(patch, "PATCH", &path, json!({"note": "x"})).await.expect(200);
    fixture.call(token(&one), "DELETE", &path, Value::Null).await.expect(204);
    fixture.post(token(&one), "/api/v1/users", json!({"name": "usr9"})).await.expect(403);

    let about = format!("/api/v1/audits?object_id={}", made["id"].as_str().unwrap());
    let rows = fixture.get(token(&one), &about).await.expect(200).json();
    let rows = rows["items"].as_array().unwrap();
    let actions: Vec<_> = rows.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["delete", "update", "create"]);
    let create = &rows[2];
    assert_eq!((create["actor"].as_str(), create["request_id"].as_str()), (Some("usr1"), Some("req-7")));
    assert_eq!(
        (create["method"].as_str(), create["source"].as_str()),
        (Some("jwt"), Some("203.0.113.9:4000"))
    );
    assert!(create["token_id"].is_string() && create["before"].is_null());
    assert_eq!(create["after"]["host"], "a.example.com");
    assert_eq!((&rows[1]["before"]["note"], &rows[1]["after"]["note"]), (&json!(""), &json!("x")));
    let all = fixture.get(LOCAL, "/api/v1/audits?limit=500").await.expect(200);
    assert!(
        all.json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["result"] == "403" && row["actor"] == "usr1")
    );
    assert!(!all.text.contains(&one), "no token is in the audit");
    let mine = fixture.get(token(&one), "/api/v1/audits").await.expect(200).json();
    assert!(mine["items"].as_array().unwrap().iter().all(|row| row["namespace"] == "ns1"));
    let guest = fixture.user("usr2", "guest:ns1").await;
    fixture.get(token(&guest), "/api/v1/audits").await.expect(403);
}

#[tokio::test]
async fn explain_says_why_and_hides_what_is_not_ones_own() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.user("usr1", "guest:ns1").await, fixture.user("usr2", "guest:ns2").await);
    for (host, path) in [("app.example.com", "/"), ("app.example.com", "/api"), ("*.example.com", "/")] {
        let body = json!({"host": host, "path": path, "target": "http://10.0.0.5", "namespace": "ns1"});
        fixture.post(LOCAL, "/api/v1/routes", body).await.expect(201);
    }
    let asked = "/api/v1/explain?url=https://APP.example.com:8443/api/x?q=1";
    let answer = fixture.get(token(&one), asked).await.expect(200).json();
    assert_eq!((answer["host"].as_str(), answer["path"].as_str()), (Some("app.example.com"), Some("/api/x")));
    let verdicts: Vec<_> =
        answer["candidates"].as_array().unwrap().iter().map(|one| one["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["matched", "a longer prefix matched", "a more exact host answers this name"]);
    assert_eq!(answer["route"], answer["candidates"][0]["route"]);
    let hidden = fixture.get(token(&two), asked).await.expect(200).json();
    assert_eq!((hidden["candidates"].as_array().unwrap().len(), &hidden["route"]), (0, &Value::Null));
    for wrong in [
        "url=",
        "url=ftp://x",
        "url=a%20b",
        "url=a.b&client=x",
        "uri=a.b",
        "",
        "url=http://me:pw@a.b/",
        "url=http://a.b:65536/",
        "url=http://a.b:1:2/",
        "url=http://[/",
        "url=http://[::1]x/",
    ] {
        fixture.get(token(&one), &format!("/api/v1/explain?{wrong}")).await.expect(400);
    }
}

#[tokio::test]
async fn explain_says_what_a_handshake_meets() {
    let fixture = Fixture::new().await;
    for (host, path, more) in [
        ("app.example.com", "/", json!({"tls": "self-signed"})),
        ("app.example.com", "/strict", json!({"tls": "self-signed", "tls_policy": {"min_version": "1.3"}})),
        ("pass.example.com", "/", json!({"tls": "passthrough", "target": "https://10.0.0.5:443"})),
        ("plain.example.com", "/", json!({"tls": "off"})),
    ] {
        let mut body = json!({"host": host, "path": path, "target": "http://10.0.0.5"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fixture.post(LOCAL, "/api/v1/routes", body).await.expect(201);
    }
    let tls = async |host: &str| {
        fixture.get(LOCAL, &format!("/api/v1/explain?url={host}")).await.expect(200).json()["tls"].clone()
    };
    let app = tls("app.example.com").await;
    assert_eq!((&app["mode"], &app["ends_at"]), (&json!("self-signed"), &json!("gateway")), "{app}");
    assert!(app["identity"].is_string() && app["names"] == json!(["app.example.com"]), "{app}");
    assert_eq!(app["min_version"], "1.3", "the strictest of the host's routes: {app}");
    assert_eq!((&app["client_certificate"], &app["redirect_https"]), (&json!(false), &json!(true)), "{app}");
    let pass = tls("pass.example.com").await;
    assert_eq!((&pass["mode"], &pass["ends_at"]), (&json!("passthrough"), &json!("target")), "{pass}");
    assert!(pass["identity"].is_null() && pass["min_version"].is_null(), "{pass}");
    let plain = tls("plain.example.com").await;
    assert_eq!((&plain["mode"], &plain["redirect_https"]), (&json!("off"), &json!(false)), "{plain}");
    assert!(tls("none.example.org").await.is_null());
}

#[tokio::test]
async fn the_authority_and_the_document_are_served() {
    let fixture = Fixture::new().await;
    assert!(
        fixture.get(NOBODY, "/api/v1/ca").await.expect(200).text.starts_with("-----BEGIN CERTIFICATE-----")
    );
    let document = fixture.get(NOBODY, "/api/v1/openapi.json").await.expect(200).json();
    assert!(document["paths"]["/api/v1/routes/{id}"]["patch"].is_object());
    fixture.get(NOBODY, "/api/v1/status").await.expect(401);
    assert!(fixture.get(LOCAL, "/api/v1/status").await.expect(200).json()["generation"].is_u64());
}

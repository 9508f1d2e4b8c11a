//! ACME accounts over the API.

use serde_json::json;

use crate::api::testing::LOCAL;
use crate::app::testing::Fixture;

const ACCOUNTS: &str = "/api/v1/acme/accounts";

fn sound() -> serde_json::Value {
    json!({"name": "le", "directory": "letsencrypt-staging", "contacts": ["ops@gatehouse.test.dev"], "agree_tos": true})
}

#[tokio::test]
async fn an_account_is_made_shown_and_taken_away_without_its_secrets() {
    let fixture = Fixture::new().await;
    let mut body = sound();
    body["eab_kid"] = json!("kid-1");
    body["eab_hmac"] = json!("c2VjcmV0LWhtYWM");
    body["dns"] = json!({
        "provider": "rfc2136", "server": "127.0.0.1:5353", "key_name": "gatehouse.", "secret": "dHNpZy1zZWNyZXQ="
    });
    let made = fixture.post(LOCAL, ACCOUNTS, body).await.expect(201);
    let view = made.json();
    assert_eq!(view["directory"], "https://acme-staging-v02.api.letsencrypt.org/directory");
    assert_eq!(view["challenge"], "dns-01");
    assert_eq!(view["dns"]["algorithm"], "hmac-sha256");
    let shown = fixture.get(LOCAL, &format!("{ACCOUNTS}/le")).await.expect(200);
    let audits = fixture.get(LOCAL, "/api/v1/audits").await.expect(200);
    for text in [&made.text, &shown.text, &audits.text] {
        assert!(!text.contains("c2VjcmV0LWhtYWM") && !text.contains("dHNpZy1zZWNyZXQ"), "{text}");
    }
    fixture.post(LOCAL, ACCOUNTS, sound()).await.expect(409);
    fixture.call(LOCAL, "DELETE", &format!("{ACCOUNTS}/le"), serde_json::Value::Null).await.expect(204);
    fixture.get(LOCAL, &format!("{ACCOUNTS}/le")).await.expect(404);
}

#[tokio::test]
async fn each_mistake_in_an_account_has_its_name() {
    let fixture = Fixture::new().await;
    let cases = [
        ("name", json!("Le Encrypt"), "name invalid"),
        ("directory", json!("http://ca.test/dir"), "directory invalid"),
        ("directory", json!("zerossl"), "directory invalid"),
        ("contacts", json!(["nobody"]), "contacts[0] bad_contact"),
        ("contacts", json!(["a@example.com"]), "contacts[0] bad_contact"),
        ("contacts", json!(["a b@ca.dev"]), "contacts[0] bad_contact"),
        ("agree_tos", json!(false), "agree_tos terms_not_agreed"),
        ("agree_tos", json!(null), "agree_tos terms_not_agreed"),
        ("challenge", json!("http-02"), "challenge unsupported"),
        ("challenge", json!("dns-01"), "dns required"),
        ("eab_kid", json!("kid"), "eab_hmac required"),
        ("eab_hmac", json!("c2Vj"), "eab_kid required"),
        ("roots", json!("nothing"), "roots invalid"),
        ("dns", json!({"provider": "godaddy"}), "dns.provider unsupported"),
        ("dns", json!({"provider": "exec", "program": "hook.sh"}), "dns.program invalid"),
        ("key", json!("x"), "key unknown"),
    ];
    for (field, value, wanted) in cases {
        let mut body = sound();
        body[field] = value;
        let answer = fixture.post(LOCAL, ACCOUNTS, body).await.expect(422);
        assert_eq!(answer.violations(), [wanted], "{field}");
    }
    let dns = json!({"provider": "rfc2136", "server": "nowhere", "algorithm": "hmac-md5", "secret": "!"});
    let mut body = sound();
    body["dns"] = dns;
    let answer = fixture.post(LOCAL, ACCOUNTS, body).await;
    let found = answer.violations();
    for wanted in ["dns.server", "dns.algorithm unsupported", "dns.secret invalid", "dns.key_name required"] {
        assert!(found.iter().any(|violation| violation.starts_with(wanted)), "{wanted}: {found:?}");
    }
}

#[tokio::test]
async fn accounts_are_roots_alone() {
    let fixture = Fixture::new().await;
    let token = fixture.user("adm1", "admin:ns1").await;
    let who = crate::api::testing::token(&token);
    fixture.get(who.clone(), ACCOUNTS).await.expect(403);
    fixture.post(who, ACCOUNTS, sound()).await.expect(403);
}

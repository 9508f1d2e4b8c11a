//! An authority that is imported: what it signs from then on, and what it does not.

use certs::self_signed::Authority;
use serde_json::{Value, json};

use super::certificates::{published, route};
use crate::api::testing::{LOCAL, token};
use crate::app::testing::{Fixture, NEW_YEAR};
use crate::options::tls_policy::pem;

const CA: &str = "/api/v1/ca";

fn company() -> (Authority, Value) {
    let authority = Authority::create("Company CA", u64::try_from(NEW_YEAR / 1_000_000).unwrap()).unwrap();
    let key = pem("PRIVATE KEY", &[authority.key_pkcs8().expose().clone()]);
    let body = json!({"certificate": authority.certificate_pem(), "private_key": key});
    (authority, body)
}

fn issuers(fixture: &Fixture) -> Vec<String> {
    let leaves = published(fixture).into_iter();
    leaves.map(|one| certs::describe::Description::parse(&one.chain[0]).unwrap().issuer).collect()
}

#[tokio::test]
async fn an_imported_authority_signs_all_leaves_anew_in_one_generation() {
    let fixture = Fixture::new().await;
    for host in ["a.example.com", "b.example.com"] {
        route(&fixture, host, json!({"tls": "self-signed"})).await.expect(201);
    }
    assert_eq!(issuers(&fixture), ["CN=test", "CN=test"]);
    let before = fixture.app.desired.current().snapshot.generation().0;
    let (authority, body) = company();
    let secret = body["private_key"].as_str().unwrap().lines().nth(1).unwrap().to_owned();

    let answer = fixture.post(LOCAL, CA, body).await.expect(200);

    assert_eq!(answer.json()["reissued"], 2);
    assert_eq!(answer.json()["subject"], "CN=Company CA");
    assert!(!answer.text.contains(&secret));
    assert_eq!(fixture.app.desired.current().snapshot.generation().0, before + 1);
    assert_eq!(issuers(&fixture), ["CN=Company CA", "CN=Company CA"]);
    assert_eq!(fixture.get(LOCAL, CA).await.expect(200).text, authority.certificate_pem());
    assert_ne!(fixture.app.authority.certificate_pem(), authority.certificate_pem(), "the stream's stays");
    let audits = fixture.get(LOCAL, "/api/v1/audits").await.expect(200).text;
    assert!(audits.contains("\"import\"") && !audits.contains(&secret), "{audits}");
    route(&fixture, "c.example.com", json!({"tls": "self-signed"})).await.expect(201);
    assert_eq!(issuers(&fixture), ["CN=Company CA"; 3]);
}

#[tokio::test]
async fn what_is_no_authority_is_refused_by_its_member_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let (_, good) = company();
    let (_, other) = company();
    let leaf = super::certificates::upload(&["app.example.com"]);
    for (body, field, code) in [
        (json!({}), "certificate", "required"),
        (json!({"certificate": good["certificate"]}), "private_key", "no_key"),
        (leaf, "certificate", "not_authority"),
        (
            json!({"certificate": good["certificate"], "private_key": other["private_key"]}),
            "private_key",
            "key_mismatch",
        ),
        (
            json!({
                "certificate": good["certificate"], "private_key": good["private_key"],
                "certificate_chain": other["certificate"],
            }),
            "certificate_chain",
            "chain_broken",
        ),
    ] {
        let refused = fixture.post(LOCAL, CA, body).await.expect(422);
        assert!(refused.text.contains(field) && refused.text.contains(code), "{code}: {}", refused.text);
    }
    let shown = fixture.get(LOCAL, CA).await.expect(200).text;
    assert_eq!(shown, fixture.app.authority.certificate_pem());
    fixture.post(token("nobody"), CA, good).await.expect(401);
}

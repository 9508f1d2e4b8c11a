//! Certificates as a resource: brought, requested, ordered, replaced, deleted; what cannot be served, by name.

use certs::self_signed::{Authority, SubjectName};
use config::name::HostPattern;
use config::snapshot::{Identity, Kind, Value as Published};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::api::testing::{Answer, As, LOCAL, token};
use crate::app::testing::{Fixture, NEW_YEAR};
use crate::options::tls_policy::pem;

pub(super) const LIST: &str = "/api/v1/certificates";
pub(super) const ANY: As<'static> =
    As { token: None, local: true, if_match: Some("*"), peer: None, fields: Vec::new() };

/// A leaf and its key as PEM, for names, from now for some days.
pub(super) fn leaf(names: &[&str], days: u64) -> (String, String) {
    leaf_at(names, NEW_YEAR, days)
}

fn leaf_at(names: &[&str], now: i64, days: u64) -> (String, String) {
    let now = u64::try_from(now / 1_000_000).unwrap();
    let names: Vec<_> =
        names.iter().map(|name| SubjectName::Host(HostPattern::parse(name).unwrap())).collect();
    let leaf = Authority::create("elsewhere", now).unwrap().issue_server(&names, now, days).unwrap();
    (pem("CERTIFICATE", &leaf.chain), pem("PRIVATE KEY", &[leaf.key.expose().clone()]))
}

pub(super) fn upload(names: &[&str]) -> Value {
    let (certificate, key) = leaf(names, 90);
    json!({"certificate": certificate, "private_key": key})
}

pub(super) async fn uploaded(fixture: &Fixture, names: &[&str]) -> Value {
    fixture.post(LOCAL, LIST, upload(names)).await.expect(201).json()
}

pub(super) fn path(certificate: &Value) -> String {
    format!("{LIST}/{}", certificate["id"].as_str().unwrap())
}

pub(super) async fn patch(fixture: &Fixture, path: &str, body: Value) -> Answer {
    fixture.call(ANY, "PATCH", path, body).await
}

pub(super) fn published(fixture: &Fixture) -> Vec<Identity> {
    let state = fixture.app.desired.current();
    let identities = state.snapshot.objects().filter(|object| object.key().kind == Kind::IDENTITY);
    let decoded = identities.map(|object| {
        let Published::Identity(identity) = object.decode().unwrap() else { panic!("no identity") };
        identity
    });
    decoded.collect()
}

pub(super) async fn route(fixture: &Fixture, host: &str, more: Value) -> Answer {
    let mut body = json!({"host": host, "target": "http://10.0.0.5"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    fixture.post(LOCAL, "/api/v1/routes", body).await
}

#[tokio::test]
async fn what_was_uploaded_is_described_and_its_key_is_nowhere() {
    let fixture = Fixture::new().await;
    let body = upload(&["app.example.com", "*.example.org"]);
    let secret: String = body["private_key"].as_str().unwrap().lines().nth(1).unwrap().to_owned();

    let made = fixture.post(LOCAL, LIST, body).await.expect(201);

    assert_eq!(made.headers["location"], path(&made.json()));
    let json = made.json();
    assert_eq!(json["name"], "app.example.com");
    assert_eq!(json["names"], json!(["*.example.org", "app.example.com"]));
    assert_eq!((&json["source"], &json["status"]), (&json!("upload"), &json!("active")));
    assert_eq!((&json["days"], &json["key_type"]), (&json!(90), &json!("ecdsa-p256")));
    assert!(json["issuer"].as_str().unwrap().contains("elsewhere"), "{json}");
    let shown = fixture.get(LOCAL, &path(&json)).await.expect(200);
    let audits = fixture.get(LOCAL, "/api/v1/audits").await.expect(200);
    for answer in [&made, &shown, &audits] {
        assert!(!answer.text.contains(&secret) && !answer.text.contains("PRIVATE KEY"));
    }
    // Nobody uses it, so no gateway is given its key.
    assert_eq!(published(&fixture), []);
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_by_name() {
    let fixture = Fixture::new().await;
    let (certificate, key) = leaf(&["app.example.com"], 90);
    let (_, other_key) = leaf(&["app.example.com"], 90);
    let (ended, ended_key) = leaf_at(&["app.example.com"], NEW_YEAR - 100 * 86_400_000_000, 90);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let authority = Authority::create("elsewhere", 1_767_225_600).unwrap();
    let signed = authority.issue_server(
        &[SubjectName::Host(HostPattern::parse("a.example").unwrap())],
        1_767_225_600,
        9,
    );
    let signed = signed.unwrap();
    let reversed = pem("CERTIFICATE", &[authority.certificate_der().to_vec(), signed.chain[0].clone()]);
    let signed_key = pem("PRIVATE KEY", &[signed.key.expose().clone()]);
    for (body, wanted) in [
        (json!({}), "source required"),
        (json!({"source": "ldap"}), "source invalid"),
        (json!({"source": "upload"}), "certificate required"),
        (json!({"certificate": certificate}), "private_key no_key"),
        (json!({"private_key": key}), "certificate no_certificate"),
        (json!({"certificate": certificate, "private_key": other_key}), "private_key key_mismatch"),
        (json!({"certificate": certificate, "private_key": encrypted}), "private_key encrypted_key"),
        (json!({"certificate": reversed, "private_key": signed_key}), "certificate_chain chain_reversed"),
        (json!({"certificate": ended, "private_key": ended_key}), "certificate expired"),
        (json!({"certificate": "not base64!", "private_key": key}), "certificate invalid"),
        (json!({"certificate": certificate, "private_key": key, "csr": {}}), "csr invalid"),
        (json!({"password": "x"}), "password invalid"),
        (json!({"certificate": certificate, "private_key": key, "challenge": "dns-01"}), "challenge unknown"),
        (json!({"certificate": certificate, "private_key": key, "status": "active"}), "status read_only"),
        (json!({"source": "acme"}), "names required"),
        (json!({"source": "acme", "names": ["*.example.com"]}), "challenge needs_dns_01"),
        (
            json!({"source": "acme", "names": ["*.example.com"], "challenge": "http-01"}),
            "challenge needs_dns_01",
        ),
        (json!({"source": "acme", "names": ["a.example"], "challenge": "dns-02"}), "challenge invalid"),
        (json!({"source": "acme", "names": ["10.0.0.1"]}), "names unsupported"),
        (json!({"source": "acme", "names": ["*", 5]}), "names[0] invalid"),
        (json!({"source": "csr"}), "names required"),
        (json!({"csr": {"country": "Germany"}, "names": ["a.example"]}), "csr.country invalid"),
        (json!({"source": "csr", "names": ["a.example"], "key_type": "dsa"}), "key_type invalid"),
    ] {
        let answer = fixture.post(LOCAL, LIST, body).await.expect(422);
        assert!(answer.violations().iter().any(|found| found == wanted), "{wanted}: {}", answer.text);
        assert!(!answer.text.contains("PRIVATE KEY-----"), "{}", answer.text);
    }
    assert_eq!(fixture.get(LOCAL, LIST).await.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn an_archive_opens_with_its_password_and_with_no_other() {
    let fixture = Fixture::new().await;
    // Its certificate is younger than the clock of a fixture.
    fixture.pass(380 * 24 * 60 * 60);
    let archive =
        data_encoding::BASE64.encode(include_bytes!("../../../../certs/src/upload/fixtures/modern.p12"));
    let body = |password: &str| json!({"pkcs12": archive, "password": password});
    let answer = fixture.post(LOCAL, LIST, body("wrong")).await.expect(422);
    assert_eq!(answer.violations(), ["password bad_password"]);
    assert!(!answer.text.contains(&archive));
    fixture.post(LOCAL, LIST, body("secret")).await.expect(201);

    let damaged = data_encoding::BASE64.encode(&[0x30, 0x03, 0x02, 0x01, 0x03]);
    let answer = fixture.post(LOCAL, LIST, json!({"pkcs12": damaged, "password": "x"})).await.expect(422);
    assert!(!answer.violations()[0].starts_with("password "), "{}", answer.text);
}

#[tokio::test]
async fn a_request_waits_for_its_chain_and_takes_no_other() {
    let fixture = Fixture::new().await;
    let body =
        json!({"csr": {"common_name": "app.example.com"}, "names": ["app.example.com"], "name": "web"});
    let made = fixture.post(LOCAL, LIST, body).await.expect(201).json();
    assert_eq!((&made["status"], &made["certificate_chain"]), (&json!("waiting"), &json!("")));
    let load = format!("{}/load", path(&made));
    let (foreign, _) = leaf(&["app.example.com"], 90);
    let answer = fixture.post(LOCAL, &load, json!({"certificate": foreign})).await.expect(422);
    assert_eq!(answer.violations(), ["private_key key_mismatch"]);
    assert_eq!(
        fixture.post(LOCAL, &load, json!({})).await.expect(422).violations(),
        ["certificate required"]
    );

    let signed = sign(made["certificate_signing_request"].as_str().unwrap());
    let loaded = fixture.post(LOCAL, &load, json!({"certificate": signed})).await.expect(200).json();

    assert_eq!((&loaded["status"], &loaded["id"]), (&json!("active"), &made["id"]));
    assert_eq!((&loaded["certificate_signing_request"], &loaded["name"]), (&Value::Null, &json!("web")));
    fixture.post(LOCAL, &load, json!({"certificate": signed})).await.expect(409);
    route(&fixture, "app.example.com", json!({"tls": "upload"})).await.expect(201);
    assert_eq!(published(&fixture).len(), 1);
}

/// Signs a request as somebody else's authority would.
fn sign(request: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::from_ca_cert_der(authority.der(), key).unwrap();
    let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
    request.params.not_before = rcgen::date_time_ymd(2025, 12, 31);
    request.params.not_after = rcgen::date_time_ymd(2026, 3, 1);
    let leaf = request.signed_by(&issuer).unwrap();
    pem("CERTIFICATE", &[leaf.der().to_vec()])
}

#[tokio::test]
async fn a_certificate_is_replaced_under_its_id_in_one_generation() {
    let fixture = Fixture::new().await;
    let made = uploaded(&fixture, &["app.example.com"]).await;
    route(&fixture, "app.example.com", json!({"tls": "upload"})).await.expect(201);
    let (before, old) = (fixture.app.desired.current().snapshot.generation(), published(&fixture));
    let answer = patch(&fixture, &path(&made), upload(&["other.example.com"])).await.expect(422);
    assert_eq!(answer.violations(), ["certificate names_not_covered"]);
    assert!(answer.text.contains("other.example.com"), "{}", answer.text);
    assert_eq!(published(&fixture), old);

    let changed = patch(&fixture, &path(&made), upload(&["app.example.com"])).await.expect(200).json();

    let new = published(&fixture);
    assert_eq!((new.len(), new[0].id), (1, old[0].id));
    assert_ne!(new[0].chain, old[0].chain);
    assert_ne!(changed["serial"], made["serial"]);
    assert_eq!(fixture.app.desired.current().snapshot.generation().0, before.0 + 1);
    let stale = As { if_match: Some("\"1\""), ..LOCAL };
    fixture.call(stale, "PATCH", &path(&made), json!({"note": "x"})).await.expect(412);
    fixture.call(LOCAL, "PATCH", &path(&made), json!({"note": "x"})).await.expect(428);
}

#[tokio::test]
async fn one_that_is_used_goes_only_by_force_and_a_leaf_of_ours_takes_its_place() {
    let fixture = Fixture::new().await;
    let made = uploaded(&fixture, &["app.example.com"]).await;
    let route = route(&fixture, "app.example.com", json!({"tls": "upload"})).await.expect(201).json();
    let answer = fixture.call(LOCAL, "DELETE", &path(&made), Value::Null).await.expect(409);
    assert!(answer.text.contains(route["id"].as_str().unwrap()), "{}", answer.text);
    fixture.call(LOCAL, "DELETE", &format!("{}?force=maybe", path(&made)), Value::Null).await.expect(400);

    fixture.call(LOCAL, "DELETE", &format!("{}?force=true", path(&made)), Value::Null).await.expect(204);

    fixture.get(LOCAL, &path(&made)).await.expect(404);
    let now = published(&fixture);
    assert_eq!((now.len(), now[0].preferred), (1, false));
    let shown = fixture.get(LOCAL, &format!("/api/v1/routes/{}", route["id"].as_str().unwrap())).await;
    assert_eq!(shown.json()["certificate"], Value::Null);
}

#[tokio::test]
async fn only_what_ends_soon_is_renewed_unless_forced() {
    let fixture = Fixture::new().await;
    route(&fixture, "app.example.com", json!({"tls": "self-signed"})).await.expect(201);
    let list = fixture.get(LOCAL, &format!("{LIST}?source=self-signed")).await.expect(200).json();
    let [ours] = &list["items"].as_array().unwrap()[..] else { panic!("{list}") };
    let renew = format!("{}/renew", path(ours));
    let same = fixture.post(LOCAL, &renew, json!({})).await.expect(200).json();
    assert_eq!(same["serial"], ours["serial"]);
    let new = fixture.post(LOCAL, &renew, json!({"force": true})).await.expect(200).json();
    assert_ne!(new["serial"], ours["serial"]);
    assert_eq!((new["id"].clone(), published(&fixture).len()), (ours["id"].clone(), 1));
    let brought = uploaded(&fixture, &["b.example.com"]).await;
    fixture.post(LOCAL, &format!("{}/renew", path(&brought)), json!({})).await.expect(409);
    fixture.call(LOCAL, "DELETE", &path(ours), Value::Null).await.expect(409);
}

#[tokio::test]
async fn lists_are_filtered_paged_and_of_ones_own_tenants() {
    let fixture = Fixture::new().await;
    let tenant = fixture.user("tenant", "admin:ns1").await;
    let theirs = fixture.post(token(&tenant), LIST, upload(&["a.example.com"])).await.expect(201).json();
    assert_eq!((&theirs["namespace"], &theirs["owner"]), (&json!("ns1"), &json!("tenant")));
    let ours = uploaded(&fixture, &["b.example.com"]).await;
    let ids = |answer: Answer| {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(fixture.get(token(&tenant), LIST).await.expect(200)), [theirs["id"].clone()]);
    fixture.get(token(&tenant), &path(&ours)).await.expect(404);
    fixture.call(token(&tenant), "DELETE", &path(&ours), Value::Null).await.expect(404);
    let body = json!({"source": "acme", "names": ["x.example"], "namespace": "ns2"});
    fixture.post(token(&tenant), LIST, body).await.expect(403);
    for (query, wanted) in [
        ("name=b.example.com", vec![ours["id"].clone()]),
        ("namespace=ns1", vec![theirs["id"].clone()]),
        ("source=acme", vec![]),
        ("days=10", vec![]),
        ("days=100", vec![theirs["id"].clone(), ours["id"].clone()]),
        ("status=active&limit=1", vec![theirs["id"].clone()]),
    ] {
        assert_eq!(ids(fixture.get(LOCAL, &format!("{LIST}?{query}")).await.expect(200)), wanted, "{query}");
    }
    fixture.get(LOCAL, &format!("{LIST}?colour=red")).await.expect(400);
    // What is another tenant's cannot be borrowed, nor seen in the refusal.
    let body =
        json!({"host": "b.example.com", "target": "vm:web:80", "tls": "upload", "certificate": ours["id"]});
    fixture.vm("web", "ns1", "10.0.0.9").await;
    let answer = fixture.post(token(&tenant), "/api/v1/routes", body).await.expect(422);
    assert_eq!(answer.violations(), ["certificate unknown"]);
}

/// An account that names are proved with at port 80, and wildcards in the zone.
pub(super) async fn account(fixture: &Fixture) {
    let dns = json!({
        "provider": "rfc2136", "server": "127.0.0.1:5353", "key_name": "gatehouse.", "secret": "dHNpZy1zZWNyZXQ="
    });
    let body = json!({
        "name": "le", "directory": "letsencrypt-staging", "contacts": ["ops@gatehouse.test.dev"], "agree_tos": true,
        "challenge": "http-01", "dns": dns
    });
    fixture.post(LOCAL, "/api/v1/acme/accounts", body).await.expect(201);
}

//! Which certificate a route is served with, what routes of one host agree on, and what is asked of handshakes.

use certs::self_signed::Authority;
use config::name::HostPattern;
use config::snapshot::TlsVersion;
use serde_json::{Value, json};

use super::certificates::{ANY, LIST, account, patch, path, published, route, upload, uploaded};
use crate::api::testing::{Answer, LOCAL};
use crate::app::Caller;
use crate::app::certificate::install::{self, Issued};
use crate::app::change::Scope;
use crate::app::testing::{Fixture, NEW_YEAR};
use crate::options::tls_policy::pem;

fn route_path(route: &Value) -> String {
    format!("/api/v1/routes/{}", route["id"].as_str().unwrap())
}

#[tokio::test]
async fn upload_finds_the_certificate_that_covers_the_host() {
    let fixture = Fixture::new().await;
    let answer = route(&fixture, "app.example.com", json!({"tls": "upload"})).await.expect(422);
    assert_eq!(answer.violations(), ["certificate names_not_covered"]);
    let made = uploaded(&fixture, &["*.example.com"]).await;
    let answer = route(&fixture, "app.example.org", json!({"tls": "upload"})).await.expect(422);
    assert!(answer.text.contains("*.example.com"), "{}", answer.text);

    let first = route(&fixture, "app.example.com", json!({"tls": "upload"})).await.expect(201).json();
    route(&fixture, "b.example.com", json!({"tls": "upload"})).await.expect(201);

    assert_eq!(first["certificate"], made["id"]);
    let [identity] = &published(&fixture)[..] else { panic!() };
    let names: Vec<_> = identity.names.iter().map(ToString::to_string).collect();
    assert_eq!(
        (names, identity.preferred),
        (vec!["app.example.com".to_owned(), "b.example.com".to_owned()], true)
    );
    let shown = fixture.get(LOCAL, &path(&made)).await.json();
    assert_eq!(shown["used_by"], json!(["app.example.com", "b.example.com"]));
    fixture.call(LOCAL, "DELETE", &route_path(&first), Value::Null).await.expect(204);
    assert_eq!(published(&fixture)[0].names.len(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_named_has_to_fit() {
    let fixture = Fixture::new().await;
    account(&fixture).await;
    let made = uploaded(&fixture, &["app.example.com"]).await;
    let ordered = json!({"source": "acme", "names": ["b.example.com"]});
    let ordered = fixture.post(LOCAL, LIST, ordered).await.expect(201).json();
    let waiting = json!({"source": "csr", "names": ["c.example.com"]});
    let waiting = fixture.post(LOCAL, LIST, waiting).await.expect(201).json();
    for (host, tls, certificate, wanted) in [
        ("d.example.com", "upload", &made["id"], "names_not_covered"),
        ("b.example.com", "upload", &ordered["id"], "invalid"),
        ("c.example.com", "upload", &waiting["id"], "not_issued"),
        ("app.example.com", "acme", &made["id"], "invalid"),
        ("app.example.com", "upload", &json!("nobody"), "unknown"),
        ("app.example.com", "self-signed", &made["id"], "invalid"),
        ("app.example.com", "off", &made["id"], "invalid"),
    ] {
        let answer = route(&fixture, host, json!({"tls": tls, "certificate": certificate})).await.expect(422);
        assert_eq!(answer.violations(), [format!("certificate {wanted}")], "{host} {tls}");
    }
    fixture.pass(91 * 86_400);
    let answer =
        route(&fixture, "app.example.com", json!({"tls": "upload", "certificate": "app.example.com"})).await;
    assert_eq!(answer.expect(422).violations(), ["certificate expired"]);
}

#[tokio::test]
async fn routes_of_one_host_agree_and_off_mixes_with_what_ends_here() {
    let fixture = Fixture::new().await;
    account(&fixture).await;
    uploaded(&fixture, &["app.example.com"]).await;
    let first = route(&fixture, "app.example.com", json!({"tls": "upload"})).await.expect(201).json();
    route(&fixture, "app.example.com", json!({"path": "/plain"})).await.expect(201);
    for mode in ["self-signed", "acme"] {
        let answer = route(&fixture, "app.example.com", json!({"path": "/p", "tls": mode})).await.expect(409);
        assert_eq!(answer.violations(), ["tls taken"]);
        assert!(answer.text.contains(first["id"].as_str().unwrap()), "{}", answer.text);
    }
    let second =
        route(&fixture, "app.example.com", json!({"path": "/p", "tls": "upload"})).await.expect(201).json();
    assert_eq!(second["certificate"], first["certificate"]);
    let other = uploaded(&fixture, &["app.example.com"]).await;
    let body = json!({"certificate": other["id"]});
    fixture.call(ANY, "PATCH", &route_path(&second), body).await.expect(200);
    let shown = fixture.get(LOCAL, &route_path(&first)).await.json();
    assert_eq!(shown["certificate"], other["id"]);
    assert_eq!(published(&fixture).len(), 1);
    let passed = json!({"tls": "passthrough", "target": "https://10.0.0.5:8443"});
    route(&fixture, "passed.example.com", passed.clone()).await.expect(201);
    route(&fixture, "passed.example.com", json!({"path": "/plain"})).await.expect(409);
    route(&fixture, "plain.example.com", json!({"path": "/plain"})).await.expect(201);
    route(&fixture, "plain.example.com", passed).await.expect(409);
}

#[tokio::test]
async fn an_order_is_served_by_a_leaf_of_ours_until_its_chain_is_there() {
    let fixture = Fixture::new().await;
    account(&fixture).await;
    let made = route(&fixture, "app.example.com", json!({"tls": "acme"})).await.expect(201).json();
    let ordered =
        fixture.get(LOCAL, &format!("{LIST}/{}", made["certificate"].as_str().unwrap())).await.json();
    assert_eq!((&ordered["status"], &ordered["source"]), (&json!("pending"), &json!("acme")));
    let [ours] = &published(&fixture)[..] else { panic!() };
    assert!(!ours.preferred);
    let caller = Caller::ourselves("test");
    let id = ordered["id"].as_str().unwrap().parse().unwrap();
    let mut change = fixture.app.begin(&caller, Scope::Private).await.unwrap();
    let mut row = install::row(&fixture.app, id).await.unwrap().unwrap();
    install::failed(&mut change, &mut row, "port 80 is not reachable", NEW_YEAR + 60_000_000).await.unwrap();
    change.commit().await.unwrap();
    let shown = fixture.get(LOCAL, &path(&ordered)).await.json();
    assert_eq!((&shown["status"], &shown["next_try"]), (&json!("failed"), &json!("2026-01-01T00:01:00Z")));
    assert!(shown["warning"].as_str().unwrap().contains("port 80 is not reachable"));

    let leaf = Authority::create("ca", 1_767_225_600).unwrap();
    let name = certs::self_signed::SubjectName::Host(HostPattern::parse("app.example.com").unwrap());
    let leaf = leaf.issue_server(&[name], 1_767_225_600, 90).unwrap();
    let mut change = fixture.app.begin(&caller, Scope::Published).await.unwrap();
    let issued = Issued { chain: leaf.chain.clone(), key: leaf.key };
    install::install(&mut change, &mut row, issued).await.unwrap();
    change.commit().await.unwrap();

    let [acme] = &published(&fixture)[..] else { panic!() };
    assert!(acme.preferred && acme.id != ours.id && acme.chain.to_vec() == leaf.chain);
    let shown = fixture.get(LOCAL, &path(&ordered)).await.json();
    assert_eq!((&shown["status"], &shown["last_error"]), (&json!("active"), &Value::Null));
    let again = fixture.reopened().await;
    assert_eq!(again.desired.current().snapshot.digest(), fixture.app.desired.current().snapshot.digest());
    fixture.call(LOCAL, "DELETE", &route_path(&made), Value::Null).await.expect(204);
    assert_eq!(published(&fixture), []);
    fixture.get(LOCAL, &path(&ordered)).await.expect(200);
}

#[tokio::test]
async fn an_order_that_came_to_nothing_goes_with_its_last_route() {
    let fixture = Fixture::new().await;
    let answer = route(&fixture, "app.example.com", json!({"tls": "acme"})).await.expect(422);
    assert!(answer.text.contains("gatehouse acme account add"), "without an account: {}", answer.text);
    account(&fixture).await;
    let made = route(&fixture, "app.example.com", json!({"tls": "acme"})).await.expect(201).json();
    let orders = |answer: Answer| answer.json()["items"].as_array().unwrap().len();
    let open = "/api/v1/acme/orders?state=open";
    assert_eq!(orders(fixture.get(LOCAL, open).await), 1, "it is ordered with the route");
    let off = patch(&fixture, &route_path(&made), json!({"tls": "off"})).await.expect(200).json();
    assert_eq!(off["certificate"], Value::Null);
    assert_eq!(published(&fixture), []);
    assert_eq!(fixture.get(LOCAL, LIST).await.json()["items"], json!([]));
    assert_eq!(orders(fixture.get(LOCAL, open).await), 0, "and given up with it");
}

#[tokio::test]
async fn a_wildcard_and_the_catch_all_need_more_than_a_route() {
    let fixture = Fixture::new().await;
    account(&fixture).await;
    let answer = route(&fixture, "*.example.com", json!({"tls": "acme"})).await.expect(422);
    assert_eq!(answer.violations(), ["tls needs_dns_01"]);
    assert!(answer.text.contains("needs DNS-01"));
    let answer = route(&fixture, "*", json!({"tls": "acme"})).await.expect(422);
    assert_eq!(answer.violations(), ["tls no_name"]);
    let body = json!({"source": "acme", "names": ["*.example.com"], "challenge": "dns-01"});
    let ordered = fixture.post(LOCAL, LIST, body).await.expect(201).json();
    for host in ["*.example.com", "app.example.com"] {
        let made = route(&fixture, host, json!({"tls": "acme"})).await.expect(201).json();
        assert_eq!(made["certificate"], ordered["id"]);
    }
    let named = fixture.post(LOCAL, LIST, upload(&["x.example"])).await.expect(201).json();
    let made =
        route(&fixture, "*", json!({"tls": "upload", "certificate": named["id"]})).await.expect(201).json();
    assert_eq!(made["certificate"], named["id"]);
}

#[tokio::test]
async fn a_pass_through_is_asked_nothing_that_it_cannot_honour() {
    let fixture = Fixture::new().await;
    let made =
        route(&fixture, "p.example.com", json!({"tls": "passthrough", "target": "https://10.0.0.5:8443"}));
    let made = made.await.expect(201).json();
    assert_eq!((&made["tls"], &made["targets"]), (&json!("passthrough"), &json!(["http://10.0.0.5:8443"])));
    assert_eq!(published(&fixture), []);
    for (host, more, wanted) in [
        ("*.example.com", json!({}), "host invalid"),
        ("q.example.com", json!({"path": "/p"}), "tls invalid"),
        ("q.example.com", json!({"hsts_seconds": 60}), "hsts_seconds invalid"),
        ("q.example.com", json!({"filters": {"gzip": true}}), "filters invalid"),
        ("q.example.com", json!({"tls_policy": {"min_version": "1.3"}}), "tls_policy invalid"),
        ("q.example.com", json!({"timeouts": {"whole": "5s"}}), "timeouts invalid"),
        ("q.example.com", json!({"target": null, "respond": {"status": 200}}), "target invalid"),
    ] {
        let mut body = json!({"tls": "passthrough"});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = route(&fixture, host, body).await.expect(422);
        assert!(answer.violations().iter().any(|found| found == wanted), "{wanted}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_asked_of_handshakes_is_kept_shown_and_published() {
    let fixture = Fixture::new().await;
    let bundle =
        [Authority::create("one", 1_767_225_600).unwrap(), Authority::create("two", 1_767_225_600).unwrap()];
    let bundle = pem("CERTIFICATE", &bundle.map(|authority| authority.certificate_der().to_vec()));
    let policy = json!({"min_version": "1.3", "client_ca_pem": bundle});
    let body = json!({"tls": "self-signed", "tls_policy": policy});
    let made = route(&fixture, "app.example.com", body).await.expect(201).json();
    assert_eq!(made["tls_policy"], policy);
    let echoed =
        patch(&fixture, &route_path(&made), json!({"tls_policy": made["tls_policy"]})).await.expect(200);
    assert_eq!(echoed.json()["tls_policy"], policy);
    let mut conn = fixture.app.db.read().await.unwrap();
    let host = HostPattern::parse("app.example.com").unwrap();
    let rows = crate::store::route::by_host(&mut conn, &host);
    let row = rows.await.unwrap().pop().unwrap();
    drop(conn);
    let published = crate::publish::build::route(&row, None, fixture.keys.as_ref()).unwrap().unwrap();
    let asked = published.tls_policy.unwrap();
    assert_eq!((asked.min_version, asked.clients.unwrap().authorities.len()), (TlsVersion::Tls13, 2));
    let taken = json!({"tls_policy": {"min_version": null, "client_ca_pem": null}});
    let taken = patch(&fixture, &route_path(&made), taken).await.expect(200).json();
    assert_eq!(taken["tls_policy"], Value::Null);
    let (leaf, _) = super::certificates::leaf(&["a.example"], 9);
    for (policy, wanted) in [
        (json!({"min_version": "1.1"}), "tls_policy.min_version invalid"),
        (json!({"client_ca_pem": "nothing"}), "tls_policy.client_ca_pem invalid"),
        (json!({"client_ca_pem": leaf}), "tls_policy.client_ca_pem invalid"),
        (
            json!({"client_crl_pem": "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"}),
            "tls_policy.client_crl_pem invalid",
        ),
        (json!({"min": "1.2"}), "tls_policy.min unknown"),
    ] {
        let body = json!({"tls": "self-signed", "tls_policy": policy, "path": "/p"});
        let answer = route(&fixture, "app.example.com", body).await.expect(422);
        assert!(answer.violations().contains(&wanted.to_owned()), "{wanted}: {}", answer.text);
    }
    let off = json!({"path": "/p", "tls_policy": {"min_version": "1.3"}});
    let answer = route(&fixture, "app.example.com", off).await.expect(422);
    assert_eq!(answer.violations(), ["tls_policy invalid"]);
}

#[tokio::test]
async fn a_list_of_revoked_certificates_is_kept_shown_and_published() {
    let fixture = Fixture::new().await;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "clients");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let day = |year| rcgen::date_time_ymd(year, 1, 1);
    let list = rcgen::CertificateRevocationListParams {
        this_update: day(2026),
        next_update: day(2090),
        crl_number: rcgen::SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from(7_u64),
            revocation_time: day(2026),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&issuer).unwrap();
    let policy = json!({
        "client_ca_pem": pem("CERTIFICATE", &[authority.der().to_vec()]),
        "client_crl_pem": pem("X509 CRL", &[list.der().to_vec()]),
    });
    let body = json!({"tls": "self-signed", "tls_policy": policy});
    let made = route(&fixture, "crl.example.com", body).await.expect(201).json();
    assert_eq!(made["tls_policy"]["client_crl_pem"], policy["client_crl_pem"]);

    let mut conn = fixture.app.db.read().await.unwrap();
    let host = HostPattern::parse("crl.example.com").unwrap();
    let row = crate::store::route::by_host(&mut conn, &host).await.unwrap().pop().unwrap();
    drop(conn);
    let published = crate::publish::build::route(&row, None, fixture.keys.as_ref()).unwrap().unwrap();
    let asked = published.tls_policy.unwrap().clients.unwrap();
    assert_eq!(asked.revoked.iter().map(Vec::as_slice).collect::<Vec<_>>(), [list.der().as_ref()]);
}

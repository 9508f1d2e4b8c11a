//! What becomes of certificates that the authority issued: revoked through API and command line; and no key of anything is ever
//! written where people read.

use std::path::Path;

use certs::acme::order::Reason;
use config::secret::Secret;
use config::settings::Database;
use control::app::Keys as _;
use control::keys::RootKeys;
use control::store::{Db, text};
use serde_json::{Value, json};
use tests::api::Api;
use tests::client::Connection;
use tests::wait::{DEADLINE, wait_at_most};

use crate::bind::{self, Bind};
use crate::machine::{Machine, items};
use crate::pebble::{self, Pebble};

async fn done(machine: &Machine, orders: usize) {
    wait_at_most(4 * DEADLINE, "the orders are done", || async {
        let list: Value = serde_json::from_str(&machine.cli(&["acme", "order", "ls", "-o", "json"])).unwrap();
        (items(&list).iter().filter(|order| order["state"] == "done").count() == orders).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_revoked_with_its_reason_through_the_api_and_the_command_line() {
    let Some(pebble) = Pebble::start(&pebble::Options::default()).await else { return };
    let machine = Machine::start(pebble.http_port).await;
    machine.knows(&pebble.url, &pebble.root_pem, &pebble.dns());
    for host in ["one.example.com", "two.example.com", "three.example.com"] {
        machine.cli(&["cert", "add", "--acme", host, "--name", host]);
    }
    done(&machine, 3).await;
    let api = Api::of(machine.data.path());
    let serial = |name: &str| {
        let shown: Value = serde_json::from_str(&machine.cli(&["cert", "show", name, "-o", "json"])).unwrap();
        (shown["id"].as_str().unwrap().to_owned(), shown["serial"].as_str().unwrap().to_owned())
    };

    let refused = machine.try_cli(&["cert", "revoke", "one.example.com", "--reason", "a-whim"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("key-compromise"), "{said}");
    machine.cli(&["cert", "revoke", "one.example.com", "--reason", "key-compromise"]);
    let (two, _) = serial("two.example.com");
    let path = format!("/api/v1/certificates/{two}/revoke");
    let answer = api.call("POST", &path, Some(&json!({ "reason": "superseded" }))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("\"status\":\"revoked\""), "{}", answer.text());
    let (three, _) = serial("three.example.com");
    let plain = api.call("POST", &format!("/api/v1/certificates/{three}/revoke"), Some(&json!({}))).await;
    assert_eq!(plain.status, 200, "{}", plain.text());

    for (name, reason) in [("one.example.com", 1), ("two.example.com", 4), ("three.example.com", 0)] {
        let at = pebble.status(&serial(name).1).await;
        assert_eq!(
            (at["Status"].as_str(), at["Reason"].as_u64().unwrap_or(0)),
            (Some("Revoked"), reason),
            "{at}"
        );
    }
    let again = api.call("POST", &path, Some(&json!({}))).await;
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!(Reason::ALL.len(), 5);
    let renewed = machine.cli(&["cert", "renew"]);
    assert!(!renewed.contains("one.example.com"), "what is revoked is not renewed by itself: {renewed}");
}

impl Pebble {
    /// What it says of a certificate, by its serial number.
    async fn status(&self, serial: &str) -> Value {
        let at = ([127, 0, 0, 1], self.management_port).into();
        let mut connection = Connection::open_tls(at, "127.0.0.1", &self.root_pem).await.unwrap();
        let path = format!("/cert-status-by-serial/{}", serial.replace(':', "").trim_start_matches('0'));
        let answer = connection.get("127.0.0.1", &path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }
}

/// Key of an external account at pebble.
const EAB: (&str, &str) = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

/// An upload, and uploads that are refused for every reason that has a key in hand; what was answered.
async fn uploads(api: &Api, brought: &rcgen::KeyPair, stranger: &rcgen::KeyPair) -> String {
    let mut seen = String::new();
    let mut params = rcgen::CertificateParams::new(vec!["up.dyn.test".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let chain = params.self_signed(brought).unwrap().pem();
    let half = brought.serialize_pem().replace("END", "FIN");
    for private_key in
        [stranger.serialize_pem(), half, format!("{}x", stranger.serialize_pem()), brought.serialize_pem()]
    {
        // A remark is free text, shown as it was written: not where the upload is taken.
        let is_taken = private_key == brought.serialize_pem();
        let members = ["certificate", "csr", "certificate_chain", "names", "note"];
        for member in members.into_iter().take(if is_taken { 4 } else { 5 }) {
            let mut body = json!({ "certificate": chain, "private_key": private_key });
            if member != "certificate" {
                body[member] = json!(private_key);
            }
            seen += &said(api, "POST", "/api/v1/certificates", Some(&body)).await;
        }
        seen +=
            &said(api, "POST", "/api/v1/certificates", Some(&json!({ "certificate": private_key }))).await;
    }
    seen
}

/// Every list and every object in it, as the API shows them.
async fn shown(api: &Api) -> String {
    let mut seen = String::new();
    for list in ["certificates", "acme/accounts", "acme/orders", "routes", "audits", "status", "gateways"] {
        let text = said(api, "GET", &format!("/api/v1/{list}?limit=100"), None).await;
        let listed: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap_or_default();
        for item in listed["items"].as_array().into_iter().flatten() {
            if let Some(id) = item["id"].as_str() {
                seen += &said(api, "GET", &format!("/api/v1/{list}/{id}"), None).await;
            }
        }
        seen += &text;
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_in_a_log_at_its_loudest_nor_in_any_answer() {
    let Some(bind) = Bind::start().await else { return };
    let options =
        pebble::Options { dns_port: Some(bind.port), external: Some(EAB), ..pebble::Options::default() };
    let Some(pebble) = Pebble::start(&options).await else { return };
    let mut machine = Machine::start_logging(pebble.http_port, "trace").await;
    let data = machine.data.path().to_owned();
    let file = |name: &str, text: &str| {
        let path = data.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut seen = String::new();
    let brought = rcgen::KeyPair::generate().unwrap();
    let stranger = rcgen::KeyPair::generate().unwrap();

    // An account with every secret, and orders by both ways; one that fails as well.
    let (roots, eab) = (file("roots.pem", &pebble.root_pem), file("eab", EAB.1));
    let tsig = file("tsig", bind::KEYS[0].2);
    let server = bind.server();
    let account = ["acme", "account", "add", "--directory", &pebble.url, "--contact", "mailto:a@dyn.test"];
    let account = [&account[..], &["--agree-tos", "--roots", &roots, "--resolver", &server]].concat();
    let bound = ["--eab-kid", EAB.0, "--eab-hmac-file", &eab, "--dns", "rfc2136", "--dns-server", &server];
    let key =
        ["--dns-key-name", bind::KEYS[0].0, "--dns-algorithm", bind::KEYS[0].1, "--dns-secret-file", &tsig];
    seen += &machine.cli(&[&account[..], &bound, &key, &["pebble"]].concat());
    seen += &machine.cli(&["route", "add", "app.dyn.test", "http://127.0.0.1:9", "--tls", "acme"]);
    seen += &machine.cli(&["route", "add", "self.dyn.test", "http://127.0.0.1:9", "--tls", "self-signed"]);
    seen += &machine.cli(&["cert", "add", "--acme", "*.dyn.test", "--challenge", "dns-01", "--name", "wild"]);
    seen += &machine.cli(&["cert", "csr", "--cn", "csr.dyn.test"]);
    seen += &machine.cli(&["cert", "add", "--acme", "none.nowhere.test", "--name", "none"]);
    done(&machine, 2).await;

    let api = Api::of(&data);
    seen += &uploads(&api, &brought, &stranger).await;
    seen += &shown(&api).await;
    seen += &said(&api, "GET", "/metrics", None).await;
    machine.kill();

    for log in ["control.out", "gateway.out"] {
        let text = std::fs::read_to_string(data.join(log)).unwrap();
        assert!(text.contains("TRACE") || text.contains("DEBUG"), "{log} is not loud:\n{text}");
        seen += &text;
    }
    let mut secrets = stored(&data).await;
    assert!(secrets.len() >= 9, "what is looked for was not found: {:?}", names(&secrets));
    secrets.push(("the key of an upload".into(), scalar(&brought.serialize_der()).unwrap()));
    secrets.push(("the key of a refused upload".into(), scalar(&stranger.serialize_der()).unwrap()));
    let decoded = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).unwrap();
    secrets.push(("the TSIG key".into(), decoded(bind::KEYS[0].2)));
    secrets.push(("the HMAC key of the external account".into(), decoded(EAB.1)));
    for (name, secret) in &secrets {
        for form in forms(secret) {
            let place = seen.find(&form);
            let around = place.map(|at| seen[at.saturating_sub(300)..].chars().take(400).collect::<String>());
            assert!(place.is_none(), "{name} is written as {form:?}: {}", around.unwrap());
        }
    }
    // The search finds what is there: names of hosts are no secret.
    assert!(seen.contains("app.dyn.test"));
    let planted = format!("{:?}", &secrets[0].1);
    assert!(forms(&secrets[0].1).iter().any(|form| planted.contains(form)));
}

async fn said(api: &Api, method: &str, path: &str, body: Option<&Value>) -> String {
    let answer = api.call(method, path, body).await;
    format!("{method} {path} {}\n{}", answer.status, answer.text())
}

fn names(secrets: &[(String, Vec<u8>)]) -> Vec<&str> {
    secrets.iter().map(|(name, _)| name.as_str()).collect()
}

/// Every key that lies sealed in the database.
async fn stored(data: &Path) -> Vec<(String, Vec<u8>)> {
    let keys = RootKeys::open(data, None).unwrap();
    let db = Db::open(&Database::Sqlite(data.join("database.db")), data).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let sealed = [
        ("identity-key", "SELECT key_sealed AS sealed FROM identities WHERE key_sealed IS NOT NULL"),
        ("acme-account", "SELECT credentials_sealed AS sealed FROM acme_accounts"),
        ("ticket-key", "SELECT secret_sealed AS sealed FROM ticket_keys"),
        ("cookie-key", "SELECT secret_sealed AS sealed FROM cookie_keys"),
        ("authority", "SELECT sealed FROM internal_keys WHERE name = 'authority'"),
    ];
    let mut found = Vec::new();
    for (purpose, sql) in sealed {
        let rows = conn.rows(sql, &[]).await.unwrap();
        assert!(!rows.is_empty(), "no {purpose} is stored");
        for row in rows {
            let sealed = text::unbase64(&row.text("sealed").unwrap()).unwrap();
            if sealed.is_empty() {
                continue;
            }
            let secret: Secret<Vec<u8>> = keys.unseal(purpose, &sealed).unwrap();
            let secret = inner(secret.expose());
            found.push((format!("{purpose} {}", found.len()), secret));
        }
    }
    drop(conn);
    db.close().await;
    found
}

/// The part of a key that is secret: a key in PKCS#8 holds its public half as well, which is in every certificate.
fn inner(secret: &[u8]) -> Vec<u8> {
    let account = serde_json::from_slice::<Value>(secret).ok();
    let der = account.and_then(|account| {
        let text = account["key_pkcs8"].as_str()?.trim_end_matches('=').to_owned();
        data_encoding::BASE64URL_NOPAD.decode(text.replace('+', "-").replace('/', "_").as_bytes()).ok()
    });
    let der = der.as_deref().unwrap_or(secret);
    scalar(der).unwrap_or_else(|| der.to_vec())
}

fn scalar(der: &[u8]) -> Option<Vec<u8>> {
    let at = der.windows(2).position(|part| part == [0x04, 0x20])?;
    der.get(at + 2..at + 34).map(<[u8]>::to_vec)
}

/// How a secret looks in text: base64 and base64url at each alignment, hexadecimal, and as Rust prints bytes. Pieces of it,
/// since lines break it and records surround it.
fn forms(secret: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for begin in 0..3 {
        for piece in secret[begin..].chunks_exact(12) {
            forms.push(data_encoding::BASE64.encode(piece));
            forms.push(data_encoding::BASE64URL.encode(piece));
        }
    }
    for piece in secret.chunks_exact(8) {
        forms.push(data_encoding::HEXLOWER.encode(piece));
        forms.push(data_encoding::HEXUPPER.encode(piece));
        let listed: Vec<_> = piece.iter().map(ToString::to_string).collect();
        forms.push(listed.join(", "));
        forms.push(listed.join(","));
        forms.push(listed.join(",\n    "));
    }
    forms
}

//! What pebble 2.4 has not (renewal information of RFC 9773, profiles) and what it does not do (fail, hang, limit), at
//! a small stub that answers as the documents say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

#[allow(dead_code, reason = "a stub has a part for each test")]
#[path = "support/stub.rs"]
mod stub;

use std::time::Duration;

use certs::acme::order::{self, Wanted};
use certs::acme::renewal_info::renewal_info;
use certs::acme::{Account, Directory, Kind, Method, NewAccount};
use certs::self_signed::{Authority, SubjectName};
use config::name::HostPattern;
use serde_json::{Value, json};

use stub::{Reply, Stub, reply};

fn names() -> [HostPattern; 1] {
    [HostPattern::parse("a.example.test").unwrap()]
}

fn wanted(names: &[HostPattern]) -> Wanted<'_> {
    Wanted { names, method: Method::Http01, profile: None, replaces: None }
}

async fn account(stub: &Stub) -> Account {
    Account::create(&stub.directory(), &NewAccount::default()).await.unwrap().0
}

/// A leaf with an authority key identifier, as those of real authorities.
fn leaf() -> Vec<u8> {
    let authority = Authority::create("old", 1_700_000_000).unwrap();
    let names = [SubjectName::Host(HostPattern::parse("a.example.test").unwrap())];
    authority.issue_server(&names, 1_700_000_000, 30).unwrap().chain[0].clone()
}

fn order_object(stub: &Stub, more: &Value) -> Value {
    let mut order = json!({
        "status": "pending",
        "identifiers": [{ "type": "dns", "value": "a.example.test" }],
        "authorizations": [format!("{}/authz/1", stub.base)],
        "finalize": format!("{}/order/1/finalize", stub.base),
    });
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    order
}

fn problem(status: u16, kind: &str, detail: &str, fields: &[(&'static str, &str)]) -> Reply {
    let body =
        json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status });
    reply(status, fields, &body)
}

#[tokio::test]
async fn the_window_to_renew_in_is_read() {
    let stub = Stub::start().await;
    let account = account(&stub).await;
    let leaf = leaf();
    let error = renewal_info(&account, &leaf).await.unwrap_err();
    assert!(!error.is_passing(), "a leaf that the authority does not know: {error}");
    let path = stub.paths().into_iter().find(|path| path.starts_with("/ari/")).unwrap();
    assert_eq!(path.split('.').count(), 2, "key identifier and serial, RFC 9773 § 4.1: {path}");
    let window = |start: &str, end: &str| json!({ "suggestedWindow": { "start": start, "end": end }, "explanationURL": "https://stub.example/why" });
    let good = window("2026-01-02T04:00:00Z", "2026-01-03T04:00:00Z");

    stub.on(&path, reply(200, &[("Retry-After", "3600")], &good));
    let found = renewal_info(&account, &leaf).await.unwrap().unwrap();

    assert_eq!((found.start, found.end), (1_767_326_400, 1_767_412_800));
    assert_eq!(found.explanation.as_deref(), Some("https://stub.example/why"));
    // The library turns it into a point in time and back.
    assert_eq!(found.retry_after.as_secs().div_ceil(60), 60, "{:?}", found.retry_after);
    stub.on(&path, reply(200, &[], &good));
    let found = renewal_info(&account, &leaf).await.unwrap().unwrap();
    assert!(found.retry_after <= Duration::from_secs(21_600), "a missing Retry-After is six hours");
    stub.on(
        &path,
        reply(200, &[("Retry-After", "1")], &window("2026-01-03T04:00:00Z", "2026-01-02T04:00:00Z")),
    );
    assert_eq!(
        renewal_info(&account, &leaf).await.unwrap_err().kind,
        Kind::NotAcme,
        "it ends before it begins"
    );
}

#[tokio::test]
async fn an_order_names_its_profile_and_what_it_replaces() {
    let stub = Stub::start().await;
    let account = account(&stub).await;
    let leaf = leaf();
    let _ = renewal_info(&account, &leaf).await;
    let path = stub.paths().into_iter().find(|path| path.starts_with("/ari/")).unwrap();
    let id = path.strip_prefix("/ari/").unwrap().to_owned();
    let at = format!("{}/order/1", stub.base);
    let object = order_object(&stub, &json!({ "replaces": id, "profile": "shortlived" }));
    stub.on("/order", reply(201, &[("Location", &at)], &object));
    let names = names();
    let wanted = Wanted { profile: Some("shortlived"), replaces: Some(&leaf), ..wanted(&names) };

    assert_eq!(order::start(&account, &wanted).await.unwrap(), at);

    let sent = stub.payloads("/order");
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0]["profile"].as_str(), sent[0]["replaces"].as_str()),
        (Some("shortlived"), Some(id.as_str()))
    );
    let odd = Wanted { profile: Some("eternal"), ..wanted };
    let error = order::start(&account, &odd).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotOffered);
    assert!(
        error.to_string().contains("classic, shortlived")
            || error.to_string().contains("shortlived, classic"),
        "{error}"
    );
    assert_eq!(stub.payloads("/order").len(), 1);
}

#[tokio::test]
async fn a_certificate_that_was_replaced_already_does_not_stop_its_renewal() {
    let stub = Stub::start().await;
    let account = account(&stub).await;
    stub.on("/order", problem(409, "alreadyReplaced", "replaced", &[]));
    let names = names();
    let leaf = leaf();

    let error =
        order::start(&account, &Wanted { replaces: Some(&leaf), ..wanted(&names) }).await.unwrap_err();

    assert_eq!(error.kind, Kind::AlreadyReplaced, "the stub refuses the second, too: {error}");
    let sent = stub.payloads("/order");
    assert_eq!(sent.len(), 2);
    assert!(!sent[0]["replaces"].is_null() && sent[1]["replaces"].is_null());
}

#[tokio::test]
async fn problems_are_told_apart() {
    let stub = Stub::start().await;
    let account = account(&stub).await;
    let names = names();
    for (status, kind, expected, passing) in [
        (429, "rateLimited", Kind::RateLimited, true),
        (403, "caa", Kind::Caa, false),
        (400, "dns", Kind::Dns, true),
        (400, "connection", Kind::Connection, true),
        (403, "unauthorized", Kind::Unauthorized, false),
        (400, "rejectedIdentifier", Kind::RejectedIdentifier, false),
        (400, "accountDoesNotExist", Kind::AccountDoesNotExist, false),
        (403, "externalAccountRequired", Kind::ExternalAccountRequired, false),
        (403, "userActionRequired", Kind::UserActionRequired, false),
        (400, "badCSR", Kind::BadCsr, false),
        (500, "serverInternal", Kind::ServerInternal, true),
        (400, "somethingNew", Kind::Refused, false),
        (400, "badNonce", Kind::BadNonce, true),
    ] {
        stub.on("/order", problem(status, kind, "the words\nof the authority", &[("Retry-After", "120")]));
        let error = order::start(&account, &wanted(&names)).await.unwrap_err();
        assert_eq!((error.kind, error.is_passing()), (expected, passing), "{kind}");
        assert!(error.to_string().contains("the words of the authority"), "{error}");
        if kind == "rateLimited" {
            assert_eq!(error.after, Some(Duration::from_secs(120)));
        }
    }
}

#[tokio::test]
async fn each_name_of_a_compound_problem_has_its_reason() {
    let stub = Stub::start().await;
    let account = account(&stub).await;
    stub.on(
        "/order",
        reply(
            400,
            &[],
            &json!({
                "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                "detail": "some names are refused",
                "subproblems": [{
                    "type": "urn:ietf:params:acme:error:caa",
                    "detail": "CAA says no",
                    "identifier": { "type": "dns", "value": "a.example.test" },
                }],
            }),
        ),
    );
    let error = order::start(&account, &wanted(&names())).await.unwrap_err();
    assert_eq!(error.kind, Kind::RejectedIdentifier);
    assert_eq!((error.names[0].name.as_str(), error.names[0].kind), ("a.example.test", Kind::Caa));
}

#[tokio::test]
async fn an_authority_that_fails_is_named_and_tried_again() {
    let stub = Stub::start().await;
    let account = account(&stub).await;
    let names = names();
    let mut plain = reply(503, &[("Retry-After", "30")], &Value::Null);
    plain.body = "<html>gone fishing</html>".to_owned();
    stub.on("/order", plain);
    let error = order::start(&account, &wanted(&names)).await.unwrap_err();
    assert_eq!((error.kind, error.after), (Kind::ServerInternal, Some(Duration::from_secs(30))), "{error}");
    assert!(error.is_passing());
    let mut huge = reply(200, &[], &Value::Null);
    huge.body = "x".repeat(2 * config::limits::ACME_ANSWER_BYTES_MAX);
    stub.on("/order", huge);
    assert_eq!(order::start(&account, &wanted(&names)).await.unwrap_err().kind, Kind::NotAcme);
    let mut odd = reply(200, &[], &Value::Null);
    odd.body = "<html>hello</html>".to_owned();
    stub.on("/dir", odd);
    assert_eq!(stub.directory().offer().await.unwrap_err().kind, Kind::NotAcme);
    stub.on("/dir", reply(500, &[], &Value::Null));
    let error = stub.directory().offer().await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("500"), "{error}");
}

#[tokio::test]
async fn an_authority_that_hangs_or_is_down_is_left_in_time() {
    let stub = Stub::start().await;
    stub.on("/dir", Reply { hangs: true, ..reply(200, &[], &Value::Null) });
    let directory = stub.directory().with_request_deadline(Duration::from_millis(300));
    let error = directory.offer().await.unwrap_err();
    assert_eq!((error.kind, error.is_passing()), (Kind::TimedOut, true), "{error}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let root = Authority::create("nobody", 1_700_000_000).unwrap().certificate_pem();
    let directory = Directory::open(&format!("https://{address}/dir"), Some(&root)).unwrap();
    let error = directory.offer().await.unwrap_err();
    assert_eq!((error.kind, error.is_passing()), (Kind::Unreachable, true), "{error}");
    assert!(Directory::open("http://ca.example/dir", Some(&root)).is_err(), "never without TLS");
    assert!(Directory::open("ca.example", Some(&root)).is_err());
}

#[tokio::test]
async fn what_an_authority_offers_is_read() {
    let stub = Stub::start().await;
    let offer = stub.directory().offer().await.unwrap();
    assert_eq!(offer.caa_identities, ["stub.example"]);
    assert_eq!(offer.profiles.keys().collect::<Vec<_>>(), ["classic", "shortlived"]);
    assert!(offer.renewal_info && offer.terms.is_none() && !offer.external_account_required);
}

/// The real look at port 80, on another port: what is seen there, and what is not.
#[tokio::test]
async fn a_look_at_a_published_answer_says_what_answers_there_instead() {
    use certs::acme::order::{Answer, ChallengeTask};
    use certs::acme::preflight::{Severity, Trouble, fetch};
    use config::name::HostName;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (say, mut asked) = tokio::sync::mpsc::channel(8);
    let answers = [
        "200 OK\r\ncontent-length: 9\r\n\r\ntok.thumb",
        "200 OK\r\ncontent-length: 5\r\n\r\nother",
        "404 Not Found\r\ncontent-length: 0\r\n\r\n",
    ];
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 2048];
            let length = stream.read(&mut head).await.unwrap();
            say.send(String::from_utf8_lossy(&head[..length]).to_lowercase()).await.unwrap();
            stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.unwrap();
        }
    });
    let answer = Answer::Http01 { token: "tok".into(), key_authorization: "tok.thumb".into() };
    let host = HostName::parse("app.example.test").unwrap();
    let task = ChallengeTask { authorization: String::new(), host, wildcard: false, answer };
    let here = ["127.0.0.1".parse().unwrap()];

    assert_eq!(fetch(&task, &here, port).await, []);
    let head = asked.recv().await.unwrap();
    assert!(
        head.starts_with("get /.well-known/acme-challenge/tok ") && head.contains("host: app.example.test"),
        "{head}"
    );
    for why in ["something else than the gateways answers there", "it answers 404", "onnection refused"] {
        let found = fetch(&task, &here, port).await;
        assert_eq!(
            (found.len(), found[0].severity, found[0].trouble),
            (1, Severity::Warning, Trouble::NotReachable)
        );
        assert!(
            found[0].text.contains(why) && found[0].text.contains(&format!("port {port}")),
            "{}",
            found[0].text
        );
    }
}

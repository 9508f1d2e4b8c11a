//! Orders at a real authority: pebble, with nonce rejections and validation delays on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and says what it skips"
)]

#[allow(dead_code, reason = "shared by several tests, each uses a part")]
#[path = "support/answers.rs"]
mod answers;
#[allow(dead_code, reason = "shared by several tests, each uses a part")]
#[path = "support/pebble.rs"]
mod pebble;
#[allow(dead_code, reason = "shared by several tests, each uses a part")]
#[path = "support/program.rs"]
mod program;

use certs::acme::order::{self, Answer, Chain, Progress, Reason, Wanted};
use certs::acme::{Account, AcmeError, Directory, ExternalBinding, Kind, Method, NewAccount};
use config::name::HostPattern;
use config::secret::Secret;
use rcgen::{CertificateParams, KeyPair};

use answers::Answers;
use pebble::{Options, Pebble};
use program::{require, until};

const AGREED: NewAccount<'static> = NewAccount { contacts: &[], terms_agreed: true, external: None };

/// Names, and the request for them.
struct Request {
    names: Vec<HostPattern>,
    csr: Vec<u8>,
    key: KeyPair,
}

fn request(names: &[&str]) -> Request {
    let key = KeyPair::generate().unwrap();
    let params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    Request { names: names.iter().map(|name| HostPattern::parse(name).unwrap()).collect(), csr, key }
}

fn wanted(request: &Request, method: Method) -> Wanted<'_> {
    Wanted { names: &request.names, method, profile: None, replaces: None }
}

async fn settled(account: &Account, url: &str) -> Progress {
    until("the order moves", async || match order::poll(account, url).await.unwrap() {
        Progress::Pending { .. } | Progress::Processing { .. } => None,
        progress @ (Progress::Ready | Progress::Issued | Progress::Failed(_)) => Some(progress),
    })
    .await
}

/// All the steps in a row.
async fn issue(
    account: &Account,
    answers: &Answers,
    request: &Request,
    method: Method,
) -> Result<Chain, AcmeError> {
    let url = order::start(account, &wanted(request, method)).await?;
    answers.publish(&order::tasks(account, &url, method).await?);
    order::ready(account, &url, method).await?;
    assert_eq!(settled(account, &url).await, Progress::Ready);
    order::finalize(account, &url, &request.csr).await?;
    assert_eq!(settled(account, &url).await, Progress::Issued);
    order::download(account, &url).await
}

/// Checks that the chain is for the names and for our key.
fn assert_is_for(chain: &Chain, request: &Request) {
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
    assert!(chain.der.len() >= 2, "the leaf and what signed it");
    let (_, leaf) = X509Certificate::from_der(&chain.der[0]).unwrap();
    let key = rcgen::PublicKeyData::subject_public_key_info(&request.key);
    assert_eq!(leaf.public_key().raw, key, "the key is the one made beforehand");
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let names: Vec<&str> = names
        .value
        .general_names
        .iter()
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
        .collect();
    for name in &request.names {
        assert!(names.contains(&name.to_string().as_str()), "{name} is missing from {names:?}");
    }
}

#[tokio::test]
async fn names_are_proved_over_http_and_the_certificate_is_revoked_once() {
    let Some(pebble) = Pebble::start(&Options::default()).await else { return };
    let answers = Answers::serve(pebble.http_port, pebble.tls_port).await;
    let (account, _) = Account::create(&pebble.directory(), &AGREED).await.unwrap();
    let request = request(&["a.example.test", "b.example.test"]);

    let chain = issue(&account, &answers, &request, Method::Http01).await.unwrap();

    assert_is_for(&chain, &request);
    order::revoke(&account, &chain.der[0], Reason::Superseded).await.unwrap();
    order::revoke(&account, &chain.der[0], Reason::Superseded).await.expect("a second time is done already");
    let Some(curl) = require("curl") else { return };
    let serial = {
        use x509_parser::prelude::{FromDer as _, X509Certificate};
        let (_, leaf) = X509Certificate::from_der(&chain.der[0]).unwrap();
        leaf.tbs_certificate.serial.to_str_radix(16)
    };
    let url = format!("https://127.0.0.1:{}/cert-status-by-serial/{serial}", pebble.management_port);
    let status = std::process::Command::new(curl).args(["-sk", "-m", "10", &url]).output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("Revoked"), "pebble says {status:?}");
}

#[tokio::test]
async fn a_name_is_proved_in_a_handshake() {
    let Some(pebble) = Pebble::start(&Options::default()).await else { return };
    let answers = Answers::serve(pebble.http_port, pebble.tls_port).await;
    let (account, _) = Account::create(&pebble.directory(), &AGREED).await.unwrap();
    let request = request(&["alpn.example.test"]);

    let chain = issue(&account, &answers, &request, Method::TlsAlpn01).await.unwrap();

    assert_is_for(&chain, &request);
}

#[tokio::test]
async fn an_order_is_resumed_after_a_crash_at_every_step() {
    let Some(pebble) = Pebble::start(&Options::default()).await else { return };
    let answers = Answers::serve(pebble.http_port, pebble.tls_port).await;
    let (account, credentials) = Account::create(&pebble.directory(), &AGREED).await.unwrap();
    let request = request(&["crash.example.test", "www.crash.example.test"]);
    let url = order::start(&account, &wanted(&request, Method::Http01)).await.unwrap();
    drop(account);
    // All that a control that was killed still has: credentials, URL, request.
    let reopen = async || Account::load(&pebble.directory(), &credentials).await.unwrap();

    let first = order::tasks(&reopen().await, &url, Method::Http01).await.unwrap();
    let again = order::tasks(&reopen().await, &url, Method::Http01).await.unwrap();
    assert_eq!(first.len(), 2);
    for (one, two) in first.iter().zip(&again) {
        assert_eq!(
            (&one.authorization, &one.answer),
            (&two.authorization, &two.answer),
            "the same tokens again"
        );
    }
    answers.publish(&again);
    order::ready(&reopen().await, &url, Method::Http01).await.unwrap();
    order::ready(&reopen().await, &url, Method::Http01).await.expect("telling twice is telling once");
    assert_eq!(settled(&reopen().await, &url).await, Progress::Ready);
    assert_eq!(order::tasks(&reopen().await, &url, Method::Http01).await.unwrap().len(), 0, "all are proved");
    order::finalize(&reopen().await, &url, &request.csr).await.unwrap();
    order::finalize(&reopen().await, &url, &request.csr).await.expect("handed in before");
    assert_eq!(settled(&reopen().await, &url).await, Progress::Issued);
    let chain = order::download(&reopen().await, &url).await.unwrap();
    assert_eq!(order::download(&reopen().await, &url).await.unwrap(), chain);

    assert_is_for(&chain, &request);
    assert_eq!(pebble.orders(), 1, "no step opened another order: {}", pebble.log());
}

#[tokio::test]
async fn an_order_whose_address_was_lost_is_found_among_those_of_the_account() {
    let Some(pebble) = Pebble::start(&Options::default()).await else { return };
    let (account, _) = Account::create(&pebble.directory(), &AGREED).await.unwrap();
    let lost = request(&["lost.example.test", "www.lost.example.test"]);
    let url = order::start(&account, &wanted(&lost, Method::Http01)).await.unwrap();
    // Enough for several pages.
    for number in 0..5 {
        let other = request(&[&format!("other{number}.example.test")]);
        order::start(&account, &wanted(&other, Method::Http01)).await.unwrap();
    }
    let mut names = lost.names.clone();
    names.reverse();

    assert_eq!(order::find(&account, &names).await.unwrap(), Some(url));
    assert_eq!(
        order::find(&account, &names[..1]).await.unwrap(),
        None,
        "a part of the names is another order"
    );
    let (stranger, _) = Account::create(&pebble.directory(), &AGREED).await.unwrap();
    assert_eq!(order::find(&stranger, &names).await.unwrap(), None);
}

#[tokio::test]
async fn a_failed_order_says_which_name_failed_and_why() {
    let Some(pebble) = Pebble::start(&Options::default()).await else { return };
    let answers = Answers::serve(pebble.http_port, pebble.tls_port).await;
    let (account, _) = Account::create(&pebble.directory(), &AGREED).await.unwrap();
    let request = request(&["good.example.test", "bad.example.test"]);
    let url = order::start(&account, &wanted(&request, Method::Http01)).await.unwrap();
    let tasks = order::tasks(&account, &url, Method::Http01).await.unwrap();
    answers.publish(&tasks);
    let bad = tasks.iter().find(|task| task.host.as_str() == "bad.example.test").unwrap();
    let Answer::Http01 { token, .. } = &bad.answer else { panic!("{bad:?}") };
    answers.spoil(token);

    order::ready(&account, &url, Method::Http01).await.unwrap();
    let progress = settled(&account, &url).await;

    let Progress::Failed(error) = progress else { panic!("{progress:?}") };
    assert_eq!(error.kind, Kind::OrderFailed);
    let names: Vec<&str> = error.names.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!(names, ["bad.example.test"], "{error}");
    assert_eq!(error.names[0].kind, Kind::Unauthorized, "{error}");
    let later = order::finalize(&account, &url, &request.csr).await.unwrap_err();
    assert_eq!(later.kind, Kind::OrderFailed, "{later}");
    let later = order::tasks(&account, &url, Method::Http01).await.unwrap_err();
    assert_eq!(later.names, error.names, "the reason stays with the order");
}

#[tokio::test]
async fn a_storm_of_refused_nonces_is_weathered() {
    let Some(pebble) = Pebble::start(&Options { bad_nonces: Some(60), ..Options::default() }).await else {
        return;
    };
    let answers = Answers::serve(pebble.http_port, pebble.tls_port).await;
    let (account, _) = Account::create(&pebble.directory(), &AGREED).await.unwrap();
    let request = request(&["storm.example.test"]);

    let chain = issue(&account, &answers, &request, Method::Http01).await.unwrap();

    assert_is_for(&chain, &request);
    assert_eq!(pebble.orders(), 1, "a refused nonce is a request not done");
}

#[tokio::test]
async fn an_external_account_is_asked_for_and_taken() {
    let hmac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let options = Options { external: Some(("kid-1", hmac)), ..Options::default() };
    let Some(pebble) = Pebble::start(&options).await else { return };
    let directory = pebble.directory();

    let error = Account::create(&directory, &AGREED).await.unwrap_err();
    assert_eq!(error.kind, Kind::ExternalAccountRequired, "{error}");
    let wrong =
        ExternalBinding::parse("kid-1", &Secret::new("d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXk".to_owned()))
            .unwrap();
    Account::create(&directory, &NewAccount { external: Some(&wrong), ..AGREED })
        .await
        .expect_err("a wrong key");
    let right = ExternalBinding::parse("kid-1", &Secret::new(hmac.to_owned())).unwrap();
    Account::create(&directory, &NewAccount { external: Some(&right), ..AGREED }).await.unwrap();
}

#[tokio::test]
async fn several_accounts_and_authorities_live_side_by_side() {
    let Some(one) = Pebble::start(&Options::default()).await else { return };
    let Some(two) = Pebble::start(&Options::default()).await else { return };
    let contacts = ["ops@example.com".to_owned()];
    let new = NewAccount { contacts: &contacts, ..AGREED };
    let (a, of_a) = Account::create(&one.directory(), &new).await.unwrap();
    let (b, _) = Account::create(&one.directory(), &AGREED).await.unwrap();
    let (c, _) = Account::create(&two.directory(), &AGREED).await.unwrap();
    assert_ne!(a.url(), b.url());
    let request = request(&["both.example.test"]);

    for (account, pebble) in [(&a, &one), (&c, &two)] {
        let answers = Answers::serve(pebble.http_port, pebble.tls_port).await;
        let chain = issue(account, &answers, &request, Method::Http01).await.unwrap();
        assert_is_for(&chain, &request);
    }
    let url = order::start(&a, &wanted(&request, Method::Http01)).await.unwrap();
    order::tasks(&b, &url, Method::Http01).await.expect_err("an order is its account's alone");
    let error = Account::load(&two.directory(), &of_a).await.unwrap_err();
    assert_eq!(error.kind, Kind::Credentials, "{error}");
    a.deactivate().await.unwrap();
    let error = order::start(&a, &wanted(&request, Method::Http01)).await.unwrap_err();
    assert!(!error.is_passing(), "{error}");
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_the_authority_is_bothered() {
    let Some(pebble) = Pebble::start(&Options::default()).await else { return };
    let directory = pebble.directory();
    let error = Account::create(&directory, &NewAccount { terms_agreed: false, ..AGREED }).await.unwrap_err();
    assert_eq!(error.kind, Kind::TermsNotAgreed, "{error}");
    let (account, _) = Account::create(&directory, &AGREED).await.unwrap();

    for method in [Method::Http01, Method::TlsAlpn01] {
        let error = order::start(&account, &wanted(&request(&["*.wild.test"]), method)).await.unwrap_err();
        assert_eq!(error.kind, Kind::NeedsDns01);
        assert!(error.to_string().contains("needs DNS-01"), "{error}");
    }
    let nothing = Wanted { names: &[], method: Method::Http01, profile: None, replaces: None };
    assert_eq!(order::start(&account, &nothing).await.unwrap_err().kind, Kind::BadNames);
    let all = [HostPattern::CatchAll];
    let all = Wanted { names: &all, ..nothing };
    assert_eq!(order::start(&account, &all).await.unwrap_err().kind, Kind::BadNames);
    let request = request(&["p.example.test"]);
    let profile = Wanted { profile: Some("shortlived"), ..wanted(&request, Method::Http01) };
    assert_eq!(order::start(&account, &profile).await.unwrap_err().kind, Kind::NotOffered);
    assert_eq!(pebble.orders(), 0);
}

#[tokio::test]
async fn a_request_for_other_names_is_refused_as_such() {
    let Some(pebble) = Pebble::start(&Options::default()).await else { return };
    let answers = Answers::serve(pebble.http_port, pebble.tls_port).await;
    let (account, _) = Account::create(&pebble.directory(), &AGREED).await.unwrap();
    let right = request(&["csr.example.test"]);
    let url = order::start(&account, &wanted(&right, Method::Http01)).await.unwrap();
    let early = order::finalize(&account, &url, &right.csr).await.unwrap_err();
    assert_eq!(early.kind, Kind::OrderNotReady, "{early}");
    answers.publish(&order::tasks(&account, &url, Method::Http01).await.unwrap());
    order::ready(&account, &url, Method::Http01).await.unwrap();
    assert_eq!(settled(&account, &url).await, Progress::Ready);

    let error = order::finalize(&account, &url, &request(&["other.example.test"]).csr).await.unwrap_err();

    assert!(!error.is_passing(), "{error}");
    let gone = order::poll(&account, &format!("{url}nonexistent")).await.unwrap_err();
    assert_eq!(gone.kind, Kind::OrderGone, "{gone}");
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_named_so() {
    let Some(pebble) = Pebble::start(&Options::default()).await else { return };
    let other = certs::self_signed::Authority::create("another", 1_700_000_000).unwrap();
    let directory = Directory::open(&pebble.url, Some(&other.certificate_pem())).unwrap();
    let error = directory.offer().await.unwrap_err();
    assert_eq!(error.kind, Kind::Untrusted, "{error}");
    assert!(error.to_string().contains("root certificate"), "{error}");
}

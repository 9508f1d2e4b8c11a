//! DNS-01 against a real name server, bind9, and through it at a real authority, pebble.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and says what it skips"
)]

#[allow(dead_code, reason = "shared by several tests, each uses a part")]
#[path = "support/bind.rs"]
mod bind;
#[allow(dead_code, reason = "shared by several tests, each uses a part")]
#[path = "support/pebble.rs"]
mod pebble;
#[allow(dead_code, reason = "shared by several tests, each uses a part")]
#[path = "support/program.rs"]
mod program;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certs::acme::order::{self, Answer, Progress, Wanted};
use certs::acme::preflight::{self, Facts, Severity, Trouble};
use certs::acme::{Account, Method, NewAccount};
use certs::dns::{Delegated, DnsError, Lookup, Provider, Rfc2136, TsigKey, propagation};
use config::name::HostPattern;
use config::secret::Secret;
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record};
use rcgen::{CertificateParams, KeyPair};
use tokio::net::UdpSocket;

use bind::{Bind, KEYS};
use pebble::{Options, Pebble};
use program::{free_port, until};

const SOON: Duration = Duration::from_secs(20);
/// Too short for a second round.
const ONE_ROUND: Duration = Duration::from_millis(1500);

async fn shows(lookup: &Lookup, record: &str, value: &str) -> bool {
    propagation::wait(lookup, record, value, ONE_ROUND).await.is_ok()
}

#[tokio::test]
async fn apex_and_wildcard_are_proved_over_dns() {
    let Some(bind) = Bind::start().await else { return };
    let Some(pebble) = Pebble::start(&Options { dns_port: Some(bind.port), ..Options::default() }).await
    else {
        return;
    };
    let agreed = NewAccount { terms_agreed: true, ..NewAccount::default() };
    let (account, _) = Account::create(&pebble.directory(), &agreed).await.unwrap();
    let texts = ["wild.dyn.test", "*.wild.dyn.test"];
    let names = texts.map(|name| HostPattern::parse(name).unwrap());
    let wanted = Wanted { names: &names, method: Method::Dns01, profile: None, replaces: None };
    let (provider, lookup) = (bind.provider("writer"), bind.lookup());

    let url = order::start(&account, &wanted).await.unwrap();
    let tasks = order::tasks(&account, &url, Method::Dns01).await.unwrap();
    let records: Vec<(&str, &str)> = tasks
        .iter()
        .map(|task| match &task.answer {
            Answer::Dns01 { record, value } => (record.as_str(), value.as_str()),
            Answer::Http01 { .. } | Answer::TlsAlpn01 { .. } => panic!("{task:?}"),
        })
        .collect();
    assert_eq!(records.len(), 2);
    assert!(
        records.iter().all(|(record, _)| *record == "_acme-challenge.wild.dyn.test"),
        "one name for both"
    );
    for (record, value) in &records {
        provider.present(record, value).await.unwrap();
    }
    for (record, value) in &records {
        propagation::wait(&lookup, record, value, SOON).await.unwrap();
    }
    order::ready(&account, &url, Method::Dns01).await.unwrap();
    let settled = async || {
        until("the order moves", async || match order::poll(&account, &url).await.unwrap() {
            Progress::Pending { .. } | Progress::Processing { .. } => None,
            progress @ (Progress::Ready | Progress::Issued | Progress::Failed(_)) => Some(progress),
        })
        .await
    };
    assert_eq!(settled().await, Progress::Ready);
    let params = CertificateParams::new(texts.map(str::to_owned)).unwrap();
    let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    order::finalize(&account, &url, csr.der()).await.unwrap();
    assert_eq!(settled().await, Progress::Issued);
    assert!(order::download(&account, &url).await.unwrap().der.len() >= 2);
    for (record, value) in &records {
        provider.remove(record, value).await.unwrap();
        assert!(!shows(&lookup, record, value).await);
    }
}

#[tokio::test]
async fn two_values_stand_at_one_name_and_only_ours_is_removed() {
    let Some(bind) = Bind::start().await else { return };
    let (provider, lookup) = (bind.provider("writer"), bind.lookup());
    let record = "_acme-challenge.two.dyn.test";
    for value in ["somebody-elses", "ours", "ours"] {
        provider.present(record, value).await.unwrap();
    }
    assert!(shows(&lookup, record, "ours").await && shows(&lookup, record, "somebody-elses").await);

    provider.remove(record, "ours").await.unwrap();
    provider.remove(record, "ours").await.expect("gone already");

    assert!(!shows(&lookup, record, "ours").await && shows(&lookup, record, "somebody-elses").await);
}

#[tokio::test]
async fn a_sha512_key_and_a_named_zone_are_honoured() {
    let Some(bind) = Bind::start().await else { return };
    bind.provider("writer512").present("_acme-challenge.a.dyn.test", "v").await.unwrap();
    let (name, algorithm, secret) = KEYS[0];
    let key = TsigKey::parse(name, algorithm, &Secret::new(secret.to_owned())).unwrap();
    let other = Rfc2136::new(&bind.server(), Some("static.test"), Some(key)).unwrap();
    let error = other.present("_acme-challenge.a.dyn.test", "v").await.unwrap_err();
    assert!(error.to_string().contains("not in the zone static.test"), "{error}");
}

#[tokio::test]
async fn refusals_of_the_name_server_are_said_in_words() {
    let Some(bind) = Bind::start().await else { return };
    let record = "_acme-challenge.x.dyn.test";
    let with = |name: &str, secret: &str| {
        let key = TsigKey::parse(name, "hmac-sha256", &Secret::new(secret.to_owned())).unwrap();
        Rfc2136::new(&bind.server(), None, Some(key)).unwrap()
    };
    let unsigned = Rfc2136::new(&bind.server(), None, None).unwrap();
    let wrong = "d3Jvbmcgc2VjcmV0IHdyb25nIHNlY3JldA==";
    let cases = [
        (with("writer", wrong), record, "BADSIG"),
        (with("nobody", wrong), record, "BADKEY"),
        (bind.provider("reader"), record, "update policy"),
        (unsigned, record, "give a TSIG key"),
        (bind.provider("writer"), "_acme-challenge.x.static.test", "REFUSED"),
        (bind.provider("writer"), "_acme-challenge.x.nowhere.test", "no zone for it"),
    ];
    for (provider, record, words) in cases {
        let error = provider.present(record, "v").await.unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert!(!error.is_passing(), "{error}");
        assert!(!error.to_string().contains("truncated"), "{error}");
        assert!(!error.to_string().contains(wrong), "no secret in an error");
    }
    let down = Rfc2136::new(&format!("127.0.0.1:{}", free_port()), Some("dyn.test"), None).unwrap();
    let error = down.present(record, "v").await.unwrap_err();
    assert!(error.is_passing(), "{error}");
}

#[tokio::test]
async fn a_delegated_record_is_written_where_its_alias_leads() {
    let Some(bind) = Bind::start().await else { return };
    let lookup = bind.lookup();
    let provider = Delegated::new(lookup.clone(), bind.provider("writer"));
    let record = "_acme-challenge.alias.static.test";

    provider.present(record, "v").await.unwrap();

    assert!(shows(&lookup, "alias.dyn.test", "v").await);
    propagation::wait(&lookup, record, "v", SOON).await.expect("the wait follows the alias too");
    provider.remove(record, "v").await.unwrap();
    assert!(!shows(&lookup, record, "v").await);
    let error = provider.present("_acme-challenge.here.static.test", "v").await.unwrap_err().to_string();
    assert!(error.contains("CNAME"), "{error}");
    let error = provider.present("_acme-challenge.loop.static.test", "v").await.unwrap_err().to_string();
    assert!(error.contains("circle"), "{error}");
}

/// A second name server, which answers TXT with what it is told.
async fn stale_server(at: SocketAddr, text: Arc<Mutex<String>>) {
    let socket = UdpSocket::bind(at).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let name = message.queries[0].name().clone();
            let text = TXT::new(vec![text.lock().unwrap().clone()]);
            message.add_answer(Record::from_rdata(name, 1, RData::TXT(text)));
            socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
        }
    });
}

#[tokio::test]
async fn every_name_server_has_to_show_the_value() {
    let Some(bind) = Bind::start().await else { return };
    let lookup = bind.lookup();
    let record = "_acme-challenge.two.test";
    let error = propagation::wait(&lookup, record, "new", ONE_ROUND).await.unwrap_err().to_string();
    assert!(error.contains("ns2.two.test does not answer") && !error.contains("ns1"), "{error}");
    let text = Arc::new(Mutex::new("old".to_owned()));
    stale_server(([127, 0, 0, 2], bind.port).into(), Arc::clone(&text)).await;

    let error = propagation::wait(&lookup, record, "new", ONE_ROUND).await.unwrap_err();

    assert!(error.to_string().contains("ns2.two.test still answers \"old\""), "{error}");
    assert!(matches!(error, DnsError::NotPropagated { .. }) && error.is_passing());
    "new".clone_into(&mut text.lock().unwrap());
    propagation::wait(&lookup, record, "new", SOON).await.unwrap();
    let explicit = lookup.with_authoritative(vec![([127, 0, 0, 1], bind.port).into()]);
    propagation::wait(&explicit, record, "new", SOON).await.unwrap();
}

#[tokio::test]
async fn the_preflight_says_what_stands_against_an_order() {
    let Some(bind) = Bind::start().await else { return };
    let lookup = bind.lookup();
    let own: [IpAddr; 1] = ["127.0.0.1".parse().unwrap()];
    let ca = ["ca.example".to_owned()];
    let facts = Facts {
        lookup: &lookup,
        method: Method::Http01,
        caa_identities: &ca,
        account_url: "",
        own_addresses: &own,
        must_point_here: true,
    };
    let check = async |name: &str, facts: &Facts<'_>| {
        let found = preflight::check(&[HostPattern::parse(name).unwrap()], facts).await;
        found.into_iter().map(|finding| (finding.severity, finding.trouble)).collect::<Vec<_>>()
    };

    assert_eq!(check("empty.static.test", &facts).await[0], (Severity::Error, Trouble::DoesNotResolve));
    assert_eq!(check("elsewhere.static.test", &facts).await[0], (Severity::Error, Trouble::PointsElsewhere));
    let nat = Facts { must_point_here: false, ..facts };
    assert_eq!(check("elsewhere.static.test", &nat).await[0], (Severity::Warning, Trouble::PointsElsewhere));
    assert_eq!(check("forbidden.static.test", &facts).await, [(Severity::Error, Trouble::CaaForbids)]);
    assert_eq!(check("below.forbidden.static.test", &facts).await, [(Severity::Error, Trouble::CaaForbids)]);
    assert_eq!(check("allowed.forbidden.static.test", &facts).await, []);
    let dns = Facts { method: Method::Dns01, ..facts };
    assert_eq!(check("*.forbidden.static.test", &dns).await, [(Severity::Error, Trouble::CaaForbids)]);
}

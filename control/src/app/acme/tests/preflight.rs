//! Readable reasons before the authority is bothered.

use certs::acme::preflight::{Finding, Severity, Trouble};
use config::sync::message::{Hello, Listening};

use super::fake::{GATEWAY, World};

fn finding(severity: Severity, trouble: Trouble, text: &str) -> Finding {
    Finding { name: "a.test".into(), severity, trouble, text: text.into() }
}

#[tokio::test]
async fn what_would_make_the_authority_refuse_is_the_reason_and_no_order_is_opened() {
    for (trouble, text) in [
        (Trouble::DoesNotResolve, "it does not resolve: it has neither an A nor an AAAA record"),
        (Trouble::PointsElsewhere, "it points elsewhere: 203.0.113.9 is not an address of the gateways"),
        (Trouble::CaaForbids, "a CAA record allows other authorities only"),
    ] {
        let world = World::new().await;
        let (certificate, id) = world.order(&["a.test"]).await;
        world.ca.state().findings = vec![finding(Severity::Error, trouble, text)];
        let waits = world.drive(id).await;
        let why = format!("a.test: {text}");
        assert_eq!(waits.last_error.as_deref(), Some(why.as_str()));
        assert_eq!(world.certificate(&certificate).await.last_error, Some(why));
        assert!(world.ca.state().orders.is_empty());
        world.ca.state().findings.clear();
        assert_eq!(world.drive(id).await.step, "done", "{trouble:?} was mended");
    }
}

#[tokio::test]
async fn what_may_be_right_from_elsewhere_is_a_line_in_the_log_and_the_order_goes_on() {
    let world = World::new().await;
    let (_, id) = world.order(&["a.test"]).await;
    let elsewhere = "it points elsewhere: 203.0.113.9 is not an address of the gateways";
    let port = "port 80 of 203.0.113.9 does not show the challenge's answer: no answer in time";
    world.ca.state().findings = vec![finding(Severity::Warning, Trouble::PointsElsewhere, elsewhere)];
    world.ca.state().unreachable = vec![finding(Severity::Warning, Trouble::NotReachable, port)];
    assert_eq!(world.drive(id).await.step, "done");
    let log = world.log(id).await;
    assert!(log.contains(&format!("warning: a.test: {elsewhere}")), "{log}");
    assert!(log.contains(&format!("warning: a.test: {port}")), "{log}");
    assert_eq!(world.ca.state().looked_at, ["a.test"], "its published answer was looked at");
}

#[tokio::test]
async fn names_are_held_against_the_addresses_that_the_gateways_report() {
    let world = World::new().await;
    let hello = Hello {
        boot: 1,
        version: "test".into(),
        formats: vec![1],
        listeners: vec![Listening { kind: "http".into(), address: "203.0.113.1:80".parse().unwrap() }],
        draining: false,
        degraded: Vec::new(),
        undurable: false,
        have: None,
    };
    world.app.gateways.introduced(config::id::GatewayId::from_bytes(GATEWAY), 0, &hello);
    let (_, id) = world.order(&["a.test"]).await;
    world.until(id, crate::app::acme::order::Step::Prepare).await;
    let own = world.ca.state().own.clone().unwrap();
    assert_eq!(own.addresses, ["203.0.113.1".parse::<std::net::IpAddr>().unwrap()]);
    assert!(own.is_complete, "every listener has a single public address");
}

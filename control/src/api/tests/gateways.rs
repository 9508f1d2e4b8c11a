use config::name::GatewayName;
use config::secret::Secret;
use config::snapshot::Generation;
use config::sync::join::JoinToken;
use config::sync::message::{Ack, Hello, Nack};
use serde_json::{Value, json};

use crate::api::testing::{LOCAL, token};
use crate::app::gateway::{self, Enrolment, Signed};
use crate::app::testing::{Fixture, NEW_YEAR};
use crate::app::{AuthorityError, Error};
use crate::auth::Origin;

fn signed(fingerprint: &str) -> Signed {
    Signed { fingerprint: fingerprint.into(), expires_at: NEW_YEAR + 90 * 86_400 * 1_000_000 }
}

async fn enrol(fixture: &Fixture, token: &str, name: &str) -> Result<config::id::GatewayId, Error> {
    let (token, name) = (Secret::new(token.to_owned()), GatewayName::parse(name).unwrap());
    let enrolment = Enrolment { token: &token, name: &name, origin: Origin::Socket };
    let print = format!("print-{name}");
    gateway::enrol(&fixture.app, enrolment, &move |_| Ok(signed(&print))).await
}

async fn join_token(fixture: &Fixture, body: Value) -> String {
    let made = fixture.post(LOCAL, "/api/v1/gateways/tokens", body).await.expect(201);
    assert_eq!(made.headers["cache-control"], "no-store");
    assert!(made.json()["ca"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    let word = made.json()["token"].as_str().unwrap().to_owned();
    // What is redeemed is the secret inside; the rest tells the gateway whom to trust and where to dial.
    JoinToken::parse(&word).unwrap().secret.expose().clone()
}

#[tokio::test]
async fn a_join_token_enrols_one_gateway_once() {
    let fixture = Fixture::new().await;
    let join = join_token(&fixture, json!({"name": "gw1"})).await;
    let refused = |error: Error| matches!(error, Error::Unauthenticated(_));
    assert!(refused(enrol(&fixture, "gh-join-guess", "gw1").await.unwrap_err()));
    assert!(refused(enrol(&fixture, &join, "gw2").await.unwrap_err()));

    let id = enrol(&fixture, &join, "gw1").await.unwrap();

    assert!(refused(enrol(&fixture, &join, "gw1").await.unwrap_err()));
    let found = gateway::by_certificate(&fixture.app, "print-gw1").await.unwrap().unwrap();
    assert_eq!((found.0, found.1.as_str()), (id, "gw1"));
    let second = join_token(&fixture, json!({})).await;
    let clash = enrol(&fixture, &second, "gw1").await.unwrap_err();
    assert!(matches!(clash, Error::Conflict { field: "name", .. }), "{clash:?}");
    fixture.pass(3601);
    assert!(refused(enrol(&fixture, &second, "gw3").await.unwrap_err()));
}

#[tokio::test]
async fn a_signature_that_fails_spends_no_token() {
    let fixture = Fixture::new().await;
    let join = join_token(&fixture, json!({})).await;
    let (token, name) = (Secret::new(join.clone()), GatewayName::parse("gw1").unwrap());
    let enrolment = Enrolment { token: &token, name: &name, origin: Origin::Socket };
    gateway::enrol(&fixture.app, enrolment, &|_| Err(AuthorityError { why: "no".into() })).await.unwrap_err();
    enrol(&fixture, &join, "gw1").await.unwrap();
}

#[tokio::test]
async fn the_list_shows_what_gateways_say_and_a_deletion_revokes() {
    let fixture = Fixture::new().await;
    let join = join_token(&fixture, json!({})).await;
    let id = enrol(&fixture, &join, "gw1").await.unwrap();
    let said = &fixture.app.gateways;
    said.introduced(id, NEW_YEAR, &Hello { version: "9.9".into(), ..Hello::default() });
    said.acked(id, NEW_YEAR, &Ack { generation: Generation(1), degraded: vec!["https 0.0.0.0:443".into()] });
    said.refused(
        id,
        NEW_YEAR,
        &Nack { generation: Generation(2), reason: "digest".into(), want_snapshot: false },
    );

    let listed = fixture.get(LOCAL, "/api/v1/gateways").await.expect(200).json();

    let one = &listed["items"][0];
    assert_eq!((one["name"].as_str(), one["connected"].as_bool()), (Some("gw1"), Some(true)));
    assert_eq!(
        (one["generation"].as_u64(), one["refused"].as_str()),
        (Some(1), Some("generation 2: digest"))
    );
    assert_eq!(one["degraded"], json!(["https 0.0.0.0:443"]));
    said.acked(id, NEW_YEAR, &Ack { generation: Generation(2), degraded: vec![] });
    assert_eq!(fixture.get(LOCAL, "/api/v1/gateways/gw1").await.expect(200).json()["refused"], Value::Null);
    let revoked = said.revocations();
    fixture.call(LOCAL, "DELETE", "/api/v1/gateways/gw1", Value::Null).await.expect(204);
    assert!(revoked.has_changed().unwrap());
    assert_eq!(gateway::by_certificate(&fixture.app, "print-gw1").await.unwrap(), None);
    said.closed(id, NEW_YEAR);
    assert_eq!(said.all().len(), 0);
}

#[tokio::test]
async fn gateways_are_roots_alone() {
    let fixture = Fixture::new().await;
    let admin = fixture.user("usr1", "admin").await;
    fixture.get(token(&admin), "/api/v1/gateways").await.expect(403);
    fixture.post(token(&admin), "/api/v1/gateways/tokens", json!({})).await.expect(403);
    for duration in ["10", "1y"] {
        fixture.post(LOCAL, "/api/v1/gateways/tokens", json!({"duration": duration})).await.expect(400);
    }
}

#[tokio::test]
async fn a_gateway_that_is_ahead_makes_control_skip_above_it() {
    let fixture = Fixture::new().await;
    fixture.app.skip_above(Generation(1000)).await.unwrap();
    assert_eq!(fixture.app.desired.current().snapshot.generation(), Generation(1001));
    fixture.app.skip_above(Generation(1000)).await.unwrap();
    assert_eq!(fixture.app.desired.current().snapshot.generation(), Generation(1001));
    fixture.vm("web01", "ns1", "10.0.0.5").await;
    assert_eq!(fixture.app.desired.current().snapshot.generation(), Generation(1002));
}

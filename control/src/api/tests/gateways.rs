use config::id::GatewayId;
use config::name::GatewayName;
use config::secret::Secret;
use config::snapshot::Generation;
use config::sync::join::JoinToken;
use config::sync::message::{Ack, Hello, Nack};
use serde_json::{Value, json};

use crate::api::testing::{LOCAL, token};
use crate::app::gateway::{self, Certificate, Enrolment, Signed, Standing};
use crate::app::testing::{Fixture, NEW_YEAR};
use crate::app::{AuthorityError, Error};
use crate::auth::Origin;

fn signed(fingerprint: &str) -> Signed {
    Signed { fingerprint: fingerprint.into(), expires_at: NEW_YEAR + 90 * 86_400 * 1_000_000 }
}

async fn enrol(fixture: &Fixture, token: &str, name: &str) -> Result<GatewayId, Error> {
    enrol_with(fixture, token, name, b"request").await
}

async fn enrol_with(fixture: &Fixture, token: &str, name: &str, csr: &[u8]) -> Result<GatewayId, Error> {
    let (token, name) = (Secret::new(token.to_owned()), GatewayName::parse(name).unwrap());
    let enrolment = Enrolment { token: &token, name: &name, csr, origin: Origin::Socket };
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

    assert!(refused(enrol_with(&fixture, &join, "gw1", b"another").await.unwrap_err()));
    let name = GatewayName::parse("gw1").unwrap();
    assert_eq!(standing(&fixture, id).await, Standing::Ours(name));
    let second = join_token(&fixture, json!({})).await;
    let clash = enrol(&fixture, &second, "gw1").await.unwrap_err();
    assert!(matches!(clash, Error::Conflict { field: "name", .. }), "{clash:?}");
    fixture.pass(3601);
    assert!(refused(enrol(&fixture, &second, "gw3").await.unwrap_err()));
}

/// What a gateway is that shows a certificate of 90 days from the new year.
async fn standing(fixture: &Fixture, gateway: GatewayId) -> Standing {
    let certificate = Certificate { gateway, expires_at: signed("").expires_at };
    gateway::by_certificate(&fixture.app, certificate).await.unwrap()
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_answered_again_until_the_token_ends() {
    let fixture = Fixture::new().await;
    let join = join_token(&fixture, json!({})).await;
    let id = enrol(&fixture, &join, "gw1").await.unwrap();
    assert_eq!(enrol(&fixture, &join, "gw1").await.unwrap(), id);
    // Another name, another key, or later: the token is spent.
    enrol(&fixture, &join, "gw2").await.unwrap_err();
    enrol_with(&fixture, &join, "gw1", b"another").await.unwrap_err();
    let items = fixture.get(LOCAL, "/api/v1/gateways").await.expect(200).json();
    assert_eq!(items["items"].as_array().unwrap().len(), 1);
    fixture.pass(3601);
    enrol(&fixture, &join, "gw1").await.unwrap_err();
}

#[tokio::test]
async fn a_token_brings_no_withdrawn_gateway_back() {
    let fixture = Fixture::new().await;
    let join = join_token(&fixture, json!({})).await;
    enrol(&fixture, &join, "gw1").await.unwrap();
    fixture.call(LOCAL, "DELETE", "/api/v1/gateways/gw1", Value::Null).await.expect(204);
    let error = enrol(&fixture, &join, "gw1").await.unwrap_err();
    assert!(matches!(error, Error::Unauthenticated(_)), "{error:?}");
}

#[tokio::test]
async fn a_renewal_is_for_the_same_gateway_and_for_none_that_was_withdrawn() {
    let fixture = Fixture::new().await;
    let join = join_token(&fixture, json!({})).await;
    let id = enrol(&fixture, &join, "gw1").await.unwrap();
    fixture.pass(60 * 86_400);
    let expires_at = signed("").expires_at + 60 * 86_400 * 1_000_000;
    let sign = |asked| {
        assert_eq!(asked, id);
        Ok(Signed { fingerprint: "new".into(), expires_at })
    };
    gateway::renew(&fixture.app, id, &sign).await.unwrap();
    // The one before counts until it ends: the answer may have been lost.
    assert!(matches!(standing(&fixture, id).await, Standing::Ours(_)));
    fixture.pass(30 * 86_400);
    assert_eq!(standing(&fixture, id).await, Standing::Expired);
    let newer = gateway::by_certificate(&fixture.app, Certificate { gateway: id, expires_at }).await;
    assert!(matches!(newer.unwrap(), Standing::Ours(_)));

    fixture.call(LOCAL, "DELETE", "/api/v1/gateways/gw1", Value::Null).await.expect(204);
    let never = |_| -> Result<Signed, AuthorityError> { panic!("signed for a withdrawn gateway") };
    let error = gateway::renew(&fixture.app, id, &never).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_signature_that_fails_spends_no_token() {
    let fixture = Fixture::new().await;
    let join = join_token(&fixture, json!({})).await;
    let (token, name) = (Secret::new(join.clone()), GatewayName::parse("gw1").unwrap());
    let enrolment = Enrolment { token: &token, name: &name, csr: b"request", origin: Origin::Socket };
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
    assert_eq!(standing(&fixture, id).await, Standing::Withdrawn);
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

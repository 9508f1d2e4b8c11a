//! What a gateway asks control when it opens a terminal: a certificate, and whose host key the VM shows.

use config::id::{GatewayId, VmId};
use config::secret::Secret;
use config::snapshot::{Kind, PinState, Value as Published};
use config::sync::asking::Answer;
use config::sync::message::Hello;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey};
use serde_json::{Value, json};

use super::sessions::enrolled;
use crate::api::testing::{As, LOCAL, token};
use crate::app::console::certify::{answer_certify, answer_host_key};
use crate::app::testing::{Fixture, NEW_YEAR};

/// Root, whatever the revision is.
fn any() -> As<'static> {
    As { if_match: Some("*"), ..LOCAL }
}

/// A tenant's VM with a terminal as `alice`, an operator, and a gateway.
struct World {
    fixture: Fixture,
    vm: VmId,
    console: Value,
    gateway: GatewayId,
    user: Value,
    operator: String,
}

impl World {
    async fn start() -> Self {
        let fixture = Fixture::new().await;
        let vm = fixture.vm("web01", "ns1", "10.0.0.5").await["id"].as_str().unwrap().parse().unwrap();
        let gateway = enrolled(&fixture, 1, "gw1").await;
        fixture.app.gateways.introduced(gateway, 0, &Hello::default());
        let operator = fixture.user("usr-o", "operator:ns1").await;
        let users = fixture.get(LOCAL, "/api/v1/users").await.json();
        let is_operator = |user: &&Value| user["name"] == "usr-o";
        let user = users["items"].as_array().unwrap().iter().find(is_operator).unwrap().clone();
        let made = json!({"vm": "web01.ns1", "kind": "ssh", "login": "alice"});
        let console = fixture.post(LOCAL, "/api/v1/consoles", made).await.expect(201).json();
        Self { fixture, vm, console, gateway, user, operator }
    }

    async fn ticket(&self, who: As<'_>, console: &Value) -> Value {
        let path = format!("/api/v1/consoles/{}/tickets", console["id"].as_str().unwrap());
        self.fixture.post(who, &path, json!({})).await.expect(201).json()
    }

    async fn certify(&self, ticket: &str, key: &[u8]) -> Answer {
        answer_certify(&self.fixture.app, self.gateway, &Secret::new(ticket.to_owned()), key).await
    }

    /// Why a ticket gets no certificate.
    async fn refused(&self, ticket: &Value) -> String {
        let key = key().public_key().to_bytes().unwrap();
        let answer = self.certify(ticket["ticket"].as_str().unwrap(), &key).await;
        let Answer::Refused(why) = answer else { panic!("{answer:?}") };
        why
    }

    async fn changes(&self, path: &str, id: &Value, body: Value) {
        let path = format!("{path}/{}", id.as_str().unwrap());
        self.fixture.call(any(), "PATCH", &path, body).await.expect(200);
    }

    async fn sees(&self, key: &PrivateKey) -> Answer {
        answer_host_key(&self.fixture.app, self.gateway, self.vm, &blob(key)).await
    }

    fn keys_path(&self) -> String {
        format!("/api/v1/vms/{}/host-keys", self.vm)
    }

    /// Fingerprints and states, as the API shows them.
    async fn shown(&self, who: As<'_>) -> Vec<(String, String)> {
        let keys = self.fixture.get(who, &self.keys_path()).await.expect(200).json();
        let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
        let pair = |key: &Value| (text(key, "fingerprint"), text(key, "state"));
        let mut shown: Vec<_> = keys.as_array().unwrap().iter().map(pair).collect();
        shown.sort();
        shown
    }

    /// The same as gateways have it.
    fn published(&self) -> Vec<(String, String)> {
        let pins = self.fixture.published_of(Kind::SSH_HOST_KEY_PIN);
        let [Published::SshHostKeyPin(pin)] = &pins[..] else {
            assert!(pins.is_empty(), "one VM has shown keys");
            return Vec::new();
        };
        assert_eq!(pin.vm, self.vm);
        let word = |state| if state == PinState::Accepted { "accepted" } else { "refused" };
        let of = |blob: &[u8]| PublicKey::from_bytes(blob).unwrap().fingerprint(HashAlg::Sha256).to_string();
        let mut keys: Vec<_> =
            pin.keys.iter().map(|key| (of(&key.key.blob), word(key.state).to_owned())).collect();
        keys.sort();
        keys
    }

    async fn actions(&self) -> Vec<String> {
        let rows = self.fixture.get(LOCAL, "/api/v1/audits?limit=100").await.expect(200).json();
        rows["items"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap().into()).collect()
    }
}

fn key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

fn blob(key: &PrivateKey) -> Vec<u8> {
    key.public_key().to_bytes().unwrap()
}

fn print(key: &PrivateKey) -> String {
    key.public_key().fingerprint(HashAlg::Sha256).to_string()
}

#[tokio::test]
async fn who_holds_a_ticket_is_certified_for_the_consoles_account_for_minutes_and_it_is_written_down() {
    let world = World::start().await;
    let ticket = world.ticket(token(&world.operator), &world.console).await;
    let session = key();
    let answer = world.certify(ticket["ticket"].as_str().unwrap(), &blob(&session)).await;
    let Answer::Certified { certificate, login } = answer else { panic!("{answer:?}") };
    let certificate = Certificate::from_openssh(&certificate).unwrap();
    assert_eq!((login.as_str(), certificate.valid_principals()), ("alice", &["alice".to_owned()][..]));
    assert_eq!(certificate.public_key(), session.public_key().key_data());
    let id = ticket["session"].as_str().unwrap();
    assert!(certificate.key_id().contains("usr-o") && certificate.key_id().contains(id), "{certificate:?}");
    let now = u64::try_from(NEW_YEAR / 1_000_000).unwrap();
    assert!(certificate.valid_after() <= now && certificate.valid_before() - now <= 300);
    let extensions: Vec<_> = certificate.extensions().keys().map(String::as_str).collect();
    assert_eq!(extensions, ["permit-pty"], "a terminal and nothing else");

    let rows = world.fixture.get(LOCAL, "/api/v1/audits?limit=100").await.expect(200).json();
    let row = rows["items"].as_array().unwrap().iter().find(|row| row["action"] == "certify").unwrap();
    assert_eq!((&row["object_id"], &row["namespace"]), (&world.console["id"], &json!("ns1")));
    let after = &row["after"];
    assert_eq!((&after["session"], &after["user"]), (&ticket["session"], &world.user["id"]));
    assert_eq!((&after["login"], &after["key"]), (&json!("alice"), &json!(print(&session))));

    // Root on control's machine has no account.
    let ticket = world.ticket(LOCAL, &world.console).await;
    let answer = world.certify(ticket["ticket"].as_str().unwrap(), &blob(&session)).await;
    let Answer::Certified { certificate, .. } = answer else { panic!("{answer:?}") };
    assert!(Certificate::from_openssh(&certificate).unwrap().key_id().contains("of root,"));
}

#[tokio::test]
async fn a_ticket_that_is_none_is_over_or_is_for_another_console_gets_no_certificate() {
    let world = World::start().await;
    let screen = json!({"vm": "web01.ns1", "kind": "vnc"});
    let screen = world.fixture.post(LOCAL, "/api/v1/consoles", screen).await.expect(201).json();
    let good = world.ticket(token(&world.operator), &world.console).await;
    let of_screen = world.ticket(token(&world.operator), &screen).await;
    assert_eq!(world.refused(&of_screen).await, "the ticket is not for a terminal of this gate");
    let mut forged = good["ticket"].as_str().unwrap().to_owned();
    let last = if forged.pop().unwrap() == 'A' { 'B' } else { 'A' };
    // One character in the middle: the last has bits that say nothing.
    forged.push(last);
    forged.replace_range(40..41, if &forged[40..41] == "A" { "B" } else { "A" });
    for text in ["", "no ticket", &forged] {
        let why = world.refused(&json!({ "ticket": text })).await;
        assert_eq!(why, "the ticket is not, or no longer, good; ask for a new one", "{text:?}");
    }
    let answer = world.certify(good["ticket"].as_str().unwrap(), b"no key").await;
    assert!(matches!(&answer, Answer::Refused(why) if why == "the gate's key cannot be read"), "{answer:?}");

    // What was redeemed in its last second is certified a moment later, and not after that.
    world.fixture.pass(60 + 19);
    let answer = world.certify(good["ticket"].as_str().unwrap(), &blob(&key())).await;
    assert!(matches!(answer, Answer::Certified { .. }), "{answer:?}");
    world.fixture.pass(1);
    assert_eq!(world.refused(&good).await, "the ticket is not, or no longer, good; ask for a new one");
    assert_eq!(world.actions().await.iter().filter(|action| *action == "certify").count(), 1);
}

#[tokio::test]
async fn who_lost_what_a_terminal_takes_since_the_ticket_was_made_gets_no_certificate() {
    const NOT_ANY_MORE: &str = "you may not open this console any more";
    let world = World::start().await;
    let ticket = world.ticket(token(&world.operator), &world.console).await;
    let user = &world.user["id"];
    let granted = json!({"grants": "operator:ns1"});
    for lost in [
        json!({"enabled": false}),
        json!({"grants": "guest:ns1"}),
        json!({"grants": "operator:ns2"}),
        json!({"ssh_until": "2020-01-01T00:00:00Z"}),
    ] {
        world.changes("/api/v1/users", user, lost.clone()).await;
        assert_eq!(world.refused(&ticket).await, NOT_ANY_MORE, "{lost}");
        let given = json!({"enabled": true, "ssh_until": null, "grants": granted["grants"]});
        world.changes("/api/v1/users", user, given).await;
    }
    let key = blob(&key());
    let answer = world.certify(ticket["ticket"].as_str().unwrap(), &key).await;
    assert!(matches!(answer, Answer::Certified { .. }), "it is theirs again: {answer:?}");
    let path = format!("/api/v1/consoles/{}", world.console["id"].as_str().unwrap());
    world.fixture.call(any(), "DELETE", &path, Value::Null).await.expect(204);
    assert_eq!(world.refused(&ticket).await, "the console of this ticket does not exist any more");
}

#[tokio::test]
async fn the_first_host_key_of_a_vm_is_believed_and_another_one_waits_for_somebody() {
    let world = World::start().await;
    let (first, other) = (key(), key());
    assert!(matches!(world.sees(&first).await, Answer::HostKey(true)));
    for _ in 0..2 {
        assert!(matches!(world.sees(&other).await, Answer::HostKey(false)), "it stays refused");
    }
    assert!(matches!(world.sees(&first).await, Answer::HostKey(true)));
    let mut wanted = vec![(print(&first), "accepted".to_owned()), (print(&other), "refused".to_owned())];
    wanted.sort();
    assert_eq!(world.shown(LOCAL).await, wanted);
    assert_eq!(world.published(), wanted);
    let actions = world.actions().await;
    for (action, times) in [("pin-host-key", 1), ("refuse-host-key", 1)] {
        assert_eq!(actions.iter().filter(|seen| *seen == action).count(), times, "{action}: {actions:?}");
    }
    let again = world.fixture.reopened().await;
    let answer = answer_host_key(&again, world.gateway, world.vm, &blob(&other)).await;
    assert!(matches!(answer, Answer::HostKey(false)), "a restart believes nobody: {answer:?}");

    let garbage = answer_host_key(&world.fixture.app, world.gateway, world.vm, b"no key").await;
    assert!(matches!(&garbage, Answer::Refused(why) if why.contains("cannot be read")), "{garbage:?}");
    let nobody = VmId::from_bytes([9; 16]);
    let gone = answer_host_key(&world.fixture.app, world.gateway, nobody, &blob(&first)).await;
    assert!(matches!(&gone, Answer::Refused(why) if why.contains("does not exist any more")), "{gone:?}");
}

#[tokio::test]
async fn an_administrator_says_whose_host_key_it_is_and_nobody_less() {
    let world = World::start().await;
    let (first, other) = (key(), key());
    world.sees(&first).await;
    world.sees(&other).await;
    let (fixture, path) = (&world.fixture, world.keys_path());
    let admin = fixture.user("usr-a", "admin:ns1").await;
    let guest = fixture.user("usr-g", "guest:ns1").await;
    let stranger = fixture.user("usr-s", "admin:ns2").await;
    let says = |state: &str, key: &PrivateKey| json!({"fingerprint": print(key), "state": state});
    assert_eq!(world.shown(token(&guest)).await.len(), 2, "who sees the VM sees its keys");
    fixture.get(token(&stranger), &path).await.expect(404);
    for (who, status) in [(&world.operator, 403), (&guest, 403), (&stranger, 404)] {
        fixture.post(token(who), &path, says("accepted", &other)).await.expect(status);
    }
    assert!(matches!(world.sees(&other).await, Answer::HostKey(false)), "nothing changed");
    for (body, wanted) in [
        (json!({}), &["fingerprint required", "state required"][..]),
        (json!({"fingerprint": print(&other), "state": "trusted"}), &["state unsupported"]),
        (json!({"fingerprint": "SHA256:nothing", "state": "accepted"}), &["fingerprint unknown"]),
        (json!({"fingerprint": print(&other), "state": "accepted", "key": ""}), &["key unknown"]),
    ] {
        let answer = fixture.post(token(&admin), &path, body.clone()).await.expect(422);
        assert_eq!(answer.violations(), wanted, "{body}");
    }

    fixture.post(token(&admin), &path, says("accepted", &other)).await.expect(200);
    assert!(matches!(world.sees(&other).await, Answer::HostKey(true)));
    fixture.post(token(&admin), &path, says("refused", &first)).await.expect(200);
    assert!(matches!(world.sees(&first).await, Answer::HostKey(false)), "it may be taken back");
    assert_eq!(world.published(), world.shown(LOCAL).await);
    fixture.post(token(&admin), &path, says("forgotten", &first)).await.expect(200);
    assert_eq!(world.shown(LOCAL).await, [(print(&other), "accepted".to_owned())]);
    let rows = fixture.get(LOCAL, "/api/v1/audits?limit=100").await.expect(200).json();
    for action in ["accept-host-key", "refuse-host-key", "forget-host-key"] {
        let by = |row: &&Value| row["action"] == action && row["actor"] == "usr-a";
        assert!(rows["items"].as_array().unwrap().iter().any(|row| by(&row)), "{action}: {rows}");
    }

    // The next first key is believed again, and keys go with their VM.
    fixture.post(token(&admin), &path, says("forgotten", &other)).await.expect(200);
    assert!(world.published().is_empty());
    assert!(matches!(world.sees(&first).await, Answer::HostKey(true)));
    fixture.call(any(), "DELETE", &format!("/api/v1/vms/{}", world.vm), Value::Null).await.expect(204);
    assert!(world.published().is_empty());
}

/// Whoever answers at the VM's address may show as many as they like.
#[tokio::test]
async fn host_keys_that_a_vm_shows_are_bounded_and_the_believed_one_stays() {
    let world = World::start().await;
    let first = key();
    world.sees(&first).await;
    for _ in 0..config::limits::SSH_PINNED_KEYS_MAX + 3 {
        assert!(matches!(world.sees(&key()).await, Answer::HostKey(false)));
    }
    assert_eq!(world.shown(LOCAL).await.len(), config::limits::SSH_PINNED_KEYS_MAX);
    assert!(matches!(world.sees(&first).await, Answer::HostKey(true)));
}

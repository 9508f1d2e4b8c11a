use config::snapshot::{Kind, SshScope, Value as Published};
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use serde_json::{Value, json};

use crate::api::testing::{As, LOCAL, NOBODY, token};
use crate::app::testing::Fixture;

fn line(comment: &str) -> String {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let mut key = key.public_key().clone();
    key.set_comment(comment);
    key.to_openssh().unwrap()
}

/// A public RSA key whose modulus has so many bits; nobody has its private half.
fn rsa(bits: usize) -> String {
    let mut modulus = vec![0];
    modulus.extend(std::iter::repeat_n(0xff, bits / 8));
    let mut blob = Vec::new();
    for part in [b"ssh-rsa".as_slice(), &[1, 0, 1], &modulus] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    format!("ssh-rsa {} rsa", crate::store::text::base64(&blob))
}

impl Fixture {
    pub(super) fn published_of(&self, kind: Kind) -> Vec<Published> {
        let snapshot = std::sync::Arc::clone(&self.app.desired.current().snapshot);
        let objects = snapshot.objects().filter(|object| object.key().kind == kind);
        objects.map(|object| object.decode().unwrap()).collect()
    }

    fn person(&self, name: &str) -> config::snapshot::Principal {
        let mut people = self
            .published_of(Kind::PRINCIPAL)
            .into_iter()
            .filter_map(|value| if let Published::Principal(person) = value { Some(person) } else { None });
        people.find(|person| person.name.as_str() == name).unwrap()
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_taken_is_named_for_what_it_is() {
    let fixture = Fixture::new().await;
    fixture.user("usr1", "guest:ns1").await;
    // `ssh-keygen` refuses to make these today.
    let dsa = "ssh-dss AAAAB3NzaC1kc3MAAACBAP1/U4Ed me@example";
    let weak = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC2RUvnBGrHcpFX8hX8kaNsHdFoYR2kAFFmO3GgVdPxQYLS8sJp0mA2kMY9Wmgn";
    let options = format!("command=\"/bin/sh\",no-pty {}", line("x"));
    let two_lines = format!("{}\n{}", line("a"), line("b"));
    for (key, part) in [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n", "private key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "private key"),
        (dsa, "DSA"),
        (weak, "no OpenSSH public key"),
        (options.as_str(), "options before the key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----", "RFC 4716"),
        ("-----BEGIN PUBLIC KEY-----", "PKCS8"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "certificate"),
        (two_lines.as_str(), "one line"),
        ("hello", "no OpenSSH public key"),
        ("", "key"),
    ] {
        let answer = fixture.post(LOCAL, "/api/v1/users/usr1/keys", json!({ "key": key })).await.expect(422);
        assert!(answer.text.contains(part), "{key}: {}", answer.text);
    }
    for (bits, status) in [(1024, 422), (2048, 201), (16_384, 422)] {
        let body = json!({ "key": rsa(bits) });
        let answer = fixture.post(LOCAL, "/api/v1/users/usr1/keys", body).await.expect(status);
        assert!(status == 201 || answer.text.contains(&format!("has {bits} bits")), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_whole_authorized_keys_file_is_taken_or_nothing_of_it() {
    let fixture = Fixture::new().await;
    fixture.user("usr1", "guest:ns1").await;
    let path = "/api/v1/users/usr1/keys/import";
    let (one, other) = (line("one"), line("other two words"));
    let bad = format!("# mine\n\n{one}\nssh-dss AAAA\n{other}\nfrom=\"10.0.0.1\" {one}\n");
    let refused = fixture.post(LOCAL, path, json!({ "authorized_keys": bad })).await.expect(422);
    assert!(refused.text.contains("line 4: this is a DSA key"), "{}", refused.text);
    assert!(refused.text.contains("line 6: options"), "{}", refused.text);
    assert!(fixture.person("usr1").keys.is_empty());
    fixture.post(LOCAL, path, json!({ "authorized_keys": "# none\n" })).await.expect(422);

    let file = format!("# mine\r\n{one}\r\n\r\n{other}\n{one}\n");
    let done = fixture.post(LOCAL, path, json!({ "authorized_keys": file })).await.expect(200).json();

    assert_eq!(done["items"].as_array().unwrap().len(), 2, "the repeated line is the same key");
    assert_eq!(done["items"][1]["comment"], "other two words");
    assert_eq!(fixture.person("usr1").keys.len(), 2);
    let again = fixture.post(LOCAL, path, json!({ "authorized_keys": file })).await.expect(200).json();
    assert_eq!(
        (again["items"].as_array().unwrap().len(), again["unchanged"].as_array().unwrap().len()),
        (0, 2)
    );
    // Somebody else's key takes the whole file down.
    fixture.user("usr2", "guest:ns1").await;
    let file = format!("{}\n{one}\n", line("new"));
    fixture
        .post(LOCAL, "/api/v1/users/usr2/keys/import", json!({ "authorized_keys": file }))
        .await
        .expect(409);
    assert!(fixture.person("usr2").keys.is_empty());
}

#[tokio::test]
async fn an_authority_is_believed_revokes_and_is_taken_away() {
    let fixture = Fixture::new().await;
    let admin = fixture.user("usr1", "admin").await;
    let key = line("ca");
    let body = json!({ "name": "people", "key": key });
    fixture.post(token(&admin), "/api/v1/ssh-cas", body.clone()).await.expect(403);
    fixture.post(NOBODY, "/api/v1/ssh-cas", body.clone()).await.expect(401);
    fixture.post(LOCAL, "/api/v1/ssh-cas", json!({ "name": "a b", "key": "x" })).await.expect(422);

    fixture.post(LOCAL, "/api/v1/ssh-cas", body.clone()).await.expect(201);

    fixture.post(LOCAL, "/api/v1/ssh-cas", body).await.expect(409);
    let again = json!({ "name": "others", "key": key });
    fixture.post(LOCAL, "/api/v1/ssh-cas", again).await.expect(409);
    // It would log in as one person and sign for all.
    fixture.post(LOCAL, "/api/v1/users/usr1/keys", json!({ "key": key })).await.expect(409);
    let path = "/api/v1/ssh-cas/people/revoke";
    for body in [
        json!({}),
        json!({ "serials": [0] }),
        json!({ "serials": ["7"] }),
        json!({ "key_ids": [""] }),
        json!({ "keys": ["SHA256:x"] }),
    ] {
        fixture.post(LOCAL, path, body).await.expect(422);
    }
    let body = json!({ "serials": [7, 7], "key_ids": ["ada@old"], "keys": [line("lost")] });
    fixture.post(LOCAL, path, body).await.expect(200);
    let [Published::SshUserCa(ca)] = &fixture.published_of(Kind::SSH_USER_CA)[..] else {
        panic!("one authority")
    };
    assert!(
        ca.revokes(7, "", &[0; 32]) && ca.revokes(1, "ada@old", &[0; 32]) && !ca.revokes(1, "x", &[0; 32])
    );
    assert_eq!((ca.revoked_serials.len(), ca.revoked_keys.len()), (1, 1));
    assert_eq!(*fixture.reopened().await.desired.current().snapshot, *fixture.app.desired.current().snapshot);

    fixture.call(LOCAL, "DELETE", "/api/v1/ssh-cas/people", Value::Null).await.expect(204);
    assert!(fixture.published_of(Kind::SSH_USER_CA).is_empty());
    fixture.post(LOCAL, path, json!({ "serials": [7] })).await.expect(404);
}

#[tokio::test]
async fn a_rotation_announces_the_next_key_and_then_uses_it() {
    let fixture = Fixture::new().await;
    let guest = fixture.user("usr1", "guest:ns1").await;
    let path = "/api/v1/ssh-host-keys";
    let first = fixture.get(token(&guest), path).await.expect(200);
    assert!(!first.text.contains("PRIVATE"), "{}", first.text);
    let first = first.json();
    assert_eq!(
        (first["items"].as_array().unwrap().len(), &first["items"][0]["stage"]),
        (1, &json!("current"))
    );
    assert!(first["items"][0]["sshfp"].as_str().unwrap().starts_with("4 2 "));
    fixture.post(token(&guest), &format!("{path}/rotate"), json!({})).await.expect(403);
    fixture.post(LOCAL, &format!("{path}/rotate"), json!({ "finish": true })).await.expect(409);

    let both = fixture.post(LOCAL, &format!("{path}/rotate"), json!({})).await.expect(200).json();

    assert_eq!(
        (&both["items"][1]["stage"], &both["items"][0]["key"]),
        (&json!("next"), &first["items"][0]["key"])
    );
    let next = |fixture: &Fixture| {
        let keys = fixture.published_of(Kind::SSH_HOST_KEY).into_iter();
        keys.filter(|value| matches!(value, Published::SshHostKey(key) if key.is_next)).count()
    };
    assert_eq!((next(&fixture), fixture.published_of(Kind::SSH_HOST_KEY).len()), (1, 2));
    fixture.post(LOCAL, &format!("{path}/rotate"), json!({})).await.expect(409);
    let done =
        fixture.post(LOCAL, &format!("{path}/rotate"), json!({ "finish": true })).await.expect(200).json();
    assert_eq!(done["items"].as_array().unwrap().len(), 1);
    assert_eq!(done["items"][0]["key"], both["items"][1]["key"]);
    assert_eq!((next(&fixture), fixture.published_of(Kind::SSH_HOST_KEY).len()), (0, 1));
    assert_eq!(*fixture.reopened().await.desired.current().snapshot, *fixture.app.desired.current().snapshot);
}

#[tokio::test]
async fn host_keys_are_certified_for_the_names_that_people_type() {
    let fixture = Fixture::new().await;
    let path = "/api/v1/ssh-host-keys/certify";
    for body in [json!({}), json!({ "names": ["a b"] }), json!({ "names": ["*.example"] })] {
        fixture.post(LOCAL, path, body).await.expect(422);
    }
    let body = json!({ "names": ["Gate.example", "gate.example", "192.0.2.1"] });
    let done = fixture.post(LOCAL, path, body).await.expect(200).json();
    assert_eq!(done["names"], json!(["gate.example", "192.0.2.1"]));
    let text = done["items"][0]["certificate"].as_str().unwrap();
    let certificate = russh::keys::Certificate::from_openssh(text).unwrap();
    let authority = PublicKey::from_openssh(done["host_authority"].as_str().unwrap()).unwrap();
    assert_eq!(certificate.valid_principals(), ["gate.example", "192.0.2.1"]);
    assert_eq!(certificate.signature_key(), authority.key_data());
    certificate.verify_signature().unwrap();
    // The next key is certified from the start.
    let both = fixture.post(LOCAL, "/api/v1/ssh-host-keys/rotate", json!({})).await.expect(200).json();
    assert!(both["items"][1]["certificate"].is_string());
    let none = fixture.post(LOCAL, path, json!({ "names": [] })).await.expect(200).json();
    assert!(none["items"][0]["certificate"].is_null());
}

#[tokio::test]
async fn a_grant_names_machines_ports_and_an_end_and_goes_with_its_machine() {
    let fixture = Fixture::new().await;
    let guest = fixture.user("usr1", "").await;
    let vm = fixture.vm("web01", "ns1", "10.0.0.5").await["id"].as_str().unwrap().to_owned();
    let path = "/api/v1/users/usr1/ssh-grants";
    for (body, violation) in [
        (json!({}), "vm required"),
        (json!({ "vm": vm, "namespace": "ns1" }), "vm invalid"),
        (json!({ "namespace": "ns1", "ports": "0" }), "ports invalid"),
        (json!({ "namespace": "ns1", "ports": "9-8" }), "ports invalid"),
        (json!({ "namespace": "ns1", "ports": "22,20-30" }), "ports invalid"),
        (json!({ "namespace": "ns1", "until": "soon" }), "until invalid"),
        (json!({ "namespace": "ns1", "until": "2020-01-01T00:00:00Z" }), "until range"),
    ] {
        let answer = fixture.post(LOCAL, path, body.clone()).await.expect(422);
        assert_eq!(answer.violations(), [violation], "{body}");
    }
    fixture.post(token(&guest), path, json!({ "vm": vm })).await.expect(403);
    let body = json!({ "vm": vm, "ports": "8000-8010, 22", "until": "2030-01-31T18:00:00Z" });
    let made = fixture.post(LOCAL, path, body.clone()).await.expect(201).json();
    assert_eq!((&made["ports"], &made["vm_name"]), (&json!("22,8000-8010"), &json!("web01.ns1")));
    fixture.post(LOCAL, path, body).await.expect(409);
    let tenant = json!({ "namespace": "ns1" });
    let second = fixture.post(LOCAL, path, tenant).await.expect(201).json();
    assert_eq!(
        fixture.get(token(&guest), path).await.expect(200).json()["items"].as_array().unwrap().len(),
        2
    );
    let person = fixture.person("usr1");
    assert_eq!(person.ssh.grants.len(), 2);
    assert_eq!(person.ssh.grants[0].until_ms, Some(1_896_112_800_000));
    assert!(matches!(person.ssh.grants[0].scope, SshScope::Vm(_)));
    assert_eq!(*fixture.reopened().await.desired.current().snapshot, *fixture.app.desired.current().snapshot);

    fixture.call(LOCAL, "DELETE", &format!("/api/v1/vms/{vm}"), Value::Null).await.expect(204);
    assert_eq!(fixture.person("usr1").ssh.grants.len(), 1);
    let gone = format!("{path}/{}", second["id"].as_str().unwrap());
    fixture.call(LOCAL, "DELETE", &gone, Value::Null).await.expect(204);
    fixture.call(LOCAL, "DELETE", &gone, Value::Null).await.expect(404);
    assert!(fixture.person("usr1").ssh.grants.is_empty());
}

#[tokio::test]
async fn access_by_ssh_ends_and_is_bounded_for_a_person() {
    let fixture = Fixture::new().await;
    fixture.user("usr1", "operator:ns1").await;
    let who = || As { if_match: Some("*"), ..LOCAL };
    let path = "/api/v1/users/usr1";
    for body in
        [json!({ "ssh_until": "x" }), json!({ "ssh_sessions_max": 0 }), json!({ "ssh_sessions_max": 257 })]
    {
        fixture.call(who(), "PATCH", path, body).await.expect(422);
    }
    let body = json!({ "ssh_until": "2030-01-31T18:00:00Z", "ssh_sessions_max": 3 });
    fixture.call(who(), "PATCH", path, body).await.expect(200);
    let ssh = fixture.person("usr1").ssh;
    assert_eq!((ssh.until_ms, ssh.sessions_max), (Some(1_896_112_800_000), Some(3)));
    let body = json!({ "ssh_until": null });
    let after = fixture.call(who(), "PATCH", path, body).await.expect(200).json();
    assert_eq!((&after["ssh_until"], &after["ssh_sessions_max"]), (&Value::Null, &json!(3)));
    assert_eq!(fixture.person("usr1").ssh.until_ms, None);
}

#[tokio::test]
async fn the_gate_knows_where_control_is_and_only_the_public_half_of_the_user_authority() {
    let fixture = Fixture::new().await;
    let [Published::SshGate(gate)] = &fixture.published_of(Kind::SSH_GATE)[..] else { panic!("one gate") };
    assert!(gate.control.is_some());
    let shown = fixture.get(LOCAL, "/api/v1/ssh-host-keys").await.expect(200).json();
    let key = PublicKey::from_openssh(shown["user_authority"].as_str().unwrap()).unwrap();
    assert_eq!(*gate.user_authority.as_ref().unwrap().blob, *key.to_bytes().unwrap());

    let session = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let terminal = crate::app::ssh::own::Terminal {
        key: session.public_key(),
        login: "root",
        key_id: "usr1 at web01.ns1".into(),
    };
    let certificate = crate::app::ssh::own::certify_terminal(&fixture.app, terminal).await.unwrap();
    assert_eq!(certificate.signature_key(), key.key_data());
    assert_eq!(certificate.valid_principals(), ["root"]);
    let now = u64::try_from(crate::app::testing::NEW_YEAR / 1_000_000).unwrap();
    assert!(certificate.valid_after() <= now && certificate.valid_before() > now);
    assert!(certificate.valid_before() - certificate.valid_after() <= 300);
}

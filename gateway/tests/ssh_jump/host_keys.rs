//! How clients learn who the gate is, and that it changes: announced keys and certificates.

use std::path::Path;

use config::snapshot::{SshAccess, Value};
use russh::client::{self, Session};
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use tokio::sync::mpsc;

use crate::client::{Person, said};
use crate::gate::{ALICE, Gate, echo, host_key, new_key, person, principal, vm};

const OPERATOR: &str = "operator:ns1";

/// A gate with `web-01`, alice with a key, and the values without the host keys.
fn gate() -> Option<(Gate, Person, Vec<Value>)> {
    let gate = Gate::start();
    let alice = Person::who_makes(&["-t", "ed25519"], gate.address)?;
    let values = vec![
        Value::Vm(vm(1, "web-01", "ns1", echo())),
        person(OPERATOR, &[alice.blob()], SshAccess::default()),
    ];
    Some((gate, alice, values))
}

/// Writes what a client knows: each line is for the gate's address as known_hosts has it.
fn knows(gate: &Gate, file: &Path, lines: &[(&str, &PublicKey)]) {
    let host = format!("[{}]:{}", gate.address.ip(), gate.address.port());
    let lines = lines.iter().map(|(mark, key)| format!("{mark}{host} {}\n", key.to_openssh().unwrap()));
    std::fs::write(file, lines.collect::<String>()).unwrap();
}

/// Gets through to `web-01` as a client that believes nothing but its known_hosts.
fn strictly(alice: &Person, file: &Path, more: &[&str]) -> Result<(), String> {
    let file = format!("UserKnownHostsFile={}", file.display());
    let mut arguments = vec!["-o", "StrictHostKeyChecking=yes", "-o", &file];
    arguments.extend(more);
    arguments.extend(["-W", "web-01:22"]);
    let output = alice.run(&arguments, &[], b"hello");
    if output.stdout == b"hello" { Ok(()) } else { Err(said(&output)) }
}

fn holds(file: &Path, key: &PrivateKey) -> bool {
    let line = key.public_key().to_openssh().unwrap();
    std::fs::read_to_string(file).unwrap().contains(&line)
}

#[test]
fn a_client_that_connects_while_the_next_key_is_announced_knows_it_when_it_is_used() {
    let Some((gate, alice, values)) = gate() else { return };
    let (old, new) = (new_key(), new_key());
    let file = alice.path("known");
    let file = Path::new(&file);
    knows(&gate, file, &[("", old.public_key())]);
    let learns = ["-o", "UpdateHostKeys=yes"];

    gate.put_with_keys(values.clone(), [host_key(1, &old, false, None)]);
    strictly(&alice, file, &learns).unwrap();
    assert!(!holds(file, &new));
    gate.put_with_keys(values.clone(), [host_key(1, &old, false, None), host_key(2, &new, true, None)]);
    strictly(&alice, file, &learns).unwrap();
    assert!(holds(file, &old) && holds(file, &new), "{}", std::fs::read_to_string(file).unwrap());
    gate.put_with_keys(values, [host_key(2, &new, false, None)]);

    strictly(&alice, file, &learns).unwrap();
    assert!(!holds(file, &old) && holds(file, &new), "the old one is forgotten");
}

#[test]
fn who_did_not_connect_meanwhile_is_warned() {
    let Some((gate, alice, values)) = gate() else { return };
    let (old, new) = (new_key(), new_key());
    let file = alice.path("known");
    knows(&gate, Path::new(&file), &[("", old.public_key())]);
    gate.put_with_keys(values, [host_key(2, &new, false, None)]);

    let text = strictly(&alice, Path::new(&file), &[]).unwrap_err();

    assert!(text.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{text}");
}

/// A certificate of the gate's key by `authority`, as control makes it.
fn certificate(authority: &PrivateKey, key: &PrivateKey, name: &str) -> String {
    let mut builder = Builder::new(vec![1; 32], key.public_key().key_data().clone(), 0, u64::MAX).unwrap();
    builder.cert_type(CertType::Host).unwrap().key_id("gatehouse").unwrap().valid_principal(name).unwrap();
    builder.sign(authority).unwrap().to_openssh().unwrap()
}

#[test]
fn a_certificate_opens_to_who_knows_the_authority_and_the_plain_key_to_who_does_not() {
    let Some((gate, alice, values)) = gate() else { return };
    let (authority, other, key) = (new_key(), new_key(), new_key());
    let line = certificate(&authority, &key, &gate.address.ip().to_string());
    gate.put_with_keys(values.clone(), [host_key(1, &key, false, Some(&line))]);
    let file = alice.path("known");
    let file = Path::new(&file);
    for (known, opens) in [
        (("@cert-authority ", authority.public_key()), true),
        (("", key.public_key()), true),
        (("@cert-authority ", other.public_key()), false),
        (("", other.public_key()), false),
    ] {
        knows(&gate, file, &[known]);
        match strictly(&alice, file, &[]) {
            Ok(()) => assert!(opens, "{known:?} was believed"),
            Err(text) => assert!(!opens, "{known:?}: {text}"),
        }
    }
    // For another name it says nothing.
    let elsewhere = certificate(&authority, &key, "gate.example");
    gate.put_with_keys(values, [host_key(1, &key, false, Some(&elsewhere))]);
    knows(&gate, file, &[("@cert-authority ", authority.public_key())]);
    let text = strictly(&alice, file, &[]).unwrap_err();
    assert!(text.contains("name is not a listed principal"), "{text}");
}

/// A client that hands on what is announced to it.
struct Listening(mpsc::Sender<Vec<PublicKey>>);

impl client::Handler for Listening {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        keys: Vec<PublicKey>,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.0.send(keys).await.map_err(|_| russh::Error::SendError)
    }
}

#[tokio::test]
async fn each_announced_key_is_proved_and_no_other_nor_more_than_there_are() {
    let gate = Gate::start();
    let (alice, used, next) = (new_key(), new_key(), new_key());
    let values = [Value::Vm(vm(1, "web-01", "ns1", echo())), principal(ALICE, OPERATOR, &[&alice])];
    gate.put_with_keys(values, [host_key(1, &used, false, None), host_key(2, &next, true, None)]);
    let (tell, mut told) = mpsc::channel(1);
    let mut session = client::connect(Default::default(), gate.address, Listening(tell)).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(alice.into(), None);
    assert!(session.authenticate_publickey("openidcs", key).await.unwrap().success());
    let announced = told.recv().await.unwrap();
    let blobs = |keys: &[PublicKey]| keys.iter().map(|key| key.to_bytes().unwrap()).collect::<Vec<_>>();
    assert_eq!(blobs(&announced), blobs(&[used.public_key().clone(), next.public_key().clone()]));

    // Checks the signatures, and that there is one for each.
    session.hostkeys_prove(announced.clone()).await.unwrap();
    session.hostkeys_prove(announced[1..].to_vec()).await.unwrap();
    let stranger = new_key().public_key().clone();
    assert!(session.hostkeys_prove(vec![announced[0].clone(), stranger]).await.is_err());
    assert!(session.hostkeys_prove([announced.clone(), announced].concat()).await.is_err());

    session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap();
}

//! What the gate gives to nobody, and how it says no.

use std::process::Output;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use config::id::{KeyId, VmId};
use config::limits;
use config::snapshot::{Ports, SshAccess, SshGrant, SshKey, SshScope, SshUserCa, Value};
use russh::client::{self, Handle};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, ChannelOpenFailure};
use sha2::{Digest as _, Sha256};

use crate::client::{Person, said};
use crate::gate::{ALICE, Gate, echo, new_key, person, principal, vm};

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

async fn logged_in() -> (Gate, Handle<Trusting>) {
    let (gate, key) = (Gate::start(), new_key());
    gate.put([Value::Vm(vm(1, "web-01", "ns1", echo())), principal(ALICE, "operator:ns1", &[&key])]);
    let mut session = client::connect(Arc::default(), gate.address, Trusting).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    assert!(session.authenticate_publickey("openidcs", key).await.unwrap().success());
    (gate, session)
}

#[tokio::test]
async fn agents_screens_variables_subsystems_and_forwards_back_are_refused_and_a_jump_goes_on() {
    let (_gate, session) = logged_in().await;
    let jump = session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap();
    let mut shell = session.channel_open_session().await.unwrap();
    shell.agent_forward(true).await.unwrap();
    shell.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0).await.unwrap();
    shell.set_env(true, "LANG", "C").await.unwrap();
    shell.request_subsystem(true, "sftp").await.unwrap();
    for asked in ["agent", "X11", "variable", "subsystem"] {
        let answer = shell.wait().await;
        assert!(matches!(answer, Some(ChannelMsg::Failure)), "{asked}: {answer:?}");
    }
    assert!(session.tcpip_forward("127.0.0.1", 0).await.is_err());
    assert!(session.streamlocal_forward("/tmp/socket").await.is_err());
    assert!(session.channel_open_direct_streamlocal("/run/docker.sock").await.is_err());

    let mut jump = jump;
    crate::stalled::ping(&mut jump).await;
}

/// The kinds of the messages that the gate sent, as `ssh -vvv` writes them down.
fn steps(output: &Output) -> Vec<String> {
    let text = said(output);
    let kinds = text.lines().filter_map(|line| line.trim_end().strip_prefix("debug3: receive packet: type "));
    kinds.map(str::to_owned).collect()
}

#[test]
fn a_strangers_key_hears_what_known_ones_without_access_hear_step_by_step() {
    let gate = Gate::start();
    let Some(alice) = Person::who_makes(&["-t", "ed25519"], gate.address) else { return };
    let stranger = Person::who_makes(&["-t", "ed25519"], gate.address).unwrap();
    let web = Value::Vm(vm(1, "web-01", "ns1", echo()));
    let over = SshAccess { until_ms: Some(1), ..SshAccess::default() };
    gate.put([web.clone(), person("operator:ns1", &[alice.blob()], over)]);
    let refused = |person: &Person, login: &str| {
        let output = person.run(&["-vvv", "-l", login, "-W", "web-01:22"], &[], b"");
        assert!(said(&output).contains("Permission denied (publickey)"), "{}", said(&output));
        steps(&output)
    };
    let unknown = refused(&stranger, "openidcs");
    // 51 is SSH_MSG_USERAUTH_FAILURE: to the question who may come at all, and to the key. No key is said to be known (60).
    assert_eq!(unknown.iter().filter(|kind| *kind == "51").count(), 2, "{unknown:?}");
    assert!(!unknown.iter().any(|kind| kind == "60"), "{unknown:?}");

    for login in ["openidcs", "alice", "root", "nobody", "alice+web-01"] {
        assert_eq!(refused(&stranger, login), unknown, "a stranger as {login}");
        assert_eq!(refused(&alice, login), unknown, "without access, as {login}");
    }
    gate.put([web]);
    assert_eq!(refused(&alice, "alice"), unknown, "disabled");
}

#[test]
fn a_certificate_is_refused_by_its_key_or_its_name_once_these_are_revoked() {
    let gate = Gate::start();
    let Some(ca) = Person::who_makes(&["-t", "ed25519"], gate.address) else { return };
    let alice = Person::who_makes(&["-t", "ed25519"], gate.address).unwrap();
    alice.certify(&ca, &["-I", "laptop", "-n", "alice"]);
    let key: [u8; 32] = Sha256::digest(alice.blob()).into();
    for (ids, keys, holds) in [
        (&[][..], &[][..], true),
        (&["laptop"], &[], false),
        (&["lap", "laptop2"], &[], true),
        (&[], &[key], false),
        (&[], &[[7; 32]], true),
    ] {
        let authority = SshUserCa {
            id: KeyId::from_bytes([9; 16]),
            name: "people".into(),
            key: SshKey { blob: ca.blob().into() },
            revoked_serials: Box::default(),
            revoked_key_ids: ids.iter().map(|id| (*id).into()).collect(),
            revoked_keys: keys.into(),
        };
        gate.put([
            Value::Vm(vm(1, "web-01", "ns1", echo())),
            person("operator:ns1", &[], SshAccess::default()),
            Value::SshUserCa(authority),
        ]);
        let output = alice.run(&["-W", "web-01:22"], &[], b"hello");
        assert_eq!(output.stdout == b"hello", holds, "{ids:?} {keys:?}: {}", said(&output));
    }
}

#[test]
fn a_jump_ends_with_the_grant_that_it_stands_on() {
    let gate = Gate::start();
    let Some(alice) = Person::who_makes(&["-t", "ed25519"], gate.address) else { return };
    let grant = |until_ms| SshGrant {
        scope: SshScope::Vm(VmId::from_bytes([1; 16])),
        ports: Box::new([Ports { first: 22, last: 22 }]),
        until_ms,
    };
    let put = |until_ms| {
        let access = SshAccess { grants: Box::new([grant(until_ms)]), ..SshAccess::default() };
        let web = Value::Vm(vm(1, "web-01", "ns1", echo()));
        gate.put([web, person("guest:ns2", &[alice.blob()], access)]);
    };
    put(None);
    let mut jump = alice.start(&["-W", "web-01:22"], &[]);
    gate.wait_for_sessions(1);

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    put(Some(u64::try_from(now).unwrap() + 300));

    gate.wait_for_sessions(0);
    jump.wait().unwrap();
    let refused = alice.refused("web-01:22");
    assert!(refused.contains("administratively prohibited"), "{refused}");
}

#[tokio::test]
async fn a_connection_opens_no_more_channels_in_all_than_it_may_and_those_it_has_go_on() {
    let (_gate, session) = logged_in().await;
    let mut jump = session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap();
    let code = async |target: &str| match session.channel_open_direct_tcpip(target, 22, "127.0.0.1", 1).await
    {
        Err(russh::Error::ChannelOpenFailure(failure)) => failure.code(),
        other => panic!("{other:?}"),
    };
    for _ in 1..limits::SSH_CHANNELS_IN_ALL_MAX {
        assert_eq!(code("nowhere").await, ChannelOpenFailure::AdministrativelyProhibited.code());
    }

    assert_eq!(code("web-01").await, ChannelOpenFailure::ResourceShortage.code());

    crate::stalled::ping(&mut jump).await;
}

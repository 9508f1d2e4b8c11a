//! Which keys and certificates open the gate, for how long, and to what: ssh and ssh-keygen against it.

use std::time::{SystemTime, UNIX_EPOCH};

use config::id::KeyId;
use config::snapshot::{SshAccess, SshGate, SshKey, SshUserCa, Value};

use gateway::sync::Ends;

use crate::client::{Person, said};
use crate::gate::{Gate, echo, person, vm};

const OPERATOR: &str = "operator:ns1";

fn authority(ca: &Person, revoked_serials: &[u64]) -> Value {
    Value::SshUserCa(SshUserCa {
        id: KeyId::from_bytes([9; 16]),
        name: "people".into(),
        key: SshKey { blob: ca.blob().into() },
        revoked_serials: revoked_serials.into(),
        revoked_key_ids: Box::default(),
        revoked_keys: Box::default(),
    })
}

fn gets_through(person: &Person, more: &[&str]) -> Result<(), String> {
    let mut arguments = vec!["-W", "web-01:22"];
    arguments.extend(more);
    let output = person.run(&arguments, &[], b"hello");
    if output.stdout == b"hello" { Ok(()) } else { Err(said(&output)) }
}

#[test]
fn keys_of_every_modern_kind_open_the_gate_and_weak_ones_do_not() {
    let gate = Gate::start();
    let make = |kind: &[&str]| Person::who_makes(kind, gate.address);
    let good: Vec<_> = [
        &["-t", "ed25519"][..],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "rsa", "-b", "3072"],
    ]
    .into_iter()
    .filter_map(make)
    .collect();
    let Some(weak) = make(&["-t", "rsa", "-b", "1024"]) else { return };
    let blobs: Vec<_> = good.iter().chain([&weak]).map(Person::blob).collect();
    gate.put([Value::Vm(vm(1, "web-01", "ns1", echo())), person(OPERATOR, &blobs, SshAccess::default())]);

    for one in &good {
        gets_through(one, &[]).unwrap();
    }
    for hash in ["rsa-sha2-256", "rsa-sha2-512"] {
        gets_through(&good[4], &["-o", &format!("PubkeyAcceptedAlgorithms={hash}")]).unwrap();
    }
    let sha1 = gets_through(&good[4], &["-o", "PubkeyAcceptedAlgorithms=ssh-rsa"]).unwrap_err();
    assert!(sha1.contains("Permission denied"), "{sha1}");
    let short = gets_through(&weak, &["-o", "RequiredRSASize=1024"]).unwrap_err();
    assert!(short.contains("Permission denied"), "{short}");
}

#[test]
fn a_certificate_is_believed_when_everything_it_says_holds() {
    let gate = Gate::start();
    let Some(ca) = Person::who_makes(&["-t", "ed25519"], gate.address) else { return };
    let other = Person::who_makes(&["-t", "ed25519"], gate.address).unwrap();
    let alice = Person::who_makes(&["-t", "ed25519"], gate.address).unwrap();
    gate.put([
        Value::Vm(vm(1, "web-01", "ns1", echo())),
        person(OPERATOR, &[], SshAccess::default()),
        authority(&ca, &[13]),
    ]);
    let for_alice = ["-I", "a", "-n", "alice", "-V", "-1h:+1h"];
    let with = |more: &[&'static str]| [&for_alice[..], more].concat();
    for (options, holds) in [
        (with(&["-z", "1"]), true),
        (with(&["-n", "bob,alice"]), true),
        (with(&["-O", "source-address=127.0.0.0/8"]), true),
        (with(&["-n", "bob"]), false),
        (with(&["-V", "20200101:20200102"]), false),
        (with(&["-V", "+1h:+2h"]), false),
        (with(&["-O", "source-address=10.0.0.0/8"]), false),
        (with(&["-O", "force-command=true"]), false),
        (with(&["-O", "critical:future@example.com=x"]), false),
        (with(&["-O", "no-port-forwarding"]), false),
        (with(&["-z", "13"]), false),
        (with(&["-h"]), false),
    ] {
        alice.certify(&ca, &options);
        match gets_through(&alice, &[]) {
            Ok(()) => assert!(holds, "{options:?} was believed"),
            Err(text) => {
                assert!(!holds && text.contains("Permission denied (publickey)"), "{options:?}: {text}");
            }
        }
    }
    alice.certify(&other, &for_alice);
    assert!(gets_through(&alice, &[]).is_err(), "an authority of somebody else's was believed");
}

#[test]
fn an_authority_with_an_rsa_key_signs_with_sha2() {
    let gate = Gate::start();
    let Some(ca) = Person::who_makes(&["-t", "rsa", "-b", "2048"], gate.address) else { return };
    let alice = Person::who_makes(&["-t", "rsa", "-b", "2048"], gate.address).unwrap();
    let vm = Value::Vm(vm(1, "web-01", "ns1", echo()));
    gate.put([vm, person(OPERATOR, &[], SshAccess::default()), authority(&ca, &[])]);

    alice.certify(&ca, &["-I", "a", "-n", "alice", "-t", "rsa-sha2-256"]);
    gets_through(&alice, &[]).unwrap();
    alice.certify(&ca, &["-I", "a", "-n", "alice", "-t", "ssh-rsa"]);
    assert!(gets_through(&alice, &[]).is_err(), "a signature with SHA-1 was believed");
}

#[test]
fn a_jump_is_cut_when_its_key_goes_its_certificate_is_revoked_or_its_time_is_over() {
    let gate = Gate::start();
    let Some(ca) = Person::who_makes(&["-t", "ed25519"], gate.address) else { return };
    let alice = Person::who_makes(&["-t", "ed25519"], gate.address).unwrap();
    let web = Value::Vm(vm(1, "web-01", "ns1", echo()));
    let with_key = person(OPERATOR, &[alice.blob()], SshAccess::default());
    let without = person(OPERATOR, &[vec![1, 2, 3]], SshAccess::default());

    gate.put([web.clone(), with_key.clone()]);
    let mut jump = alice.start(&["-W", "web-01:22"], &[]);
    gate.wait_for_sessions(1);
    gate.put([web.clone(), without.clone()]);
    gate.wait_for_sessions(0);
    jump.wait().unwrap();

    alice.certify(&ca, &["-I", "a", "-n", "alice", "-z", "7"]);
    gate.put([web.clone(), without.clone(), authority(&ca, &[])]);
    let mut jump = alice.start(&["-W", "web-01:22"], &[]);
    gate.wait_for_sessions(1);
    gate.put([web.clone(), without, authority(&ca, &[7])]);
    gate.wait_for_sessions(0);
    jump.wait().unwrap();

    gate.put([web.clone(), with_key]);
    let mut jump = alice.start(&["-W", "web-01:22"], &[]);
    gate.wait_for_sessions(1);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let soon = SshAccess { until_ms: Some(since_1970 as u64 + 300), ..SshAccess::default() };
    gate.put([web, person(OPERATOR, &[alice.blob()], soon)]);
    gate.wait_for_sessions(0);
    jump.wait().unwrap();
    let refused = alice.refused("web-01:22");
    assert!(refused.contains("Permission denied"), "{refused}");
}

#[test]
fn a_person_has_no_more_jumps_than_they_may() {
    let gate = Gate::start();
    let Some(alice) = Person::who_makes(&["-t", "ed25519"], gate.address) else { return };
    let one = SshAccess { sessions_max: Some(1), ..SshAccess::default() };
    gate.put([Value::Vm(vm(1, "web-01", "ns1", echo())), person(OPERATOR, &[alice.blob()], one)]);
    let mut first = alice.start(&["-W", "web-01:22"], &[]);
    gate.wait_for_sessions(1);

    let refused = alice.refused("web-01:22");

    assert!(refused.contains("too many open sessions"), "{refused}");
    drop(first.stdin.take());
    first.wait().unwrap();
    gate.wait_for_sessions(0);
    gets_through(&alice, &[]).unwrap();
}

#[test]
fn root_alone_reaches_control_by_its_names() {
    let gate = Gate::start();
    let Some(root) = Person::who_makes(&["-t", "ed25519"], gate.address) else { return };
    let told = Value::SshGate(SshGate { control: Some(echo()), user_authority: None });
    let as_root = person("root", &[root.blob()], SshAccess::default());
    gate.put([as_root.clone(), told.clone()]);
    let unmet = root.refused("control:1880");
    assert!(unmet.contains("has not met control"), "{unmet}");
    let meets = |control: &str| {
        let ends = Ends { local: "10.0.0.1".parse().unwrap(), control: control.parse().unwrap() };
        gate.shared.control_ends.store(Some(ends.into()));
    };
    meets("10.0.0.2");
    let elsewhere = root.refused("control:1880");
    assert!(elsewhere.contains("connect failed") && elsewhere.contains("--admin"), "{elsewhere}");
    meets("10.0.0.1");
    for target in ["control:1880", "localhost:1880"] {
        let output = root.run(&["-W", target], &[], b"hello");
        assert_eq!(output.stdout, b"hello", "{}", said(&output));
    }
    for target in ["control:22", "localhost:22", "127.0.0.1:1880"] {
        let text = root.refused(target);
        assert!(text.contains("administratively prohibited"), "{target}: {text}");
    }
    gate.put([as_root]);
    let untold = root.refused("control:1880");
    assert!(untold.contains("not told where control listens"), "{untold}");

    gate.put([person(OPERATOR, &[root.blob()], SshAccess::default()), told]);
    for target in ["control:1880", "localhost:1880"] {
        let text = root.refused(target);
        assert!(text.contains("administratively prohibited"), "{target}: {text}");
    }
}

#[test]
fn ssh_audit_complains_of_nothing() {
    let gate = Gate::start();
    gate.put([]);
    let port = gate.address.port().to_string();
    let mut audit = std::process::Command::new("ssh-audit");
    audit.args(["-n", "-l", "warn", "-p", &port, "127.0.0.1"]).env("HOME", std::env::temp_dir());

    let Ok(output) = audit.output() else {
        eprintln!("skipped: ssh-audit (from PyPI; Debian's is old) is not installed");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

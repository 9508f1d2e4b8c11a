//! OpenSSH's own client against the gate.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use config::snapshot::{Value, Vm};

use crate::client::{Person, said};
use crate::gate::{ALICE, Gate, echo, new_key, principal, vm, wait_for};
use crate::stalled::nobody_reads;

/// A gate with alice, operator of `ns1`, and these VMs in force; `None` without OpenSSH's client.
fn gate_of(vms: impl IntoIterator<Item = Vm>) -> Option<(Gate, Person, Value)> {
    let (gate, key) = (Gate::start(), new_key());
    let alice = principal(ALICE, "operator:ns1", &[&key]);
    gate.put(vms.into_iter().map(Value::Vm).chain([alice.clone()]));
    let person = Person::with_key(&key, gate.address)?;
    Some((gate, person, alice))
}

#[test]
fn a_registered_key_reaches_its_vm_by_name_under_any_login() {
    let Some((gate, alice, _)) = gate_of([vm(1, "web-01", "ns1", echo())]) else { return };

    let output = alice.run(&["-W", "web-01:22", "-l", "somebody"], &[], b"hello through the gate");

    assert_eq!(output.stdout, b"hello through the gate", "{}", said(&output));
    assert!(output.status.success());
    gate.wait_for_sessions(0);
}

#[test]
fn megabytes_cross_unchanged() {
    let Some((_gate, alice, _)) = gate_of([vm(1, "web-01", "ns1", echo())]) else { return };
    let payload: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();

    let output = alice.run(&["-W", "web-01.ns1:22"], &[], &payload);

    assert_eq!(output.stdout.len(), payload.len(), "{}", said(&output));
    assert!(output.stdout == payload, "what arrived is not what was sent");
}

#[test]
fn a_strangers_key_and_a_disabled_persons_are_refused_alike() {
    let Some((gate, alice, _)) = gate_of([vm(1, "web-01", "ns1", echo())]) else { return };
    let stranger = Person::with_key(&new_key(), gate.address).unwrap();
    let to_stranger = stranger.refused("web-01:22");
    assert!(to_stranger.contains("Permission denied (publickey)"), "{to_stranger}");

    gate.put([Value::Vm(vm(1, "web-01", "ns1", echo()))]);

    let last_line = |text: &str| text.lines().last().map(str::to_owned);
    assert_eq!(last_line(&alice.refused("web-01:22")), last_line(&to_stranger));
}

#[test]
fn targets_out_of_reach_are_refused_with_the_reason() {
    let at = echo();
    let Some((gate, alice, _)) = gate_of([
        vm(1, "web-01", "ns1", at),
        vm(2, "web-02", "ns2", at),
        Vm { loopback_ok: false, ..vm(3, "inward", "ns1", at) },
        Vm { address: "169.254.169.254".parse().unwrap(), ..vm(4, "metadata", "ns1", at) },
        vm(5, "itself", "ns1", "127.0.0.1:9".parse().unwrap()),
        vm(6, "silent", "ns1", closed_port()),
    ]) else {
        return;
    };
    gate.shared.own_addresses.store(std::sync::Arc::new(vec!["0.0.0.0:9".parse().unwrap()]));
    let prohibited = "administratively prohibited";
    for (target, kind, why) in [
        ("web-02:22", prohibited, "no VM of yours"),
        ("nowhere:22", prohibited, "no VM of yours"),
        ("203.0.113.9:22", prohibited, "no VM of yours"),
        ("127.0.0.2:22", prohibited, "loopback"),
        ("localhost:22", prohibited, "loopback"),
        ("inward:22", prohibited, "loopback"),
        ("169.254.169.253:80", prohibited, "metadata service"),
        ("metadata:22", prohibited, "metadata service"),
        ("itself:22", prohibited, "listener of the gateway itself"),
        ("web-01:80", prohibited, "not open to jumps"),
        ("silent:22", "connect failed", "connection refused"),
    ] {
        let text = alice.refused(target);
        assert!(text.contains(kind) && text.contains(why), "{target}: {text}");
        assert!(!text.contains(&at.port().to_string()), "{target}: an internal address is shown: {text}");
    }
    gate.wait_for_sessions(0);
}

#[test]
fn a_word_that_means_two_vms_is_refused_with_both_names() {
    let at = echo();
    let Some((_gate, alice, _)) =
        gate_of([vm(1, "web-01", "ns1", at), vm(2, "web-02", "ns1", at), vm(3, "web-03", "ns2", at)])
    else {
        return;
    };
    let text = alice.refused("127.0.0.1:22");
    assert!(text.contains("web-01.ns1 or web-02.ns1") && !text.contains("web-03"), "{text}");
}

#[test]
fn a_shell_and_a_command_get_one_friendly_line() {
    let Some((gate, alice, _)) = gate_of([]) else { return };
    for (arguments, command) in [(&["-tt"][..], &[][..]), (&[], &[]), (&[], &["hostname"])] {
        let output = alice.run(arguments, command, b"");
        let text = said(&output);
        let lines = text.lines().filter(|line| line.contains("no shell here")).count();
        assert_eq!((output.status.code(), lines), (Some(1), 1), "{arguments:?} {command:?}: {text}");
        assert!(text.contains("ssh -J"), "{text}");
        assert!(output.stdout.is_empty());
    }
    assert!(gate.shared.sessions.is_empty());
}

#[test]
fn subsystems_and_forwards_to_the_person_are_refused() {
    let Some((_gate, alice, _)) = gate_of([]) else { return };
    let sftp = alice.run(&["-s"], &["sftp"], b"");
    assert!(!sftp.status.success() && said(&sftp).contains("subsystem request failed"), "{}", said(&sftp));
    for forward in ["0:127.0.0.1:9", "/nonexistent/socket:127.0.0.1:9"] {
        let output = alice.run(&["-N", "-R", forward], &[], b"");
        assert!(!output.status.success() && said(&output).contains("forward"), "{}", said(&output));
    }
}

#[test]
fn a_jump_is_cut_when_its_vm_is_deleted_and_others_live_on() {
    let at = echo();
    let (one, two) = (vm(1, "web-01", "ns1", at), vm(2, "web-02", "ns1", at));
    let Some((gate, alice, person)) = gate_of([one, two.clone()]) else { return };
    let mut doomed = alice.start(&["-W", "web-01:22"], &[]);
    let mut other = alice.start(&["-W", "web-02:22"], &[]);
    gate.wait_for_sessions(2);

    gate.put([Value::Vm(two), person]);

    doomed.wait().unwrap();
    gate.wait_for_sessions(1);
    let mut stdin = other.stdin.take().unwrap();
    stdin.write_all(b"still here").unwrap();
    let mut heard = [0; 10];
    other.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
    drop(stdin);
    assert!(other.wait().unwrap().success());
}

#[test]
fn a_jump_ends_with_the_connection_that_carried_it() {
    let Some((gate, alice, _)) = gate_of([vm(1, "web-01", "ns1", echo())]) else { return };
    let mut client = alice.start(&["-W", "web-01:22"], &[]);
    gate.wait_for_sessions(1);
    assert_eq!(gate.shared.sessions.list()[0].principal, Some(ALICE.to_string()));
    let typed = || gate.shared.sessions.page(None, 1).0.first().and_then(|session| session.target.clone());
    wait_for(|| typed().as_deref() == Some("web-01:22"));

    client.kill().unwrap();
    client.wait().unwrap();

    wait_for(|| gate.shared.sessions.is_empty());
}

#[test]
fn a_vm_that_never_reads_holds_up_no_other_connection() {
    // Never accepted from, so never read: what is sent fills the kernel's buffers and then the gate's.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = deaf.local_addr().unwrap();
    let Some((gate, alice, _)) = gate_of([vm(1, "deaf", "ns1", at), vm(2, "web-01", "ns1", echo())]) else {
        return;
    };
    let mut stalled = alice.start(&["-W", "deaf:22"], &[]);
    let mut stdin = stalled.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || while stdin.write_all(&[0; 65_536]).is_ok() {});
    wait_for(|| gate.shared.sessions.list().iter().any(|session| session.bytes_up > 100_000));

    let output = alice.run(&["-W", "web-01:22"], &[], b"hello");

    assert_eq!(output.stdout, b"hello", "{}", said(&output));
    assert!(gate.shared.sessions.end(gate.shared.sessions.list()[0].id.parse().unwrap()));
    stalled.wait().unwrap();
    feeding.join().unwrap();
}

#[test]
fn under_one_control_master_nineteen_channels_flow_past_one_that_stalls() {
    let (_deaf, at) = nobody_reads();
    let Some((gate, alice, _)) = gate_of([vm(1, "deaf", "ns1", at), vm(2, "web-01", "ns1", echo())]) else {
        return;
    };
    let socket = alice.path("master");
    let shared = format!("ControlPath={socket}");
    let mut master = alice.start(&["-M", "-N", "-o", &shared], &[]);
    wait_for(|| std::path::Path::new(&socket).exists());
    let mut stalled = alice.start(&["-o", &shared, "-W", "deaf:22"], &[]);
    let mut stdin = stalled.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || while stdin.write_all(&[0; 65_536]).is_ok() {});
    wait_for(|| gate.shared.sessions.list().iter().any(|session| session.bytes_up > 1_000_000));
    let payload = vec![7; 1 << 20];

    std::thread::scope(|scope| {
        for _ in 0..19 {
            scope.spawn(|| {
                let output = alice.run(&["-o", &shared, "-W", "web-01:22"], &[], &payload);
                assert!(output.stdout == payload, "{}", said(&output));
            });
        }
    });

    assert!(stalled.try_wait().unwrap().is_none() && master.try_wait().unwrap().is_none());
    alice.run(&["-o", &shared, "-O", "exit"], &[], b"");
    master.wait().unwrap();
    stalled.wait().unwrap();
    feeding.join().unwrap();
}

/// An address where nobody listens: the port was free a moment ago.
fn closed_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

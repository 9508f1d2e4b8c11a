//! Port forwards as a newcomer meets them: the real ssh and dig through them, their rules, and their CSV.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Output};

use tests::api::Api;
use tests::binaries::{Up, bin};
use tests::sshd::{KeyPair, Sshd};
use tests::wait::wait_for;

use crate::bind::Bind;
use crate::program::free_port;

fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "it was taken: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn opens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The real ssh comes to the machine behind this port.
fn by_ssh(key: &KeyPair, tcp: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = tests::sshd::client_config(folder.path(), key);
    let me = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let ssh = Command::new("ssh")
        .arg("-F")
        .arg(config)
        .args(["-p", tcp, &format!("{}@127.0.0.1", me.trim()), "echo through the gate"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ssh.stdout),
        "through the gate\n",
        "{}",
        String::from_utf8_lossy(&ssh.stderr)
    );
}

/// The real dig has an answer from the server behind this port.
async fn by_dig(udp: &str) {
    let answer = wait_for("a name is answered", || async {
        let dig = Command::new("dig")
            .args(["@127.0.0.1", "-p", udp, "+short", "+tries=1", "+time=2", "any.dyn.test", "A"])
            .output()
            .expect("dig is installed by ./test");
        Some(String::from_utf8(dig.stdout).unwrap()).filter(|text| text.contains("127.0.0.1"))
    })
    .await;
    assert_eq!(answer, "127.0.0.1\n");
}

/// What may not be forwarded is refused in words: who has the port, or what is wrong with it.
fn is_refused(up: &Up, id: &str, tcp: &str) {
    let taken = said(&up.try_cli(&["forward", "add", "tcp", tcp, "127.0.0.1:1"]));
    assert!(taken.contains(id), "the first is not named: {taken}");
    up.cli(&["forward", "add", "udp", tcp, "127.0.0.1:1"]);
    for listener in ["https", "admin"] {
        let ours = up.address(listener).port().to_string();
        let refused = said(&up.try_cli(&["forward", "add", "tcp", &ours, "127.0.0.1:1"]));
        assert!(refused.contains("used by the gateway"), "{listener}: {refused}");
    }
    for (words, why) in [
        (["tcp", "0"], "host_port: 0 is no port; ports are 1 to 65535"),
        (["tcp", "65536"], "host_port: 65536 is no port; ports are 1 to 65535"),
        (["tcp", "22a"], "host_port: \"22a\" is no port; write a number from 1 to 65535"),
        (["icmp", "10"], "protocol"),
    ] {
        let refused = said(&up.try_cli(&["forward", "add", words[0], words[1], "10.0.0.5:22"]));
        assert!(refused.contains(why), "{words:?}: {refused}");
    }
}

/// Scenario 17.
#[tokio::test(flavor = "multi_thread")]
async fn ports_lead_to_a_machine_and_whoever_is_in_the_way_is_named() {
    let Some(bind) = Bind::start().await else { return };
    let up = Up::start();
    let key = KeyPair::make("somebody");
    let sshd = Sshd::start(&key).await;
    let (tcp, udp) = (free_port().to_string(), free_port().to_string());
    let vm = sshd.address().to_string();
    let added = up.cli(&["forward", "add", "tcp", &tcp, &vm, "--note", "SSH", "-o", "json"]);
    let added: serde_json::Value = serde_json::from_str(&added).unwrap();
    wait_for("the port is open", || async { opens(tcp.parse().unwrap()).then_some(()) }).await;

    by_ssh(&key, &tcp);
    up.cli(&["forward", "add", "udp", &udp, &format!("127.0.0.1:{}", bind.port), "--note", "DNS"]);
    by_dig(&udp).await;
    let id = added["id"].as_str().unwrap();
    is_refused(&up, id, &tcp);
    let diagnosis = up.cli(&["diagnose", "forward", id]);
    for line in [
        format!("tcp {tcp} to {vm}"),
        "it is enabled".to_owned(),
        "no other forward and no listener of ours has them".to_owned(),
        "it listens, in generation".to_owned(),
        "everybody may connect".to_owned(),
        format!("{vm} accepts connections"),
        "no rule and no ip_forward are needed".to_owned(),
    ] {
        assert!(diagnosis.contains(&line), "{line:?} is missing: {diagnosis}");
    }

    // What the command says is so when it says it: no waiting here.
    let told = up.cli(&["forward", "rm", id]);
    assert!(told.contains(&format!("forward {id} deleted; closed on local")), "{told}");
    let refused = TcpStream::connect::<SocketAddr>(format!("127.0.0.1:{tcp}").parse().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(format!("127.0.0.1:{udp}")).unwrap();
    client.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    up.cli(&["forward", "rm", &format!("udp/{udp}")]);
    client.send(b"is anybody there?").unwrap();
    let refused = client.recv(&mut [0; 100]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "ICMP says so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_another_program_has_is_told_by_the_command_and_opens_when_it_is_free() {
    let up = Up::start();
    let machine = crate::flows::echo().await.to_string();
    let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = theirs.local_addr().unwrap().port().to_string();
    let add = ["forward", "add", "tcp", &port, &machine, "--bind", "127.0.0.1", "-o", "json"];
    let made = up.try_cli(&add);
    let why = format!("127.0.0.1:{port}/tcp is taken by another program");
    let warned = said(&made);
    assert!(warned.contains(&format!("warning: gateway local: paused: {why}")), "{warned}");
    assert!(warned.contains("the change is kept"), "{warned}");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["gateways"][0]["state"], "paused");
    let id = made["id"].as_str().unwrap();
    let api = Api::of(up.data());
    let shown = api.get(&format!("/api/v1/forwards/{id}")).await;
    assert!(shown["gateways"][0]["why"].as_str().unwrap().starts_with(&why), "{shown}");
    let diagnosis = up.try_cli(&["diagnose", "forward", id]);
    assert_eq!(diagnosis.status.code(), Some(1));
    let text = String::from_utf8_lossy(&diagnosis.stdout).into_owned();
    assert!(text.contains(&format!("it does not listen: {why}")) && text.contains("ss -ltnup"), "{text}");

    drop(theirs);
    let listens = || async {
        let states = api.get(&format!("/api/v1/forwards/{id}/gateways")).await;
        (states["items"][0]["state"] == "listening").then_some(())
    };
    wait_for("it listens, and control hears of it without another change", listens).await;
    up.cli(&["diagnose", "forward", id]);
    crate::flows::connected(port.parse().unwrap()).await;
    assert!(up.cli(&["forward", "disable", id]).contains("disabled; closed on local"));
    assert!(!opens(port.parse().unwrap()));
    assert!(up.cli(&["forward", "enable", id]).contains("enabled; listening on local"));

    // A port that is picked is one that nobody has.
    let all: Vec<_> = (20_000..20_003).filter_map(|port| UdpSocket::bind(("0.0.0.0", port)).ok()).collect();
    let picked = up.cli(&["forward", "add", "udp", "auto", "127.0.0.1:53", "-o", "json"]);
    let picked: serde_json::Value = serde_json::from_str(&picked).unwrap();
    assert!(picked["host_port"].as_u64().unwrap() >= 20_003, "{picked}");
    assert!(all.is_empty() || picked["warnings"].to_string().contains("was passed over"), "{picked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_forwards_to_its_own_machines_from_the_ports_that_it_may_take() {
    let up = Up::start();
    up.cli(&["vm", "add", "mine", "10.0.0.5", "--namespace", "ns1"]);
    up.cli(&["vm", "add", "theirs", "10.0.0.6", "--namespace", "ns2"]);
    up.cli(&["user", "create", "usr1", "--grant", "operator:ns1"]);
    let token = up.cli(&["token", "create", "--subject", "usr1", "--duration", "10m"]);
    let admin = up.address("admin");
    let theirs = |words: &[&str]| {
        let mut command = Command::new(bin("gatehouse"));
        command.args(["--url", &format!("http://{admin}")]).args(words).env("GATEHOUSE_TOKEN", token.trim());
        command.output().unwrap()
    };
    let port = free_port().to_string();
    // Another tenant's machine, nobody's address and the gate's own host are all literal addresses to it: root's.
    for address in ["10.0.0.6:22", "10.9.9.9:22", "127.0.0.1:22"] {
        let refused = said(&theirs(&["forward", "add", "tcp", &port, address]));
        assert!(refused.contains("this needs the grant root"), "{address}: {refused}");
    }
    let refused = said(&theirs(&["forward", "add", "tcp", &port, "theirs.ns2:22"]));
    assert!(refused.contains("theirs") && !refused.contains("10.0.0.6"), "{refused}");
    let refused = said(&theirs(&["forward", "add", "tcp", "25", "10.0.0.5:22"]));
    assert!(refused.contains("25 is not among the ports that you may take (1024-65535"), "{refused}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.csv");
    let good = format!("protocol,host_port,vm_ip,vm_port,note\ntcp,{port},10.0.0.5,22,mine\n");
    std::fs::write(&file, format!("{good}tcp,9001,10.0.0.6,22,theirs\ntcp,99999,10.0.0.5,22,port\n"))
        .unwrap();
    for dry in [&["--dry-run"][..], &[]] {
        let words = [&["forward", "import", file.to_str().unwrap()][..], dry].concat();
        let refused = said(&theirs(&words));
        for line in ["line 3: 10.0.0.6 is the address of no VM of yours", "line 4: "] {
            assert!(refused.contains(line), "{line:?} is missing: {refused}");
        }
        assert!(!refused.contains("line 2"), "{refused}");
    }
    assert_eq!(up.cli(&["forward", "export"]).lines().count(), 1, "nothing of it was taken");
    std::fs::write(&file, good).unwrap();
    assert!(theirs(&["forward", "import", file.to_str().unwrap()]).status.success());
    let exported = theirs(&["forward", "export", "-o", "json"]);
    let exported: serde_json::Value = serde_json::from_slice(&exported.stdout).unwrap();
    let wanted = serde_json::json!([{"protocol": "tcp", "host_port": port, "vm_ip": "10.0.0.5", "vm_port": "22", "note": "mine"}]);
    assert_eq!(exported, wanted);
}

/// Scenario 18.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_forwards_is_taken_whole_or_not_at_all() {
    const REFERENCE: &str = "protocol,host_port,vm_ip,vm_port,note\ntcp,8080,10.0.0.5,80,Web\ntcp,10022,10.0.0.5,22,SSH\n\
                             udp,5353,10.0.0.6,53,DNS\n";
    let up = Up::start();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let bad = format!(
        "{REFERENCE}tcp,70000,10.0.0.5,80,port\nsctp,9000,10.0.0.5,80,protocol\ntcp,9001,169.254.169.254,80,address\n\
         tcp,8080,10.0.0.7,80,twice\n"
    );
    let refused = said(&up.try_cli(&["forward", "import", &file("bad.csv", &bad)]));
    for line in ["line 5", "line 6", "line 7", "line 8"] {
        assert!(refused.contains(line), "{line} is not named: {refused}");
    }
    let short = said(&up.try_cli(&[
        "forward",
        "import",
        &file("short.csv", "protocol,host_port,vm_ip\ntcp,1,10.0.0.5\n"),
    ]));
    assert!(short.contains("vm_port"), "{short}");
    let empty = up.cli(&["forward", "export"]);
    assert_eq!(empty.lines().count(), 1, "something of it was taken: {empty}");

    let good = file("good.csv", REFERENCE);
    let plan = up.cli(&["forward", "import", &good, "--dry-run"]);
    assert!(plan.contains("8080"), "{plan}");
    assert_eq!(up.cli(&["forward", "export"]), empty, "a dry run changed something");
    up.cli(&["forward", "import", &good]);
    assert_eq!(up.cli(&["forward", "export"]), REFERENCE);
}

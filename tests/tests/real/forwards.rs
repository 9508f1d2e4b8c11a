//! Port forwards as a newcomer meets them: the real ssh and dig through them, their rules, and their CSV.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};

use tests::binaries::Up;
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

    let folder = tempfile::tempdir().unwrap();
    let config = tests::sshd::client_config(folder.path(), &key);
    let me = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let ssh = Command::new("ssh")
        .arg("-F")
        .arg(config)
        .args(["-p", &tcp, &format!("{}@127.0.0.1", me.trim()), "echo through the gate"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ssh.stdout),
        "through the gate\n",
        "{}",
        String::from_utf8_lossy(&ssh.stderr)
    );

    up.cli(&["forward", "add", "udp", &udp, &format!("127.0.0.1:{}", bind.port), "--note", "DNS"]);
    let answer = wait_for("a name is answered", || async {
        let dig = Command::new("dig")
            .args(["@127.0.0.1", "-p", &udp, "+short", "+tries=1", "+time=2", "any.dyn.test", "A"])
            .output()
            .expect("dig is installed by ./test");
        Some(String::from_utf8(dig.stdout).unwrap()).filter(|text| text.contains("127.0.0.1"))
    })
    .await;
    assert_eq!(answer, "127.0.0.1\n");

    let id = added["id"].as_str().unwrap();
    let taken = said(&up.try_cli(&["forward", "add", "tcp", &tcp, "127.0.0.1:1"]));
    assert!(taken.contains(id), "the first is not named: {taken}");
    up.cli(&["forward", "add", "udp", &tcp, "127.0.0.1:1"]);
    for listener in ["https", "admin"] {
        let ours = up.address(listener).port().to_string();
        let refused = said(&up.try_cli(&["forward", "add", "tcp", &ours, "127.0.0.1:1"]));
        assert!(refused.contains("used by the gateway"), "{listener}: {refused}");
    }
    for bad in [["tcp", "0"], ["tcp", "65536"], ["tcp", "22a"], ["icmp", "10"]] {
        let refused = up.try_cli(&["forward", "add", bad[0], bad[1], "10.0.0.5:22"]);
        assert!(matches!(refused.status.code(), Some(1 | 2)), "{bad:?} was taken");
    }
    let diagnosis = up.cli(&["diagnose", "forward", id]);
    assert!(!diagnosis.is_empty());

    up.cli(&["forward", "rm", id]);
    wait_for("the port is closed", || async { (!opens(tcp.parse().unwrap())).then_some(()) }).await;
    let refused = TcpStream::connect::<SocketAddr>(format!("127.0.0.1:{tcp}").parse().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
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

//! Scenario 16 between hosts of their own: a client that has no way to 10.0.0.5, a machine that is 10.0.0.5, and the gate
//! between them on port 22.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tests::binaries::{Up, bin};
use tests::sshd::{KeyPair, client_config};
use tests::wait::wait_for;

use super::said;
use crate::program::Program;
use crate::wires::{self, Wires, ip};

const GATE: &str = "10.88.1.1";
const CLIENT: &str = "10.88.1.2";
const GATE_INSIDE: &str = "10.0.0.1";
const MACHINE: &str = "10.0.0.5";
/// What the machine calls itself.
const HOSTNAME: &str = "machine-five";

/// Three hosts and what runs there; gone with the test, the programs first.
struct Hosts {
    programs: Vec<Program>,
    wires: Wires,
    folder: tempfile::TempDir,
    key: KeyPair,
}

impl Hosts {
    /// `None` where namespaces cannot be made.
    async fn new() -> Option<Self> {
        let wires = Wires::lay("gs", [&[CLIENT], &[GATE], &[GATE_INSIDE], &[MACHINE]])?;
        let folder = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
        let mut hosts = Self { programs: Vec::new(), wires, folder, key: KeyPair::make("usr1") };
        hosts.sshd();
        let mut up = wires::within(&hosts.wires.gate, &bin("gatehouse"));
        up.arg("up").arg("--data").arg(hosts.data()).args(["--ssh", "0.0.0.0:22"]);
        for listener in ["http", "https", "novnc", "ttyd", "admin", "sync", "gateway-admin"] {
            up.arg(format!("--{listener}")).arg("127.0.0.1:0");
        }
        let mut up = Program::start(&mut up, &hosts.folder.path().join("log"));
        up.has_children = true;
        hosts.programs.push(up);
        wait_for("the gate is there", || async {
            let said = hosts.try_cli(&["gateway", "ls", "-o", "json"])?;
            let listed: Value = serde_json::from_str(&said).ok()?;
            (listed[0]["connected"] == true).then_some(())
        })
        .await;
        Some(hosts)
    }

    /// The machine's own sshd, under a name of its own.
    fn sshd(&mut self) {
        std::fs::create_dir_all("/run/sshd").ok();
        let folder = self.folder.path();
        let host = KeyPair::make("host");
        let (host_key, authorized) = (folder.join("host"), folder.join("authorized_keys"));
        std::fs::copy(&host.file, &host_key).unwrap();
        std::fs::write(&authorized, self.key.public()).unwrap();
        let config = folder.join("sshd_config");
        let text = format!(
            "ListenAddress {MACHINE}:22\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\n",
            host_key.display(),
            authorized.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = wires::within(&self.wires.machine, Path::new("unshare"));
        let start = format!("hostname {HOSTNAME} && exec /usr/sbin/sshd -D -e -f {}", config.display());
        let sshd = Program::start(command.args(["--uts", "sh", "-c", &start]), &folder.join("sshd.log"));
        self.programs.push(sshd);
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("d")
    }

    fn try_cli(&self, words: &[&str]) -> Option<String> {
        let mut command = Command::new(bin("gatehouse"));
        let output = command.arg("--data").arg(self.data()).args(words).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn cli(&self, words: &[&str]) -> String {
        self.try_cli(words).unwrap_or_else(|| panic!("gatehouse {words:?}"))
    }

    /// `ssh WORDS` on the client's host, where `gate` is a name.
    fn ssh(&self, words: &str) -> Output {
        self.ssh_with(&self.key, words)
    }

    fn ssh_with(&self, key: &KeyPair, words: &str) -> Output {
        let config = client_config(self.folder.path(), key);
        let text = std::fs::read_to_string(&config).unwrap();
        let named = format!("Host gate\n  HostName {GATE}\n{text}");
        std::fs::write(&config, named.replace("LogLevel ERROR", "LogLevel INFO")).unwrap();
        let mut command = wires::within(&self.wires.client, Path::new("ssh"));
        command.arg("-F").arg(&config).args(words.split(' ')).stdin(Stdio::null()).output().unwrap()
    }

    /// What is said of a target that is refused.
    fn refusal(&self, target: &str) -> String {
        let output = self.ssh(&format!("-W {target} openidcs@gate"));
        assert!(!output.status.success(), "{target} must be refused");
        said(&output)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_from_a_host_that_reaches_the_gate_alone() {
    let Some(hosts) = Hosts::new().await else { return };
    hosts.cli(&["vm", "add", "web01", MACHINE]);
    hosts.cli(&["vm", "add", "theirs", "10.0.0.6", "--namespace", "ns2"]);
    hosts.cli(&["user", "create", "usr1", "--grant", "operator:default"]);
    hosts.cli(&["user", "key", "add", "usr1", hosts.key.public_file().to_str().unwrap()]);
    let answer = wait_for("the machine answers", || async {
        let output = hosts.ssh("-J openidcs@gate root@10.0.0.5 hostname");
        output.status.success().then_some(output.stdout)
    })
    .await;
    assert_eq!(String::from_utf8(answer).unwrap(), format!("{HOSTNAME}\n"));
    // The machine sees the gate; the client has no other way to it.
    let output = hosts.ssh("-J openidcs@gate root@10.0.0.5 echo $SSH_CONNECTION");
    let seen = String::from_utf8(output.stdout).unwrap();
    assert!(seen.starts_with("10.0.0.1 ") && seen.ends_with(" 10.0.0.5 22\n"), "{seen}");
    let direct = said(&hosts.ssh("root@10.0.0.5 hostname"));
    assert!(direct.contains("unreachable"), "{direct}");

    let stranger =
        said(&hosts.ssh_with(&KeyPair::make("stranger"), "-J openidcs@gate root@10.0.0.5 hostname"));
    assert!(stranger.contains("Permission denied"), "{stranger}");
    for words in ["openidcs@gate", "-A openidcs@gate", "-X openidcs@gate", "openidcs@gate hostname"] {
        let shell = hosts.ssh(words);
        assert!(!shell.status.success() && said(&shell).contains("no shell here"), "{}", said(&shell));
    }
    let remote = hosts.ssh("-N -o ExitOnForwardFailure=yes -R 0:127.0.0.1:9 openidcs@gate");
    assert!(said(&remote).contains("forwarding failed"), "{}", said(&remote));
    if Path::new("/dev/net/tun").exists() {
        let tunnel = hosts.ssh("-N -o ExitOnForwardFailure=yes -w any:any openidcs@gate");
        assert!(!tunnel.status.success() && said(&tunnel).contains("unnel"), "{}", said(&tunnel));
    }

    let refused = ["127.0.0.1:22", "169.254.169.254:80", "10.0.0.6:22", "10.0.0.1:22", "10.88.1.1:22"];
    for target in refused {
        let text = hosts.refusal(target);
        assert!(text.contains("administratively prohibited") && !text.contains("ns2"), "{target}: {text}");
    }
    wait_for("each refusal is in the audit", || async {
        let rows = hosts.cli(&["audit", "ls", "-o", "json", "--kind", "jump", "--action", "refuse"]);
        refused.iter().all(|target| rows.contains(&format!("\"{target}\""))).then_some(())
    })
    .await;

    hosts.cli(&["vm", "add", "web02", MACHINE, "--network", "blue"]);
    let which = wait_for("the second machine is known", || async {
        let output = hosts.ssh("-W 10.0.0.5:22 openidcs@gate");
        (!output.status.success()).then(|| said(&output))
    })
    .await;
    assert!(which.contains("web01.default or web02.default"), "{which}");
    let by_name = hosts.ssh("-J openidcs@gate root@web01 hostname");
    assert_eq!(String::from_utf8_lossy(&by_name.stdout), format!("{HOSTNAME}\n"), "{}", said(&by_name));
}

/// A network of its own; gone with the test.
struct Apart(String);

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).stderr(Stdio::null()).status();
    }
}

#[test]
fn who_may_not_have_port_22_or_finds_it_taken_is_told_so() {
    let apart = Apart(format!("gs{}p", std::process::id() % 100_000));
    let made = Command::new("ip").args(["netns", "add", &apart.0]).stderr(Stdio::null()).status();
    if !made.is_ok_and(|made| made.success()) {
        eprintln!("SKIPPED: network namespaces take root and iproute2");
        return;
    }
    let folder = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    ip(&format!("-n {} link set lo up", apart.0));
    let start = |data: &str, is_root: bool| {
        let mut up = Up::command(&folder.path().join(data));
        up.args(["--ssh", "127.0.0.1:22"]);
        let inner = if is_root { &up } else { &*crate::mistakes::as_nobody(&up) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &apart.0]).arg(inner.get_program()).args(inner.get_args());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        said(&output)
    };
    let forbidden = start("one", false);
    assert!(forbidden.contains("cannot listen on 127.0.0.1:22: permission denied"), "{forbidden}");
    assert!(forbidden.contains("CAP_NET_BIND_SERVICE"), "{forbidden}");

    let mut taker = Command::new("ip");
    let script = "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 22)); s.listen(); print('ready')\ns.accept()";
    taker.args(["netns", "exec", &apart.0, "python3", "-u", "-c", script]).stdout(Stdio::piped());
    let mut taker = taker.spawn().unwrap();
    taker.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let taken = start("two", true);
    taker.kill().unwrap();
    taker.wait().unwrap();
    assert!(taken.contains("cannot listen on 127.0.0.1:22: address in use"), "{taken}");
}

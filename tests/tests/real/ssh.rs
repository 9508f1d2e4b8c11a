//! The gate as a jump host, with the clients that people have: OpenSSH, dropbear, PuTTY, paramiko and asyncssh.

mod control;
mod hostile;
mod hosts;
mod life;
mod others;
mod trust;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tests::binaries::Up;
use tests::origin::Origin;
use tests::sshd::{KeyPair, Sshd, client_config};
use tests::wait::wait_for;

/// Programs, a machine called `web01`, and a person `usr1` who may reach the machines of `default`.
struct Scene {
    up: Up,
    key: KeyPair,
    vm: Sshd,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn set() -> Self {
        Self::of(Up::start()).await
    }

    async fn of(up: Up) -> Self {
        let key = KeyPair::make("usr1");
        let vm = Sshd::start(&key).await;
        let folder = tempfile::tempdir().unwrap();
        let port = vm.address().port().to_string();
        up.cli(&["vm", "add", "web01", "127.0.0.1", "--ssh-port", &port]);
        up.cli(&["user", "create", "usr1", "--grant", "operator:default"]);
        up.cli(&["user", "key", "add", "usr1", key.public_file().to_str().unwrap()]);
        let scene = Self { up, key, vm, folder };
        let there = || async { scene.jump("web01", &["true"]).status.success().then_some(()) };
        wait_for("the jump works", there).await;
        scene
    }

    fn gate(&self) -> SocketAddr {
        self.up.address("ssh")
    }

    fn config(&self) -> PathBuf {
        client_config(self.folder.path(), &self.key)
    }

    /// A client of OpenSSH's: `ssh`, `scp` or `sftp`.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.config());
        command
    }

    /// `-J openidcs@gate:port`, as the reference writes it.
    fn by_the_gate(&self) -> [String; 2] {
        ["-J".into(), format!("openidcs@{}:{}", self.gate().ip(), self.gate().port())]
    }

    /// `ssh -J openidcs@gate USER@target command`.
    fn jump(&self, target: &str, command: &[&str]) -> Output {
        let to = format!("{}@{target}", user());
        self.client("ssh").args(self.by_the_gate()).arg(to).args(command).output().unwrap()
    }

    /// `ssh ARGUMENTS openidcs@gate`, to the gate itself; everything it said.
    fn at_the_gate(&self, arguments: &[&str]) -> (bool, String) {
        let gate = self.gate();
        let output = self
            .client("ssh")
            // Why a channel is refused is said at this level.
            .args(["-o", "LogLevel=INFO", "-p", &gate.port().to_string()])
            .args(arguments)
            .arg(format!("openidcs@{}", gate.ip()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.success(), said(&output))
    }

    /// What a look at `target` through the gate is answered.
    fn refusal(&self, target: &str) -> String {
        let (went, text) = self.at_the_gate(&["-W", target]);
        assert!(!went, "{target} must be refused");
        text
    }

    /// `ssh -N …` to the gate, until it is dropped.
    fn held(&self, arguments: &[&str]) -> Held {
        let gate = self.gate();
        let child = self
            .client("ssh")
            .args(["-N", "-p", &gate.port().to_string(), "-o", "ExitOnForwardFailure=yes"])
            .args(arguments)
            .arg(format!("openidcs@{}", gate.ip()))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Held(child)
    }
}

struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn user() -> String {
    std::env::var("USER").unwrap_or_else(|_| "root".into())
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_ssh_proxy_jump_verbatim() {
    let scene = Scene::set().await;
    let hostname = Command::new("hostname").output().unwrap().stdout;
    for target in ["127.0.0.1", "web01", "web01.default"] {
        let answer = scene.jump(target, &["hostname"]);
        assert_eq!(answer.stdout, hostname, "{target}: {}", said(&answer));
    }
    // No key, or one that nobody knows.
    let stranger = KeyPair::make("stranger");
    let config = client_config(scene.folder.path(), &stranger);
    let denied = Command::new("ssh")
        .arg("-F")
        .arg(config)
        .args(scene.by_the_gate())
        .arg("root@web01")
        .output()
        .unwrap();
    let denied = said(&denied);
    assert!(denied.contains("Permission denied"), "{denied}");

    for arguments in [&["-T"][..], &["-tt"], &["-A"], &["-X"]] {
        let (went, shell) = scene.at_the_gate(arguments);
        assert!(!went && shell.to_lowercase().contains("no shell here"), "{arguments:?}: {shell}");
    }
    let (went, remote) = scene.at_the_gate(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:9"]);
    assert!(!went && remote.contains("forwarding failed"), "{remote}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_does_not_reach_is_refused_by_name() {
    let scene = Scene::set().await;
    scene.up.cli(&["vm", "add", "other", "10.9.9.9", "--namespace", "ns2"]);
    let gate = scene.gate().to_string();
    for target in [
        "127.0.0.2:22",
        "localhost:22",
        "[::1]:22",
        "169.254.169.254:80",
        "0.0.0.0:22",
        "10.9.9.9:22",
        "other:22",
        "web01:3306",
        "none:22",
        &gate,
    ] {
        let refused = scene.refusal(target);
        assert!(refused.contains("prohibited"), "{target}: {refused}");
        assert!(!refused.contains("ns2"), "another tenant's names stay unsaid: {refused}");
    }
    // Two machines with one address: which one is meant has to be said.
    let port = scene.vm.address().port().to_string();
    let second = ["vm", "add", "web02", "127.0.0.1", "--network", "blue", "--ssh-port", &port];
    scene.up.cli(&second);
    let refused = scene.refusal("127.0.0.1:22");
    assert!(refused.contains("web01.default") && refused.contains("web02.default"), "{refused}");
    assert!(scene.jump("web02", &["true"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_by_scp_and_sftp() {
    let scene = Scene::set().await;
    let folder = scene.folder.path();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(folder.join("sent"), &sent).unwrap();
    let far = folder.join("far");
    let place = format!("{}@web01:{}", user(), far.display());

    let up = scene.client("scp").args(scene.by_the_gate()).arg(folder.join("sent")).arg(&place).output();
    let up = up.unwrap();
    assert!(up.status.success(), "{}", said(&up));
    assert!(std::fs::read(&far).unwrap() == sent, "the file arrives whole");

    let down = scene.client("sftp").args(scene.by_the_gate()).arg(&place).arg(folder.join("back")).output();
    let down = down.unwrap();
    assert!(down.status.success(), "{}", said(&down));
    assert!(std::fs::read(folder.join("back")).unwrap() == sent, "and comes back whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn local_and_dynamic_forwards_reach_the_ports_that_a_grant_names() {
    let scene = Scene::set().await;
    let origin = Origin::start("behind the gate").await;
    let port = origin.url().rsplit(':').next().unwrap().trim_end_matches('/').to_owned();
    let refused = scene.refusal(&format!("web01:{port}"));
    assert!(refused.contains("prohibited"), "{refused}");
    let vm = scene.vm_id("web01");
    let ports = format!("22,{port}");
    scene.up.cli(&["ssh-grant", "add", "usr1", "--vm", &vm, "--ports", &ports, "--until", "1h"]);

    let (local, dynamic) = (tests::ports::refusing(), tests::ports::refusing());
    let forward = format!("{}:{}:web01:{port}", local.ip(), local.port());
    let _held = scene.held(&["-L", &forward, "-D", &dynamic.to_string()]);
    let socks = format!("socks5h://{dynamic}");
    for (what, arguments) in [
        ("-L", vec![format!("http://{local}/")]),
        ("-D", vec!["-x".into(), socks, format!("http://web01:{port}/")]),
    ] {
        wait_for(what, || async {
            let answer =
                Command::new("curl").args(["-sS", "--max-time", "10"]).args(&arguments).output().unwrap();
            (answer.stdout == b"behind the gate").then_some(())
        })
        .await;
    }
}

impl Scene {
    fn vm_id(&self, name: &str) -> String {
        let listed = self.up.cli(&["vm", "list", "-o", "json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let vm = listed.as_array().unwrap().iter().find(|vm| vm["name"] == name).unwrap();
        vm["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_access_is_refused() {
    let scene = Scene::set().await;
    scene.up.cli(&["user", "update", "usr1", "--ssh-until", "2020-01-01T00:00:00Z"]);
    let refused = scene.jump("web01", &["true"]);
    assert!(!refused.status.success(), "access ended in 2020");
    scene.up.cli(&["user", "update", "usr1", "--ssh-until", "never"]);
    let there = scene.jump("web01", &["true"]);
    assert!(there.status.success(), "{}", said(&there));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_the_printed_host_key_asks_nothing() {
    let scene = Scene::set().await;
    let gate = scene.gate();
    let (host, port) = (gate.ip().to_string(), gate.port().to_string());
    let known = scene.up.cli(&["ssh-host-key", "known-hosts", "--host", &host, "--port", &port]);
    let file = scene.folder.path().join("known");
    std::fs::write(&file, known).unwrap();
    let files = format!("UserKnownHostsFile={}", file.display());
    let strict = ["-o", &files, "-o", "StrictHostKeyChecking=yes", "-T"];
    let (_, shell) = scene.at_the_gate(&strict);
    assert!(shell.contains("no shell here"), "{shell}");

    let records = scene.up.cli(&["ssh-host-key", "sshfp", "--host", "gate.example"]);
    let generated =
        Command::new("ssh-keygen").args(["-r", "gate.example.", "-f"]).arg(public_file(&scene)).output();
    let generated = String::from_utf8(generated.unwrap().stdout).unwrap();
    assert!(generated.lines().any(|line| line == records.trim()), "{records} is in {generated}");

    // Its own configuration leads there, too.
    let stanza = scene.up.cli(&["ssh-config", "--host", &host, "--port", &port, "--alias", "gate"]);
    let config = scene.config();
    let own = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{stanza}{own}")).unwrap();
    let to = format!("{}@web01.default", user());
    let answer =
        Command::new("ssh").arg("-F").arg(&config).args([&to, "echo", "by", "name"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "by name", "{}", said(&answer));
}

fn public_file(scene: &Scene) -> PathBuf {
    let known = scene.up.cli(&["ssh-host-key", "known-hosts", "--host", "x", "--port", "22"]);
    let file = scene.folder.path().join("gate.pub");
    std::fs::write(&file, known.trim_start_matches("x ")).unwrap();
    file
}

//! What people did at the gate, and what was refused them, as the audit has it: by the real programs and the real `ssh`,
//! with control there and away.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tests::binaries::{Running, Up, bin};
use tests::sshd::{KeyPair, Sshd, client_config};
use tests::wait::wait_for;

/// A machine `web01` and a person `usr1` who reaches it.
struct Scene {
    directory: tempfile::TempDir,
    folder: tempfile::TempDir,
    key: KeyPair,
    vm: Sshd,
}

impl Scene {
    async fn new() -> Self {
        let key = KeyPair::make("usr1");
        let vm = Sshd::start(&key).await;
        let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
        Self { directory, folder: tempfile::tempdir().unwrap(), key, vm }
    }

    fn data(&self) -> &Path {
        self.directory.path()
    }

    async fn tell(&self, up: &Up) {
        let port = self.vm.address().port().to_string();
        up.cli(&["vm", "add", "web01", "127.0.0.1", "--ssh-port", &port]);
        up.cli(&["user", "create", "usr1", "--grant", "operator:default"]);
        up.cli(&["user", "key", "add", "usr1", self.key.public_file().to_str().unwrap()]);
        let gate = up.address("ssh");
        let there = || async { self.jump(gate, &self.key, "web01").status.success().then_some(()) };
        wait_for("the jump works", there).await;
    }

    /// `ssh -J openidcs@gate USER@target true`.
    fn jump(&self, gate: SocketAddr, key: &KeyPair, target: &str) -> Output {
        let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
        Command::new("ssh")
            .arg("-F")
            .arg(client_config(self.folder.path(), key))
            .args(["-J", &format!("openidcs@{}:{}", gate.ip(), gate.port())])
            .args([&format!("{user}@{target}"), "true"])
            .output()
            .unwrap()
    }
}

/// The rows of the audit that `filters` leave, newest first.
fn rows(up: &Up, filters: &[&str]) -> Vec<Value> {
    let said = up.cli(&[&["audit", "ls", "-o", "json", "--limit", "500"], filters].concat());
    serde_json::from_str(&said).unwrap()
}

/// Waits until so many rows are there.
async fn rows_of(up: &Up, filters: &[&str], count: usize) -> Vec<Value> {
    wait_for("the rows of the audit", || async {
        let rows = rows(up, filters);
        (rows.len() >= count).then_some(rows)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_jump_and_each_refusal_leaves_a_row() {
    let scene = Scene::new().await;
    let up = Up::start_in(scene.data(), &[]);
    scene.tell(&up).await;
    let gate = up.address("ssh");
    let fingerprint = Command::new("ssh-keygen").arg("-lf").arg(scene.key.public_file()).output().unwrap();
    let fingerprint = String::from_utf8(fingerprint.stdout).unwrap();
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();

    assert!(!scene.jump(gate, &scene.key, "169.254.169.254").status.success());
    assert!(!scene.jump(gate, &KeyPair::make("stranger"), "web01").status.success());

    let ends = rows_of(&up, &["--kind", "jump", "--action", "end"], 1).await;
    let end = ends.last().unwrap();
    assert_eq!((&end["actor"], &end["source"]), (&"usr1".into(), &"127.0.0.1".into()));
    assert_eq!((&end["namespace"], &end["method"]), (&"default".into(), &"ssh".into()));
    let after = &end["after"];
    assert_eq!(after["proof"], fingerprint);
    assert!(after["target"].as_str().unwrap().starts_with("web01:"), "{end}");
    assert_eq!(after["why"], "finished");
    assert!(
        after["bytes_up"].as_u64().unwrap() > 500 && after["bytes_down"].as_u64().unwrap() > 500,
        "{end}"
    );
    let session = &after["session"];
    let opens = rows(&up, &["--kind", "jump", "--action", "open"]);
    assert!(opens.iter().any(|open| open["after"]["session"] == *session), "each end had a beginning");

    let refused = rows_of(&up, &["--kind", "jump", "--action", "refuse", "--user", "usr1"], 1).await;
    assert_eq!(refused[0]["after"]["target"], "169.254.169.254:22");
    assert!(refused[0]["result"].as_str().unwrap().contains("169.254.169.254"), "{}", refused[0]);
    let strangers = rows_of(&up, &["--kind", "ssh", "--action", "refuse"], 1).await;
    assert_eq!(
        (&strangers[0]["actor"], &strangers[0]["after"]["login"]),
        (&"anonymous".into(), &"openidcs".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_control_is_away_is_in_the_audit_when_it_is_back() {
    let scene = Scene::new().await;
    let gate = {
        let mut up = Up::start_in(scene.data(), &[]);
        scene.tell(&up).await;
        up.stop();
        up.address("ssh")
    };
    let known = "169.254.169.254";
    for _ in 0..2 {
        let alone = gateway_alone(scene.data());
        assert!(scene.jump(gate, &scene.key, "web01").status.success());
        assert!(!scene.jump(gate, &scene.key, known).status.success());
        // What is not on the disk yet is lost with it: the rows are waited for where they lie.
        let lies = scene.data().join("gateway/audit");
        wait_for("the refusal is on the disk", || async {
            let found = std::fs::read_dir(&lies).unwrap().any(|entry| {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
                bytes.windows(known.len()).any(|window| window == known.as_bytes())
            });
            found.then_some(())
        })
        .await;
        alone.kill();
    }

    let up = Up::start_in(scene.data(), &[]);

    // One before control went, two while it was away.
    let opens = rows_of(&up, &["--kind", "jump", "--action", "open"], 3).await;
    assert!(opens.len() >= 3);
    let refused = rows_of(&up, &["--kind", "jump", "--action", "refuse"], 2).await;
    assert_eq!(refused.len(), 2, "told until it was written, and written once");
    wait_for("nothing waits any more", || async {
        let lies = std::fs::read_dir(scene.data().join("gateway/audit")).unwrap();
        let left: u64 = lies.map(|entry| entry.unwrap().metadata().map_or(0, |file| file.len())).sum();
        (left == 0).then_some(())
    })
    .await;
}

/// A gateway whose control is away.
fn gateway_alone(data: &Path) -> Running {
    let mut command = Command::new(bin("gatehouse-gateway"));
    command.arg("--data").arg(data).args(["-o", "json"]);
    for listener in ["http", "https", "ssh", "novnc", "ttyd", "gateway-admin"] {
        command.arg(format!("--{listener}")).arg("127.0.0.1:0");
    }
    command.arg("--control").arg(tests::ports::refusing().to_string());
    Running::start(command.stderr(Stdio::null()))
}

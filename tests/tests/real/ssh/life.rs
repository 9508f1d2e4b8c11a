//! What ends a jump and what does not: people disabled, sessions killed, grants taken back, control away; and two gates.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tests::binaries::signal;
use tests::sshd::{KeyPair, client_config};
use tests::wait::wait_for;

use super::{Scene, said};
use crate::flows::sessions;
use crate::programs::joined;

/// Somebody with a key.
struct Person {
    key: KeyPair,
    folder: tempfile::TempDir,
}

impl Person {
    /// A new one.
    fn named(scene: &Scene, name: &str, more: &[&str]) -> Self {
        let key = KeyPair::make(name);
        scene.up.cli(&[&["user", "create", name][..], more].concat());
        scene.up.cli(&["user", "key", "add", name, key.public_file().to_str().unwrap()]);
        Self { key, folder: tempfile::tempdir().unwrap() }
    }

    /// `ssh -W web01:22 openidcs@gate`.
    fn command(&self, gate: SocketAddr) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(client_config(self.folder.path(), &self.key));
        command.args(["-o", "LogLevel=INFO", "-W", "web01:22", "-p", &gate.port().to_string()]);
        command.arg(format!("openidcs@{}", gate.ip()));
        command
    }

    /// A jump on which `web01` has said its name.
    async fn jump(&self, gate: SocketAddr) -> Jump {
        wait_for("a jump opens", || async { Jump::open(&mut self.command(gate)) }).await
    }

    /// What a jump is refused with.
    async fn refused(&self, gate: SocketAddr) -> String {
        wait_for("a jump is refused", || async {
            let output = self.command(gate).stdin(Stdio::null()).output().unwrap();
            (!output.status.success()).then(|| said(&output))
        })
        .await
    }
}

/// An open jump; ends with the test.
struct Jump(Child);

impl Jump {
    fn open(command: &mut Command) -> Option<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut jump = Self(command.spawn().unwrap());
        let mut greeting = [0; 8];
        jump.0.stdout.as_mut().unwrap().read_exact(&mut greeting).ok()?;
        assert_eq!(&greeting, b"SSH-2.0-");
        Some(jump)
    }

    /// Whether it still carries words there and back: sshd answers a name with its offer, once.
    fn answers(&mut self) -> bool {
        let said = self.0.stdin.as_mut().unwrap().write_all(b"SSH-2.0-somebody\r\n");
        // Behind the rest of the greeting.
        said.is_ok() && self.0.stdout.as_mut().unwrap().read_exact(&mut [0; 200]).is_ok()
    }

    async fn ends(&mut self) {
        wait_for("the jump ends", || std::future::ready(self.0.try_wait().unwrap())).await;
    }
}

impl Drop for Jump {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jumps_of_a_person_end_when_the_person_is_disabled_and_others_go_on() {
    let scene = Scene::set().await;
    let gate = scene.gate();
    let (ann, bob) = (
        Person::named(&scene, "ann", &["--grant", "operator:default"]),
        Person::named(&scene, "bob", &["--grant", "operator:default"]),
    );
    let (mut hers, mut his) = (ann.jump(gate).await, bob.jump(gate).await);
    assert_eq!(sessions(&scene.up, &["--kind", "ssh", "--user", "ann"]).len(), 1);

    scene.up.cli(&["user", "update", "ann", "--enabled", "off"]);

    hers.ends().await;
    assert!(his.answers());
    let refused = ann.refused(gate).await;
    assert!(refused.contains("Permission denied (publickey)"), "{refused}");
    wait_for("hers is no session any more", || async {
        sessions(&scene.up, &["--kind", "ssh", "--user", "ann"]).is_empty().then_some(())
    })
    .await;
    let end = wait_for("the audit has it", || async {
        let said = scene.up.cli(&["audit", "ls", "-o", "json", "--kind", "jump", "--action", "end"]);
        let rows: Value = serde_json::from_str(&said).unwrap();
        rows.as_array().unwrap().iter().find(|row| row["actor"] == "ann").cloned()
    })
    .await;
    assert_ne!(end["after"]["why"], "finished", "{end}");

    scene.up.cli(&["user", "update", "ann", "--enabled", "on"]);
    assert!(ann.jump(gate).await.answers());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_that_is_killed_ends_and_the_other_of_its_person_does_not() {
    let scene = Scene::set().await;
    let ann = Person::named(&scene, "ann", &["--grant", "operator:default"]);
    let mut killed = ann.jump(scene.gate()).await;
    let listed = sessions(&scene.up, &["--kind", "ssh", "--user", "ann"]);
    assert_eq!(listed.len(), 1);
    let mut other = ann.jump(scene.gate()).await;

    scene.up.cli(&["session", "kill", listed[0]["id"].as_str().unwrap()]);

    killed.ends().await;
    assert!(other.answers());
    assert_eq!(sessions(&scene.up, &["--kind", "ssh", "--user", "ann"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_a_machine_and_its_jumps_end_when_it_is_taken_back() {
    let scene = Scene::set().await;
    let gate = scene.gate();
    let guest = Person::named(&scene, "guest", &["--grant", "guest:default"]);
    let refused = guest.refused(gate).await;
    assert!(refused.contains("administratively prohibited"), "{refused}");
    let grant = ["ssh-grant", "add", "guest", "--vm", "web01", "--until", "1h", "-o", "json"];
    let grant: Value = serde_json::from_str(&scene.up.cli(&grant)).unwrap();
    let mut jump = guest.jump(gate).await;

    scene.up.cli(&["ssh-grant", "rm", "guest", grant["id"].as_str().unwrap()]);

    jump.ends().await;
    let refused = guest.refused(gate).await;
    assert!(refused.contains("administratively prohibited"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_log_in_while_control_does_not_answer() {
    let scene = Scene::set().await;
    let ann = Person::named(&scene, "ann", &["--grant", "operator:default"]);
    drop(ann.jump(scene.gate()).await);
    let control = scene.up.pid("control");
    signal(control, "STOP");

    let mut jump = Jump::open(&mut ann.command(scene.gate()));
    let answers = jump.as_mut().is_some_and(Jump::answers);

    signal(control, "CONT");
    assert!(answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gates_have_one_host_key_and_the_second_serves_on_without_control() {
    let mut scene = Scene::set().await;
    let ann = Person::named(&scene, "ann", &["--grant", "operator:default"]);
    let elsewhere = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let token = scene.up.cli(&["gateway", "token", "create", "--name", "edge2"]);
    let second = joined(&scene.up, elsewhere.path(), "edge2", &token);
    let there = second.address("ssh");
    assert!(ann.jump(there).await.answers());
    let keys = |gate: SocketAddr| {
        let port = gate.port().to_string();
        let output =
            Command::new("ssh-keyscan").args(["-p", &port, &gate.ip().to_string()]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let keys = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, key)| key.to_owned());
        let mut keys: Vec<String> = keys.filter(|key| !key.contains("SSH-2.0")).collect();
        keys.sort();
        keys
    };
    let first = keys(scene.gate());
    assert!(!first.is_empty());
    assert_eq!(keys(there), first);
    // Open on both, and seen in one list.
    let jumps = (ann.jump(scene.gate()).await, ann.jump(there).await);
    let listed = sessions(&scene.up, &["--kind", "ssh", "--user", "ann"]);
    let mut gates: Vec<&str> = listed.iter().filter_map(|one| one["gateway"].as_str()).collect();
    gates.sort_unstable();
    assert_eq!(gates, ["edge2", "local"]);
    // Control's end would wait for the first gate's.
    drop(jumps);

    scene.up.stop();

    assert!(Jump::open(&mut ann.command(there)).is_some_and(|mut jump| jump.answers()));
    assert_eq!(keys(there), first);
}

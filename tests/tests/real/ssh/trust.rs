//! How clients come to believe the gate's host key: announced before it changes, and certified.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::wait::wait_for;

use super::{Scene, said};

impl Scene {
    /// A known_hosts of one line; the gate's address in it is what ssh looks for.
    pub(super) fn known(&self, line: &str) -> PathBuf {
        let file = self.folder.path().join("known");
        std::fs::write(&file, line).unwrap();
        file
    }

    /// What `ssh-host-key` prints for the address of the gate.
    pub(super) fn printed(&self, what: &str) -> String {
        let (host, port) = (self.gate().ip().to_string(), self.gate().port().to_string());
        self.up.cli(&["ssh-host-key", what, "--host", &host, "--port", &port])
    }

    /// Says hello as a client that believes nothing but this file, and writes down in it what it learns.
    pub(super) fn strictly(&self, file: &Path) -> Result<(), String> {
        self.strictly_by(file, "UpdateHostKeys=yes")
    }

    fn strictly_by(&self, file: &Path, learns: &str) -> Result<(), String> {
        let files = format!("UserKnownHostsFile={}", file.display());
        let options = ["-o", &files, "-o", "StrictHostKeyChecking=yes", "-o", learns];
        let (_, text) = self.at_the_gate(&[&options[..], &["-T"]].concat());
        if text.contains("no shell here") { Ok(()) } else { Err(text) }
    }

    /// The public halves of the gate's keys at this stage.
    fn keys(&self, stage: &str) -> Vec<String> {
        let listed: Value =
            serde_json::from_str(&self.up.cli(&["ssh-host-key", "ls", "-o", "json"])).unwrap();
        let keys = listed.as_array().unwrap().iter().filter(|key| key["stage"] == stage);
        keys.map(|key| key["key"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_connects_while_the_next_host_key_is_announced_is_asked_nothing_when_it_is_used() {
    let scene = Scene::set().await;
    let file = scene.known(&scene.printed("known-hosts"));
    scene.strictly(&file).unwrap();
    let old = scene.keys("current");

    scene.up.cli(&["ssh-host-key", "rotate"]);
    let next = scene.keys("next");
    assert_eq!((old.len(), next.len()), (1, 1));
    let holds = |key: &str| std::fs::read_to_string(&file).unwrap().contains(key);
    wait_for("the client learned the next key", || async {
        scene.strictly(&file).unwrap();
        holds(&next[0]).then_some(())
    })
    .await;
    assert!(holds(&old[0]), "and knows the old one on");
    scene.up.cli(&["ssh-host-key", "rotate", "--finish"]);
    assert_eq!(scene.keys("current"), next);

    wait_for("the client forgot the old key", || async {
        scene.strictly(&file).unwrap();
        (!holds(&old[0])).then_some(())
    })
    .await;
    assert!(holds(&next[0]));
    let answer = scene.jump("web01", &["true"]);
    assert!(answer.status.success(), "{}", said(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_the_authority_of_the_gate_needs_no_key_of_it() {
    let scene = Scene::set().await;
    let unasked = scene.up.try_cli(&["ssh-host-key", "cert-authority"]);
    assert!(!unasked.status.success(), "no name is certified: {}", said(&unasked));
    let plain = scene.printed("known-hosts");
    let gate = scene.gate().ip().to_string();
    scene.up.cli(&["ssh-host-key", "certify", &gate, "gate.example"]);
    let line = scene.printed("cert-authority");
    assert!(line.starts_with("@cert-authority "), "{line}");

    let file = scene.known(&line);
    wait_for("the certificate is shown", || async { scene.strictly(&file).ok() }).await;

    // A key that follows is certified, too; who pinned the plain key goes on with it.
    let pinned = scene.folder.path().join("pinned");
    std::fs::write(&pinned, plain).unwrap();
    let by_pin = || scene.strictly_by(&pinned, "UpdateHostKeys=no");
    by_pin().unwrap();
    scene.up.cli(&["ssh-host-key", "rotate"]);
    scene.up.cli(&["ssh-host-key", "rotate", "--finish"]);
    wait_for("the new key is in use", || async { by_pin().is_err().then_some(()) }).await;
    scene.strictly(&file).unwrap();

    // What the certificate says, as ssh-keygen reads it.
    let certificate = scene.folder.path().join("certificate");
    let listed: Value = serde_json::from_str(&scene.up.cli(&["ssh-host-key", "ls", "-o", "json"])).unwrap();
    std::fs::write(&certificate, listed[0]["certificate"].as_str().unwrap()).unwrap();
    let read = Command::new("ssh-keygen").arg("-Lf").arg(&certificate).output().unwrap();
    let read = said(&read);
    for word in ["ssh-ed25519-cert-v01@openssh.com host certificate", "Valid: forever", &gate, "gate.example"]
    {
        assert!(read.contains(word), "{word:?} in {read}");
    }

    // Names are taken back: the authority vouches for nothing, and the line helps nobody.
    scene.up.cli(&["ssh-host-key", "certify", "other.example"]);
    wait_for("the name is no longer certified", || async { scene.strictly(&file).is_err().then_some(()) })
        .await;
}

//! How clients come to believe the gate's host key: announced before it changes.

use std::path::PathBuf;

use serde_json::Value;
use tests::wait::wait_for;

use super::{Scene, said};

impl Scene {
    /// A known_hosts of one line; the gate's address in it is what ssh looks for.
    fn known(&self, line: &str) -> PathBuf {
        let file = self.folder.path().join("known");
        std::fs::write(&file, line).unwrap();
        file
    }

    /// What `ssh-host-key` prints for the address of the gate.
    fn printed(&self, what: &str) -> String {
        let (host, port) = (self.gate().ip().to_string(), self.gate().port().to_string());
        self.up.cli(&["ssh-host-key", what, "--host", &host, "--port", &port])
    }

    /// Jumps as a client that believes nothing but this file, and writes down in it what it learns.
    fn strictly(&self, file: &std::path::Path) -> Result<(), String> {
        let files = format!("UserKnownHostsFile={}", file.display());
        let options = ["-o", &files, "-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=yes"];
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

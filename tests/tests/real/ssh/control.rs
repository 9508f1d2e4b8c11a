//! Root reaches control's API through the gate, as the reference reaches its own: `ssh -N -L 5000:localhost:1880`.

use std::process::Command;

use tests::binaries::Up;
use tests::sshd::{KeyPair, client_config};
use tests::wait::wait_for;

use super::{Held, Scene};

impl Scene {
    /// The same scene with the client of `boss`, who is root.
    fn with_root(mut self) -> Self {
        let key = KeyPair::make("boss");
        self.up.cli(&["user", "create", "boss", "--grant", "root"]);
        self.up.cli(&["user", "key", "add", "boss", key.public_file().to_str().unwrap()]);
        self.key = key;
        self
    }

    /// What control's API answers to whom it does not know, through a forward to `target`.
    async fn api_by(&self, target: &str) -> String {
        let local = tests::ports::refusing();
        let forward = format!("{}:{}:{target}", local.ip(), local.port());
        let _held: Held = self.held(&["-L", &forward]);
        let url = format!("http://{local}/api/v1/openapi.json");
        wait_for("the API answers", || async {
            let answer = Command::new("curl").args(["-sS", "--max-time", "10", &url]).output().unwrap();
            (!answer.stdout.is_empty()).then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn root_forwards_to_control_and_an_operator_does_not() {
    let scene = Scene::set().await;
    for target in ["localhost:1880", "control:1880"] {
        let refused = scene.refusal(target);
        assert!(refused.contains("administratively prohibited"), "{target}: {refused}");
    }

    let scene = scene.with_root();

    client_config(scene.folder.path(), &scene.key);
    for target in ["localhost:1880", "control:1880"] {
        let answer = scene.api_by(target).await;
        assert!(answer.contains("\"openapi\""), "{answer}");
    }
    let gate = scene.gate().to_string();
    for target in ["localhost:1881", "localhost:22", "control:22", &gate] {
        let refused = scene.refusal(target);
        assert!(refused.contains("prohibited"), "nothing else of the gate: {target}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn root_reaches_a_control_that_listens_on_every_address() {
    let scene = Scene::of(Up::start_with_admin("0.0.0.0:0")).await.with_root();
    let answer = scene.api_by("localhost:1880").await;
    assert!(answer.contains("\"openapi\""), "{answer}");
}

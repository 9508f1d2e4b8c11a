//! Chromium with a page in it, by `tests/browser/drive.mjs`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::program::require;

/// A browser; ends when dropped.
pub(crate) struct Browser {
    _child: Child,
    steps: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    /// Starts one, or says what is missing.
    pub(crate) fn start() -> Option<Self> {
        require("chromium")?;
        let node = require("node")?;
        let library = library()?;
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/drive.mjs");
        let mut child = Command::new(node)
            .arg(driver)
            .arg(library)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let steps = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self { _child: child, steps, answers })
    }

    /// Does one step, and gives its answer.
    pub(crate) async fn step(&mut self, step: Value) -> Value {
        self.steps.write_all(format!("{step}\n").as_bytes()).await.unwrap();
        let line = tokio::time::timeout(std::time::Duration::from_secs(60), self.answers.next_line());
        let line = line.await.expect("the browser answers").unwrap().expect("the browser is there");
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer["error"].is_null(), "{step}: {}", answer["error"].as_str().unwrap_or_default());
        answer
    }

    pub(crate) async fn goto(&mut self, url: &str) -> Value {
        self.step(json!({ "do": "goto", "url": url })).await
    }

    /// Waits for a state of the page; what it says then.
    pub(crate) async fn wait(&mut self, state: &str) -> String {
        let told = self.step(json!({ "do": "wait", "state": state })).await;
        format!("{} {}", told["words"].as_str().unwrap(), told["detail"].as_str().unwrap())
    }

    pub(crate) async fn click(&mut self, on: &str) {
        self.step(json!({ "do": "click", "on": on })).await;
    }

    /// Whether an element is to be seen.
    pub(crate) async fn shows(&mut self, of: &str) -> bool {
        self.step(json!({ "do": "element", "of": of })).await["shown"].as_bool().unwrap()
    }

    /// How high an element is, in pixels.
    pub(crate) async fn height(&mut self, of: &str) -> f64 {
        self.step(json!({ "do": "element", "of": of })).await["height"].as_f64().unwrap()
    }

    /// What the window is called, and the id of what has the keyboard.
    pub(crate) async fn page(&mut self) -> (String, String) {
        let told = self.step(json!({ "do": "page" })).await;
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        (text("title"), text("focus"))
    }

    /// Waits until the element's text has `contains`.
    pub(crate) async fn text(&mut self, of: &str, contains: &str) -> String {
        let told = self.step(json!({ "do": "text", "of": of, "contains": contains })).await;
        told["text"].as_str().unwrap().to_owned()
    }

    /// A picture beside the build, for people to look at.
    pub(crate) async fn shot(&mut self, name: &str) {
        let to = build_folder().join("screenshots").join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        self.step(json!({ "do": "shot", "to": to })).await;
        assert!(std::fs::metadata(&to).unwrap().len() > 2_000, "{}", to.display());
    }

    /// Nothing was blocked by the policy of the page, nothing failed in it.
    pub(crate) async fn has_no_complaints(&mut self) {
        self.has_no_complaints_but(&[]).await;
    }

    /// The same, but for complaints that say one of these.
    pub(crate) async fn has_no_complaints_but(&mut self, expected: &[&str]) {
        let told = self.step(json!({ "do": "complaints" })).await;
        // Looking at the canvas from outside, as these tests do, is what this advice of Chromium's is about.
        let is_ours = |complaint: &&Value| {
            let text = complaint.as_str().unwrap_or_default();
            !text.contains("willReadFrequently") && !expected.iter().any(|expected| text.contains(expected))
        };
        let complaints: Vec<_> = told["complaints"].as_array().unwrap().iter().filter(is_ours).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

fn build_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().to_owned()
}

/// Where `./test` put playwright-core.
fn library() -> Option<PathBuf> {
    let folder = build_folder().join("browser");
    let is_there = folder.join("node_modules/playwright-core").is_dir();
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "playwright-core is not in {}", folder.display());
        eprintln!("SKIPPED: playwright-core is not in {}; ./test puts it there", folder.display());
    }
    is_there.then_some(folder)
}

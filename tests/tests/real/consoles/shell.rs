//! The terminal in Chromium, by SSH to a real sshd.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use tests::binaries::{Up, signal};
use tests::cut::Cut;
use tests::sshd::{KeyPair, Sshd};
use tests::wait::{wait_for, within};

use super::browser::Browser;
use super::{ask, open, ticket};

/// The screen, as text.
const ROWS: &str = "#screen .xterm-rows";

/// The real programs, a VM behind the real sshd, and a network between browser and gate that can be cut.
struct Stage {
    up: Up,
    host: KeyPair,
    _sshd: Sshd,
    network: Cut,
    folder: TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // One that is asked to stop waits for what is open.
        signal(self.up.pid("gateway"), "KILL");
    }
}

impl Stage {
    async fn start() -> Self {
        let up = Up::start();
        let host = KeyPair::make("host");
        let sshd = Sshd::start_trusting_as(&up.cli(&["ssh-host-key", "user-ca"]), &[&host]).await;
        up.cli(&["vm", "add", "web01", "127.0.0.1"]);
        up.cli(&["console", "add", "web01", "ssh", "--port", &sshd.address().port().to_string()]);
        let network = Cut::before(up.address("ttyd")).await;
        Self { up, host, _sshd: sshd, network, folder: tempfile::tempdir().unwrap() }
    }

    /// The address that a person is given, once the gate knows of the console; through the network.
    async fn address(&self) -> String {
        let gate = self.up.address("ttyd");
        let ticket = wait_for("the console is known to the gate", || async {
            let address = open(&self.up, &[]);
            let ticket = ticket(&address).to_owned();
            let told = ask(gate, &format!("/console/{ticket}"), "").await;
            told.starts_with("HTTP/1.1 426 ").then_some(ticket)
        })
        .await;
        format!("http://{}/console/{ticket}", self.network.address())
    }

    /// A page with a shell in it that has answered.
    async fn opened(&self, browser: &mut Browser) {
        browser.goto(&self.address().await).await;
        browser.wait("connected").await;
        line(browser, "PS1='$ '; clear; echo is-$((40 + 2))-up").await;
        browser.text(ROWS, "is-42-up").await;
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Types a line.
async fn line(browser: &mut Browser, text: &str) {
    browser.step(json!({ "do": "type", "text": text })).await;
    browser.step(json!({ "do": "press", "key": "Enter" })).await;
}

/// Scenario 15, by SSH: typing, UTF-8, resizing and pasting, and the end with its status.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_on_a_machine_types_resizes_and_pastes_in_a_browser() {
    let Some(mut browser) = Browser::start() else { return };
    let stage = Stage::start().await;
    stage.opened(&mut browser).await;
    browser.text("#name", "web01").await;
    line(&mut browser, "printf 'gr\u{fc}\u{df}e %s \\033[32m\u{1f7e2} green\\033[0m\\n' \u{6f22}\u{5b57}")
        .await;
    browser.text(ROWS, "gr\u{fc}\u{df}e \u{6f22}\u{5b57}").await;
    line(&mut browser, "ls -la --color=always / | head -12").await;
    browser.text(ROWS, "total").await;
    browser.shot("shell.png").await;
    // The size is the window's, and follows it.
    let (before, after) = (stage.file("before"), stage.file("after"));
    line(&mut browser, &format!("stty size > {}", before.display())).await;
    let before = wait_for("a size", || async { size(&before) }).await;
    browser.step(json!({ "do": "size", "width": 640, "height": 480 })).await;
    within("a smaller size", async {
        while !size(&after).is_some_and(|size| size.0 < before.0 && size.1 < before.1) {
            line(&mut browser, &format!("stty size > {}", after.display())).await;
        }
    })
    .await;
    browser.step(json!({ "do": "size", "width": 1000, "height": 700 })).await;

    // A long paste arrives whole, and in order.
    let long: String = (0..20_000).map(|number| format!("{number:06}")).collect();
    let pasted = stage.file("pasted");
    let (count, file) = (long.len(), pasted.display());
    line(
        &mut browser,
        &format!("stty raw -echo; echo rea''dy; head -c {count} > {file}; stty sane; echo all''there"),
    )
    .await;
    browser.text(ROWS, "ready").await;
    browser.step(json!({ "do": "paste", "into": ".xterm-helper-textarea", "text": long })).await;
    browser.text(ROWS, "allthere").await;
    let arrived = std::fs::read_to_string(&pasted).unwrap();
    assert!(arrived == long, "{} bytes of {}: {:?}…", arrived.len(), long.len(), &arrived[..40]);
    browser.has_no_complaints().await;

    line(&mut browser, "exit 7").await;
    let told = browser.wait("closed").await;
    assert!(told.contains("The shell ended with status 7."), "{told}");
    assert!(!browser.shows("#again").await, "the ticket opens nothing any more");
    browser.shot("shell-ended.png").await;
}

/// Rows and columns, as `stty size` wrote them.
fn size(file: &std::path::Path) -> Option<(u32, u32)> {
    let text = std::fs::read_to_string(file).ok()?;
    let (rows, columns) = text.trim().split_once(' ')?;
    Some((rows.parse().ok()?, columns.parse().ok()?))
}

/// A network that breaks costs nothing: the page says so, comes back by itself or when it is told to, and a program that
/// fills the screen is drawn again. What such a program asked of the terminal is not answered twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_network_breaks_comes_back_to_its_shell_and_its_screen() {
    let Some(mut browser) = Browser::start() else { return };
    let stage = Stage::start().await;
    stage.opened(&mut browser).await;
    // Asks where the cursor is and what the terminal is: a page that answers the replay types this into the shell.
    line(&mut browser, "printf 'asked\\033[6n\\033[c\\n'; read -rsd c -t 5; clear; echo ans''wered").await;
    browser.text(ROWS, "answered").await;
    stage.network.cut();
    browser.wait("connecting").await;
    browser.wait("connected").await;
    line(&mut browser, "echo and-$((2 + 2))-again").await;
    let screen = browser.text(ROWS, "and-4-again").await;
    assert!(
        !screen.contains("[?1;2c") && !screen.contains(";1R"),
        "an answer was typed into the shell: {screen}"
    );

    // Vim, on the alternate screen.
    let file = stage.file("poem");
    std::fs::write(&file, "a line of verse\n".repeat(12)).unwrap();
    line(&mut browser, &format!("vi -N -u NONE -n {}", file.display())).await;
    browser.text(ROWS, "a line of verse").await;
    stage.network.close();
    browser.text("#words", "Connecting again").await;
    browser.text("#detail", "Attempt 3").await;
    assert!(browser.shows("#again").await, "it may be told to come back at once");
    browser.shot("shell-lost.png").await;
    stage.network.cut();
    browser.click("#again").await;
    browser.wait("connected").await;
    browser.text(ROWS, "a line of verse").await;
    browser.shot("shell-vim-again.png").await;
    // A key of the mode that was set before: application cursor keys.
    browser.step(json!({ "do": "press", "key": "ArrowDown" })).await;
    browser.step(json!({ "do": "type", "text": "Oinserted" })).await;
    browser.step(json!({ "do": "press", "key": "Escape" })).await;
    line(&mut browser, ":wq").await;
    wait_for("vim has written", || async {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().nth(1).is_some_and(|line| line == "inserted").then_some(())
    })
    .await;
    // A reload is the same page, as far as the gate knows.
    browser.step(json!({ "do": "reload" })).await;
    browser.wait("connected").await;
    line(&mut browser, "echo rel''oaded").await;
    browser.text(ROWS, "reloaded").await;
    browser.has_no_complaints_but(&["net::ERR_", "WebSocket connection"]).await;
}

/// What ended a shell while its page was away is told when it is back, after what kept it away.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_was_ended_while_its_page_was_away_is_told_by_its_end() {
    let Some(mut browser) = Browser::start() else { return };
    let stage = Stage::start().await;
    stage.opened(&mut browser).await;
    stage.network.close();
    browser.wait("connecting").await;
    let sessions: serde_json::Value =
        serde_json::from_str(&stage.up.cli(&["session", "ls", "-o", "json"])).unwrap();
    let session = sessions[0]["id"].as_str().or(sessions["items"][0]["id"].as_str()).unwrap().to_owned();
    stage.up.cli(&["session", "kill", &session]);
    stage.network.cut();
    let told = browser.wait("closed").await;
    assert!(
        told.starts_with("The connection was lost. This terminal was ended by a change or by somebody."),
        "{told}"
    );
    browser.shot("shell-killed.png").await;
}

/// Without a mouse: every key is the shell's but one, which leads out; and what the window is called.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_used_and_left_by_the_keyboard_alone() {
    let Some(mut browser) = Browser::start() else { return };
    let stage = Stage::start().await;
    stage.opened(&mut browser).await;
    let (title, focus) = browser.page().await;
    assert_eq!(
        (title.as_str(), focus.as_str()),
        ("web01 \u{b7} terminal", ""),
        "xterm's own has the keyboard"
    );
    // Tab is the shell's.
    std::fs::write(stage.file("a-long-name-here"), "").unwrap();
    browser.step(json!({ "do": "type", "text": format!("ls {}/a-lo", stage.folder.path().display()) })).await;
    browser.step(json!({ "do": "press", "key": "Tab" })).await;
    browser.text(ROWS, "a-long-name-here").await;
    browser.step(json!({ "do": "press", "key": "Control+c" })).await;
    line(&mut browser, "printf '\\033]0;a title\\007'; echo ent''itled").await;
    browser.text(ROWS, "entitled").await;
    wait_title(&mut browser, "a title \u{b7} web01").await;

    browser.step(json!({ "do": "press", "key": "Control+Shift+F6" })).await;
    assert_eq!(browser.page().await.1, "smaller");
    for (key, focus) in [("Tab", "larger"), ("Tab", "paste"), ("Enter", "paste-text")] {
        browser.step(json!({ "do": "press", "key": key })).await;
        assert_eq!(browser.page().await.1, focus, "after {key}");
    }
    browser.shot("shell-keyboard.png").await;
    browser.step(json!({ "do": "type", "text": "echo pas''ted" })).await;
    browser.step(json!({ "do": "press", "key": "Tab" })).await;
    browser.step(json!({ "do": "press", "key": "Enter" })).await;
    assert_eq!(browser.page().await.1, "", "it goes on in the terminal");
    browser.step(json!({ "do": "press", "key": "Enter" })).await;
    browser.text(ROWS, "pasted").await;
    browser.has_no_complaints().await;
}

/// Waits until the window is called so.
async fn wait_title(browser: &mut Browser, wanted: &str) {
    within(&format!("the window is called {wanted:?}"), async { while browser.page().await.0 != wanted {} })
        .await;
}

/// Each way in which no shell opens is told as it is, and is no used ticket.
#[tokio::test(flavor = "multi_thread")]
async fn why_no_shell_opened_is_told_in_the_browser() {
    let Some(mut browser) = Browser::start() else { return };
    let stage = Stage::start().await;
    stage.opened(&mut browser).await;
    line(&mut browser, "exit").await;
    browser.wait("closed").await;

    // Somebody else answers where the VM was.
    let console = stage.up.cli(&["console", "list", "-o", "json"]);
    let console: serde_json::Value = serde_json::from_str(&console).unwrap();
    let console = console[0]["id"].as_str().or(console["items"][0]["id"].as_str()).unwrap().to_owned();
    let other = Sshd::start_trusting(&stage.up.cli(&["ssh-host-key", "user-ca"])).await;
    let moved = |port: u16| stage.up.cli(&["console", "update", &console, "--port", &port.to_string()]);
    moved(other.address().port());
    refused(&stage, &mut browser, "another SSH host key").await;
    browser.shot("shell-changed.png").await;

    // The right key, and nobody is let in.
    let stranger = Sshd::start_trusting_as(&KeyPair::make("nobody").public(), &[&stage.host]).await;
    moved(stranger.address().port());
    refused(&stage, &mut browser, "does not let").await;
    moved(tests::ports::refusing().port());
    refused(&stage, &mut browser, "cannot be reached").await;
    browser.has_no_complaints().await;
}

/// Opens a terminal that does not open, and wants these words: at once, and with nothing to try again.
async fn refused(stage: &Stage, browser: &mut Browser, words: &str) {
    let told = loop {
        browser.goto(&stage.address().await).await;
        let told = browser.step(json!({ "do": "settled" })).await;
        // Until the gate has heard of the change it opens what was there before.
        if told["state"] == "closed" && told["words"].as_str().unwrap().contains(words) {
            break told;
        }
        assert_eq!(told["state"], "connected", "{told}");
        browser.click("#leave").await;
    };
    assert_eq!(told["detail"], "Code 4000", "{told}");
    assert!(!browser.shows("#again").await, "the ticket opens nothing any more");
}

//! What a terminal may cost the real gateway: memory is bounded, whoever does not read.

use tests::binaries::{Up, signal};
use tests::sshd::Sshd;
use tests::wait::{wait_for, within};

use super::Page;

/// The real programs, and a VM behind the real sshd.
struct Gate {
    up: Up,
    _sshd: Sshd,
}

impl Drop for Gate {
    fn drop(&mut self) {
        // One that is asked to stop waits for what is open.
        signal(self.up.pid("gateway"), "KILL");
    }
}

impl Gate {
    async fn start() -> Self {
        let up = Up::start();
        let sshd = Sshd::start_trusting(&up.cli(&["ssh-host-key", "user-ca"])).await;
        up.cli(&["vm", "add", "web01", "127.0.0.1"]);
        up.cli(&["console", "add", "web01", "ssh", "--port", &sshd.address().port().to_string()]);
        Self { up, _sshd: sshd }
    }

    /// A terminal with a shell that has answered.
    async fn open(&self) -> Page {
        let mut page = wait_for("the terminal opens", || async {
            let address = self.up.cli(&["console", "open", "web01"]);
            let ticket = address.trim().rsplit('/').next().unwrap().to_owned();
            Page::open(self.up.address("ttyd"), &ticket).await.ok()
        })
        .await;
        page.run("echo is-$((40 + 2))-up").await;
        page.prints("is-42-up").await;
        page
    }

    /// Bytes for each of `terminals` that `work` makes the gateway hold at most.
    async fn grows(&self, terminals: u64, work: impl Future<Output = ()>) -> u64 {
        let before = self.up.resident_bytes("gateway");
        work.await;
        self.up.resident_bytes_most("gateway").saturating_sub(before) / terminals
    }
}

/// Sends input until nobody takes any more for a while.
pub(super) async fn stuff(page: &mut Page) {
    let piece = "x".repeat(64 * 1024 - 1);
    // More than the kernel's buffers, sshd's window and the gate may take together.
    for _ in 0..2_000 {
        let sent = page.say('0', &piece);
        // No more room on the way is what is waited for here, not a time.
        if tokio::time::timeout(std::time::Duration::from_secs(2), sent).await.is_err() {
            return;
        }
    }
    panic!("somebody takes everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_no_program_reads_is_bounded() {
    const TERMINALS: usize = 6;
    let gate = Gate::start().await;
    let mut pages = Vec::new();
    for _ in 0..TERMINALS {
        let mut page = gate.open().await;
        // What is typed stays in the terminal, which stops taking it when it is full.
        page.run("stty raw -echo; printf 'deaf\\n'; exec sleep 600").await;
        page.prints("deaf\n").await;
        pages.push(page);
    }
    let each = gate
        .grows(TERMINALS as u64, async {
            futures_util::future::join_all(pages.iter_mut().map(stuff)).await;
        })
        .await;
    eprintln!("{} KiB for each of {TERMINALS} terminals that nobody reads in", each / 1024);
    assert!(each < 2 * 1024 * 1024, "{each} bytes for one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_longer_than_a_terminal_takes_is_refused_in_words() {
    let gate = Gate::start().await;
    let mut page = gate.open().await;
    page.say('0', &"#".repeat(64 * 1024 - 1)).await.unwrap();
    page.run("\u{3}").await;
    page.run("echo still-$((1 + 1))-here").await;
    page.prints("still-2-here").await;
    // The gate may close before all of it was written.
    let _ = within("a long message", page.say('0', &"#".repeat(64 * 1024))).await;
    let end = page.ends().await;
    assert_eq!((u16::from(end.code), end.reason.contains("larger")), (1009, true), "{end:?}");
}

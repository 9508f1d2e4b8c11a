//! What a terminal may cost the real gateway: memory is bounded, whoever does not read.

use serde_json::Value;
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

    /// A terminal in which nobody reads: what is typed stays in it, and it stops taking any when it is full.
    async fn deaf(&self) -> Page {
        let mut page = self.open().await;
        page.run("stty raw -echo; printf 'deaf\\n'; exec sleep 600").await;
        page.prints("deaf\n").await;
        page
    }

    /// Waits until nothing moves in any terminal any more; the bytes that all of them printed until then.
    async fn stands_still(&self) -> u64 {
        let (mut last, mut looks) = (0, 0);
        wait_for("nothing moves any more", || {
            let listed: Value = serde_json::from_str(&self.up.cli(&["session", "ls", "-o", "json"])).unwrap();
            let items = listed["items"].as_array().or(listed.as_array()).unwrap();
            let now: u64 = items.iter().map(|item| item["bytes_down"].as_u64().unwrap()).sum();
            looks = if now == last { looks + 1 } else { 0 };
            last = now;
            let is_still = now > 1_000_000 && looks >= 20;
            async move { is_still.then_some(now) }
        })
        .await
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
    const TERMINALS: usize = 16;
    let gate = Gate::start().await;
    let mut first = gate.deaf().await;
    let mut pages = Vec::new();
    for _ in 0..TERMINALS {
        pages.push(gate.deaf().await);
    }
    // What the first one costs is the program's own: code that was not run before, the allocator's first pages.
    stuff(&mut first).await;
    let each = gate
        .grows(TERMINALS as u64, async {
            futures_util::future::join_all(pages.iter_mut().map(stuff)).await;
        })
        .await;
    eprintln!("{} KiB for each of {TERMINALS} terminals that nobody reads in", each / 1024);
    assert!(each < 2 * 1024 * 1024, "{each} bytes for one");
}

/// Last of the numbers that a flood counts to: 39 MB of them.
const LAST: u32 = 5_000_000;

/// A page that reads nothing stops its shell and costs next to nothing; once it reads, nothing is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_to_a_page_that_does_not_read_is_bounded_and_arrives_whole() {
    const TERMINALS: usize = 16;
    let flood = format!("stty -opost -echo; echo fl''ood; seq 1 {LAST}; echo ov''er");
    let gate = Gate::start().await;
    let mut first = gate.open().await;
    let mut pages = Vec::new();
    for _ in 0..TERMINALS {
        pages.push(gate.open().await);
    }
    first.run(&flood).await;
    let of_first = gate.stands_still().await;
    let mut taken = 0;
    let each = gate
        .grows(TERMINALS as u64, async {
            for page in &mut pages {
                page.run(&flood).await;
            }
            taken = gate.stands_still().await - of_first;
        })
        .await;
    let whole: u64 = (1..=LAST).map(|number| u64::from(number.ilog10()) + 2).sum();
    let all = whole * TERMINALS as u64;
    eprintln!("{taken} bytes of {all} were taken from {TERMINALS} shells; {} KiB for each page", each / 1024);
    // What was taken lies in the kernel's buffers of a socket of loopback, and in the window.
    assert!(taken < all / 2, "the shells were not stopped: {taken} of {all}");
    // The window, the queue, what is remembered and the write buffer, 1.5 MiB, in an allocator's pages.
    assert!(each < 3 * 1024 * 1024, "{each} bytes for one");
    for page in &mut pages {
        assert_eq!(counted(page).await, whole, "bytes of one flood");
    }
}

/// Reads a flood, each number of which follows the one before; its bytes.
async fn counted(page: &mut Page) -> u64 {
    let before = page.prints("flood\n").await;
    // All that came is given: what follows the mark is of the flood.
    let mut next = 1;
    let mut bytes = 0;
    let mut rest = before.rsplit_once("flood\n").unwrap().1.to_owned();
    loop {
        let lines = rest.split_inclusive('\n');
        let mut left = String::new();
        for line in lines {
            if !line.ends_with('\n') {
                left = line.to_owned();
            } else if line == "over\n" {
                assert_eq!(next, LAST + 1);
                return bytes;
            } else {
                assert_eq!(line.trim_end().parse(), Ok(next), "{line:?}");
                next += 1;
                bytes += line.len() as u64;
            }
        }
        let more = within("more of the flood", page.next()).await.unwrap();
        rest = left + &more;
    }
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

//! Two controls over one PostgreSQL: one of them carries orders on, and the other goes on with the same order when it dies.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::wait::{DEADLINE, wait_at_most};

use crate::killed::tap::{Moment, Tap};
use crate::machine::{Machine, only};
use crate::pebble::{self, Pebble};
use crate::program::{Program, until};

/// A server of our own that listens at a socket alone.
struct Postgres {
    url: String,
    _server: Program,
    _folder: tempfile::TempDir,
}

impl Postgres {
    /// `None` where none is installed.
    async fn start() -> Option<Self> {
        let Some(programs) = installed() else {
            assert!(std::env::var_os("CI").is_none(), "postgresql is not installed, and CI is set");
            eprintln!("SKIPPED: postgresql is not installed");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let owner = owner();
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let command = |name: &str| {
            let mut command = Command::new(programs.join(name));
            if let Some((uid, gid)) = owner {
                command.uid(uid).gid(gid);
            }
            command.current_dir(folder.path());
            command
        };
        let data = folder.path().join("data");
        let made = command("initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let mut server = command("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        server.args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        let server = Program::start(&mut server, &folder.path().join("log"));
        until("PostgreSQL answers", async || {
            let asked = command("pg_isready").arg("-h").arg(folder.path()).stdout(Stdio::null()).status();
            asked.unwrap().success().then_some(())
        })
        .await;
        let url = format!("postgres://postgres@localhost/postgres?host={}", folder.path().display());
        Some(Self { url, _server: server, _folder: folder })
    }
}

/// Debian keeps each version in a folder of its own.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.retain(|programs| programs.join("initdb").exists());
    found.sort();
    found.pop()
}

/// PostgreSQL refuses to run as root; Debian's package brings a user for it.
fn owner() -> Option<(u32, u32)> {
    let id = |flag: &str| {
        let output = Command::new("id").args([flag, "postgres"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    rustix::process::geteuid().is_root().then(|| id("-u").zip(id("-g"))).flatten()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_control_goes_on_with_the_order_of_one_that_died() {
    let Some(postgres) = Postgres::start().await else { return };
    let options = pebble::Options { bad_nonces: Some(0), ..pebble::Options::default() };
    let Some(pebble) = Pebble::start(&options).await else { return };
    let mut tap = Tap::start(&pebble.url, &pebble.root_pem).await;
    // The first one holds the lease before there is a second, and the gateway is at the first.
    let (mut machine, second) = Machine::start_pair(pebble.http_port, &postgres.url).await;
    machine.knows(&tap.url, &tap.root_pem, &pebble.dns());
    tap.hold("POST /order-plz", Moment::Answered);
    machine.cli(&["route", "add", "app.example.com", "http://127.0.0.1:9", "--tls", "acme"]);
    let held = tap.next().await;
    let order = only(&second.cli(&["acme", "order", "ls", "-o", "json"]))["id"].clone();

    machine.kill();
    drop(held);

    // The lease runs out, the gateway dials the other one, and what was opened is found.
    wait_at_most(6 * DEADLINE, "the order is done", || async {
        let list = second.cli(&["acme", "order", "ls", "-o", "json"]);
        let now: Value = only(&list);
        assert_eq!(now["id"], order);
        (now["state"] == "done").then_some(())
    })
    .await;
    assert_eq!(pebble.orders(), 1, "{}", pebble.log());
    wait_at_most(DEADLINE, "the gateway serves it", || async { machine.serves("app.example.com").await })
        .await;
}

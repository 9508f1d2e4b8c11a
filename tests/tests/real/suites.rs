//! The foreign suites, where they stand: nothing of them is part of this repository, and nothing here needs them.
//!
//! `GATEHOUSE_SUITES` names their folder (a `shared/suites` beside the repository is found by itself). `H1SPEC` with `DENO`
//! and `H2SPEC` name tools that are built elsewhere. What is missing is skipped by name.

use std::env;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tests::binaries::Up;

/// The suites' folder, or a line that says what is skipped.
fn suites(what: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/suites");
    let folder = env::var_os("GATEHOUSE_SUITES").map_or(beside, PathBuf::from);
    if folder.join("bin").is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {what}: there is no folder of suites (GATEHOUSE_SUITES)");
    None
}

/// A tool that an environment variable names.
fn tool(variable: &str, what: &str) -> Option<PathBuf> {
    let path = env::var_os(variable).map(PathBuf::from).filter(|path| path.exists());
    if path.is_none() {
        eprintln!("skipped: {what}: {variable} names no file");
    }
    path
}

/// `lib/origin.py` on a port of its own.
struct Origin {
    child: Child,
    address: SocketAddr,
}

impl Origin {
    fn start(suites: &Path) -> Self {
        let address = free();
        let child = Command::new("python3")
            .arg(suites.join("lib/origin.py"))
            .arg(address.port().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut origin = Self { child, address };
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(origin.child.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        assert!(line.contains("READY"), "the origin said {line:?}");
        origin
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Runs a suite to its end and wants its verdict to be PASS.
fn passes(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    eprintln!("{text}");
    assert!(
        output.status.success() && text.contains("-> PASS") && !text.contains("-> FAIL"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_shared_differential_cases_pass_entirely() {
    let Some(suites) = suites("the 30 differential cases") else { return };
    let up = Up::start();
    let recorder = free();
    up.cli(&["route", "add", "*", &format!("http://{recorder}"), "--websocket", "on"]);
    passes(
        Command::new("python3")
            .arg(suites.join("bin/h1diff.py"))
            .args(["--target", &up.address("http").to_string()])
            .args(["--recorder", &recorder.port().to_string()]),
    );
}

#[test]
fn h1spec_passes_entirely() {
    let Some(suites) = suites("h1spec") else { return };
    let (Some(h1spec), Some(deno)) = (tool("H1SPEC", "h1spec"), tool("DENO", "h1spec")) else { return };
    let up = Up::start();
    let origin = Origin::start(&suites);
    up.cli(&["route", "add", "*", &format!("http://{}", origin.address)]);
    let http = up.address("http");
    passes(
        Command::new("bash")
            .arg(suites.join("bin/h1spec.sh"))
            .args([http.ip().to_string(), http.port().to_string()])
            .env("H1SPEC", h1spec)
            .env("DENO", deno),
    );
}

#[test]
fn h2spec_passes_over_tls_and_in_the_clear() {
    let Some(suites) = suites("h2spec") else { return };
    let Some(h2spec) = tool("H2SPEC", "h2spec") else { return };
    let up = Up::start();
    let origin = Origin::start(&suites);
    up.cli(&["route", "add", "*", &format!("http://{}", origin.address)]);
    for (kind, listener) in [("tls", "https"), ("h2c", "http")] {
        let out = tempfile::tempdir().unwrap();
        let address = up.address(listener);
        passes(
            Command::new("bash")
                .arg(suites.join("bin/h2spec.sh"))
                .args([address.ip().to_string(), address.port().to_string(), kind.to_owned()])
                .env("H2SPEC", &h2spec)
                .env("OUT", out.path()),
        );
    }
}

#[test]
fn slow_clients_do_not_hurt_the_others() {
    let Some(suites) = suites("slow clients") else { return };
    if Command::new("slowhttptest").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("skipped: slow clients: slowhttptest is not installed");
        return;
    }
    let up = Up::start();
    let origin = Origin::start(&suites);
    up.cli(&["route", "add", "*", &format!("http://{}", origin.address)]);
    let http = up.address("http");
    let out = tempfile::tempdir().unwrap();
    passes(
        Command::new("bash")
            .arg(suites.join("bin/slow.sh"))
            .args([http.ip().to_string(), http.port().to_string(), "plain".to_owned()])
            .env("OUT", out.path()),
    );
}

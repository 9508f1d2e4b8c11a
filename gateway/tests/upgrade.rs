//! One gateway process gives way to another on the same sockets: real processes, no control.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

struct Gate {
    child: Child,
    http: SocketAddr,
    admin: SocketAddr,
    data: PathBuf,
    _dir: TempDir,
}

impl Gate {
    fn start(settings: &str) -> Self {
        Self::run(Path::new(env!("CARGO_BIN_EXE_gatehouse-gateway")), settings)
    }

    /// Starts this program.
    fn run(program: &Path, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let file = dir.path().join("gatehouse.toml");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(program);
        command.args(["-o", "json", "--https", "off", "--ssh", "off", "--novnc", "off", "--ttyd", "off"]);
        command.args(["--gateway-admin", "127.0.0.1:0", "--log-level", "warning"]);
        if !settings.contains("http =") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        command.arg("--data").arg(&data).arg("--config").arg(&file);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let address = |value: &Value| value.as_str().unwrap().parse().unwrap();
        Self { child, http: address(&ready["http"][0]), admin: address(&ready["admin"]), data, _dir: dir }
    }

    fn settings(&self) -> PathBuf {
        self.data.with_file_name("gatehouse.toml")
    }

    /// Who has the directory.
    fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.data.join("gateway/lock")).unwrap();
        text.trim().parse().unwrap_or(0)
    }

    /// Gives an order and returns what is said until the end.
    fn order(&self, order: &Value) -> Vec<Value> {
        let mut lines = Vec::new();
        self.order_and(order, |line| lines.push(line.clone()));
        lines
    }

    fn order_and(&self, order: &Value, mut heard: impl FnMut(&Value)) {
        let mut stream = UnixStream::connect(self.data.join("gateway/upgrade.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        writeln!(stream, "{order}").unwrap();
        for line in BufReader::new(stream).lines() {
            heard(&serde_json::from_str(&line.unwrap()).unwrap());
        }
    }

    fn upgrade(&self) -> Value {
        let said = self.order(&json!({}));
        let last = said.last().unwrap();
        assert!(last["upgraded"].is_object(), "{said:?}");
        last["upgraded"].clone()
    }

    fn refused(&self, order: &Value) -> String {
        let said = self.order(order);
        let error = said.last().unwrap()["error"].as_str().unwrap_or_else(|| panic!("{said:?}")).to_owned();
        assert!(answers(self.http), "the old one does not serve after: {error}");
        assert_eq!(self.pid(), self.child.id());
        error
    }

    /// The child's end, once another process has its place.
    fn ended(&mut self) -> ExitStatus {
        wait_for("the old process ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        kill(self.pid(), Signal::TERM);
        kill(self.child.id(), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// One request on a connection of its own; anything but an answer is a failure.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(DEADLINE))?;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    tcp.read_to_string(&mut text)?;
    Ok(text)
}

fn answers(address: SocketAddr) -> bool {
    ask(address).is_ok_and(|text| text.starts_with("HTTP/1.1 "))
}

/// A connection that is kept, after one request.
fn kept(address: SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(again(&mut tcp).starts_with("HTTP/1.1 503"));
    tcp
}

/// The head of the answer to one more request.
fn again(tcp: &mut TcpStream) -> String {
    tcp.write_all(b"HEAD / HTTP/1.1\r\nHost: app.example\r\n\r\n").unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase().replace("http/1.1", "HTTP/1.1")
}

/// New connections without end, from several threads.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let one = || {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(SeqCst) {
                    match ask(address) {
                        Ok(text) if text.starts_with("HTTP/1.1 503") => drop(answered.fetch_add(1, SeqCst)),
                        other => failures.push(format!("{other:?}")),
                    }
                }
                failures
            })
        };
        let threads = (0..4).map(|_| one()).collect();
        Self { stop, answered, threads }
    }

    fn wait_for_more(&self) {
        let before = self.answered.load(SeqCst);
        wait_for("the load goes on", || (self.answered.load(SeqCst) > before + 50).then_some(()));
    }

    fn end(self) {
        self.stop.store(true, SeqCst);
        for thread in self.threads {
            let failures = thread.join().unwrap();
            assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures.first());
        }
    }
}

#[test]
fn three_upgrades_under_load_lose_no_connection_and_each_old_process_ends() {
    let mut gate = Gate::start("");
    let load = Load::on(gate.http);
    let mut before = gate.child.id();
    for _ in 0..3 {
        load.wait_for_more();
        let mut open = kept(gate.http);
        let upgraded = gate.upgrade();
        assert_eq!(upgraded["was_pid"], before);
        assert_eq!(upgraded["pid"], gate.pid());
        assert_ne!(upgraded["pid"], before);
        before = gate.pid();
        load.wait_for_more();
        // It was idle all the time; it is closed after one more answer, not before.
        let head = again(&mut open);
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(open.read(&mut [0]).unwrap(), 0);
    }
    load.end();
    assert!(gate.ended().success());
    assert!(answers(gate.http) && answers(gate.admin));
}

#[test]
fn workers_may_become_fewer_and_more() {
    let gate = Gate::start("[gateway]\nworkers = 3\n");
    let load = Load::on(gate.http);
    for workers in [1, 4, 2] {
        std::fs::write(gate.settings(), format!("[gateway]\nworkers = {workers}\n")).unwrap();
        gate.upgrade();
        load.wait_for_more();
    }
    load.end();
}

#[test]
fn what_is_no_gateway_leaves_the_old_one_serving_and_is_named() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    for (path, said) in [
        (folder.path().join("nowhere"), "no such file"),
        (file("plain", "#!/bin/sh\n", 0o644), "may not be executed"),
        (file("fails", "#!/bin/sh\nexit 7\n", 0o755), "exit status: 7"),
        (file("talks", "#!/bin/sh\necho hello >&0\nsleep 60\n", 0o755), "does not take over"),
        (PathBuf::from("/bin/true"), "does not take over"),
        (PathBuf::from("relative"), "absolute path"),
    ] {
        let error = gate.refused(&json!({ "binary": path }));
        assert!(error.contains(said), "{}: {error}", path.display());
    }
    let error = gate.refused(&json!({ "program": "/bin/true" }));
    assert!(error.contains("cannot be read"), "{error}");
    gate.upgrade();
}

/// What a process runs.
fn program_of(pid: u32) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

/// A copy of the program at this path, in place of what lies there.
fn put_program(at: &Path) {
    let aside = at.with_extension("new");
    std::fs::copy(env!("CARGO_BIN_EXE_gatehouse-gateway"), &aside).unwrap();
    std::fs::rename(aside, at).unwrap();
}

#[test]
fn another_program_is_started_where_one_is_named_and_the_new_file_where_it_was_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let (installed, named) = (folder.join("gatehouse-gateway"), folder.join("another"));
    put_program(&installed);
    let mut gate = Gate::run(&installed, "");
    let load = Load::on(gate.http);
    assert_eq!(program_of(gate.child.id()), installed);
    // As a package manager does it: the old file has no name any more.
    put_program(&installed);
    let open = kept(gate.http);

    let upgraded = gate.upgrade();
    assert_eq!(upgraded["pid"], gate.pid());
    assert_eq!(program_of(gate.pid()), installed);
    let gone = program_of(gate.child.id()).display().to_string();
    assert!(gone.ends_with(" (deleted)"), "the elder runs {gone}");
    load.wait_for_more();

    put_program(&named);
    let said = gate.order(&json!({ "binary": named }));
    assert!(said.last().unwrap()["upgraded"].is_object(), "{said:?}");
    assert_eq!(program_of(gate.pid()), named);
    load.wait_for_more();
    load.end();
    drop(open);
    assert!(gate.ended().success());
}

#[test]
fn a_program_that_hands_over_in_another_way_is_refused_by_either_end() {
    let gate = Gate::start("");
    let folder = tempfile::tempdir().unwrap();
    // A heir of a later or an earlier version than any that knows our form.
    for formats in ["[2]", "[0]", "[]"] {
        let script = folder.path().join("heir");
        let hello = format!("{{\"hello\":{{\"version\":\"0.0.9\",\"formats\":{formats}}}}}");
        let text = format!(
            "#!/usr/bin/env python3\nimport socket, struct\nlink = socket.socket(fileno=0)\nhello = b'{hello}'\n\
             link.sendall(struct.pack('>II', len(hello), 0) + hello)\nlink.recv(1)\n"
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = gate.refused(&json!({ "binary": script }));
        assert!(error.contains("0.0.9") && error.contains("in another way"), "{error}");
    }

    // And an elder of such a version: the heir says so and ends.
    let (mut elder, theirs) = UnixStream::pair().unwrap();
    elder.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut heir = Command::new(env!("CARGO_BIN_EXE_gatehouse-gateway"))
        .args(["--inherit", "--data"])
        .arg(folder.path().join("data"))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(hear(&mut elder)["hello"].is_object());
    let manifest =
        json!({ "format": 2, "version": "9.0.0", "pid": 1, "data": "/d", "serves": null, "handed": [] });
    say(&mut elder, &json!({ "offer": manifest }));
    let said = hear(&mut elder)["failed"].as_str().unwrap().to_owned();
    assert!(said.contains("another language") && said.contains("form 2"), "{said}");
    assert!(!heir.wait().unwrap().success());
    gate.upgrade();
}

fn hear(link: &mut UnixStream) -> Value {
    let mut numbers = [0; 8];
    link.read_exact(&mut numbers).unwrap();
    let length = u32::from_be_bytes(numbers[..4].try_into().unwrap());
    let mut text = vec![0; usize::try_from(length).unwrap()];
    link.read_exact(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn say(link: &mut UnixStream, message: &Value) {
    let text = message.to_string();
    let length = u32::try_from(text.len()).unwrap();
    link.write_all(&[&length.to_be_bytes()[..], &[0; 4], text.as_bytes()].concat()).unwrap();
}

#[test]
fn one_log_of_two_processes_loses_no_line_while_it_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    let settings = format!(
        "[access_log]\nfile = \"{}\"\n[log]\nrotation = \"2 KiB\"\nretention = \"1000 files\"\n",
        logs.join("access.log").display()
    );
    let gate = Gate::start(&settings);
    let mut open: Vec<TcpStream> = (0..20).map(|_| kept(gate.http)).collect();
    let mut asked = open.len();
    let files = || std::fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let lines = || -> Vec<String> {
        let texts = files().into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    gate.upgrade();
    for tcp in &mut open {
        // The old process answers this one, the new one those between.
        again(tcp);
        for _ in 0..5 {
            ask(gate.http).unwrap();
        }
        asked += 6;
        // Lines that come together are written together, and a file is not rotated among them.
        wait_for("every request is in the log", || (lines().len() >= asked).then_some(()));
    }
    let lines = lines();
    assert_eq!(lines.len(), asked);
    for line in &lines {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "half a line: {line}");
    }
    // As many files as one writer makes of so many bytes, and one for each end that was not reached.
    let bytes: usize = lines.iter().map(String::len).sum();
    assert!(files().len() > 3 && files().len() <= bytes / 1_024 + 3, "{} of {bytes}", files().len());
}

#[test]
fn settings_that_changed_are_taken_and_those_that_cannot_be_are_named() {
    let gate = Gate::start("[gateway]\nhttp = [\"127.0.0.1:0\"]\n");
    std::fs::write(gate.settings(), "[gateway]\nhttp = [\"127.0.0.1:0\"]\nworkers = \"many\"\n").unwrap();
    let error = gate.refused(&json!({}));
    assert!(error.contains("workers"), "{error}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let both = |other: SocketAddr| format!("[gateway]\nhttp = [\"127.0.0.1:0\", \"{other}\"]\n");
    std::fs::write(gate.settings(), both(taken.local_addr().unwrap())).unwrap();
    let error = gate.refused(&json!({}));
    assert!(error.contains("address in use"), "{error}");

    let free = taken.local_addr().unwrap();
    drop(taken);
    gate.upgrade();
    assert!(answers(gate.http) && answers(free));

    // And back: what is not wanted any more is closed.
    std::fs::write(gate.settings(), "[gateway]\nhttp = [\"127.0.0.1:0\"]\n").unwrap();
    gate.upgrade();
    assert!(answers(gate.http));
    wait_for("the other listener is closed", || TcpStream::connect(free).is_err().then_some(()));
}

#[test]
fn one_that_is_killed_half_way_leaves_the_old_one_serving() {
    let gate = Gate::start("");
    let load = Load::on(gate.http);
    // It speaks first, and then reads its settings, which do not come.
    std::fs::remove_file(gate.settings()).unwrap();
    assert!(Command::new("mkfifo").arg(gate.settings()).status().unwrap().success());
    let mut said = Vec::new();
    gate.order_and(&json!({}), |line| {
        said.push(line.to_string());
        let step = line["step"].as_str().unwrap_or_default();
        if let Some((_, pid)) = step.split_once("runs as process ") {
            let busy = gate.order(&json!({}));
            assert!(busy[0]["error"].as_str().unwrap().contains("under way"), "{busy:?}");
            kill(pid.parse().unwrap(), Signal::KILL);
        }
    });
    assert!(said.last().unwrap().contains("signal: 9"), "{said:?}");
    load.wait_for_more();
    load.end();
    assert_eq!(gate.pid(), gate.child.id());

    std::fs::remove_file(gate.settings()).unwrap();
    std::fs::write(gate.settings(), "").unwrap();
    gate.upgrade();
}

#[test]
fn a_signal_upgrades_too_and_a_stop_reaches_those_that_drain() {
    let mut gate = Gate::start("");
    let open = [kept(gate.http), kept(gate.http)];
    kill(gate.child.id(), Signal::USR2);
    let heir = wait_for("another process has its place", || {
        Some(gate.pid()).filter(|pid| *pid != gate.child.id() && *pid != 0)
    });
    assert!(answers(gate.http));
    assert!(gate.child.try_wait().unwrap().is_none(), "it has connections that are open");

    kill(heir, Signal::TERM);

    assert!(gate.ended().success());
    wait_for("nobody listens any more", || TcpStream::connect(gate.http).is_err().then_some(()));
    drop(open);
}

#[test]
fn open_connections_are_cut_at_the_age_that_was_set() {
    let mut gate = Gate::start("");
    let mut open = kept(gate.http);
    let said = gate.order(&json!({ "max_age_ms": 1 }));
    assert_eq!(said.last().unwrap()["upgraded"]["connections"], 1, "{said:?}");
    assert!(gate.ended().success());
    assert!(matches!(open.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn the_order_is_for_the_owner_of_the_directory() {
    let gate = Gate::start("");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&gate.data.join("gateway/upgrade.sock")), 0o600);
    assert_eq!(mode(&gate.data.join("gateway")), 0o700);
}

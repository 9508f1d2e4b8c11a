//! OpenSSH's client, with nothing of the person who runs the test in it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Output, Stdio};

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use tempfile::TempDir;

/// A person with a key on disk.
pub(crate) struct Person {
    dir: TempDir,
    gate: SocketAddr,
}

impl Person {
    /// `None` where there is no OpenSSH client; says so.
    pub(crate) fn with_key(key: &PrivateKey, gate: SocketAddr) -> Option<Self> {
        if Command::new("ssh").arg("-V").stderr(Stdio::null()).status().is_err() {
            eprintln!("skipped: ssh (package openssh-client) is not installed");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).write(true).mode(0o600).open(dir.path().join("key")).unwrap();
        file.write_all(key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        Some(Self { dir, gate })
    }

    /// A person whose key ssh-keygen makes; `None` as above.
    pub(crate) fn who_makes(kind: &[&str], gate: SocketAddr) -> Option<Self> {
        let person = Self { dir: TempDir::new().unwrap(), gate };
        let mut arguments = vec!["-q", "-N", "", "-f"];
        let key = person.path("key");
        arguments.push(&key);
        arguments.extend(kind);
        keygen(&arguments)?;
        Some(person)
    }

    /// A person whose private key is somewhere else: an agent signs with it. `None` as above.
    pub(crate) fn with_public_key(line: &str, gate: SocketAddr) -> Option<Self> {
        let person = Self::who_makes(&["-t", "ed25519"], gate)?;
        for name in ["key", "key.pub"] {
            std::fs::write(person.path(name), line).unwrap();
        }
        Some(person)
    }

    /// The person's public key in SSH wire form.
    pub(crate) fn blob(&self) -> Vec<u8> {
        let text = std::fs::read_to_string(self.path("key.pub")).unwrap();
        russh::keys::PublicKey::from_openssh(&text).unwrap().to_bytes().unwrap()
    }

    /// Has the key certified by the key of `authority`, as ssh-keygen's `options` say.
    pub(crate) fn certify(&self, authority: &Self, options: &[&str]) {
        let (ca, key) = (authority.path("key"), self.path("key.pub"));
        let mut arguments = vec!["-q", "-s", &ca];
        arguments.extend(options);
        arguments.push(&key);
        keygen(&arguments).unwrap();
    }

    /// Starts `ssh ARGUMENTS openidcs@GATE COMMAND`, which believes any host key. Of an option that is given twice the
    /// first counts, as ssh has it, so `arguments` stand first.
    pub(crate) fn start(&self, arguments: &[&str], command: &[&str]) -> Child {
        Command::new("timeout")
            .args(["60", "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args(arguments)
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args([
                "-o",
                "GlobalKnownHostsFile=/dev/null",
                "-o",
                "LogLevel=INFO",
                "-o",
                "ExitOnForwardFailure=yes",
            ])
            .arg("-i")
            .arg(self.dir.path().join("key"))
            .args(["-p", &self.gate.port().to_string()])
            .arg(format!("openidcs@{}", self.gate.ip()))
            .args(command)
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// A path in the person's own folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs it to its end with `input` on standard input.
    pub(crate) fn run(&self, arguments: &[&str], command: &[&str], input: &[u8]) -> Output {
        let mut child = self.start(arguments, command);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A client that is refused closes its end before it read everything: that is not the test's business.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        output
    }

    /// What the person reads when `ssh -W TARGET` is refused.
    pub(crate) fn refused(&self, target: &str) -> String {
        let output = self.run(&["-W", target], &[], b"");
        assert!(!output.status.success(), "{target} was not refused");
        said(&output)
    }
}

/// Standard error as text.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn keygen(arguments: &[&str]) -> Option<()> {
    let Ok(output) = Command::new("ssh-keygen").args(arguments).stdin(Stdio::null()).output() else {
        eprintln!("skipped: ssh-keygen (package openssh-client) is not installed");
        return None;
    };
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    Some(())
}

//! The gate with clients that are not OpenSSH: dropbear, PuTTY, paramiko, asyncssh, and what ssh-audit says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::wait::wait_for;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{Scene, said, user};

/// Where a command on a machine says it was reached: its end of the connection.
const WHERE: &str = "echo $SSH_CONNECTION";

impl Scene {
    /// The line that a client which is not OpenSSH reads from `web01`'s sshd through the gate. Its input stays open until
    /// then: dbclient and plink leave when it ends.
    async fn greeting_by(&self, program: &Path, arguments: &[&str]) -> String {
        let errors = self.folder.path().join("errors");
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env("HOME", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; ./test installs it", program.display()));
        let mut line = Vec::new();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let read = tokio::time::timeout(Duration::from_secs(30), reader.read_until(b'\n', &mut line)).await;
        let errors = std::fs::read_to_string(&errors).unwrap();
        assert!(matches!(read, Ok(Ok(1..))), "{} read nothing: {errors}", program.display());
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Has a client run [`WHERE`] on `web01`, and wants the answer of its sshd.
    fn runs_there_by(&self, program: &Path, arguments: &[&str]) {
        let output = Command::new(program)
            .args(arguments)
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}; ./test installs it", program.display()));
        let vm = self.vm.address();
        let there = format!(" {} {}\n", vm.ip(), vm.port());
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(answer.ends_with(&there), "{}: {}", program.display(), said(&output));
    }

    fn login(&self) -> String {
        format!("openidcs@{}", self.gate().ip())
    }

    /// The person's key as another program's tool writes it, in the folder under this name.
    fn converted(&self, name: &str, tool: &mut Command) -> String {
        let path = self.folder.path().join(name);
        let output = tool.arg(&path).output().expect("./test installs it");
        assert!(output.status.success(), "{}", said(&output));
        path.to_str().unwrap().to_owned()
    }

    /// The fingerprint of `web01`'s host key.
    fn vm_fingerprint(&self) -> String {
        let (ip, port) = (self.vm.address().ip().to_string(), self.vm.address().port().to_string());
        let keys = Command::new("ssh-keyscan").args(["-t", "ed25519", "-p", &port, &ip]).output().unwrap();
        let file = self.folder.path().join("vm.pub");
        std::fs::write(&file, keys.stdout).unwrap();
        let read = Command::new("ssh-keygen").arg("-lf").arg(&file).output().unwrap();
        said(&read).split(' ').nth(1).unwrap().to_owned()
    }
}

/// A program of the virtual environment that `./test` makes.
fn python(program: &str) -> PathBuf {
    let folder = std::env::var_os("GATEHOUSE_SSH_VENV").map(PathBuf::from);
    let path = folder.map(|folder| folder.join("bin").join(program)).filter(|path| path.exists());
    path.unwrap_or_else(|| {
        panic!("{program} is missing: ./test makes GATEHOUSE_SSH_VENV with it, unless PyPI cannot be reached")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn paramiko_and_asyncssh_jump() {
    let python = python("python");
    let scene = Scene::set().await;
    let gate = scene.gate();
    for script in ["paramiko_jump.py", "asyncssh_jump.py"] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/clients").join(script);
        let (script, key) = (script.to_str().unwrap(), scene.key.file.to_str().unwrap());
        let (ip, port) = (gate.ip().to_string(), gate.port().to_string());
        scene.runs_there_by(&python, &[script, &ip, &port, key, &user(), WHERE]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropbear_jumps() {
    let scene = Scene::set().await;
    let (port, login) = (scene.gate().port().to_string(), scene.login());
    let mut convert = Command::new("dropbearconvert");
    let key = scene.converted("dropbear", convert.args(["openssh", "dropbear"]).arg(&scene.key.file));
    let arguments = ["-y", "-y", "-p", &port, "-i", &key, "-B", "web01:22", &login];
    let greeting = scene.greeting_by(Path::new("dbclient"), &arguments).await;
    assert!(greeting.starts_with("SSH-2.0-OpenSSH"), "dbclient: {greeting}");

    // As its manual writes it, one host after the other. It starts itself again by the name it was started by.
    let hops = format!("{login}/{port},{}@web01", user());
    let itself = crate::program::require("dbclient").expect("dropbear-bin is installed by ./test");
    scene.runs_there_by(&itself, &["-y", "-y", "-i", &key, &hops, WHERE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn putty_jumps_with_a_hybrid_exchange_and_a_fast_cipher() {
    let scene = Scene::set().await;
    let (port, login) = (scene.gate().port().to_string(), scene.login());
    let key = scene.converted("key.ppk", Command::new("puttygen").arg(&scene.key.file).arg("-o"));
    let fingerprint = scene.up.cli(&["ssh-host-key", "ls", "-o", "json"]);
    let fingerprint: serde_json::Value = serde_json::from_str(&fingerprint).unwrap();
    let fingerprint = fingerprint[0]["fingerprint"].as_str().unwrap();
    let arguments =
        ["-ssh", "-v", "-batch", "-hostkey", fingerprint, "-P", &port, "-i", &key, "-nc", "web01:22", &login];
    let greeting = scene.greeting_by(Path::new("plink"), &arguments).await;
    assert!(greeting.starts_with("SSH-2.0-OpenSSH"), "plink: {greeting}");
    let log = std::fs::read_to_string(scene.folder.path().join("errors")).unwrap();
    assert!(log.contains("NTRU Prime") && log.contains(" GCM ("), "{log}");

    let by = format!("plink -ssh -batch -hostkey {fingerprint} -P {port} -i {key} -nc %host:%port {login}");
    let (vm, to) = (scene.vm_fingerprint(), format!("{}@web01", user()));
    let arguments = ["-ssh", "-batch", "-hostkey", &vm, "-i", &key, "-proxycmd", &by, &to, WHERE];
    scene.runs_there_by(Path::new("plink"), &arguments);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_audit_has_nothing_to_say() {
    // It introduces itself as an OpenSSH of today, and is offered what those are.
    let audit = python("ssh-audit");
    let scene = Scene::set().await;
    scene.complains_of_nothing(&audit);
    // Nor of the certificates that clients may ask for.
    scene.up.cli(&["ssh-host-key", "certify", &scene.gate().ip().to_string()]);
    let known = scene.known(&scene.printed("cert-authority"));
    wait_for("the certificate is shown", || async { scene.strictly(&known).ok() }).await;
    scene.complains_of_nothing(&audit);
}

impl Scene {
    fn complains_of_nothing(&self, audit: &Path) {
        let gate = self.gate();
        let output = Command::new(audit)
            .args(["--no-colors", "--level", "warn", "-p", &gate.port().to_string()])
            .arg(gate.ip().to_string())
            .output()
            .unwrap();
        let text = said(&output);
        assert!(!text.contains("[warn]") && !text.contains("[fail]"), "{text}");
        assert_eq!(output.status.code(), Some(0), "{text}");
    }
}

//! README.md, pasted: its tour is run as it stands there. Only what a test cannot share with its machine is another:
//! ports, `/tmp`, the home directory, and the build that is run.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tests::binaries::{Up, bin};
use tests::client;
use tests::ports;
use tests::sshd::{KeyPair, Sshd};
use tests::wait::wait_for;

use crate::program::free_port;

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_works_as_pasted() {
    let folder = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let vm = Sshd::start_for(home.join(".ssh/authorized_keys")).await;
    let place = Place::new(folder.path(), vm.address());
    let blocks = blocks("## Five minutes");
    let [start, tour @ ..] = blocks.as_slice() else { panic!("README.md has no tour") };
    assert_eq!(tour.len(), 3, "the web, ssh -J, a token");
    for (word, _) in &place.words {
        assert!(blocks.concat().contains(word.as_str()), "{word:?} no longer stands in the tour");
    }

    let _first_terminal = place.terminal(&format!("exec {}", place.text(start)));
    wait_for("the gateway serves", || async {
        (client::get_if_open(place.http, "nobody.example.com", "/").await?.status == 404).then_some(())
    })
    .await;
    let said = place.paste(&tour.concat());

    assert_eq!(said.matches("hello from behind the gate").count(), 3, "HTTP, HTTPS and HTTP/2:\n{said}");
    assert!(said.lines().any(|line| line == "https://app.example.com/"), "a redirect:\n{said}");
    assert!(said.lines().any(|line| line == "hello through the gate"), "a WebSocket:\n{said}");
    assert!(said.contains("answered by route"), "explain:\n{said}");
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = name.trim();
    assert!(said.lines().any(|line| line == name), "ssh -J prints the host name {name}:\n{said}");
    assert!(said.contains(r#""name":"usr1""#), "whoami:\n{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_port_forwards_work_as_pasted() {
    let up = Up::start();
    let folder = tempfile::tempdir().unwrap();
    let vm = crate::flows::echo().await;
    up.cli(&["vm", "add", "web01", "127.0.0.1"]);
    let blocks = blocks("## Port forwards");
    let [commands] = blocks.as_slice() else { panic!("README.md has no commands of forwards") };
    let [ssh, web, dns] = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let words = [
        ("web01:22", format!("web01:{}", vm.port())),
        ("10.0.0.5,80", format!("127.0.0.1,{}", vm.port())),
        ("10022", ssh.clone()),
        ("8081", web.clone()),
        ("5353", dns.clone()),
    ]
    .map(|(from, to)| (from.to_owned(), to));
    for (word, _) in &words {
        assert!(commands.contains(word.as_str()), "{word:?} no longer stands in README.md");
    }
    let (program, data) = (bin("gatehouse"), up.data().display().to_string());
    let script = format!("set -e\ngatehouse() {{ {} --data {data} \"$@\"; }}\n", program.display());
    let mut command = Command::new("bash");
    command.args(["-c", &(script + &put_in(&words, commands))]).current_dir(folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}:\n{said}{warned}", output.status);
    assert_eq!(said.matches("listening on local").count(), 3, "{said}");
    assert!(warned.contains("3306 is mysql's port and everybody may connect"), "{warned}");
    assert!(said.contains(&format!("127.0.0.1:{} accepts connections", vm.port())), "{said}");
    assert!(said.contains(&format!("tcp,{web},127.0.0.1,{},Web", vm.port())), "{said}");
    assert!(said.contains(&format!("forward tcp/{ssh} deleted; closed on local")), "{said}");
}

/// In one pass, so that no word that was put in is taken for another.
fn put_in(words: &[(String, String)], block: &str) -> String {
    let mut text = String::new();
    let mut rest = block;
    while let Some(first) = rest.chars().next() {
        let found = words.iter().find(|(from, _)| rest.starts_with(from.as_str()));
        let (taken, put) = match found {
            Some((from, to)) => (from.len(), to.clone()),
            None => (first.len_utf8(), first.to_string()),
        };
        text.push_str(&put);
        rest = &rest[taken..];
    }
    text
}

/// Where the tour runs: what its own words stand for here.
struct Place {
    home: PathBuf,
    http: SocketAddr,
    words: Vec<(String, String)>,
}

impl Place {
    fn new(folder: &Path, vm: SocketAddr) -> Self {
        let http = ports::refusing();
        let mut words = vec![
            ("./run --".to_owned(), bin("gatehouse").display().to_string() + " up"),
            ("$PWD/target/release".to_owned(), bin("gatehouse").parent().unwrap().display().to_string()),
            ("--ssh-port 22\n".to_owned(), format!("--ssh-port {}\n", vm.port())),
            ("/tmp/".to_owned(), format!("{}/", folder.display())),
            ("8080".to_owned(), http.port().to_string()),
        ];
        for port in ["8443", "2222", "9000", "9001", "1880"] {
            words.push((port.to_owned(), ports::refusing().port().to_string()));
        }
        Self { home: folder.join("home"), http, words }
    }

    fn text(&self, block: &str) -> String {
        put_in(&self.words, block)
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        // Aliases are on where a person types.
        command.args(["-O", "expand_aliases", "-c", script]);
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
        command.env("HOME", &self.home).stdin(Stdio::null()).process_group(0);
        let admin = self.words.iter().find(|(from, _)| from == "1880").unwrap().1.clone();
        command.env("GATEHOUSE_CONTROL__ADMIN", format!("127.0.0.1:{admin}"));
        for other in ["CONTROL__SYNC", "GATEWAY__NOVNC", "GATEWAY__TTYD", "GATEWAY__ADMIN"] {
            command.env(format!("GATEHOUSE_{other}"), "127.0.0.1:0");
        }
        command
    }

    /// A terminal in which something runs on.
    fn terminal(&self, script: &str) -> Terminal {
        Terminal(self.shell(script).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Pastes line after line; wants each to succeed. Gives what was printed.
    fn paste(&self, script: &str) -> String {
        let file = self.home.join("printed");
        let script = format!("set -e\n{}", self.text(script));
        let output = std::fs::File::create(&file).unwrap();
        let mut terminal = Terminal(self.shell(&script).stdout(output).spawn().unwrap());
        let status = terminal.0.wait().unwrap();
        let printed = std::fs::read_to_string(&file).unwrap();
        assert!(status.success(), "{status}:\n{printed}");
        printed
    }
}

/// Ends with all that was started in it.
struct Terminal(Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_raw(self.0.id() as i32).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::TERM).ok();
        self.0.wait().ok();
    }
}

/// The shell blocks of one section of README.md, as they stand there.
fn blocks(section: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let (_, after) = text.split_once(&format!("{section}\n")).unwrap();
    let section = after.split("\n## ").next().unwrap();
    let parts = section.split("```sh\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// The commands of ours in the running text of one section, in their order.
fn commands(section: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let (_, after) = text.split_once(&format!("{section}\n")).unwrap();
    let section = after.split("\n## ").next().unwrap();
    let spans = section.split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect::<Vec<_>>());
    spans.filter(|words| words[..1] == ["gatehouse"]).map(|words| words[1..].join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_of_the_section_on_ssh_does_what_it_says() {
    let up = Up::start();
    let authority = KeyPair::make("authority");
    up.cli(&["vm", "add", "web01", "10.0.0.5"]);
    up.cli(&["user", "create", "usr1", "--grant", "operator:default"]);
    let commands = commands("## SSH");
    assert!(commands.len() > 12, "{commands:?}");
    for command in commands {
        // What a shell does with the output is the shell's.
        let command = command.split(" > ").next().unwrap();
        let public = authority.public_file();
        let said =
            command.replace("TIME", "2099-01-31T18:00:00Z").replace("ca.pub", public.to_str().unwrap());
        let output = up.try_cli(&said.split(' ').collect::<Vec<_>>());
        let errors = String::from_utf8_lossy(&output.stderr);
        // There is no session, and no machine that has shown a key.
        let missing = ["session kill", "vm accept-host-key"].iter().any(|begin| command.starts_with(begin));
        assert_eq!(output.status.code(), Some(i32::from(missing)), "{command}: {errors}");
    }
}

//! Forwards and tickets from one host to another: two network namespaces, a machine in each, and the gate between them.
//!
//! `ip netns` gives a client a host of its own, on a network that the machine behind the gate has no way to.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::binaries::bin;
use tests::wait::wait_for;

use crate::program::Program;
use crate::wires::{self, Wires};

const CLIENT: [&str; 2] = ["10.87.1.2", "fd87:1::2"];
/// The gate's addresses on the client's side: it listens on both.
const GATE: [&str; 4] = ["10.87.1.1", "10.87.1.7", "fd87:1::1", "fd87:1::7"];
const GATE_INSIDE: [&str; 2] = ["10.87.2.1", "fd87:2::1"];
const MACHINE: [&str; 2] = ["10.87.2.2", "fd87:2::2"];

/// Three hosts and what runs there; gone with the test, the programs first.
struct Hosts {
    programs: Vec<Program>,
    _up: Option<Program>,
    wires: Wires,
    data: PathBuf,
    _folder: tempfile::TempDir,
}

impl Hosts {
    /// `None` where namespaces cannot be made.
    async fn new() -> Option<Self> {
        let wires = Wires::lay("gh", [&CLIENT, &GATE, &GATE_INSIDE, &MACHINE])?;
        let folder = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
        let data = folder.path().join("d");
        let mut hosts = Self { programs: Vec::new(), _up: None, wires, data, _folder: folder };
        let mut up = wires::within(&hosts.wires.gate, &bin("gatehouse"));
        up.arg("up").arg("--data").arg(&hosts.data);
        for listener in ["http", "https", "ssh", "novnc", "ttyd", "admin", "sync", "gateway-admin"] {
            up.arg(format!("--{listener}")).arg("127.0.0.1:0");
        }
        up.args(["--admin", "tls:0.0.0.0:1883", "--ttyd", "0.0.0.0:7681"]);
        let mut up = Program::start(&mut up, &hosts._folder.path().join("log"));
        up.has_children = true;
        hosts._up = Some(up);
        wait_for("the gate is there", || async {
            let said = hosts.try_cli(&["gateway", "ls", "-o", "json"])?;
            let listed: Value = serde_json::from_str(&said).ok()?;
            (listed[0]["connected"] == true).then_some(())
        })
        .await;
        Some(hosts)
    }

    fn try_cli(&self, words: &[&str]) -> Option<String> {
        let output =
            Command::new(bin("gatehouse")).arg("--data").arg(&self.data).args(words).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn cli(&self, words: &[&str]) -> String {
        self.try_cli(words).unwrap_or_else(|| panic!("gatehouse {words:?}"))
    }

    /// Runs Python in a host until it has printed its first line.
    async fn serves(&mut self, host: &str, name: &str, script: &str) {
        let log = self._folder.path().join(name);
        let mut command = wires::within(host, Path::new("python3"));
        let program = Program::start(command.args(["-u", "-c", script]), &log);
        wait_for(name, || async { program.log().contains("ready").then_some(()) }).await;
        self.programs.push(program);
    }

    /// What Python prints in a host.
    async fn says(&self, host: &str, script: &str) -> String {
        let mut command = wires::within(host, Path::new("python3"));
        let output = command.args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Answers each datagram, and each connection after its first line, with who it sees; a connection is then echoed.
const MACHINE_SCRIPT: &str = r#"
import socket, threading
def datagrams(s):
    while True:
        said, peer = s.recvfrom(2000)
        s.sendto(said + b' ' + peer[0].encode(), peer)
def serve(c, peer):
    f = c.makefile('rb', buffering=0)
    line = b''
    while not line.endswith(b'\n'): line += f.read(1)
    c.sendall(line.strip() + b' ' + peer[0].encode() + b'\n')
    while True:
        block = c.recv(65536)
        if not block: break
        c.sendall(block)
    c.close()
def connections(l):
    while True:
        c, peer = l.accept()
        threading.Thread(target=serve, args=(c, peer), daemon=True).start()
for family, ip in ((socket.AF_INET, '10.87.2.2'), (socket.AF_INET6, 'fd87:2::2')):
    u = socket.socket(family, socket.SOCK_DGRAM); u.bind((ip, 5000))
    l = socket.socket(family, socket.SOCK_STREAM); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind((ip, 5000)); l.listen(16)
    threading.Thread(target=datagrams, args=(u,), daemon=True).start()
    threading.Thread(target=connections, args=(l,), daemon=True).start()
print('ready')
threading.Event().wait()
"#;

fn family(ip: &str) -> &'static str {
    if ip.parse::<IpAddr>().unwrap().is_ipv6() { "socket.AF_INET6" } else { "socket.AF_INET" }
}

/// Asks by datagrams from one socket that belongs to no peer; prints what came, and from where.
fn datagram(to: &str, port: u16) -> String {
    format!(
        "import socket\ns = socket.socket({}, socket.SOCK_DGRAM)\ns.settimeout(10)\ns.sendto(b'who', ('{to}', {port}))\n\
         said, peer = s.recvfrom(2000)\nprint(said.decode(), 'from', peer[0], peer[1])",
        family(to)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_and_bulk_go_from_one_host_to_another_and_come_back_from_where_they_went() {
    let Some(mut hosts) = Hosts::new().await else { return };
    let machine = hosts.wires.machine.clone();
    hosts.serves(&machine, "machine", MACHINE_SCRIPT).await;
    hosts.cli(&["forward", "add", "udp", "7000", "10.87.2.2:5000"]);
    hosts.cli(&["forward", "add", "tcp", "7000", "10.87.2.2:5000"]);
    hosts.cli(&["forward", "add", "udp", "7006", "[fd87:2::2]:5000"]);
    hosts.cli(&["forward", "add", "tcp", "7006", "[fd87:2::2]:5000"]);

    // A listener of every address answers from the one that was asked; the machine sees the gate.
    for port in [7_000, 7_006] {
        let inside = GATE_INSIDE[usize::from(port == 7_006)];
        for gate in GATE {
            let said = hosts.says(&hosts.wires.client, &datagram(gate, port)).await;
            assert_eq!(said, format!("who {inside} from {gate} {port}"));
        }
    }
    // The client has no other way to the machine.
    let direct = "import socket\ns = socket.socket()\ns.settimeout(2)\ntry:\n s.connect(('10.87.2.2', 5000)); print('there')\n\
                  except OSError: print('nowhere')";
    assert_eq!(hosts.says(&hosts.wires.client, direct).await, "nowhere");

    for (gate, port, inside) in
        [(GATE[0], 7_000, GATE_INSIDE[0]), (GATE[1], 7_000, GATE_INSIDE[0]), (GATE[3], 7_006, GATE_INSIDE[1])]
    {
        let bulk = format!(
            "import socket, threading, hashlib\ns = socket.socket({}); s.settimeout(30); s.connect(('{gate}', {port}))\n\
             s.sendall(b'who\\n')\nline = b''\nwhile not line.endswith(b'\\n'): line += s.recv(1)\n\
             block = bytes(range(256)) * 4096\nsent = hashlib.sha256(); heard = hashlib.sha256(); count = 0\n\
             def send():\n for n in range(32): sent.update(block); s.sendall(block)\n s.shutdown(socket.SHUT_WR)\n\
             t = threading.Thread(target=send); t.start()\nwhile True:\n got = s.recv(1 << 16)\n if not got: break\n \
             heard.update(got); count += len(got)\nt.join()\nprint(line.decode().strip(), count, sent.digest() == heard.digest())",
            family(gate)
        );
        let said = hosts.says(&hosts.wires.client, &bulk).await;
        assert_eq!(said, format!("who {inside} {} True", 32 << 20), "{gate}");
    }

    // PROXY protocol tells the machine who is behind the gate.
    let named = "import socket\nl = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
                 l.bind(('10.87.2.2', 5001)); l.listen(4); print('ready')\nwhile True:\n c, _ = l.accept()\n \
                 c.sendall(b'heard ' + c.recv(200)); c.close()";
    hosts.serves(&machine, "named", named).await;
    hosts.cli(&["forward", "add", "tcp", "7001", "10.87.2.2:5001", "--proxy-protocol", "v1"]);
    let ask = "import socket\ns = socket.socket(); s.settimeout(10); s.connect(('10.87.1.7', 7001)); mine = s.getsockname()[1]\n\
               print(mine, s.recv(300).decode().strip())";
    let said = hosts.says(&hosts.wires.client, ask).await;
    let (port, heard) = said.split_once(' ').unwrap();
    assert_eq!(heard, format!("heard PROXY TCP4 10.87.1.2 10.87.1.7 {port} 7001"));
    let shown = hosts.cli(&["session", "ls", "-o", "json", "--kind", "udp"]);
    assert!(shown.contains("10.87.1.2:") && shown.contains("[fd87:1::2]:"), "{shown}");

    // Only one of the addresses, and only one host may come.
    hosts.cli(&[
        "forward",
        "add",
        "udp",
        "7002",
        "10.87.2.2:5000",
        "--bind",
        "10.87.1.7",
        "--source",
        "10.87.1.2",
    ]);
    let said = hosts.says(&hosts.wires.client, &datagram("10.87.1.7", 7_002)).await;
    assert_eq!(said, "who 10.87.2.1 from 10.87.1.7 7002");
    hosts.cli(&["forward", "update", "udp/7002", "--source", "10.87.1.9"]);
    let silent = datagram("10.87.1.7", 7_002).replace("settimeout(10)", "settimeout(1)");
    let asked = format!(
        "try:\n{}\nexcept OSError: print('nothing')",
        silent.lines().map(|line| format!(" {line}\n")).collect::<String>()
    );
    assert_eq!(hosts.says(&hosts.wires.client, &asked).await, "nothing");
}

/// Asks for a ticket over the network as a person would, and prints what came.
fn ticket(console: &str, token: &str, body: &str) -> String {
    format!(
        "import ssl, urllib.request\ncontext = ssl._create_unverified_context()\n\
         url = 'https://10.87.1.1:1883/api/v1/consoles/{console}/tickets'\n\
         fields = {{'Authorization': 'Bearer {token}', 'Content-Type': 'application/json'}}\n\
         request = urllib.request.Request(url, b'{body}', fields)\n\
         print(urllib.request.urlopen(request, context=context, timeout=10).read().decode())"
    )
}

/// Asks a gate what a ticket opens; prints the status and what it was told.
fn opens(gate: &str, ticket: &str) -> String {
    format!(
        "import urllib.request, urllib.error\n\
         request = urllib.request.Request('http://{gate}:7681/console/{ticket}', headers={{'Accept': 'application/json'}})\n\
         try:\n answer = urllib.request.urlopen(request, timeout=10)\n\
         except urllib.error.HTTPError as refused:\n answer = refused\n\
         print(answer.status, answer.read().decode())"
    )
}

/// A ticket opens from the machine that asked for it and from no other, unless that is lifted or nobody knows (issue 6).
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_from_the_host_that_asked_for_it_and_from_no_other() {
    let Some(hosts) = Hosts::new().await else { return };
    hosts.cli(&["vm", "add", "web01", MACHINE[0]]);
    hosts.cli(&["console", "add", "web01", "ttyd"]);
    let parsed = |said: String| serde_json::from_str::<Value>(&said).unwrap_or_else(|_| panic!("{said}"));
    let console = parsed(hosts.cli(&["console", "ls", "-o", "json"]));
    let console = console[0]["id"].as_str().unwrap();
    hosts.cli(&["user", "add", "ann", "--grant", "operator:default"]);
    let token = hosts.cli(&["token", "create", "--subject", "ann", "--duration", "10m"]);
    let token = token.trim();
    let asks =
        async |body: &str| parsed(hosts.says(&hosts.wires.client, &ticket(console, token, body)).await);
    let looks = async |made: &Value| {
        let ticket = made["ticket"].as_str().unwrap();
        let client = hosts.says(&hosts.wires.client, &opens(GATE[0], ticket)).await;
        (client, hosts.says(&hosts.wires.machine, &opens(GATE_INSIDE[0], ticket)).await)
    };

    let made = wait_for("the gate knows of the console", || async {
        let made = asks("{}").await;
        looks(&made).await.0.starts_with("200 ").then_some(made)
    })
    .await;
    assert_eq!(made["source"], CLIENT[0]);
    let (client, machine) = looks(&made).await;
    assert!(client.starts_with("200 "), "{client}");
    assert!(machine.starts_with("403 "), "{machine}");
    assert!(
        machine.contains("for another address than the one you come from. Ask for one from here"),
        "{machine}"
    );

    let lifted = asks(r#"{"source": "any"}"#).await;
    let local = parsed(hosts.cli(&["console", "open", "web01", "-o", "json"]));
    let there = parsed(hosts.cli(&["console", "open", "web01", "--source", MACHINE[0], "-o", "json"]));
    for (made, statuses) in [(lifted, ["200", "200"]), (local, ["200", "200"]), (there, ["403", "200"])] {
        let (client, machine) = looks(&made).await;
        assert_eq!([&client[..3], &machine[..3]], statuses, "{made}");
    }
}

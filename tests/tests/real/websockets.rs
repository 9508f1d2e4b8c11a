//! WebSockets with a peer of its own at either end: Debian's python3-websockets, which compresses by itself.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use tests::binaries::Up;
use tests::wait::wait_for;

use crate::flows::session;
use crate::program::{Program, free_port};

/// Debian's: another Python that stands before it in the path does not see Debian's packages.
const PYTHON: &str = "/usr/bin/python3";

const SERVER: &str = r#"
import asyncio, sys, websockets
async def echo(ws, path=None):
    async for message in ws: await ws.send(message)
async def main():
    async with websockets.serve(echo, '127.0.0.1', int(sys.argv[1]), subprotocols=['chat', 'v2.echo'], max_size=None):
        print('ready', flush=True)
        await asyncio.Future()
asyncio.run(main())
"#;

/// Says what was agreed on and that all came back, then keeps the connection until it is told to go.
const CLIENT: &str = r#"
import asyncio, ssl, sys, websockets
async def main():
    url, host, port, authority = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    tls = ssl.create_default_context(cafile=authority) if url.startswith('wss') else None
    async with websockets.connect(url, host=host, port=port, ssl=tls, server_hostname='app.example.com' if tls else None,
                                  subprotocols=['v2.echo'], max_size=None) as ws:
        for message in ('hello', 'a' * (1 << 20), bytes(1 << 20), ''):
            await ws.send(message)
            assert await ws.recv() == message
        print(ws.subprotocol, ','.join(type(one).__name__ for one in ws.extensions), flush=True)
        await asyncio.get_event_loop().run_in_executor(None, sys.stdin.readline)
    print('closed', ws.close_code, flush=True)
asyncio.run(main())
"#;

/// A client in Python, and what it prints.
struct Client {
    child: Child,
    input: ChildStdin,
    output: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Client {
    fn start(url: &str, gate: std::net::SocketAddr, authority: &Path) -> Self {
        let mut command = Command::new(PYTHON);
        command.args(["-c", CLIENT, url, &gate.ip().to_string(), &gate.port().to_string()]).arg(authority);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output).lines() }
    }

    fn line(&mut self) -> String {
        self.output.next().expect("it says why on standard error").unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has_websockets() -> bool {
    let found = Command::new(PYTHON).args(["-c", "import websockets"]).stderr(Stdio::null()).status();
    let has = found.is_ok_and(|found| found.success());
    assert!(has || std::env::var_os("CI").is_none(), "python3-websockets is not installed, and CI is set");
    if !has {
        eprintln!("SKIPPED: python3-websockets is not installed");
    }
    has
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_peers_compress_passes_compressed() {
    if !has_websockets() {
        return;
    }
    let up = Up::start();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut server = Command::new(PYTHON);
    let server = Program::start(server.args(["-c", SERVER, &port.to_string()]), &folder.path().join("log"));
    wait_for("the server listens", || async { server.log().contains("ready").then_some(()) }).await;
    let target = format!("http://127.0.0.1:{port}");
    up.cli(&[
        "route",
        "add",
        "app.example.com",
        &target,
        "--websocket",
        "on",
        "--tls",
        "self-signed",
        "--redirect-https",
        "off",
    ]);
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, up.cli(&["ca", "show"])).unwrap();
    for (url, listener) in [("ws://app.example.com/echo", "http"), ("wss://app.example.com/echo", "https")] {
        let mut client = Client::start(url, up.address(listener), &authority);
        assert_eq!(client.line(), "v2.echo PerMessageDeflate");
        let tunnel = session(&up, "tunnel").await;
        for way in ["bytes_up", "bytes_down"] {
            let moved = tunnel[way].as_u64().unwrap();
            // Two mebibytes of one letter: a few kilobytes where nobody opens them on the way.
            assert!((500..50_000).contains(&moved), "{way}: {moved}");
        }
        writeln!(client.input).unwrap();
        assert_eq!(client.line(), "closed 1000");
        wait_for("it is over", || async { crate::flows::sessions(&up, &[]).is_empty().then_some(()) }).await;
    }
}

//! The README's tour: HTTP and HTTPS by domain, a WebSocket, `ssh -J`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use futures_util::{SinkExt, StreamExt};
use tests::binaries::Up;
use tests::client;
use tests::origin::Origin;
use tests::sshd::{KeyPair, Sshd, client_config};
use tests::wait::wait_for;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn curl_reaches_a_route_by_domain_over_http_and_https() {
    let up = Up::start();
    let origin = Origin::start("hello from the vm").await;
    up.cli(&["route", "add", "plain.example.com", &origin.url()]);
    up.cli(&["route", "add", "app.example.com", &origin.url(), "--tls", "self-signed"]);
    serves(&up, "plain.example.com").await;
    let authority = up.data().join("ca-for-the-test.pem");
    std::fs::write(&authority, up.cli(&["ca", "show"])).unwrap();

    assert_eq!(curl(&up, "http", "plain.example.com", &[]), "hello from the vm");
    assert_eq!(
        curl(&up, "https", "app.example.com", &["--cacert", authority.to_str().unwrap()]),
        "hello from the vm"
    );
    let redirected =
        curl(&up, "http", "app.example.com", &["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}"]);
    assert!(redirected.starts_with("301 https://app.example.com"), "{redirected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_verifies_the_listener_against_the_printed_authority() {
    let up = Up::start();
    let origin = Origin::start("one").await;
    up.cli(&["route", "add", "app.example.com", &origin.url(), "--tls", "self-signed"]);
    let authority = up.data().join("ca-for-the-test.pem");
    std::fs::write(&authority, up.cli(&["ca", "show"])).unwrap();
    let https = up.address("https").to_string();

    let report = wait_for("the identity serves", || async {
        let output = Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                &https,
                "-servername",
                "app.example.com",
                "-verify_return_error",
                "-CAfile",
            ])
            .arg(&authority)
            .args(["-verify_hostname", "app.example.com"])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("Verify return code: 0 (ok)").then_some(text)
    })
    .await;

    assert!(report.contains("TLSv1.3"), "{report}");
    let old = Command::new("openssl")
        .args(["s_client", "-connect", &https, "-servername", "app.example.com", "-tls1_1"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(!old.status.success(), "TLS 1.1 must be refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_where_it_is_on_and_is_refused_where_it_is_off() {
    let up = Up::start();
    let origin = Origin::start("one").await;
    up.cli(&["route", "add", "ws.example.com", &origin.url(), "--websocket", "on"]);
    up.cli(&["route", "add", "off.example.com", &origin.url()]);
    serves(&up, "off.example.com").await;

    let mut socket = client::websocket(up.address("http"), "ws.example.com", "/ws").await;
    socket.send(Message::text("ping")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("ping"));

    let mut refused = client::Connection::open(up.address("http")).await;
    refused
        .send(
            b"GET /ws HTTP/1.1\r\nHost: off.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await
        .unwrap();
    assert_eq!(refused.answer(false).await.unwrap().status, 426);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_jumps_to_a_granted_vm_by_name_and_by_address() {
    let up = Up::start();
    let key = KeyPair::make("usr1");
    let vm = Sshd::start(&key).await;
    add_vm(&up, "web01", vm.address());
    add_user(&up, "usr1", "operator:default", &key);
    let folder = tempfile::tempdir().unwrap();

    let by_name = jump(&up, folder.path(), &key, "web01").await;
    assert_eq!(by_name.trim(), "through the gate");
    let by_address = jump(&up, folder.path(), &key, "127.0.0.1").await;
    assert_eq!(by_address.trim(), "through the gate");
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_refuses_strangers_shells_and_targets_that_are_not_granted() {
    let up = Up::start();
    let (key, stranger) = (KeyPair::make("usr1"), KeyPair::make("stranger"));
    let vm = Sshd::start(&key).await;
    add_vm(&up, "web01", vm.address());
    up.cli(&["vm", "add", "other", "10.9.9.9", "--namespace", "ns2"]);
    add_user(&up, "usr1", "operator:default", &key);
    let folder = tempfile::tempdir().unwrap();
    jump(&up, folder.path(), &key, "web01").await;

    let denied = ssh(&up, folder.path(), &stranger, &["-W", "web01:22"]);
    assert!(denied.contains("Permission denied"), "{denied}");
    for target in ["other:22", "169.254.169.254:22", "127.0.0.2:22", "localhost:22", "web01:3306"] {
        let refused = ssh(&up, folder.path(), &key, &["-W", target]);
        assert!(refused.contains("prohibited"), "{target}: {refused}");
    }
    let shell = ssh(&up, folder.path(), &key, &["hostname"]);
    assert!(shell.to_lowercase().contains("no shell here"), "{shell}");
}

/// Waits until the gateway serves this host.
async fn serves(up: &Up, host: &str) {
    wait_for("the route serves", || async {
        let answer = client::get(up.address("http"), host, "/").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

fn curl(up: &Up, scheme: &str, host: &str, more: &[&str]) -> String {
    let address = up.address(scheme);
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20", "--resolve"])
        .arg(format!("{host}:{}:{}", address.port(), address.ip()))
        .args(more)
        .arg(format!("{scheme}://{host}:{}/", address.port()))
        .output()
        .unwrap();
    assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn add_vm(up: &Up, name: &str, address: SocketAddr) {
    up.cli(&["vm", "add", name, &address.ip().to_string(), "--ssh-port", &address.port().to_string()]);
}

fn add_user(up: &Up, name: &str, grant: &str, key: &KeyPair) {
    up.cli(&["user", "create", name, "--grant", grant]);
    up.cli(&["user", "key", "add", name, key.public_file().to_str().unwrap()]);
}

/// `ssh -J openidcs@gate user@target`, tried until the grant has reached the gateway; the command's output.
async fn jump(up: &Up, folder: &Path, key: &KeyPair, target: &str) -> String {
    let gate = up.address("ssh");
    let config = client_config(folder, key);
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    wait_for("the jump works", || async {
        let output = Command::new("ssh")
            .arg("-F")
            .arg(&config)
            .arg("-J")
            .arg(format!("openidcs@{}:{}", gate.ip(), gate.port()))
            .arg(format!("{user}@{target}"))
            .args(["echo", "through the gate"])
            .output()
            .unwrap();
        if output.status.success() {
            return Some(String::from_utf8(output.stdout).unwrap());
        }
        eprintln!("ssh -J: {}", String::from_utf8_lossy(&output.stderr));
        None
    })
    .await
}

/// `ssh openidcs@gate …`; everything it said.
fn ssh(up: &Up, folder: &Path, key: &KeyPair, more: &[&str]) -> String {
    let gate = up.address("ssh");
    let output = Command::new("ssh")
        .arg("-F")
        .arg(client_config(folder, key))
        .args(["-p", &gate.port().to_string(), "-o", "LogLevel=INFO"])
        .args(if more.first() == Some(&"-W") { more } else { &[] })
        .arg(format!("openidcs@{}", gate.ip()))
        .args(if more.first() == Some(&"-W") { &[] } else { more })
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success(), "ssh {more:?} must fail");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

//! Consoles with real parts: QEMU's screen, Debian's websockify, Chromium with our pages; a stand-in for ttyd.

pub(crate) mod browser;
mod machine;
mod shell;
mod ttyd;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tests::binaries::Up;
use tests::cut::Cut;
use tests::wait::{wait_at_most, wait_for, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use browser::Browser;
use machine::{Machine, Then, Websockify, counting, server};
use ttyd::Ttyd;

/// A gate that knows a machine with this console.
fn gate(kind: &str, port: u16, more: &[&str]) -> Up {
    let up = Up::start();
    up.cli(&["vm", "add", "web01", "127.0.0.1"]);
    add(&up, kind, port, more);
    up
}

fn add(up: &Up, kind: &str, port: u16, more: &[&str]) {
    up.cli(&[&["console", "add", "web01", kind, "--port", &port.to_string()], more].concat());
}

/// The address that a person is given.
fn open(up: &Up, more: &[&str]) -> String {
    up.cli(&[&["console", "open", "web01"], more].concat()).trim().to_owned()
}

fn ticket(address: &str) -> &str {
    address.rsplit('/').next().unwrap()
}

/// Waits until the gate has the newest: what `control` took is published a moment later.
async fn known(up: &Up, listener: &str) -> String {
    wait_for("the console is known to the gate", || async {
        let address = open(up, &[]);
        let answer = ask(up.address(listener), &format!("/console/{}", ticket(&address)), "").await;
        answer.starts_with("HTTP/1.1 426 ").then_some(address)
    })
    .await
}

/// The answer to a request by a connection of its own.
async fn ask(gate: SocketAddr, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(gate).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {gate}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    within("an answer", stream.read_to_end(&mut read)).await.unwrap();
    String::from_utf8_lossy(&read).into_owned()
}

/// Asks for a WebSocket; the head of the answer.
async fn upgrade(gate: SocketAddr, path: &str, fields: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(gate).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {gate}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("an answer", stream.read_u8()).await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap())
}

async fn socket(gate: SocketAddr, path: &str, fields: &str) -> (WebSocketStream<TcpStream>, String) {
    let (stream, head) = upgrade(gate, path, fields).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (WebSocketStream::from_raw_socket(stream, Role::Client, None).await, head)
}

/// A picture that shows something: more than one colour, and not one of them nearly everywhere.
async fn is_a_picture(browser: &mut Browser) {
    wait_for_picture(browser).await;
    browser.has_no_complaints().await;
}

async fn wait_for_picture(browser: &mut Browser) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let seen = browser.step(json!({ "do": "colours" })).await;
        // The firmware writes grey on black; an empty screen is one colour.
        if seen["colours"].as_u64().unwrap() >= 2 && seen["other"].as_f64().unwrap() > 0.005 {
            assert!(seen["width"].as_u64().unwrap() >= 640, "{seen}");
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "the screen stays empty: {seen}");
    }
}

/// Scenario 14, in a browser: the screen, its end in words, and the same ticket again within its window.
#[tokio::test(flavor = "multi_thread")]
async fn the_screen_of_a_machine_is_seen_in_a_browser_and_its_end_is_told() {
    let (Some(machine), Some(mut browser)) = (Machine::start(None).await, Browser::start()) else { return };
    let up = gate("vnc", machine.port, &[]);
    browser.goto(&known(&up, "novnc").await).await;
    browser.wait("connected").await;
    is_a_picture(&mut browser).await;
    assert_eq!(browser.text("#name", "web01").await, "web01");
    assert!(!browser.shows("#view-only").await && browser.shows("#ctrl-alt-del").await);
    browser.shot("novnc.png").await;
    browser.click("#clipboard").await;
    browser.step(json!({ "do": "fill", "into": "#clipboard-text", "text": "root\npass \u{e4}" })).await;
    browser.click("#clipboard-type").await;
    assert!(!browser.shows("#clipboard-panel").await);
    browser.click("#scale").await;
    browser.click("#ctrl-alt-del").await;

    browser.click("#leave").await;
    assert!(browser.wait("closed").await.contains("You closed"));
    browser.click("#again").await;
    browser.wait("connected").await;
    is_a_picture(&mut browser).await;

    machine.end();
    let told = browser.wait("closed").await;
    assert!(told.contains("The console of the VM closed the connection.") && told.contains("1000"), "{told}");
    browser.shot("novnc-closed.png").await;
    browser.click("#again").await;
    let told = browser.wait("closed").await;
    assert!(told.contains("cannot be reached"), "{told}");
}

/// The gate takes the ticket of a screen again for half a minute from when it opened it: the page promises that and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_screen_that_is_lost_is_said_to_come_back_for_as_long_as_its_ticket_serves() {
    let (Some(machine), Some(mut browser)) = (Machine::start(None).await, Browser::start()) else { return };
    let up = gate("vnc", machine.port, &[]);
    let ticket = ticket(&known(&up, "novnc").await).to_owned();
    let network = Cut::before(up.address("novnc")).await;
    browser.goto(&format!("http://{}/console/{ticket}", network.address())).await;
    browser.wait("connected").await;
    // So long ago the ticket was redeemed, as far as the page knows.
    browser.step(json!({ "do": "later", "ms_later": 20_000 })).await;
    network.close();
    let told = browser.text("#detail", "kept for you").await;
    let left = told.split("for you for ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(left.unwrap().parse::<u32>().unwrap() <= 10, "{told}");
    network.cut();
    browser.wait("connected").await;

    // A reload knows it as well; then the time is over.
    browser.step(json!({ "do": "reload" })).await;
    browser.wait("connected").await;
    browser.step(json!({ "do": "later", "ms_later": 31_000 })).await;
    network.close();
    let told = browser.wait("closed").await;
    assert!(told.contains("The ticket opens nothing any more. Ask for a new one."), "{told}");
}

/// A VNC password stays at the gate, and who may only look is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_vnc_password_is_the_gates_and_who_only_looks_reads_it() {
    let (Some(machine), Some(mut browser)) = (Machine::start(Some("s3cret")).await, Browser::start()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let up = gate("vnc", machine.port, &["--secret-file", secret.to_str().unwrap()]);
    known(&up, "novnc").await;
    browser.goto(&open(&up, &["--look"])).await;
    browser.wait("connected").await;
    is_a_picture(&mut browser).await;
    assert!(browser.shows("#view-only").await && !browser.shows("#ctrl-alt-del").await);
    browser.shot("novnc-view-only.png").await;

    // Without the password at the gate the page asks for it.
    let id = up.cli(&["console", "list", "-o", "json"]);
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    let id = id[0]["id"].as_str().or(id["items"][0]["id"].as_str()).unwrap().to_owned();
    up.cli(&["console", "rm", &id]);
    add(&up, "vnc", machine.port, &[]);
    browser.goto(&known(&up, "novnc").await).await;
    browser.text("#words", "asks for a password").await;
    browser.shot("novnc-password.png").await;
    browser.step(json!({ "do": "fill", "into": "#password", "text": "s3cret" })).await;
    browser.step(json!({ "do": "press", "key": "Enter" })).await;
    browser.wait("connected").await;
    is_a_picture(&mut browser).await;
}

/// What speaks WebSocket already passes untouched; over https and below a path as on a port of its own.
#[tokio::test(flavor = "multi_thread")]
async fn back_ends_that_speak_websocket_pass_and_443_serves_the_same_below_a_path() {
    let (Some(machine), Some(mut browser)) = (Machine::start(None).await, Browser::start()) else { return };
    let Some(websockify) = Websockify::start(machine.port).await else { return };
    for (port, path) in [(websockify.port, "/websockify"), (machine.websocket, "/")] {
        let up = gate("vnc", port, &["--wire", "websocket", "--path", path]);
        up.cli(&["route", "add", "gate.test", "novnc", "--path", "/my/screens", "--tls", "self-signed"]);
        browser.goto(&known(&up, "novnc").await).await;
        browser.wait("connected").await;
        is_a_picture(&mut browser).await;

        let address = open(&up, &[]);
        let https = up.address("https").port();
        // The folder without its slash, as a person types it.
        let url = format!("https://gate.test:{https}/my/screens?token={}", ticket(&address));
        let seen = browser.goto(&url).await;
        assert_eq!(seen["status"], 200);
        browser.wait("connected").await;
        is_a_picture(&mut browser).await;
        // Or the page would try again when the gate is gone.
        browser.click("#leave").await;
        browser.wait("closed").await;
    }
}

/// Scenario 14, on the wire.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_for_one_browser_one_console_and_a_moment() {
    let port = server(b"RFB 003.008\n", Then::Waits).await;
    let up = gate("vnc", port, &[]);
    known(&up, "novnc").await;
    let gate = up.address("novnc");
    let address = open(&up, &[]);
    let path = format!("/websockify?token={}", ticket(&address));
    let (mut screen, head) =
        socket(gate, &path, "Sec-WebSocket-Protocol: binary\r\nUser-Agent: one\r\n").await;
    assert!(head.to_lowercase().contains("\r\nsec-websocket-protocol: binary\r\n"), "{head}");
    let first = within("the first bytes", screen.next()).await.unwrap().unwrap();
    assert_eq!(first, Message::binary(&b"RFB 003.008\n"[..]));

    let refused = upgrade(gate, &path, "User-Agent: another\r\n").await.1;
    assert!(refused.starts_with("HTTP/1.1 403 "), "another browser: {refused}");
    let told = ask(gate, &path, "User-Agent: another\r\nAccept: application/json\r\n").await;
    assert!(told.contains("used already"), "{told}");
    // The same one again, without the sub-protocol: it is not named either, and the first session ends in words.
    let (_again, head) = socket(gate, &path, "User-Agent: one\r\n").await;
    assert!(!head.to_lowercase().contains("sec-websocket-protocol"), "{head}");
    loop {
        if let Message::Close(frame) = within("the end", screen.next()).await.unwrap().unwrap() {
            assert_eq!(u16::from(frame.unwrap().code), 1008);
            break;
        }
    }

    let elsewhere = open(&up, &["--source", "10.9.9.9"]);
    let told = ask(gate, &format!("/console/{}", ticket(&elsewhere)), "").await;
    assert!(told.starts_with("HTTP/1.1 403 ") && told.contains("another address"), "{told}");
    let short = open(&up, &["--seconds", "1"]);
    wait_at_most(Duration::from_secs(20), "the ticket expires", || async {
        let told = ask(gate, &format!("/console/{}", ticket(&short)), "").await;
        (told.starts_with("HTTP/1.1 403 ") && told.contains("has expired")).then_some(())
    })
    .await;
    let other = ask(up.address("ttyd"), &format!("/console/{}", ticket(&open(&up, &[]))), "").await;
    assert!(other.starts_with("HTTP/1.1 403 ") && other.contains("another kind"), "{other}");
    for listener in ["novnc", "ttyd"] {
        let nobody = ask(up.address(listener), "/", "Accept: text/html\r\n").await;
        assert!(nobody.starts_with("HTTP/1.1 401 ") && nobody.contains("A console ticket is required"));
    }
    assert!(upgrade(gate, "/websockify", "").await.1.starts_with("HTTP/1.1 401 "));
}

/// What is silent is kept: a ping comes before proxies on the way would cut (ANCHORS I 62).
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_screen_is_kept_by_pings() {
    let port = server(b"RFB 003.008\n", Then::Waits).await;
    let up = gate("vnc", port, &[]);
    let path = format!("/console/{}", ticket(&known(&up, "novnc").await));
    let (mut screen, _) = socket(up.address("novnc"), &path, "").await;
    let ping = async {
        loop {
            if let Message::Ping(_) = screen.next().await.unwrap().unwrap() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(50), ping).await.expect("a ping comes within a minute");
}

/// A serial line is bytes to the machine, and a terminal to whoever opens it.
#[tokio::test(flavor = "multi_thread")]
async fn a_serial_line_is_read_and_typed_on_in_a_browser() {
    let (Some(machine), Some(mut browser)) = (Machine::with_a_line().await, Browser::start()) else { return };
    let up = gate("serial", machine.port, &[]);
    browser.goto(&known(&up, "ttyd").await).await;
    browser.wait("connected").await;
    browser.text("#screen .xterm-rows", "Press ESC for boot menu").await;
    browser.step(json!({ "do": "press", "key": "Escape" })).await;
    browser.text("#screen .xterm-rows", "Select boot device").await;
    browser.shot("terminal-serial.png").await;
    browser.has_no_complaints().await;
    machine.end();
    let told = browser.wait("closed").await;
    assert!(told.contains("The console of the VM closed the connection."), "{told}");
}

/// Garbage instead of a screen is told in words by the page, whoever it comes from.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_a_screen_is_told_and_no_black_screen() {
    let Some(mut browser) = Browser::start() else { return };
    for (says, more) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[][..]),
        (b"RFB 003.008\n\x00\x00\x00\x00\x05never", &[]),
        (b"RFB 003.008\n\x01\x01\x00\x00\x00\x00\xff\xff\xff\xff garbage garbage garbage garbage", &[]),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", &["--read-only", "on"]),
    ] {
        let up = gate("vnc", server(says, Then::Waits).await, more);
        let address = wait_for("the console is known to the gate", || async {
            let address = open(&up, &[]);
            let told = ask(up.address("novnc"), &format!("/console/{}", ticket(&address)), "").await;
            told.starts_with("HTTP/1.1 426 ").then_some(address)
        })
        .await;
        browser.goto(&address).await;
        let shown = browser.step(json!({ "do": "wait", "state": "closed", "ms": 40_000 })).await;
        let words = shown["words"].as_str().unwrap();
        assert!(words.len() > 20 && words.ends_with('.'), "{says:?}: {words}");
    }
    browser.shot("novnc-garbage.png").await;
}

/// A ticket that opens nothing is told by the page in the gate's own words.
#[tokio::test(flavor = "multi_thread")]
async fn a_used_an_expired_and_a_foreign_ticket_are_told_in_the_browser() {
    let Some(mut browser) = Browser::start() else { return };
    let up = gate("vnc", server(b"RFB 003.008\n", Then::Waits).await, &[]);
    let elsewhere = gate("vnc", server(b"RFB 003.008\n", Then::Waits).await, &[]);
    let novnc = up.address("novnc");
    let used = known(&up, "novnc").await;
    let (_open, head) =
        upgrade(novnc, &format!("/console/{}", ticket(&used)), "User-Agent: another\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let expired = open(&up, &["--seconds", "1"]);
    let foreign = known(&elsewhere, "novnc").await;
    let foreign = format!("http://{novnc}/console/{}", ticket(&foreign));
    wait_for("it is too late", || async {
        let told = ask(novnc, &format!("/console/{}", ticket(&expired)), "").await;
        told.contains("has expired").then_some(())
    })
    .await;
    for (address, says) in [
        (&used, "The ticket was used already. Ask for a new one."),
        (&expired, "The ticket has expired. Ask for a new one."),
        (&foreign, "The ticket was not made for this gate."),
    ] {
        let seen = browser.goto(address).await;
        assert_eq!(seen["status"], 403, "{says}");
        browser.text("body", says).await;
    }
    browser.shot("novnc-refused.png").await;
}

/// A browser that never reads while the machine floods: the gate's memory stays where it is.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_costs_the_gate_no_memory() {
    let (port, written) = counting(b"RFB 003.008\n", Then::Floods).await;
    let up = gate("vnc", port, &[]);
    known(&up, "novnc").await;
    let before = up.resident_bytes("gateway");
    let mut held = Vec::new();
    for _ in 0..16 {
        let path = format!("/console/{}", ticket(&open(&up, &[])));
        held.push(upgrade(up.address("novnc"), &path, "").await.0);
    }
    // As long as the sockets' buffers take some: then nothing moves for a hundred looks.
    let (mut last, mut looks) = (0, 0);
    wait_for("nothing moves any more", || {
        let now = written.load(std::sync::atomic::Ordering::Relaxed);
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        let is_still = looks >= 100;
        async move { is_still.then_some(()) }
    })
    .await;
    let most = up.resident_bytes_most("gateway");
    let each = most.saturating_sub(before) / 16;
    eprintln!("{} KiB for each of 16 browsers that do not read", each / 1024);
    assert!(each < 2 * 1024 * 1024, "{each} bytes for one");
    for stream in &mut held {
        // They are still there: what waits in the kernel is theirs.
        assert!(within("bytes", stream.read_u8()).await.is_ok());
    }
}

/// Scenario 15.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_in_the_browser_types_resizes_and_pastes_through_an_untouched_ttyd() {
    let Some(mut browser) = Browser::start() else { return };
    let ttyd = Ttyd::start().await;
    let up = gate("ttyd", ttyd.port, &["--wire", "websocket", "--path", "/ws"]);
    browser.goto(&known(&up, "ttyd").await).await;
    browser.wait("connected").await;
    browser.text("#screen .xterm-rows", "gr\u{fc}n \u{1f7e2} ready").await;
    let seen = ttyd.seen();
    assert_eq!((seen.path.as_str(), seen.hello["AuthToken"].as_str()), ("/ws", Some("")));
    let (columns, rows) = (seen.hello["columns"].as_u64().unwrap(), seen.hello["rows"].as_u64().unwrap());
    assert!(columns > 80 && rows > 24, "{columns}x{rows}");

    browser.step(json!({ "do": "type", "text": "echo h\u{e4}llo" })).await;
    browser.step(json!({ "do": "press", "key": "Enter" })).await;
    browser.text("#screen .xterm-rows", "$ echo h\u{e4}llo").await;
    browser.step(json!({ "do": "size", "width": 640, "height": 480 })).await;
    wait_for("the new size is told", || async {
        ttyd.seen().sizes.last().is_some_and(|size| size.0 < columns && size.1 < rows).then_some(())
    })
    .await;
    let pasted = "one \u{1f40d}\ntwo\n";
    browser.step(json!({ "do": "paste", "into": ".xterm-helper-textarea", "text": pasted })).await;
    browser.text("#screen .xterm-rows", "two").await;
    // A long one goes in pieces, and arrives whole.
    let long = "0123456789".repeat(10_000);
    let height = browser.height("#screen").await;
    browser.click("#paste").await;
    browser.step(json!({ "do": "fill", "into": "#paste-text", "text": long })).await;
    assert_eq!(browser.height("#screen").await, height, "the screen stays where it is");
    browser.shot("terminal-paste.png").await;
    browser.click("#paste-send").await;
    let input = wait_for("all of the paste", || async {
        let input = String::from_utf8(ttyd.seen().input).unwrap();
        input.ends_with(&long).then_some(input)
    })
    .await;
    assert!(input.starts_with("echo h\u{e4}llo\rone \u{1f40d}\rtwo\r"), "{}", &input[..40]);
    browser.has_no_complaints().await;
    browser.step(json!({ "do": "size", "width": 1000, "height": 700 })).await;

    browser.step(json!({ "do": "press", "key": "Control+d" })).await;
    let told = browser.wait("closed").await;
    assert!(told.contains("The console was closed.") && told.contains("1000"), "{told}");
    browser.shot("terminal-closed.png").await;
    // Through an untouched ttyd nothing can be attached to again; the page says why.
    browser.click("#again").await;
    let told = browser.wait("closed").await;
    assert!(told.contains("The ticket was used already."), "{told}");
}

/// A serial line is silent until somebody types, has no size, and says so when it cannot be reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_serial_line_is_used_in_a_browser_and_one_that_is_away_is_told() {
    let Some(mut browser) = Browser::start() else { return };
    let line = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let up = gate("serial", line.local_addr().unwrap().port(), &[]);
    let address = known(&up, "ttyd").await;
    let (_, met) = tokio::join!(browser.goto(&address), line.accept());
    let mut line_end = met.unwrap().0;
    browser.wait("connected").await;
    browser.step(json!({ "do": "size", "width": 640, "height": 480 })).await;
    browser.step(json!({ "do": "type", "text": "root \u{e4}" })).await;
    browser.step(json!({ "do": "press", "key": "Enter" })).await;
    let mut typed = vec![0; "root \u{e4}\r".len()];
    within("what was typed", line_end.read_exact(&mut typed)).await.unwrap();
    assert_eq!(String::from_utf8(typed).unwrap(), "root \u{e4}\r", "and nothing else");
    line_end.write_all("gr\u{fc}\u{df}e\r\nPassword: ".as_bytes()).await.unwrap();
    browser.text("#screen .xterm-rows", "gr\u{fc}\u{df}ePassword:").await;
    browser.shot("serial.png").await;
    drop((line_end, line));
    let told = browser.wait("closed").await;
    assert!(told.contains("closed the connection"), "{told}");

    browser.goto(&open(&up, &[])).await;
    browser.text("#detail", "Code 1011").await;
    let told = browser.wait("closed").await;
    assert!(told.contains("cannot be reached") && !told.contains("used already"), "{told}");
    browser.has_no_complaints().await;
}

/// The gate's answer to the next attempt does not hide what happened first.
#[tokio::test(flavor = "multi_thread")]
async fn why_a_console_was_lost_is_told_though_its_ticket_serves_once() {
    let Some(mut browser) = Browser::start() else { return };
    let ttyd = Ttyd::start().await;
    let up = gate("ttyd", ttyd.port, &["--wire", "websocket", "--path", "/ws"]);
    let network = Cut::before(up.address("ttyd")).await;
    let address = known(&up, "ttyd").await;
    let mut ticket = ticket(&address).to_owned();
    // The network breaks, and then a program fails: a browser cannot tell them apart.
    for is_network in [true, false] {
        browser.goto(&format!("http://{}/console/{ticket}", network.address())).await;
        browser.text("#screen .xterm-rows", "ready").await;
        if is_network {
            network.cut();
        } else {
            browser.step(json!({ "do": "press", "key": "Control+\\" })).await;
        }
        let told = browser.wait("closed").await;
        let wanted = "The program failed, or the connection was lost. The ticket was used already.";
        assert!(told.contains(wanted), "{told}");
        assert!(!browser.shows("#again").await, "the ticket opens nothing any more");
        ticket = open(&up, &[]).rsplit('/').next().unwrap().to_owned();
    }
}

/// What draws slower than a program writes asks it to wait: nothing piles up in the browser.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_in_the_terminal_is_paused_and_goes_on_below_a_path() {
    let Some(mut browser) = Browser::start() else { return };
    let ttyd = Ttyd::start().await;
    let up = gate("ttyd", ttyd.port, &["--wire", "websocket", "--path", "/ws"]);
    up.cli(&["route", "add", "gate.test", "ttyd", "--path", "/my/terminal"]);
    let address = known(&up, "ttyd").await;
    let http = up.address("http").port();
    browser.goto(&format!("http://gate.test:{http}/my/terminal/console/{}", ticket(&address))).await;
    browser.wait("connected").await;
    browser.text("#screen .xterm-rows", "ready").await;
    browser.shot("terminal.png").await;
    browser.step(json!({ "do": "slow", "rate": 5 })).await;
    browser.step(json!({ "do": "type", "text": "F" })).await;
    browser.step(json!({ "do": "text", "of": "#screen .xterm-rows", "contains": "end of the flood", "ms": 60_000 })).await;
    let seen = ttyd.seen();
    assert!(seen.pauses > 0 && seen.resumes > 0, "{} pauses, {} resumes", seen.pauses, seen.resumes);
    browser.has_no_complaints().await;
}

/// Each way in which a handshake for a console is wrong, through the real program.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_are_wrong_open_nothing_and_use_no_ticket() {
    let port = server(b"RFB 003.008\n", Then::Waits).await;
    let up = gate("vnc", port, &[]);
    let path = format!("/console/{}", ticket(&known(&up, "novnc").await));
    let gate = up.address("novnc");
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const UP: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    const V13: &str = "Sec-WebSocket-Version: 13\r\n";
    for (what, line, fields, wanted) in [
        ("no key", "GET", format!("{UP}{V13}"), &[400][..]),
        ("a short key", "GET", format!("{UP}{V13}Sec-WebSocket-Key: abc\r\n"), &[400]),
        ("two keys", "GET", format!("{UP}{V13}{KEY}{KEY}"), &[400]),
        ("an old version", "GET", format!("{UP}{KEY}Sec-WebSocket-Version: 8\r\n"), &[400, 426]),
        ("no version", "GET", format!("{UP}{KEY}"), &[400, 426]),
        ("no Upgrade", "GET", format!("Connection: Upgrade\r\n{KEY}{V13}"), &[400, 426]),
        ("no Connection", "GET", format!("Upgrade: websocket\r\n{KEY}{V13}"), &[400, 426]),
        (
            "another protocol",
            "GET",
            format!("Connection: Upgrade\r\nUpgrade: foo\r\n{KEY}{V13}"),
            &[400, 426],
        ),
        ("a POST", "POST", format!("{UP}{KEY}{V13}"), &[400, 405]),
        ("a body", "GET", format!("{UP}{KEY}{V13}Content-Length: 3\r\n"), &[400]),
        ("chunks", "GET", format!("{UP}{KEY}{V13}Transfer-Encoding: chunked\r\n"), &[400]),
    ] {
        let mut stream = TcpStream::connect(gate).await.unwrap();
        let request = format!("{line} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\nabc");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        within(what, stream.read_exact(&mut head)).await.unwrap();
        let status: u16 = std::str::from_utf8(&head[9..]).unwrap().parse().unwrap();
        assert!(wanted.contains(&status), "{what}: {status}");
    }
    // Nothing of it redeemed the ticket.
    let (mut screen, _) = socket(gate, &path, "").await;
    within("a message", screen.send(Message::binary(&b"RFB 003.008\n"[..]))).await.unwrap();
}

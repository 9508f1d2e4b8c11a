//! What the process before still carries after an upgrade: changes reach it as they reach the new one (DESIGN D5), it is
//! listed and can be ended, and tickets of before the upgrade open consoles after it.

use std::net::SocketAddr;

use serde_json::Value;
use tests::binaries::{Up, signal};
use tests::client;
use tests::origin::Origin;
use tests::wait::wait_for;

use crate::flows::{
    Datagrams, closed, connected, console, echo, echoes, forward, is_alive, screen, sessions, show, shows,
    ticket, udp_echo,
};

fn upgrade(up: &Up) {
    up.cli(&["upgrade"]);
}

async fn websocket(up: &Up, host: &str) -> crate::flows::Socket {
    let mut socket = client::websocket(up.address("http"), host, "/ws").await;
    assert!(echoes(&mut socket).await);
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_reach_what_the_elder_carries_and_nothing_that_they_do_not_concern() {
    let up = Up::start();
    let origin = Origin::start("app").await;
    for host in ["gone.example.com", "stays.example.com"] {
        up.cli(&["route", "add", host, &origin.url(), "--websocket", "on", "--on-delete", "cut"]);
    }
    let machine = echo().await;
    let (cut, cut_port) = forward(&up, "tcp", machine, &["--on-delete", "cut"]);
    let (_, other_port) = forward(&up, "tcp", machine, &["--on-delete", "cut"]);
    screen(&up, "web01").await;
    let token = |name: &str| {
        up.cli(&["user", "create", name, "--grant", "operator:default"]);
        up.cli(&["token", "create", "--subject", name, "--duration", "10m"])
    };
    let (ann, bob) = (token("ann"), token("bob"));
    let mut gone = websocket(&up, "gone.example.com").await;
    let mut stays = websocket(&up, "stays.example.com").await;
    let (mut by_cut, mut by_other) = (connected(cut_port).await, connected(other_port).await);
    let mut killed = connected(other_port).await;
    let gate = up.address("novnc");
    let mut hers = console(gate, &ticket(&up, "web01", Some(&ann))).await;
    let mut his = console(gate, &ticket(&up, "web01", Some(&bob))).await;
    let before = up.pid("gateway");

    upgrade(&up);

    assert!(echoes(&mut gone).await && echoes(&mut stays).await && is_alive(&mut by_cut).await);
    let listed = wait_for("the elder's flows are listed, once it follows control again", || async {
        Some(sessions(&up, &[])).filter(|listed| listed.len() == 7)
    })
    .await;
    up.cli(&["forward", "rm", &cut]);
    // A draining process follows control by a stream of its own, which it may just be opening.
    wait_for_end("the forward's", async || is_alive(&mut by_cut).await).await;
    up.cli(&["route", "rm", "gone.example.com"]);
    wait_for_end("the route's", async || echoes(&mut gone).await).await;
    up.cli(&["user", "update", "ann", "--enabled", "off"]);
    assert_eq!(closed(&mut hers).await, 1008);

    let from = killed.local_addr().unwrap().to_string();
    let one = listed.iter().find(|one| one["from"] == from.as_str()).unwrap();
    let id = one["id"].as_str().unwrap();
    assert!(up.cli(&["session", "show", id]).contains(&from));
    up.cli(&["session", "kill", id]);
    assert!(!is_alive(&mut killed).await);

    assert!(echoes(&mut stays).await && is_alive(&mut by_other).await && shows(&mut his).await);
    assert!(std::path::Path::new(&format!("/proc/{before}")).exists(), "the elder carries them");
    wait_for("the others are listed", || async { (sessions(&up, &[]).len() == 3).then_some(()) }).await;
}

/// Waits until a flow carries nothing any more.
async fn wait_for_end(whose: &str, mut carries: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + tests::wait::DEADLINE;
    while carries().await {
        assert!(tokio::time::Instant::now() < deadline, "{whose} flow does not end");
    }
}

fn refused(answer: &str, why: &str) {
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(why), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_outlive_an_upgrade_with_what_is_known_of_them_and_no_restart() {
    let mut up = Up::start();
    screen(&up, "web01").await;
    let gate: SocketAddr = up.address("novnc");
    let (used, unused) = (ticket(&up, "web01", None), ticket(&up, "web01", None));
    let mut first = console(gate, &used).await;

    upgrade(&up);

    assert!(shows(&mut first).await, "it goes on in the process before");
    // The same browser comes again: at the new process, which ends the console that the old one has.
    let mut second = console(gate, &used).await;
    assert_eq!(closed(&mut first).await, 1008);
    assert!(shows(&mut second).await);
    assert_eq!(sessions(&up, &["--kind", "console"]).len(), 1);
    let mut third = console(gate, &unused).await;
    assert!(shows(&mut third).await);

    let late = ticket(&up, "web01", None);
    drop((second, third));
    let serving: u32 =
        std::fs::read_to_string(up.data().join("gateway/lock")).unwrap().trim().parse().unwrap();
    signal(serving, "KILL");
    wait_for("another gateway serves", || async {
        let text = std::fs::read_to_string(up.data().join("gateway/lock")).unwrap_or_default();
        let is_another = text.trim().parse::<u32>().is_ok_and(|pid| pid != serving && pid != 0);
        let listed: Value = serde_json::from_str(&up.cli(&["gateway", "ls", "-o", "json"])).ok()?;
        let connected = listed[0]["connected"] == true && tokio::net::TcpStream::connect(gate).await.is_ok();
        (is_another && connected).then_some(())
    })
    .await;
    let (_, answer) = show(gate, &late).await;
    refused(&answer, "The gate was started again after the ticket was made. Ask for a new one.");
    let mut fresh = console(gate, &ticket(&up, "web01", None)).await;
    assert!(shows(&mut fresh).await);
    drop(fresh);
    assert_eq!(up.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_many_clients_and_a_wide_row_of_ports_are_handed_over() {
    let up = Up::start();
    let machine = udp_echo();
    let (_, port) = forward(&up, "udp", machine, &[]);
    // Each port is a descriptor, and the kernel takes 253 in one message.
    let first = 21_000 + u16::try_from(std::process::id() % 20).unwrap() * 400;
    let row = format!("{first}-{}", first + 299);
    up.cli(&["forward", "add", "udp", &row, "127.0.0.1:5000", "--bind", "127.0.0.1"]);
    let clients: Vec<(Datagrams, String)> = (0..50)
        .map(|_| {
            let client = Datagrams::to(port);
            let seen = client.ask("who").unwrap();
            (client, seen)
        })
        .collect();

    let upgraded: Value = serde_json::from_str(&up.cli(&["upgrade", "-o", "json"])).unwrap();

    assert!(upgraded["sockets"].as_u64().unwrap() > 300, "{upgraded}");
    assert_eq!(upgraded["flows"], 50);
    for (client, seen) in &clients {
        assert_eq!(&client.ask("who").unwrap(), seen, "the machine sees another client now");
    }
    let at = |port: u16| std::net::UdpSocket::bind(("127.0.0.1", port)).map_err(|error| error.kind());
    assert_eq!(
        at(first + 299).err(),
        Some(std::io::ErrorKind::AddrInUse),
        "the last of the row is the gate's"
    );
    up.cli(&["forward", "rm", &format!("udp/{first}")]);
    assert!(at(first).is_ok() && at(first + 299).is_ok(), "closed when the command says so");
}

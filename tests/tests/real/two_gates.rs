//! Two gateways and one control: a console ticket opens at either of them, once.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::binaries::{Running, Up, bin};
use tests::wait::wait_for;

use crate::flows::{screen, sessions, show, ticket};

/// A gateway elsewhere that joins by a token.
async fn joined(up: &Up, data: &Path, name: &str) -> Running {
    let token = up.cli(&["gateway", "token", "create", "--name", name]);
    let mut command = Command::new(bin("gatehouse"));
    command.args(["gateway", "run", "--name", name, "-o", "json", "--data"]).arg(data);
    for listener in ["http", "https", "ssh", "novnc", "ttyd", "gateway-admin"] {
        command.arg(format!("--{listener}")).arg("127.0.0.1:0");
    }
    command.args(["--control", &up.address("sync").to_string(), "--join-token", token.trim()]);
    let running = Running::start(&mut command);
    wait_for("it follows control", || async {
        let listed: Value = serde_json::from_str(&up.cli(&["gateway", "ls", "-o", "json"])).unwrap();
        let gateways = listed.as_array().unwrap();
        let is_there = |one: &Value| {
            one["name"] == name && one["connected"] == true && one["generation"] == one["desired"]
        };
        gateways.iter().any(is_there).then_some(())
    })
    .await;
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_ticket_at_two_gateways_at_once_exactly_one_wins_and_the_other_is_told_why() {
    let up = Up::start();
    screen(&up, "web01").await;
    let data = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let second = joined(&up, data.path(), "second").await;
    let (here, there) = (up.address("novnc"), second.address("novnc"));
    let mut wins = [0, 0];
    for round in 0..8 {
        let ticket = ticket(&up, "web01", None);
        // By turns one of them is the first to be asked.
        let (one, other) = if round % 2 == 0 { (here, there) } else { (there, here) };
        let (one, other) = tokio::join!(show(one, &ticket), show(other, &ticket));
        let (at_here, at_there) = if round % 2 == 0 { (one, other) } else { (other, one) };
        let won = [&at_here, &at_there].map(|(_, answer)| answer.starts_with("HTTP/1.1 101 "));
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{} {}", at_here.1, at_there.1);
        wins[usize::from(won[1])] += 1;
        let lost = if won[0] { &at_there.1 } else { &at_here.1 };
        assert!(lost.starts_with("HTTP/1.1 403 "), "{lost}");
        assert!(lost.contains("The ticket was used already. Ask for a new one."), "{lost}");
        let place = if won[0] { "local" } else { "second" };
        wait_for("the one that is open is listed where it is", || async {
            let open = sessions(&up, &["--kind", "console"]);
            (open.len() == 1 && open[0]["gateway"] == place).then_some(())
        })
        .await;
        drop((at_here, at_there));
        wait_for("it is closed", || async { sessions(&up, &[]).is_empty().then_some(()) }).await;
    }
    eprintln!("won at the named one and at the other: {wins:?}");

    // The named one is away: nobody can say, and the ticket is not spent.
    let last = ticket(&up, "web01", None);
    tests::binaries::signal(up.pid("gateway"), "STOP");
    let (_, answer) = show(there, &last).await;
    tests::binaries::signal(up.pid("gateway"), "CONT");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Try again in a moment"), "{answer}");
    wait_for("it opens once that one answers again", || async {
        let (_, answer) = show(there, &last).await;
        // The first question may have arrived after all: then it was redeemed for this browser.
        (answer.starts_with("HTTP/1.1 101 ")).then_some(())
    })
    .await;
}

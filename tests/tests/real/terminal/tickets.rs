//! One ticket, one terminal: of two places at once, of two gates, and of a page that is led from one to the other.

use futures_util::future::join_all;
use serde_json::json;
use tests::cut::Cut;
use tests::wait::{wait_for, within};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::{Error, Page, SECRET, World};
use crate::consoles::browser::Browser;

const USED: &str =
    "The ticket was used already: its terminal has ended, or is open in another page or at another gate.";

/// Two gates that both know of the console.
async fn two() -> World {
    let mut world = World::start().await;
    world.stack.join("gate2").await;
    for gate in 0..2 {
        let unused = world.ticket().await;
        wait_for("the gate has heard of the console", || async {
            Page::shown(world.stack.ttyd(gate), &unused, "127.0.0.1").await.ok().map(drop)
        })
        .await;
    }
    world
}

/// A page that has said who it is: with a shell, or told why there is none.
async fn becomes(mut page: Page) -> Result<Page, CloseFrame> {
    within("an answer", async {
        loop {
            match page.next().await {
                Ok(printed) if printed.is_empty() => {}
                Ok(_) => return Ok(page),
                Err(end) => return Err(end.expect("a closing frame")),
            }
        }
    })
    .await
}

/// Whoever is first; the others are told. None of them knows the secret of another.
#[tokio::test]
async fn of_pages_that_show_one_ticket_at_two_gates_at_once_one_has_the_terminal() {
    let world = two().await;
    for round in 0..6 {
        let named = ["gate1", "gate2"][round % 2];
        let ticket = world.ticket_with(json!({ "gateway": named })).await;
        // Every handshake is answered before any page speaks, which redeems.
        let gates = (0..6).map(|number| world.stack.ttyd(number % 2));
        let pages: Vec<Page> = join_all(gates.map(|gate| {
            let ticket = &ticket;
            async move { Page::shown(gate, ticket, "127.0.0.1").await.unwrap() }
        }))
        .await;
        let speak = pages.into_iter().enumerate().map(|(number, mut page)| async move {
            page.hello((80, 24), &format!("the secret of page {number}, which is as long as it has to be"))
                .await;
            becomes(page).await
        });
        let mut shells = Vec::new();
        let mut others = Vec::new();
        for became in join_all(speak).await {
            match became {
                Ok(page) => shells.push(page),
                Err(end) => others.push(end),
            }
        }
        assert_eq!((shells.len(), others.len()), (1, 5), "round {round}: {others:?}");
        for end in others {
            assert_eq!((u16::from(end.code), end.reason.starts_with(USED)), (1008, true), "{end:?}");
        }
        let mut page = shells.pop().unwrap();
        page.run("echo mine-$((40 + 2)); exit").await;
        page.prints("mine-42").await;
        assert_eq!(page.ends().await.reason.as_str(), "the shell ended");
    }
    // Losers stand in the audit, by who held the ticket; not all of them, for one source fills it for nobody.
    let refused = wait_for("refusals are written down", || async {
        let rows = world.stack.api.get("/api/v1/audits?limit=200&action=refuse").await;
        let rows = rows["items"].as_array().unwrap().clone();
        (rows.len() >= 10).then_some(rows)
    })
    .await;
    assert!(refused.iter().all(|row| row["object_id"] == world.console.as_str()), "{refused:?}");
}

/// A gate that a ticket does not name has it redeemed by the one that it names, once; without control nobody knows.
#[tokio::test]
async fn a_ticket_opens_at_another_gate_than_it_names_and_at_none_after() {
    let mut world = two().await;
    let ticket = world.ticket_with(json!({ "gateway": "gate2" })).await;
    let mut page = Page::open(world.stack.ttyd(0), &ticket).await.unwrap();
    page.run("echo here-$((40 + 2))").await;
    page.prints("here-42").await;

    // The one that it names knows without being told anything by the page.
    let Err(Error::Http(refused)) = Page::open(world.stack.ttyd(1), &ticket).await else {
        panic!("a terminal of another gate was opened")
    };
    let body = String::from_utf8(refused.into_body().unwrap()).unwrap();
    assert!(body.contains(USED), "{body}");
    page.run("exit").await;
    assert_eq!(page.ends().await.reason.as_str(), "the shell ended");
    let mut late = Page::open(world.stack.ttyd(0), &ticket).await.expect("what it is shows when it speaks");
    let end = late.ends().await;
    assert_eq!(
        (u16::from(end.code), end.reason.starts_with("The ticket was used already")),
        (1008, true),
        "{end:?}"
    );

    let ticket = world.ticket_with(json!({ "gateway": "gate2" })).await;
    world.stack.stop_control().await;
    let mut lonely = Page::open(world.stack.ttyd(0), &ticket).await.unwrap();
    let end = lonely.ends().await;
    assert_eq!(
        (u16::from(end.code), end.reason.contains("cannot be asked right now")),
        (1013, true),
        "{end:?}"
    );
}

/// The network leads a page elsewhere; it says where its terminal may be, and finds it once it is led back.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_led_to_another_gate_says_so_and_comes_back() {
    let Some(mut browser) = Browser::start() else { return };
    let world = two().await;
    let network = Cut::before(world.stack.ttyd(0)).await;
    let ticket = world.ticket_with(json!({ "gateway": "gate1" })).await;
    browser.goto(&format!("http://{}/console/{ticket}", network.address())).await;
    browser.wait("connected").await;
    browser.step(json!({ "do": "type", "text": "echo is-$((40 + 2))-here" })).await;
    browser.step(json!({ "do": "press", "key": "Enter" })).await;
    browser.text("#screen .xterm-rows", "is-42-here").await;

    network.lead_to(world.stack.ttyd(1));
    let told = browser.wait("closed").await;
    assert!(told.contains(&format!("The connection was lost. {USED}")), "{told}");
    browser.shot("shell-elsewhere.png").await;
    // Nobody else has it meanwhile.
    let mut stranger = Page::shown(world.stack.ttyd(0), &ticket, "127.0.0.1").await.unwrap();
    stranger.hello((80, 24), SECRET).await;
    assert!(stranger.ends().await.reason.starts_with("The ticket was used already"));
    network.lead_to(world.stack.ttyd(0));
    browser.click("#again").await;
    browser.wait("connected").await;
    browser.text("#screen .xterm-rows", "is-42-here").await;
}

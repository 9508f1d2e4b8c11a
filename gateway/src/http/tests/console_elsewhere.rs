//! Two gateways and one ticket: it opens at either of them, once. Control between them only carries.

use std::sync::Arc;

use config::id::{GatewayId, SessionId};
use config::snapshot::ConsoleKind;
use config::sync::asking::{Answer, Question, Redemption, Told};
use config::sync::message;
use config::ticket::Claims;
use futures_util::SinkExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::consoles::{GATEWAY, NOVNC, TTYD, World, browser, closed, show, upgrade, with_console};
use super::stage::{Stage, on_a_worker, status, within};
use crate::console::asked;

const OTHER: GatewayId = GatewayId::from_bytes([6; 16]);

/// Another gateway under the same generation.
async fn another(world: &World) -> Stage {
    let other = Stage::new().await;
    other.worker.shared.gateway.store(Some(Arc::new(OTHER)));
    other.values(world.values());
    other
}

/// What control does: carries the questions of one gateway to the other, and the answers back.
async fn carry(from: &Stage, to: &Stage) {
    loop {
        let message::Message::Ask(ask) = from.worker.shared.asking.next().await else {
            panic!("another message")
        };
        if let Some(told) = asked::answer(&to.worker.shared, &ask) {
            from.worker.shared.asking.told(told);
        }
    }
}

/// Runs `work` while control carries.
async fn carried<T>(from: &Stage, to: &Stage, work: impl Future<Output = T>) -> T {
    tokio::select! {
        () = carry(from, to) => unreachable!("it goes on for ever"),
        done = work => done,
    }
}

#[test]
fn of_one_ticket_at_two_gateways_at_once_exactly_one_wins() {
    for round in 0..8 {
        on_a_worker(async |named| {
            let world = with_console(&named, |_| {});
            let other = another(&world).await;
            let ticket = world.ticket(&world.claims(round));
            let both = async {
                tokio::join!(show(&named, &ticket, "127.0.0.1"), show(&other, &ticket, "127.0.0.2"))
            };
            let (one, two) = carried(&other, &named, both).await;
            let mut all = [status(&one.1), status(&two.1)];
            all.sort_unstable();
            assert_eq!(all, [101, 403]);
            assert_eq!(named.worker.shared.sessions.len() + other.worker.shared.sessions.len(), 1);
        });
    }
}

#[test]
fn a_ticket_of_another_gateway_opens_here_and_the_same_browser_may_come_again() {
    on_a_worker(async |named| {
        let world = with_console(&named, |_| {});
        let other = another(&world).await;
        let claims = world.claims(1);
        let ticket = world.ticket(&claims);
        carried(&other, &named, async {
            let mut first = browser(&other, &ticket).await;
            let _server = named.accept().await;
            let open = other.worker.shared.sessions.one(claims.session).expect("its id is the ticket's");
            assert_eq!((open.kind.as_str(), open.vm), ("console", Some(claims.vm)));
            let _second = browser(&other, &ticket).await;
            assert_eq!(closed(&mut first).await.0, 1008);
            let (_, head) = show(&other, &ticket, "127.0.0.2").await;
            assert_eq!(status(&head), 403, "not from elsewhere");
            let (_, head) = show(&named, &ticket, "127.0.0.1").await;
            assert_eq!(status(&head), 403, "another gateway is another browser");
        })
        .await;
    });
}

#[test]
fn why_the_other_gateway_refuses_is_told_here() {
    on_a_worker(async |here| {
        let world = with_console(&here, |_| {});
        let claims = Claims { gateway: OTHER, ..world.claims(1) };
        let ticket = world.ticket(&claims);
        for (what, wanted, says) in [
            (Redemption::Used, 403, "used already"),
            (Redemption::Expired, 403, "has expired"),
            (Redemption::BeforeStart, 403, "started again"),
            (Redemption::Forged, 403, "not made for this gate"),
            (Redemption::Unanswered, 503, "cannot be asked right now"),
        ] {
            let answered = async {
                loop {
                    let message::Message::Ask(ask) = here.worker.shared.asking.next().await else { panic!() };
                    if let Question::Redeem { ticket: asked, .. } = &ask.question {
                        assert_eq!(asked.expose(), &ticket);
                        let answer = Answer::Redeemed(what);
                        here.worker.shared.asking.told(Told { number: ask.number, answer });
                    }
                }
            };
            let mut client = here.connect_by(NOVNC, "127.0.0.1").await;
            let ask = upgrade(&format!("/console/{ticket}"), "");
            let asked = client.ask(&ask);
            let (head, body) = tokio::select! {
                () = answered => unreachable!("it goes on for ever"),
                done = asked => done,
            };
            assert_eq!(status(&head), wanted, "{body}");
            assert!(body.contains(says), "{body:?} does not say {says:?}");
        }
        assert!(here.worker.shared.sessions.is_empty());
    });
}

#[test]
fn without_an_answer_of_control_in_time_nothing_opens() {
    on_a_worker(async |here| {
        let world = with_console(&here, |_| {});
        let ticket = world.ticket(&Claims { gateway: OTHER, ..world.claims(1) });
        let mut client = here.connect_by(NOVNC, "127.0.0.1").await;
        let (head, body) = within(client.ask(&upgrade(&format!("/console/{ticket}"), ""))).await;
        assert_eq!(status(&head), 503, "{body}");
        assert!(here.origin_is_untouched().await);
    });
}

/// Why a terminal of this ticket ends at this gateway.
async fn terminal(stage: &Stage, ticket: &str) -> (u16, String) {
    let mut client = stage.connect_by(TTYD, "127.0.0.1").await;
    client.send(upgrade(&format!("/console/{ticket}"), "Sec-WebSocket-Protocol: tty\r\n")).await;
    assert_eq!(status(&client.until("\r\n\r\n").await), 101);
    let mut page = WebSocketStream::from_raw_socket(client.io, Role::Client, None).await;
    within(page.send(Message::binary(&br#"{"columns":80,"rows":24}"#[..]))).await.unwrap();
    closed(&mut page).await
}

#[test]
fn a_terminals_ticket_is_redeemed_where_it_says_when_its_page_has_spoken_elsewhere() {
    on_a_worker(async |named| {
        let world = with_console(&named, |console| console.kind = ConsoleKind::Ssh);
        let other = another(&world).await;
        let ticket = world.ticket(&world.claims(1));
        carried(&other, &named, async {
            // Redeemed: what is missing is control, which certifies nothing here.
            let (code, reason) = terminal(&other, &ticket).await;
            assert!(reason.contains("control is away"), "{code} {reason}");
            let mut client = named.connect_by(TTYD, "127.0.0.1").await;
            let (head, body) = client.ask(&upgrade(&format!("/console/{ticket}"), "")).await;
            assert_eq!(status(&head), 403, "{body}");
            assert!(body.contains("used already") && body.contains("at another gate"), "{body}");
            let (code, reason) = terminal(&other, &ticket).await;
            assert_eq!((code, reason.contains("used already")), (1008, true), "{reason}");
            assert!(other.worker.shared.sessions.is_empty() && named.worker.shared.sessions.is_empty());
        })
        .await;
    });
}

#[test]
fn a_terminals_ticket_that_nobody_can_redeem_just_now_may_be_shown_again() {
    on_a_worker(async |here| {
        let world = with_console(&here, |console| console.kind = ConsoleKind::Ssh);
        let ticket = world.ticket(&Claims { gateway: OTHER, ..world.claims(1) });
        for _ in 0..2 {
            let (code, reason) = terminal(&here, &ticket).await;
            assert_eq!((code, reason.contains("cannot be asked right now")), (1013, true), "{reason}");
        }
    });
}

#[test]
fn a_gateway_redeems_only_what_names_it_and_tells_of_its_sessions() {
    on_a_worker(async |named| {
        let world = with_console(&named, |_| {});
        let shared = &named.worker.shared;
        let ask = |question| asked::answer(shared, &config::sync::asking::Ask { number: 7, question });
        let redeem = |claims: &Claims| Question::Redeem {
            ticket: config::secret::Secret::new(world.ticket(claims)),
            source: "192.0.2.1".parse().unwrap(),
            agent: 1,
        };
        let told = |answer| Some(Told { number: 7, answer });
        let theirs = Claims { gateway: OTHER, ..world.claims(1) };
        assert_eq!(ask(redeem(&theirs)), told(Answer::Redeemed(Redemption::Forged)));
        assert_eq!(ask(redeem(&world.claims(2))), told(Answer::Redeemed(Redemption::Yours)));
        let again = Claims { kind: ConsoleKind::Ttyd, ..world.claims(2) };
        assert_eq!(ask(redeem(&again)), told(Answer::Redeemed(Redemption::Used)));

        let claims = world.claims(3);
        let _open = browser(&named, &world.ticket(&claims)).await;
        let list = Question::Sessions { after: None, only: None, limit: 10 };
        let Some(Told { answer: Answer::Sessions { items, more: false }, .. }) = ask(list) else { panic!() };
        assert_eq!((items.len(), items[0].id), (1, claims.session));
        let later = Question::Sessions { after: Some(claims.session), only: None, limit: 10 };
        assert_eq!(ask(later), told(Answer::Sessions { items: Vec::new(), more: false }));
        assert_eq!(ask(Question::End(SessionId::from_bytes([9; 16]))), told(Answer::Ended(false)));
        assert_eq!(ask(Question::End(claims.session)), told(Answer::Ended(true)));
        assert_eq!(ask(Question::Unknown), None);
        assert_eq!(GATEWAY, claims.gateway);
    });
}

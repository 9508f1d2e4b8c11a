//! Who a console belongs to, and what ends it.

use std::net::{SocketAddr, TcpListener};

use config::snapshot::{Console, ConsoleKind, ConsoleWire, FlowPolicy, Value};
use config::sync::asking::{Ask, Question};
use config::sync::audit::{AuditEvent, What};
use config::sync::message::Message;
use config::target::Target;
use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::consoles::{NOVNC, TTYD, browser, bytes, closed, upgrade, with_console};
use super::stage::{Door, HTTP, Stage, on_a_worker, status, within};

const HOUR: FlowPolicy = FlowPolicy::Drain { ms: 3_600_000 };
const AT_ONCE: FlowPolicy = FlowPolicy::Drain { ms: 1 };

/// What the audit was told since it was last asked.
async fn audited(stage: &Stage, count: usize) -> Vec<AuditEvent> {
    let asked = async {
        loop {
            stage.worker.shared.audit.disconnected();
            let Message::Ask(Ask { question: Question::Audit(events), .. }) =
                stage.worker.shared.audit.next().await
            else {
                panic!("another message")
            };
            if events.len() >= count {
                return events;
            }
            tokio::task::yield_now().await;
        }
    };
    within(asked).await
}

/// An open console is told of by its client's address, whatever is in between.
async fn is_of_its_client(stage: &Stage, door: Door, ticket: &str) {
    let mut client = stage.connect_by(door, "127.0.0.9").await;
    client.send(upgrade(&format!("/console/{ticket}"), "X-Forwarded-For: 203.0.113.9\r\n")).await;
    let mut server = stage.accept().await;
    if door.kind == TTYD.kind {
        server.until("\r\n\r\n").await;
        server
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: x\r\n\r\n",
            )
            .await;
    }
    assert_eq!(status(&client.until("\r\n\r\n").await), 101);
    assert_eq!(stage.worker.shared.sessions.list()[0].peer, "203.0.113.9");
    let mut again = stage.connect_by(door, "127.0.0.9").await;
    let (head, _) =
        again.ask(&upgrade(&format!("/console/{ticket}"), "X-Forwarded-For: 203.0.113.10\r\n")).await;
    assert_eq!(status(&head), 403);
    drop((client, server));

    let told = audited(stage, 3).await;
    let seen = |what: What, source: &str| {
        told.iter().any(|event| event.what == what && event.source.to_string() == source)
    };
    assert!(seen(What::Open, "203.0.113.9") && seen(What::End, "203.0.113.9"), "{told:?}");
    assert!(seen(What::Refuse, "203.0.113.10"), "{told:?}");
}

#[test]
fn a_console_behind_a_trusted_proxy_is_its_clients() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        is_of_its_client(&stage, NOVNC, &world.ticket(&world.claims(1))).await;
    });
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| {
            console.kind = ConsoleKind::Ttyd;
            console.wire = ConsoleWire::WebSocket { path: "/ws".into() };
        });
        is_of_its_client(&stage, TTYD, &world.ticket(&world.claims(1))).await;
    });
}

#[test]
fn a_tunnel_behind_a_trusted_proxy_is_its_clients() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.websocket = true;
        stage.routes([route]);
        let mut client = stage.connect_by(HTTP, "127.0.0.9").await;
        let asked =
            upgrade("/", "X-Forwarded-For: 203.0.113.9\r\n").replace("Host: gate", "Host: app.example");
        client.send(asked).await;
        let mut origin = stage.accept().await;
        origin.until("\r\n\r\n").await;
        origin
            .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nx")
            .await;
        client.until("\r\n\r\n").await;
        client.exactly(1).await;
        assert_eq!(stage.worker.shared.sessions.list()[0].peer, "203.0.113.9");
    });
}

type Change = fn(&mut Console);

/// Opens a console, changes it or takes it away, and asserts what becomes of who has it open.
async fn after(stage: &Stage, number: u8, before: Change, change: Option<Change>, lives: bool) {
    let mut world = with_console(stage, before);
    let generation = 10 * u64::from(number);
    stage.generation(generation, world.values());
    let mut socket = browser(stage, &world.ticket(&world.claims(number))).await;
    let mut server = stage.accept().await;
    let mut values = world.values();
    match change {
        Some(change) => {
            change(&mut world.console);
            values = world.values();
        }
        None => values.retain(|value| !matches!(value, Value::Console(_))),
    }
    stage.generation(generation + 1, values);
    if lives {
        server.send("down").await;
        assert_eq!(bytes(&mut socket, 4).await, b"down", "{number}");
        within(socket.send(Frame::binary(&b"up"[..]))).await.unwrap();
        assert_eq!(server.exactly(2).await, "up", "{number}");
    } else {
        assert_eq!(closed(&mut socket).await.0, 1008, "{number}");
        assert!(server.is_closed().await);
    }
}

#[test]
fn what_a_change_or_the_end_of_a_console_does_is_what_it_says() {
    on_a_worker(async |stage| {
        let other: Change = |console| console.endpoint.weight = 2;
        let all: [(Change, Option<Change>, bool); 8] = [
            (|console| console.on_change = FlowPolicy::Keep, Some(other), true),
            (|console| console.on_change = HOUR, Some(other), true),
            (|console| console.on_change = AT_ONCE, Some(other), false),
            (|console| console.on_change = FlowPolicy::Cut, Some(other), false),
            (|console| console.on_delete = FlowPolicy::Keep, None, true),
            (|console| console.on_delete = HOUR, None, true),
            (|console| console.on_delete = AT_ONCE, None, false),
            (|console| console.on_delete = FlowPolicy::Cut, None, false),
        ];
        for ((before, change, lives), number) in all.into_iter().zip(1..) {
            after(&stage, number, before, change, lives).await;
        }
    });
}

#[test]
fn a_console_that_may_only_be_looked_at_from_now_on_cuts_who_does_more() {
    on_a_worker(async |stage| {
        after(&stage, 1, |_| {}, Some(|console| console.read_only = true), false).await;
    });
}

/// Why the only console so far ended, as the audit hears it.
async fn why(stage: &Stage) -> String {
    let told = audited(stage, 2).await;
    told.iter().find(|event| event.what == What::End).expect("it ended").why.clone()
}

#[test]
fn the_audit_is_told_why_a_console_ended() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let mut socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        drop(stage.accept().await);
        closed(&mut socket).await;
        assert_eq!(why(&stage).await, "the console of the VM closed the connection");
    });
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        let _server = stage.accept().await;
        drop(socket);
        assert_eq!(why(&stage).await, "the browser left");
    });
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| console.endpoint.target = Target::Address(nobody()));
        let mut socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        closed(&mut socket).await;
        assert_eq!(why(&stage).await, "the console of the VM cannot be reached");
    });
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| console.read_only = true);
        let mut socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        stage.accept().await.send("SSH-2.0-OpenSSH_9.2p1\r\n").await;
        closed(&mut socket).await;
        assert_eq!(why(&stage).await, "the console of the VM does not speak VNC");
    });
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn the_audit_is_told_why_a_console_that_passes_untouched_was_not_opened() {
    let speaks_websocket = |console: &mut Console| {
        console.kind = ConsoleKind::Ttyd;
        console.wire = ConsoleWire::WebSocket { path: "/ws".into() };
    };
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| {
            speaks_websocket(console);
            console.endpoint.target = Target::Address(nobody());
        });
        let mut client = stage.connect_by(TTYD, "127.0.0.1").await;
        let ticket = world.ticket(&world.claims(1));
        let (head, _) = client.ask(&upgrade(&format!("/console/{ticket}"), "")).await;
        assert_eq!(status(&head), 502);
        assert_eq!(why(&stage).await, "the console of the VM cannot be reached");
    });
    on_a_worker(async |stage| {
        let world = with_console(&stage, speaks_websocket);
        let mut client = stage.connect_by(TTYD, "127.0.0.1").await;
        let ticket = world.ticket(&world.claims(1));
        client.send(upgrade(&format!("/console/{ticket}"), "")).await;
        let mut server = stage.accept().await;
        server.until("\r\n\r\n").await;
        server.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(status(&client.until("\r\n\r\n").await), 404);
        assert_eq!(why(&stage).await, "the console of the VM did not answer as a WebSocket does");
    });
}

//! Consoles: tickets at the door, and what they open.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use config::id::{ConsoleId, EndpointId, GatewayId, KeyId, SessionId, UserId, VmId};
use config::name::{Namespace, NetworkName, UserName, VmName};
use config::secret::Secret;
use config::snapshot::{
    Action, Console, ConsoleKind, ConsoleWire, Endpoint, FlowPolicy, Principal, Service, SshAccess,
    TicketAuthority, Value, Vm,
};
use config::target::Target;
use config::ticket::{self, Claims};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::stage::{Door, HTTP, Peer, Stage, field, on_a_worker, status, within};
use crate::clock::now_ms;
use crate::listener::Kind;

pub(super) const GATEWAY: GatewayId = GatewayId::from_bytes([5; 16]);
const VM: VmId = VmId::from_bytes([3; 16]);
const USER: UserId = UserId::from_bytes([2; 16]);
const KEY: KeyId = KeyId::from_bytes([9; 16]);

/// What stands in force, and who signs.
pub(super) struct World {
    pair: Ed25519KeyPair,
    /// The name of the key.
    id: KeyId,
    pub(super) console: Console,
    is_enabled: bool,
    has_vm: bool,
    /// When the person's access by SSH ends.
    ssh_until_ms: Option<u64>,
}

impl World {
    fn new(origin: SocketAddr) -> Self {
        let console = Console {
            id: ConsoleId::from_bytes([4; 16]),
            namespace: Namespace::parse("ns1").unwrap(),
            vm: VM,
            kind: ConsoleKind::Vnc,
            endpoint: Endpoint {
                id: EndpointId::from_bytes([4; 16]),
                target: Target::Address(origin),
                loopback_ok: true,
                vm: Some(VM),
                weight: 1,
                draining: false,
            },
            wire: ConsoleWire::Tcp,
            secret: None,
            read_only: false,
            on_change: FlowPolicy::Keep,
            on_delete: FlowPolicy::Cut,
        };
        Self {
            pair: Ed25519KeyPair::generate().unwrap(),
            id: KEY,
            console,
            is_enabled: true,
            has_vm: true,
            ssh_until_ms: None,
        }
    }

    fn authority(&self) -> Value {
        let public_key = self.pair.public_key().as_ref().try_into().unwrap();
        Value::TicketAuthority(TicketAuthority { id: self.id, public_key })
    }

    pub(super) fn values(&self) -> Vec<Value> {
        let mut values = vec![Value::Console(self.console.clone()), self.authority()];
        if self.has_vm {
            values.push(Value::Vm(Vm {
                id: VM,
                name: VmName::parse("web-01").unwrap(),
                namespace: Namespace::parse("ns1").unwrap(),
                network: NetworkName::parse("default").unwrap(),
                address: "10.0.0.1".parse().unwrap(),
                ssh_port: 22,
                loopback_ok: false,
            }));
        }
        if self.is_enabled {
            values.push(Value::Principal(Principal {
                id: USER,
                name: UserName::parse("ann").unwrap(),
                keys: Box::default(),
                grants: "operator:ns1".parse().unwrap(),
                ssh: SshAccess { until_ms: self.ssh_until_ms, ..SshAccess::default() },
            }));
        }
        values
    }

    pub(super) fn claims(&self, number: u8) -> Claims {
        let now = now_ms();
        Claims {
            session: SessionId::from_bytes([number; 16]),
            user: Some(USER),
            vm: VM,
            console: self.console.id,
            kind: self.console.kind,
            read_only: false,
            source: None,
            gateway: GATEWAY,
            issued_ms: now,
            expires_ms: now + 60_000,
        }
    }

    pub(super) fn ticket(&self, claims: &Claims) -> String {
        ticket::seal(claims, self.id, |bytes| self.pair.sign(bytes).as_ref().try_into().unwrap())
    }
}

pub(super) fn with_console(stage: &Stage, change: impl FnOnce(&mut Console)) -> World {
    let mut world = World::new(stage.origin.local_addr().unwrap());
    change(&mut world.console);
    stage.worker.shared.gateway.store(Some(Arc::new(GATEWAY)));
    stage.values(world.values());
    world
}

pub(super) fn upgrade(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUser-Agent: b\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

pub(super) const NOVNC: Door = Door { kind: Kind::Novnc, ..HTTP };
pub(super) const TTYD: Door = Door { kind: Kind::Ttyd, ..HTTP };

/// Shows a ticket, and reads the head of the answer.
pub(super) async fn show(stage: &Stage, ticket: &str, from: &str) -> (Peer, String) {
    let mut client = stage.connect_by(NOVNC, from).await;
    client.send(upgrade(&format!("/console/{ticket}"), "Sec-WebSocket-Protocol: binary\r\n")).await;
    let head = client.until("\r\n\r\n").await;
    (client, head)
}

pub(super) async fn browser(stage: &Stage, ticket: &str) -> WebSocketStream<TcpStream> {
    let (client, head) = show(stage, ticket, "127.0.0.1").await;
    assert_eq!(status(&head), 101, "{head}");
    assert_eq!(field(&head, "sec-websocket-protocol"), Some("binary"));
    WebSocketStream::from_raw_socket(client.io, Role::Client, None).await
}

pub(super) async fn bytes(socket: &mut WebSocketStream<TcpStream>, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        match within(socket.next()).await.unwrap().unwrap() {
            Message::Binary(bytes) => all.extend_from_slice(&bytes),
            Message::Ping(_) => {}
            other @ (Message::Text(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
                panic!("not bytes: {other:?} after {all:?}")
            }
        }
    }
    all
}

/// The closing frame, as code and reason.
pub(super) async fn closed(socket: &mut WebSocketStream<TcpStream>) -> (u16, String) {
    loop {
        if let Message::Close(Some(frame)) = within(socket.next()).await.unwrap().unwrap() {
            return (frame.code.into(), frame.reason.to_string());
        }
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, bytes: impl Into<Vec<u8>>) {
    within(socket.send(Message::binary(bytes.into()))).await.unwrap();
}

#[test]
fn a_console_is_bytes_both_ways_and_its_end_is_told() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let mut socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        let mut server = stage.accept().await.io;
        server.write_all(b"RFB 003.008\n").await.unwrap();
        assert_eq!(bytes(&mut socket, 12).await, b"RFB 003.008\n");
        // Large, and not what RFB would be: nothing is read in it.
        let large: Vec<u8> = (0..600_000_u32).map(|number| number as u8).collect();
        say(&mut socket, large.clone()).await;
        let mut heard = vec![0; large.len()];
        within(server.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, large);
        let session = stage.worker.shared.sessions.list().remove(0);
        assert_eq!((session.console, session.vm), (Some(world.console.id.to_string()), Some(VM.to_string())));
        assert!(session.principal.is_some() && session.bytes_up >= 600_000, "{}", session.bytes_up);

        drop(server);
        let (code, reason) = closed(&mut socket).await;
        assert_eq!((code, reason.as_str()), (1000, "the console of the VM closed the connection"));
    });
}

#[test]
fn a_ticket_that_opens_nothing_is_refused_before_the_upgrade_with_the_reason() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let good = world.claims(1);
        let other = World::new(stage.origin.local_addr().unwrap());
        let mut flipped = world.ticket(&good).into_bytes();
        flipped[60] = if flipped[60] == b'A' { b'B' } else { b'A' };
        let old =
            Claims { issued_ms: good.issued_ms - 200_000, expires_ms: good.issued_ms - 140_000, ..good };
        let of = |claims: Claims| world.ticket(&claims);
        for (ticket, says) in [
            ("nonsense".to_owned(), "not a console ticket"),
            (String::from_utf8(flipped).unwrap(), "not made for this gate"),
            (other.ticket(&good), "not made for this gate"),
            (of(old), "has expired"),
            (of(Claims { source: Some("10.9.9.9".parse().unwrap()), ..good }), "another address"),
            (of(Claims { console: ConsoleId::from_bytes([7; 16]), ..good }), "does not exist"),
            (of(Claims { vm: VmId::from_bytes([7; 16]), ..good }), "another machine"),
            (of(Claims { kind: ConsoleKind::Ttyd, ..good }), "another machine"),
            (of(Claims { user: Some(UserId::from_bytes([7; 16])), ..good }), "may not open"),
        ] {
            let mut client = stage.connect_by(NOVNC, "127.0.0.1").await;
            let (head, body) = client.ask(&upgrade(&format!("/console/{ticket}"), "")).await;
            assert_eq!(status(&head), 403, "{body}");
            assert!(body.contains(says), "{body:?} does not say {says:?}");
        }
        let mut client = stage.connect_by(TTYD, "127.0.0.1").await;
        let (head, body) = client.ask(&upgrade(&format!("/console/{}", of(good)), "")).await;
        assert!(status(&head) == 403 && body.contains("another kind"), "{body}");
        assert!(stage.origin_is_untouched().await);
        assert_eq!((stage.worker.shared.sessions.len(), stage.worker.shared.guard.sessions()), (0, 0));
    });
}

#[test]
fn tickets_of_the_key_before_open_until_it_goes_and_what_they_opened_stays() {
    on_a_worker(async |stage| {
        let before = with_console(&stage, |_| {});
        let after =
            World { id: KeyId::from_bytes([10; 16]), ..World::new(stage.origin.local_addr().unwrap()) };
        let early = [1, 2].map(|number| before.ticket(&before.claims(number)));
        let late = [3, 4].map(|number| after.ticket(&after.claims(number)));
        let (_, head) = show(&stage, &late[0], "127.0.0.1").await;
        assert_eq!(status(&head), 403, "a key that is not known yet");

        let both = [before.values(), vec![after.authority()]].concat();
        stage.generation(8, both);
        let mut first = browser(&stage, &early[0]).await;
        let mut server = stage.accept().await;
        let _second = browser(&stage, &late[0]).await;
        let _other = stage.accept().await;

        stage.generation(9, after.values());
        let (head, body) = {
            let mut client = stage.connect_by(NOVNC, "127.0.0.1").await;
            client.ask(&upgrade(&format!("/console/{}", early[1]), "")).await
        };
        assert!(status(&head) == 403 && body.contains("not made for this gate"), "{body}");
        let _third = browser(&stage, &late[1]).await;
        server.send("still").await;
        assert_eq!(bytes(&mut first, 5).await, b"still");
    });
}

#[test]
fn the_end_of_access_by_ssh_closes_terminals_and_no_other_console() {
    on_a_worker(async |stage| {
        for (kind, door, wanted) in
            [(ConsoleKind::Ssh, TTYD, "Your access by SSH is over."), (ConsoleKind::Vnc, NOVNC, "")]
        {
            let mut world = with_console(&stage, |console| console.kind = kind);
            world.ssh_until_ms = Some(now_ms());
            stage.values(world.values());
            let ticket = world.ticket(&world.claims(1));
            let mut client = stage.connect_by(door, "127.0.0.1").await;
            let (head, body) =
                client.ask(&format!("GET /console/{ticket} HTTP/1.1\r\nHost: gate\r\n\r\n")).await;
            assert_eq!(status(&head), if wanted.is_empty() { 426 } else { 403 }, "{body}");
            assert!(body.contains(wanted), "{body}");
        }
    });
}

#[test]
fn a_ticket_of_a_control_whose_clock_is_ahead_opens_once_ours_has_come_so_far() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let claims = Claims { issued_ms: now_ms() + 300, ..world.claims(1) };
        let _socket = browser(&stage, &world.ticket(&claims)).await;
        assert!(now_ms() >= claims.issued_ms);
    });
}

#[test]
fn a_ticket_shown_from_two_places_at_once_opens_one_console() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let ticket = world.ticket(&world.claims(1));
        let (one, other) =
            tokio::join!(show(&stage, &ticket, "127.0.0.1"), show(&stage, &ticket, "127.0.0.2"));
        let mut all = [status(&one.1), status(&other.1)];
        all.sort_unstable();
        assert_eq!(all, [101, 403]);
        assert_eq!(stage.worker.shared.sessions.len(), 1);
    });
}

#[test]
fn the_same_browser_may_show_a_vnc_ticket_again_and_its_first_session_ends() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let ticket = world.ticket(&world.claims(1));
        let mut first = browser(&stage, &ticket).await;
        let _server = stage.accept().await;
        let _second = browser(&stage, &ticket).await;
        assert_eq!(closed(&mut first).await.0, 1008);
        let (_, head) = show(&stage, &ticket, "127.0.0.2").await;
        assert_eq!(status(&head), 403, "not from elsewhere");
    });
}

#[test]
fn a_request_without_an_upgrade_learns_what_one_would_be_answered() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let ticket = world.ticket(&world.claims(1));
        for _ in 0..2 {
            let mut client = stage.connect_by(NOVNC, "127.0.0.1").await;
            let (head, _) =
                client.ask(&format!("GET /websockify?token={ticket} HTTP/1.1\r\nHost: gate\r\n\r\n")).await;
            assert_eq!(status(&head), 426, "{head}");
        }
        let mut client = stage.connect_by(NOVNC, "127.0.0.1").await;
        client.send(upgrade(&format!("/websockify?token={ticket}"), "")).await;
        let head = client.until("\r\n\r\n").await;
        assert_eq!((status(&head), field(&head, "sec-websocket-protocol")), (101, None));
    });
}

#[test]
fn a_console_goes_with_its_person_its_machine_and_itself() {
    on_a_worker(async |stage| {
        let mut world = with_console(&stage, |_| {});
        let mut number = 8;
        let ends: [fn(&mut World) -> bool; 3] = [
            |world| std::mem::replace(&mut world.is_enabled, false),
            |world| std::mem::replace(&mut world.has_vm, false),
            |_| true,
        ];
        for (at, end) in ends.into_iter().enumerate() {
            let mut socket = browser(&stage, &world.ticket(&world.claims(number))).await;
            let _server = stage.accept().await;
            assert!(end(&mut world));
            let values = if at == 2 { Vec::new() } else { world.values() };
            stage.generation(u64::from(number), values);
            assert_eq!(closed(&mut socket).await.0, 1008);
            (world.is_enabled, world.has_vm) = (true, true);
            number += 1;
            stage.generation(u64::from(number), world.values());
            number += 1;
        }
    });
}

#[test]
fn a_machine_that_does_not_answer_is_told_and_no_black_screen() {
    on_a_worker(async |stage| {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let world = with_console(&stage, |console| console.endpoint.target = Target::Address(gone));
        let mut socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        let wanted = (1011, "the console of the VM cannot be reached".to_owned());
        assert_eq!(closed(&mut socket).await, wanted);
    });
}

#[test]
fn a_password_stays_at_the_gate_and_a_looker_only_looks() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| {
            console.secret = Some(Secret::new("passw0rd".to_owned()));
            console.read_only = true;
        });
        let mut socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        let mut server = stage.accept().await.io;
        server.write_all(b"RFB 003.008\n").await.unwrap();
        let mut heard = [0; 12];
        within(server.read_exact(&mut heard)).await.unwrap();
        server.write_all(&[1, 2]).await.unwrap();
        assert_eq!(within(server.read_u8()).await.unwrap(), 2);
        server.write_all(&[7; 16]).await.unwrap();
        let mut answer = [0; 16];
        within(server.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, crate::console::rfb::answer("passw0rd", &[7; 16]));
        server.write_all(&[0; 4]).await.unwrap();

        assert_eq!(bytes(&mut socket, 12).await, b"RFB 003.008\n");
        say(&mut socket, *b"RFB 003.008\n").await;
        assert_eq!(bytes(&mut socket, 2).await, [1, 1]);
        say(&mut socket, [1]).await;
        assert_eq!(bytes(&mut socket, 4).await, [0; 4]);
        // Alone, please; a key; and a picture: the last is all that arrives.
        say(&mut socket, [0, 4, 1, 0, 0, 0, 0, 0, 65]).await;
        say(&mut socket, [3, 1, 0, 0, 0, 0, 0, 9, 0, 9]).await;
        let mut heard = [0; 11];
        within(server.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, [1, 3, 1, 0, 0, 0, 0, 0, 9, 0, 9]);
        server.write_all(b"picture").await.unwrap();
        assert_eq!(bytes(&mut socket, 7).await, b"picture");
        say(&mut socket, [255, 0, 0, 1]).await;
        assert_eq!(closed(&mut socket).await.0, 1008);
    });
}

#[test]
fn garbage_for_a_vnc_server_and_text_from_a_browser_are_told() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| console.read_only = true);
        let mut socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        stage.accept().await.send("SSH-2.0-OpenSSH_9.2p1\r\n").await;
        let (code, reason) = closed(&mut socket).await;
        assert_eq!((code, reason.as_str()), (1011, "the console of the VM does not speak VNC"));

        let world = with_console(&stage, |_| {});
        let mut socket = browser(&stage, &world.ticket(&world.claims(2))).await;
        let _server = stage.accept().await;
        within(socket.send(Message::text("hello"))).await.unwrap();
        assert_eq!(closed(&mut socket).await.0, 1002);
        let mut socket = browser(&stage, &world.ticket(&world.claims(3))).await;
        let _server = stage.accept().await;
        // The gate stops reading where the frame says how long it is.
        let _ = within(socket.send(Message::binary(vec![0; 1_100_000]))).await;
        assert_eq!(closed(&mut socket).await.0, 1009);
    });
}

#[test]
fn a_browser_that_does_not_read_stops_the_server_and_nothing_piles_up() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let _socket = browser(&stage, &world.ticket(&world.claims(1))).await;
        let server = stage.accept().await.io;
        let block = vec![7; 64 * 1024];
        let mut sent = 0;
        // As long as the kernel's buffers take some, and then no more.
        while let Ok(count) = tokio::time::timeout(std::time::Duration::from_millis(300), async {
            server.writable().await.unwrap();
            server.try_write(&block).unwrap_or(0)
        })
        .await
        {
            sent += count;
            assert!(sent < 64 * 1024 * 1024, "the gate takes everything");
        }
        let down = stage.worker.shared.sessions.list()[0].bytes_down;
        assert!(down < sent as u64, "{down} of {sent}");
    });
}

#[test]
fn a_terminal_passes_untouched_with_its_sub_protocol() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| {
            console.kind = ConsoleKind::Ttyd;
            console.wire = ConsoleWire::WebSocket { path: "/ws?arg=1".into() };
        });
        let ticket = world.ticket(&world.claims(1));
        let mut client = stage.connect_by(TTYD, "127.0.0.1").await;
        let fields = "Sec-WebSocket-Protocol: tty\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
        client.send(upgrade(&format!("/console/{ticket}"), fields)).await;
        let mut server = stage.accept().await;
        let head = server.until("\r\n\r\n").await;
        assert!(head.starts_with("GET /ws?arg=1 HTTP/1.1\r\n"), "{head}");
        assert!(!head.contains(&ticket));
        assert_eq!(field(&head, "sec-websocket-protocol"), Some("tty"));
        assert_eq!(field(&head, "sec-websocket-extensions"), Some("permessage-deflate"));
        server
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: tty\r\n\r\nglued",
            )
            .await;
        let head = client.until("\r\n\r\n").await;
        assert_eq!((status(&head), field(&head, "sec-websocket-protocol")), (101, Some("tty")));
        assert_eq!(client.exactly(5).await, "glued");
        client.send("raw \u{1}").await;
        assert_eq!(server.exactly(5).await, "raw \u{1}");
        assert_eq!(stage.worker.shared.sessions.list()[0].kind, crate::session::SessionKind::Console);
        let mut again = stage.connect_by(TTYD, "127.0.0.1").await;
        let (head, body) = again.ask(&upgrade(&format!("/console/{ticket}"), fields)).await;
        assert!(status(&head) == 403 && body.contains("used already"), "{body}");

        stage.generation(8, []);
        assert!(client.is_closed().await && server.is_closed().await);
    });
}

#[test]
fn a_route_leads_to_consoles_below_its_path() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let mut route = stage.route("app.example", "/screens");
        route.action = Action::Service(Service::Novnc);
        let mut values = world.values();
        values.push(Value::Route(route));
        stage.values(values);
        let ticket = world.ticket(&world.claims(1));
        let mut client = stage.connect().await;
        let asked =
            upgrade(&format!("/screens/console/{ticket}"), "").replace("Host: gate", "Host: app.example");
        client.send(asked).await;
        assert_eq!(status(&client.until("\r\n\r\n").await), 101);
    });
}

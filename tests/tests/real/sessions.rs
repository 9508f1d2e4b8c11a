//! Open flows as people see them: listed with who, whence and whither, shown, and ended one by one.

use tests::binaries::Up;
use tests::client;
use tests::origin::Origin;
use tests::wait::wait_for;

use crate::flows::{
    Datagrams, closed, connected, console, echo, echoes, forward, is_alive, screen, session, sessions, shows,
    ticket, udp_echo,
};

fn text<'a>(session: &'a serde_json::Value, name: &str) -> &'a str {
    session[name].as_str().unwrap_or_else(|| panic!("no {name} in {session}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_flow_is_listed_and_killing_one_ends_it_and_no_other() {
    let up = Up::start();
    let origin = Origin::start("app").await;
    up.cli(&["route", "add", "app.example.com", &origin.url(), "--websocket", "on"]);
    let (tcp_id, tcp_port) = forward(&up, "tcp", echo().await, &[]);
    let (udp_id, udp_port) = forward(&up, "udp", udp_echo(), &[]);
    screen(&up, "web01").await;
    let mut socket = client::websocket(up.address("http"), "app.example.com", "/ws").await;
    assert!(echoes(&mut socket).await);
    let mut tcp = connected(tcp_port).await;
    let datagrams = Datagrams::to(udp_port);
    let seen = datagrams.ask("who").unwrap();
    let mut screen = console(up.address("novnc"), &ticket(&up, "web01", None)).await;

    let tunnel = session(&up, "tunnel").await;
    let forwarded = session(&up, "tcp").await;
    let sender = session(&up, "udp").await;
    let shown = session(&up, "console").await;
    assert_eq!(sessions(&up, &[]).len(), 4);
    assert_eq!(text(&tunnel, "to"), "app.example.com/");
    assert_eq!(text(&forwarded, "from"), tcp.local_addr().unwrap().to_string());
    assert_eq!(text(&forwarded, "forward_id"), tcp_id);
    assert!(text(&forwarded, "to").starts_with(&format!("port {tcp_port} to 127.0.0.1:")), "{forwarded}");
    assert_eq!((&forwarded["bytes_up"], &forwarded["bytes_down"]), (&5.into(), &5.into()));
    assert_eq!(text(&sender, "from"), datagrams.0.local_addr().unwrap().to_string());
    assert_eq!(text(&sender, "forward_id"), udp_id);
    assert_eq!((text(&shown, "to"), text(&shown, "vm")), ("vnc of web01.default", "web01.default"));
    for one in [&tunnel, &forwarded, &sender, &shown] {
        assert_eq!((text(one, "gateway"), text(one, "namespace")), ("local", "default"));
        assert!(up.cli(&["session", "show", text(one, "id")]).contains(text(one, "id")));
    }
    assert!(up.cli(&["session", "ls"]).contains("vnc of web01.default"));

    let kill = |session: &serde_json::Value| up.cli(&["session", "kill", text(session, "id")]);
    kill(&forwarded);
    assert!(!is_alive(&mut tcp).await);
    assert!(echoes(&mut socket).await && shows(&mut screen).await);
    assert_eq!(datagrams.ask("who").unwrap(), seen);

    kill(&tunnel);
    assert!(!echoes(&mut socket).await);
    kill(&shown);
    assert_eq!(closed(&mut screen).await, 1008);
    assert_eq!(datagrams.ask("who").unwrap(), seen, "the same session still");

    kill(&sender);
    wait_for("it is gone", || async { sessions(&up, &[]).is_empty().then_some(()) }).await;
    // A datagram more begins another: nobody forbade it.
    assert_ne!(datagrams.ask("who").unwrap(), seen);
    assert_ne!(text(&session(&up, "udp").await, "id"), text(&sender, "id"));
    let gone = up.try_cli(&["session", "kill", text(&sender, "id")]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("session"), "{gone:?}");
    assert!(up.cli(&["audit", "ls", "--action", "end", "-o", "json"]).contains(text(&tunnel, "id")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consoles_of_a_person_end_when_the_person_is_disabled_and_others_go_on() {
    let up = Up::start();
    screen(&up, "web01").await;
    let token = |name: &str| {
        up.cli(&["user", "create", name, "--grant", "operator:default"]);
        up.cli(&["token", "create", "--subject", name, "--duration", "10m"])
    };
    let (ann, bob) = (token("ann"), token("bob"));
    let gate = up.address("novnc");
    let mut hers = console(gate, &ticket(&up, "web01", Some(&ann))).await;
    let mut his = console(gate, &ticket(&up, "web01", Some(&bob))).await;
    let unused = ticket(&up, "web01", Some(&ann));
    assert_eq!(sessions(&up, &["--user", "ann"]).len(), 1);

    up.cli(&["user", "update", "ann", "--enabled", "off"]);

    assert_eq!(closed(&mut hers).await, 1008);
    assert!(shows(&mut his).await);
    let (_, answer) = crate::flows::show(gate, &unused).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("may not open"), "{answer}");
    wait_for("hers is no session any more", || async {
        (sessions(&up, &["--kind", "console"]).len() == 1).then_some(())
    })
    .await;

    up.cli(&["user", "delete", "bob"]);
    assert_eq!(closed(&mut his).await, 1008);
}

//! The pages of consoles, and what a browser learns beside the WebSocket.

use config::snapshot::{Action, ConsoleKind, ConsoleWire, Service, Value};

use super::consoles::{NOVNC, TTYD, upgrade, with_console};
use super::stage::{Door, Peer, Stage, field, on_a_worker, status};
use crate::console::pages::version;

async fn get(stage: &Stage, door: Door, target: &str, fields: &str) -> (String, String) {
    let mut client = stage.connect_by(door, "127.0.0.1").await;
    client.ask(&format!("GET {target} HTTP/1.1\r\nHost: gate\r\nUser-Agent: b\r\n{fields}\r\n")).await
}

const HTML: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
const JSON: &str = "Accept: application/json\r\n";

#[test]
fn a_browser_gets_the_page_where_its_websocket_is_and_at_the_addresses_users_know() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let ticket = world.ticket(&world.claims(1));
        for (target, fields, before) in [
            (format!("/console/{ticket}"), HTML, "\"../assets/"),
            (format!("/?token={ticket}"), HTML, "\"assets/"),
            (format!("/vnc.html?token={ticket}"), "", "\"assets/"),
            (format!("/vnc.html?autoconnect=true&path=websockify%3Ftoken%3D{ticket}"), HTML, "\"assets/"),
        ] {
            let (head, body) = get(&stage, NOVNC, &target, fields).await;
            assert_eq!(status(&head), 200, "{target}: {head}{body}");
            assert_eq!(field(&head, "content-type"), Some("text/html; charset=utf-8"));
            let policy = field(&head, "content-security-policy").unwrap();
            for part in
                ["default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self'"]
            {
                assert!(policy.contains(part), "{policy}");
            }
            assert!(policy.contains("frame-ancestors 'self'") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(field(&head, "x-content-type-options"), Some("nosniff"));
            assert_eq!(field(&head, "referrer-policy"), Some("no-referrer"));
            assert_eq!(field(&head, "cache-control"), Some("no-cache"));
            assert!(body.contains(before) && !body.contains(&ticket), "{body}");
            let tag = format!("If-None-Match: {}\r\n{fields}", field(&head, "etag").unwrap());
            assert_eq!(status(&get(&stage, NOVNC, &target, &tag).await.0), 304);
        }
        assert!(stage.origin_is_untouched().await, "a page redeems nothing");
    });
}

#[test]
fn what_a_page_loads_is_typed_kept_and_nothing_else() {
    on_a_worker(async |stage| {
        with_console(&stage, |_| {});
        let at = |path: &str| format!("/assets/{}/{path}", version());
        for (path, sort) in [
            ("novnc/page.js", "text/javascript; charset=utf-8"),
            ("vendor/novnc/core/rfb.js", "text/javascript; charset=utf-8"),
            ("vendor/xterm/xterm.mjs", "text/javascript; charset=utf-8"),
            ("common/page.css", "text/css; charset=utf-8"),
            ("vendor/novnc/docs/LICENSE.MPL-2.0", "text/plain; charset=utf-8"),
        ] {
            let (head, body) = get(&stage, NOVNC, &at(path), "").await;
            assert_eq!((status(&head), field(&head, "content-type")), (200, Some(sort)), "{path}");
            assert_eq!(field(&head, "content-length").unwrap().parse::<usize>().unwrap(), body.len());
            assert!(field(&head, "cache-control").unwrap().contains("immutable"));
            assert_eq!(field(&head, "x-content-type-options"), Some("nosniff"));
            let tag = format!("If-None-Match: \"old\", {}\r\n", field(&head, "etag").unwrap());
            let (head, body) = get(&stage, NOVNC, &at(path), &tag).await;
            assert_eq!((status(&head), body.len()), (304, 0));
        }
        let mut client = stage.connect_by(NOVNC, "127.0.0.1").await;
        let file = at("common/page.css");
        client.send(format!("HEAD {file} HTTP/1.1\r\nHost: gate\r\n\r\n")).await;
        let head = client.until("\r\n\r\n").await;
        assert!(field(&head, "content-length").unwrap().parse::<usize>().unwrap() > 1_000, "{head}");
        // The connection goes on: nothing of a body came.
        client.send("GET /assets/x HTTP/1.1\r\nHost: gate\r\n\r\n").await;
        assert_eq!(status(&client.until("\r\n\r\n").await), 404);
    });
}

#[test]
fn no_path_leads_out_of_the_pages() {
    on_a_worker(async |stage| {
        with_console(&stage, |_| {});
        let version = version();
        for path in [
            format!("/assets/{version}/../../Cargo.toml"),
            format!("/assets/{version}/novnc/..%2f..%2f..%2fetc/passwd"),
            format!("/assets/{version}/%2e%2e/%2e%2e/Cargo.toml"),
            format!("/assets/{version}//etc/passwd"),
            format!("/assets/{version}/novnc/index.html"),
            format!("/assets/{version}/novnc/page.js%00.css"),
            format!("/assets/{version}/novnc/page.js;x"),
            format!("/assets/{version}/novnc\\page.js"),
            "/assets/0000000000000000/novnc/page.js".to_owned(),
            "/assets/..%5c..%5cwindows".to_owned(),
            "/assets/".to_owned(),
            "/..;/assets/".to_owned(),
        ] {
            let (head, body) = get(&stage, NOVNC, &path, HTML).await;
            assert!(matches!(status(&head), 400 | 401 | 404), "{path}: {head}");
            assert!(!body.contains("root:") && !body.contains("[package]"), "{path}");
        }
    });
}

#[test]
fn who_has_no_ticket_reads_why_and_not_a_black_screen() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        for door in [NOVNC, TTYD] {
            for target in ["/", "/?token=", "/?x=1"] {
                let (head, body) = get(&stage, door, target, HTML).await;
                assert_eq!(
                    (status(&head), field(&head, "www-authenticate")),
                    (401, Some("Ticket")),
                    "{head}"
                );
                assert!(body.contains("A console ticket is required.") && body.contains("<form"), "{body}");
                assert_eq!(field(&head, "cache-control"), Some("no-store"));
                let (head, body) = get(&stage, door, target, "").await;
                assert!(status(&head) == 401 && body.contains("ticket is required"), "{body}");
            }
        }
        let mut client = stage.connect_by(TTYD, "127.0.0.1").await;
        assert_eq!(status(&client.ask(&upgrade("/ws", "Sec-WebSocket-Protocol: tty\r\n")).await.0), 401);

        let mut old = world.claims(1);
        (old.issued_ms, old.expires_ms) = (old.issued_ms - 200_000, old.issued_ms - 140_000);
        let ticket = world.ticket(&old);
        let (head, body) = get(&stage, NOVNC, &format!("/console/{ticket}"), HTML).await;
        assert!(status(&head) == 403 && body.contains("The ticket has expired."), "{body}");
        assert!(body.contains("\"../assets/") && body.contains("action=\"../\""), "{body}");
        let (head, body) = get(&stage, NOVNC, &format!("/websockify?token={ticket}"), JSON).await;
        assert_eq!((status(&head), field(&head, "content-type")), (403, Some("application/json")));
        assert_eq!(body, r#"{"refused":"The ticket has expired. Ask for a new one."}"#);
    });
}

#[test]
fn odd_and_huge_tickets_are_refused_in_words_that_do_not_repeat_them() {
    on_a_worker(async |stage| {
        with_console(&stage, |_| {});
        for ticket in [
            "a".repeat(7_000),
            "%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
            "'\"()&".replace(['&', '"'], "."),
            "..".to_owned(),
            "%00".to_owned(),
            ".".repeat(300),
        ] {
            for target in [format!("/?token={ticket}"), format!("/websockify?token={ticket}")] {
                let (head, body) = get(&stage, NOVNC, &target, HTML).await;
                let code = status(&head);
                assert!(code == 403 || code == 400, "{target}: {head}");
                assert!(!body.contains(&ticket) || ticket == ".." || ticket == ".", "{body}");
                assert!(body.len() < 2_000);
            }
        }
        let (head, _) = get(&stage, NOVNC, &format!("/?token={}", "a".repeat(9_000)), HTML).await;
        assert_eq!(status(&head), 414);
        let mut client = stage.connect_by(NOVNC, "127.0.0.1").await;
        let (head, _) = client.ask("GET /websockify?token=\u{fc}\u{7f} HTTP/1.1\r\nHost: gate\r\n\r\n").await;
        assert_eq!(status(&head), 400, "{head}");
    });
}

#[test]
fn a_script_learns_what_a_ticket_opens_without_opening_it() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| console.read_only = true);
        let ticket = world.ticket(&world.claims(1));
        for target in [format!("/console/{ticket}"), format!("/websockify?token={ticket}")] {
            let (head, body) = get(&stage, NOVNC, &target, JSON).await;
            assert_eq!((status(&head), field(&head, "cache-control")), (200, Some("no-store")), "{body}");
            let facts: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(facts, serde_json::json!({ "vm": "web-01", "kind": "vnc", "view_only": true }));
        }
        assert_eq!(stage.worker.shared.sessions.len(), 0);
    });
}

#[test]
fn the_terminal_has_its_own_page_and_opens_beside_it() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |console| {
            console.kind = ConsoleKind::Ttyd;
            console.wire = ConsoleWire::WebSocket { path: "/ws".into() };
        });
        let ticket = world.ticket(&world.claims(1));
        let (head, body) = get(&stage, TTYD, &format!("/?token={ticket}"), HTML).await;
        assert!(status(&head) == 200 && body.contains("/terminal/page.js"), "{head}{body}");
        assert_eq!(status(&get(&stage, TTYD, "/vnc.html", HTML).await.0), 401);
        let mut client = stage.connect_by(TTYD, "127.0.0.1").await;
        client.send(upgrade(&format!("/ws?token={ticket}"), "Sec-WebSocket-Protocol: tty\r\n")).await;
        assert!(stage.accept().await.until("\r\n\r\n").await.starts_with("GET /ws HTTP/1.1\r\n"));
    });
}

#[test]
fn below_a_route_the_folder_gets_its_slash_and_pages_stay_relative() {
    on_a_worker(async |stage| {
        let world = with_console(&stage, |_| {});
        let mut route = stage.route("app.example", "/my/screens");
        route.action = Action::Service(Service::Novnc);
        let mut values = world.values();
        values.push(Value::Route(route));
        stage.values(values);
        let ticket = world.ticket(&world.claims(1));
        let ask = async |client: &mut Peer, target: &str| {
            client.ask(&format!("GET {target} HTTP/1.1\r\nHost: app.example\r\n{HTML}\r\n")).await
        };
        let mut client = stage.connect().await;
        let (head, _) = ask(&mut client, &format!("/my/screens?token={ticket}")).await;
        let wanted = format!("./screens/?token={ticket}");
        assert_eq!((status(&head), field(&head, "location")), (308, Some(wanted.as_str())));
        let (head, body) = ask(&mut client, &format!("/my/screens/console/{ticket}")).await;
        assert!(status(&head) == 200 && body.contains("\"../assets/"), "{body}");
        let file = format!("/my/screens/assets/{}/novnc/page.js", version());
        assert_eq!(status(&ask(&mut client, &file).await.0), 200);
        assert_eq!(status(&ask(&mut client, "/my/screens/").await.0), 401);
    });
}

//! Answers of our own: which status, what stands in them, and what does not.

use config::name::HostPattern;
use config::secret::Secret;
use config::snapshot::{Action, Identity, Service, TlsMode, Value};

use super::stage::{Door, GET, HTTP, OK, field, on_a_worker, status};
use crate::listener::Kind;
use crate::listener::supervisor::Listed;

const HTTPS: Door = Door { kind: Kind::Https, sni: Some("app.example"), is_tls: true };

#[test]
fn an_unknown_name_or_path_is_404_and_the_connection_goes_on() {
    on_a_worker(async |stage| {
        stage.routes([stage.route("app.example", "/here")]);
        let mut client = stage.connect().await;
        for request in ["GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", GET] {
            let (head, body) = client.ask(request).await;
            assert_eq!(status(&head), 404);
            assert!(!body.contains("app.example"), "names of routes are not told: {body}");
        }
    });
}

#[test]
fn without_a_generation_everything_is_503() {
    on_a_worker(async |stage| {
        let empty = crate::worker::testing::worker(tempfile::tempdir().unwrap().path());
        let stage = stage.with(empty);
        let (head, _) = stage.connect().await.ask(GET).await;
        assert_eq!(status(&head), 503);
        assert!(field(&head, "retry-after").is_some());
    });
}

#[test]
fn a_closed_port_is_502_and_says_neither_address_nor_cause() {
    on_a_worker(async |stage| {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        stage.routes([stage.route_to("app.example", "/", &[gone])]);
        let mut client = stage.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: app.example\r\nAccept: text/html\r\n\r\n").await;
        let (head, body) = client.message().await;
        assert_eq!(status(&head), 502);
        assert!(field(&head, "content-type").unwrap().starts_with("text/html"));
        assert!(!body.contains("127.0.0.1") && !body.contains("refused"), "{body}");
        assert_eq!(status(&client.ask(GET).await.0), 502, "the connection goes on");
    });
}

#[test]
fn an_answer_that_is_not_http_or_framed_twice_is_502() {
    on_a_worker(async |stage| {
        for answer in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConte",
            "",
        ] {
            let mut client = stage.connect().await;
            client.send(GET).await;
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send(answer).await;
            drop(origin);
            assert_eq!(status(&client.message().await.0), 502, "{answer:?}");
        }
    });
}

#[test]
fn an_origin_that_does_not_answer_in_time_is_504() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.response_head_ms = 20);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        assert_eq!(status(&client.message().await.0), 504);
        assert!(origin.is_closed().await, "what was asked is not wanted any more");
    });
}

#[test]
fn a_response_head_that_comes_byte_by_byte_is_504_in_time() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.response_head_ms = 200);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nX: ").await;
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
        let dribble = async {
            while tokio::io::AsyncWriteExt::write_all(&mut origin.io, b"x").await.is_ok() {
                ticks.tick().await;
            }
            std::future::pending::<()>().await;
        };
        let (head, _) = tokio::select! {
            answer = client.message() => answer,
            () = dribble => return,
        };
        assert_eq!(status(&head), 504);
    });
}

#[test]
fn a_head_or_body_that_stops_coming_is_408_and_an_idle_connection_is_closed_in_silence() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| {
            deadlines.request_head_ms = 20;
            deadlines.request_body_ms = 20;
            deadlines.keep_alive_ms = 20;
        });
        let mut client = stage.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: ap").await;
        let answer = client.rest().await;
        assert_eq!(status(&answer), 408, "{answer}");

        let mut client = stage.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 9\r\n\r\nhalf").await;
        let answer = client.rest().await;
        assert_eq!(status(&answer), 408, "{answer}");

        assert_eq!(stage.connect().await.rest().await, "");
    });
}

pub(super) fn identity(id: u8, name: &str) -> Value {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Value::Identity(Identity {
        id: config::id::IdentityId::from_bytes([id; 16]),
        names: [HostPattern::parse(name).unwrap()].into(),
        preferred: false,
        chain: [made.cert.der().to_vec()].into(),
        key: Secret::new(made.signing_key.serialize_der()),
    })
}

#[test]
fn a_server_name_of_another_identity_is_421_and_of_the_same_is_served() {
    on_a_worker(async |stage| {
        let routes = [stage.route("app.example", "/"), stage.route("b.shared.example", "/")];
        let identities = [identity(1, "app.example"), identity(2, "*.shared.example")];
        stage.values(routes.map(Value::Route).into_iter().chain(identities));
        let by = |sni| Door { sni, ..HTTPS };

        for sni in ["a.shared.example", "unknown.example"] {
            let mut client = stage.connect_by(by(Some(sni)), "127.0.0.1").await;
            assert_eq!(status(&client.ask(GET).await.0), 421, "{sni}");
            assert!(stage.origin_is_untouched().await);
        }
        for (sni, host) in [
            (None, "app.example"),
            (Some("app.example"), "app.example"),
            (Some("a.shared.example"), "b.shared.example"),
        ] {
            let mut client = stage.connect_by(by(sni), "127.0.0.1").await;
            client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            let mut origin = stage.accept().await;
            origin.message().await;
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            assert_eq!(status(&client.message().await.0), 200, "{sni:?}");
        }
    });
}

#[test]
fn plain_requests_for_a_protected_route_go_to_https_except_acme() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.tls = TlsMode::SelfSigned;
        route.redirect_https = true;
        route.hsts_seconds = Some(31_536_000);
        stage.routes([route]);
        let listed = |kind, address: &str| Listed { kind, address: address.parse().unwrap(), paused: None };
        stage.worker.shared.listeners.store(vec![listed(Kind::Https, "0.0.0.0:8443")].into());

        let mut client = stage.connect().await;
        let (head, _) = client.ask("GET /a?b HTTP/1.1\r\nHost: App.Example:8080\r\n\r\n").await;
        assert_eq!((status(&head), field(&head, "location")), (301, Some("https://app.example:8443/a?b")));
        assert_eq!(field(&head, "strict-transport-security"), None, "never over plain HTTP");
        let (head, _) = client.ask("PUT /a HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
        assert_eq!(status(&head), 308);

        client.send("GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(status(&client.message().await.0), 200);

        let mut proxied = stage.connect_by(HTTP, "127.0.0.9").await;
        proxied.send("GET / HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Proto: https\r\n\r\n").await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(status(&proxied.message().await.0), 200, "the person came by https already");
    });
}

#[test]
fn strict_transport_security_stands_on_every_answer_over_tls() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.hsts_seconds = Some(60);
        stage.routes([route]);
        let mut client = stage.connect_by(HTTPS, "127.0.0.1").await;
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nStrict-Transport-Security: max-age=1\r\n\r\n", 200),
            ("bad", 502),
        ] {
            client.send(GET).await;
            let mut origin = stage.accept().await;
            assert_eq!(field(&origin.message().await.0, "x-forwarded-proto"), Some("https"));
            origin.send(answer).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut origin.io).await;
            let (head, _) = client.message().await;
            assert_eq!(status(&head), expected);
            assert_eq!(head.matches("max-age=60").count(), 1, "{head}");
            assert!(!head.contains("max-age=1\r"), "{head}");
            // The origin closed: the next request must not meet the old connection.
            stage.close_is_heard().await;
        }
    });
}

#[test]
fn consoles_need_a_ticket_and_control_is_forwarded_to() {
    on_a_worker(async |stage| {
        let mut console = stage.route("vnc.example", "/");
        console.action = Action::Service(Service::Novnc);
        let mut control = stage.route("admin.example", "/");
        control.action = Action::Service(Service::Control {
            id: config::id::EndpointId::from_bytes([9; 16]),
            address: stage.origin.local_addr().unwrap(),
        });
        stage.routes([console, control]);
        let mut client = stage.connect().await;
        assert_eq!(status(&client.ask("GET / HTTP/1.1\r\nHost: vnc.example\r\n\r\n").await.0), 401);
        for kind in [Kind::Novnc, Kind::Ttyd] {
            let mut client = stage.connect_by(Door { kind, ..HTTP }, "127.0.0.1").await;
            assert_eq!(status(&client.ask("GET / HTTP/1.1\r\nHost: admin.example\r\n\r\n").await.0), 401);
        }
        client.send("GET / HTTP/1.1\r\nHost: admin.example\r\n\r\n").await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(status(&client.message().await.0), 200);
    });
}

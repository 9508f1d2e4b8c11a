//! Who may ask.

use std::sync::atomic::Ordering::Relaxed;

use argon2::{Argon2, Params, PasswordHasher as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::limits;
use config::secret::Secret;
use config::snapshot::{BasicAuth, BasicUser, Edit};

use super::super::stage::{GET, HTTP, OK, Stage, field, on_a_worker, status};
use super::{edit, filtered, get, respond};

fn user(name: &str, password: &str) -> BasicUser {
    let params = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
    let cheap = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash = cheap.hash_password(password.as_bytes()).unwrap().to_string();
    BasicUser { name: name.into(), password_hash: Secret::new(hash) }
}

pub(in super::super) fn auth() -> BasicAuth {
    BasicAuth { realm: "the \"lab\"".into(), users: [user("ann", "pä:ss"), user("bob", "other")].into() }
}

pub(super) fn with(name: &str, password: &str) -> String {
    get("/", &format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}"))))
}

fn failures(stage: &Stage) -> u64 {
    stage.worker.counters.auth_failures_http.load(Relaxed)
}

#[test]
fn address_lists_hold_for_the_client_behind_a_trusted_proxy() {
    on_a_worker(async |stage| {
        let mut route = filtered(&stage, |filters| {
            filters.allow = ["127.0.0.0/24".parse().unwrap(), "203.0.113.0/24".parse().unwrap()].into();
            filters.deny = ["127.0.0.3/32".parse().unwrap(), "203.0.113.66/32".parse().unwrap()].into();
        });
        route.action = respond(200, "in");
        stage.routes([route]);
        let from = |address: &str| get("/", &format!("X-Forwarded-For: {address}\r\n"));
        for (peer, request, expected) in [
            ("127.0.0.1", GET.to_owned(), 200),
            ("127.0.0.3", GET.to_owned(), 403),
            ("127.0.1.1", GET.to_owned(), 403),
            ("127.0.1.1", from("203.0.113.5"), 403),
            ("127.0.0.9", from("203.0.113.5"), 200),
            ("127.0.0.9", from("203.0.113.66"), 403),
            ("127.0.0.9", from("203.0.113.5, 198.51.100.1"), 403),
        ] {
            let mut client = stage.connect_by(HTTP, peer).await;
            let (head, body) = client.ask(&request).await;
            assert_eq!(status(&head), expected, "{peer} {request}");
            assert!(!body.contains("console"), "{body}");
            assert_eq!(field(&head, "connection"), None, "a refusal keeps the connection");
        }
        assert_eq!(stage.worker.counters.address_denied.load(Relaxed), 5);
    });
}

#[test]
fn a_password_is_asked_for_verified_remembered_and_not_passed_on() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| filters.basic_auth = Some(auth()))]);
        let mut client = stage.connect().await;
        let (head, _) = client.ask(GET).await;
        assert_eq!(status(&head), 401);
        let challenge = "Basic realm=\"the \\\"lab\\\"\", charset=\"UTF-8\"";
        assert_eq!(field(&head, "www-authenticate"), Some(challenge));
        assert_eq!(failures(&stage), 0, "to be asked is no failure");
        assert!(stage.origin_is_untouched().await);

        client.send(with("ann", "pä:ss")).await;
        let mut origin = stage.accept().await;
        for _ in 0..2 {
            let (head, _) = origin.message().await;
            assert_eq!(field(&head, "authorization"), None, "{head}");
            origin.send(OK).await;
            assert_eq!(client.message().await.1, "ok");
            client.send(with("ann", "pä:ss")).await;
        }
    });
}

#[test]
fn what_is_wrong_is_answered_alike_and_a_changed_password_counts_at_once() {
    on_a_worker(async |stage| {
        let open = |users: &[BasicUser]| {
            let mut route = filtered(&stage, |filters| {
                filters.basic_auth = Some(BasicAuth { realm: "r".into(), users: users.into() });
            });
            route.action = respond(200, "in");
            stage.routes([route]);
        };
        open(&auth().users);
        let mut client = stage.connect().await;
        assert_eq!(client.ask(&with("ann", "pä:ss")).await.1, "in");
        let twice = with("ann", "pä:ss").replace("\r\n\r\n", "\r\nAuthorization: Basic YTpi\r\n\r\n");
        let wrong = [
            with("ann", "other"),
            with("eve", "pä:ss"),
            with("", ""),
            twice,
            get("/", "Authorization: Bearer x\r\n"),
        ];
        let mut bodies = Vec::new();
        for request in &wrong {
            let (head, body) = client.ask(request).await;
            assert_eq!(status(&head), 401, "{request}");
            bodies.push(body.split(" Request").next().unwrap().to_owned());
        }
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
        assert_eq!(failures(&stage), wrong.len() as u64);

        open(&[user("ann", "new")]);
        assert_eq!(status(&client.ask(&with("ann", "pä:ss")).await.0), 401);
        assert_eq!(client.ask(&with("ann", "new")).await.1, "in");
    });
}

#[test]
fn who_guesses_waits_and_who_is_known_does_not() {
    on_a_worker(async |stage| {
        let mut route = filtered(&stage, |filters| filters.basic_auth = Some(auth()));
        route.action = respond(200, "in");
        stage.routes([route.clone()]);
        let mut client = stage.connect().await;
        assert_eq!(client.ask(&with("ann", "pä:ss")).await.1, "in");
        for _ in 0..limits::PASSWORD_GUESSES.2 {
            assert_eq!(status(&client.ask(&with("bob", "guess")).await.0), 401);
        }
        let (head, _) = client.ask(&with("bob", "other")).await;
        assert_eq!(status(&head), 429, "right or wrong is not told");
        assert!(field(&head, "retry-after").is_some());
        stage.generation(8, [config::snapshot::Value::Route(route)]);
        assert_eq!(status(&client.ask(&with("bob", "other")).await.0), 429, "a generation forgets nothing");
        assert_eq!(client.ask(&with("ann", "pä:ss")).await.1, "in");
        let mut elsewhere = stage.connect_by(HTTP, "127.0.0.2").await;
        assert_eq!(elsewhere.ask(&with("bob", "other")).await.1, "in");
    });
}

#[test]
fn another_routes_authorization_passes_untouched() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| {
            filters.request_fields = [edit("X-A", Edit::Set("b".into()))].into();
        })]);
        let mut client = stage.connect().await;
        client.send(with("ann", "x")).await;
        let (head, _) = stage.accept().await.message().await;
        assert!(field(&head, "authorization").is_some());
    });
}

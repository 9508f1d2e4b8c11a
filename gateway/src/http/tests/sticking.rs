//! Clients that stay at their endpoint: by a sealed cookie, by what an origin told.

use config::name::PathPrefix;
use config::snapshot::{Ejection, Learned, Sticky, UpstreamPolicy};

use super::origins::Origin;
use super::stage::{Door, GET, HTTP, Peer, Stage, field, on_a_worker, status};
use crate::listener::Kind;

fn by_cookie() -> UpstreamPolicy {
    let sticky = Some(Sticky::Cookie { name: "srv".into(), max_age_seconds: 0 });
    let ejection = Some(Ejection { failures: 1, for_ms: 1_000_000 });
    UpstreamPolicy { sticky, ejection, ..UpstreamPolicy::default() }
}

fn learned() -> UpstreamPolicy {
    let learned = Learned {
        header: "infid".into(),
        path: PathPrefix::parse("/infrastructures").unwrap(),
        field: 3,
        expire_seconds: 3_600,
        keys_max: 100,
    };
    UpstreamPolicy { sticky: Some(Sticky::Learned(learned)), ..UpstreamPolicy::default() }
}

/// The cookie that an answer sets, as a client sends it back.
fn cookie(head: &str) -> Option<String> {
    Some(field(head, "set-cookie")?.split(';').next().unwrap().to_owned())
}

fn with(cookie: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: app.example\r\nCookie: x=1; {cookie}\r\n\r\n")
}

async fn first(stage: &Stage) -> (Peer, String, String) {
    let mut client = stage.connect().await;
    let (head, name) = client.ask(GET).await;
    let cookie = cookie(&head).expect("a first answer sets it");
    (client, cookie, name)
}

#[test]
fn a_cookie_keeps_the_client_where_it_was_first_and_is_set_once() {
    on_a_worker(async |stage| {
        let origins = [Origin::start('a').await, Origin::start('b').await, Origin::start('c').await];
        let endpoints: Vec<_> = origins.iter().map(Origin::endpoint).collect();
        stage.routes([stage.balanced(&endpoints, Some(by_cookie()))]);
        for _ in 0..3 {
            let (mut client, cookie, name) = first(&stage).await;
            for _ in 0..4 {
                let (head, body) = client.ask(&with(&cookie)).await;
                assert_eq!((body, field(&head, "set-cookie")), (name.clone(), None));
            }
        }
        let (mut client, cookie, name) = first(&stage).await;
        let mut turned = endpoints.clone();
        turned.reverse();
        stage.routes([stage.balanced(&turned, Some(by_cookie()))]);
        assert_eq!(client.ask(&with(&cookie)).await.1, name, "by id, not by position");
    });
}

#[test]
fn the_attributes_of_the_cookie_fit_the_connection() {
    on_a_worker(async |stage| {
        let (one, two) = (Origin::start('a').await, Origin::start('b').await);
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint()], Some(by_cookie()))]);
        let https = Door { kind: Kind::Https, sni: Some("app.example"), is_tls: true };
        for (door, end) in
            [(HTTP, "; Path=/; HttpOnly; SameSite=Lax"), (https, "; HttpOnly; SameSite=Lax; Secure")]
        {
            let (head, _) = stage.connect_by(door, "127.0.0.1").await.ask(GET).await;
            assert!(field(&head, "set-cookie").unwrap().ends_with(end), "{head}");
        }
    });
}

#[test]
fn a_forged_cookie_is_ignored_and_replaced() {
    on_a_worker(async |stage| {
        let (one, two) = (Origin::start('a').await, Origin::start('b').await);
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint()], Some(by_cookie()))]);
        let (mut client, good, _) = first(&stage).await;
        let forged = format!("{}AAAA", &good[..good.len() - 4]);
        for bad in ["srv=", "srv=61616161", &forged] {
            assert!(cookie(&client.ask(&with(bad)).await.0).is_some(), "{bad}");
        }
    });
}

#[test]
fn a_cookie_of_another_route_says_nothing() {
    on_a_worker(async |stage| {
        let (one, two) = (Origin::start('a').await, Origin::start('b').await);
        let endpoints = [one.endpoint(), two.endpoint()];
        let mut other = stage.balanced(&endpoints, Some(by_cookie()));
        other.path = PathPrefix::parse("/other").unwrap();
        other.id = config::id::RouteId::from_bytes([9; 16]);
        stage.routes([stage.balanced(&endpoints, Some(by_cookie())), other]);
        let (mut client, mine, _) = first(&stage).await;
        let replayed = with(&mine).replace("GET / ", "GET /other ");
        let (head, _) = client.ask(&replayed).await;
        assert_ne!(cookie(&head).expect("it is a stranger there"), mine);
        assert_eq!(cookie(&client.ask(&with(&mine)).await.0), None, "and known at home");
        // Two are as good as none, and the first that is right counts.
        let twice = with(&format!("srv=AAAA; {mine}"));
        assert_eq!(status(&client.ask(&twice).await.0), 200);
    });
}

#[test]
fn a_rogue_that_tells_many_keys_fills_its_own_table_and_a_key_in_use_stays() {
    on_a_worker(async |stage| {
        let (one, two) = (Origin::start('a').await, Origin::start('b').await);
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint()], Some(learned()))]);
        let mut client = stage.connect().await;
        two.says.borrow_mut().1 = "InfID: canary\r\n".into();
        assert_eq!(stage.answers(&mut client, 2).await, "ab");
        two.says.borrow_mut().1.clear();
        one.says.borrow_mut().1 = "InfID: unused\r\n".into();
        assert_eq!(stage.answers(&mut client, 1).await, "a");
        let mine = path("/infrastructures/canary");
        for number in 0..1_000 {
            one.says.borrow_mut().1 = format!("InfID: flood-{number}\r\n");
            stage.answers(&mut client, 1).await;
            if number % 20 == 0 {
                assert_eq!(stage.answers_to(&mut client, 1, &mine).await, "b", "after {number}");
            }
        }
        one.says.borrow_mut().1.clear();
        assert_eq!(stage.answers_to(&mut client, 2, &mine).await, "bb");
        let gone = stage.answers_to(&mut client, 4, &path("/infrastructures/unused")).await;
        assert!(gone.contains('b'), "the table holds 100: {gone}");
    });
}

#[test]
fn a_draining_endpoint_keeps_those_who_stick_and_a_dead_one_loses_them() {
    on_a_worker(async |stage| {
        let (mut one, two) = (Origin::start('a').await, Origin::start('b').await);
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint()], Some(by_cookie()))]);
        let (mut client, at_one, name) = first(&stage).await;
        assert_eq!(name, "a");

        let mut draining = one.endpoint();
        draining.draining = true;
        stage.routes([stage.balanced(&[draining, two.endpoint()], Some(by_cookie()))]);
        assert_eq!(stage.answers_to(&mut client, 3, &with(&at_one)).await, "aaa");
        assert_eq!(stage.answers(&mut client, 3).await, "bbb");

        one.kill().await;
        let (head, body) = client.ask(&with(&at_one)).await;
        assert_eq!((status(&head), body.as_str()), (200, "b"), "and no request fails");
        let at_two = cookie(&head).expect("it is told its new place");
        assert_eq!(stage.answers_to(&mut client, 3, &with(&at_two)).await, "bbb");
    });
}

fn path(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n")
}

#[test]
fn a_key_that_an_origin_told_leads_back_to_it_until_it_expires() {
    on_a_worker(async |stage| {
        let (one, two) = (Origin::start('a').await, Origin::start('b').await);
        let endpoints = [one.endpoint(), two.endpoint()];
        stage.routes([stage.balanced(&endpoints, Some(learned()))]);
        let mut client = stage.connect().await;
        two.says.borrow_mut().1 = "InfID: abc-123\r\n".into();
        assert_eq!(stage.answers(&mut client, 2).await, "ab");
        two.says.borrow_mut().1.clear();

        let mine = path("/infrastructures/abc-123/vms/0");
        assert_eq!(stage.answers_to(&mut client, 4, &mine).await, "bbbb");
        stage.routes([stage.balanced(&endpoints, Some(UpstreamPolicy { slow_start_ms: 1, ..learned() }))]);
        assert_eq!(stage.answers_to(&mut client, 4, &mine).await, "bbbb", "it survives a swap");

        // Nobody else sticks.
        let others = stage.answers_to(&mut client, 4, &path("/other/abc-123")).await;
        assert!(others.contains('a') && others.contains('b'));

        stage.worker.shared.health.pass(3_600_000);
        two.says.borrow_mut().0 = 404;
        one.says.borrow_mut().0 = 404;
        let after = stage.answers_to(&mut client, 4, &mine).await;
        assert!(after.contains('a') && after.contains('b'), "unknown to all and not learned: {after}");
    });
}

#[test]
fn a_key_whose_endpoint_died_is_learned_anew() {
    on_a_worker(async |stage| {
        let origins = [Origin::start('a').await, Origin::start('b').await, Origin::start('c').await];
        let [mut one, two, three] = origins;
        stage.routes([stage.balanced(&[one.endpoint(), two.endpoint(), three.endpoint()], Some(learned()))]);
        let mut client = stage.connect().await;
        one.says.borrow_mut().1 = "InfID: abc\r\n".into();
        assert_eq!(stage.answers(&mut client, 1).await, "a");
        let mine = path("/infrastructures/abc");
        assert_eq!(stage.answers_to(&mut client, 2, &mine).await, "aa");
        one.kill().await;
        let after = stage.answers_to(&mut client, 4, &mine).await;
        assert!(after == "bbbb" || after == "cccc", "{after}");
    });
}

//! Who tries to be somebody else, or to learn what a refusal costs.

use std::sync::atomic::Ordering::Relaxed;

use config::snapshot::{RateKey, RateLimit};

use super::super::stage::{GET, HTTP, Stage, field, on_a_worker, status};
use super::access::{auth, with};
use super::{filtered, get, respond};

#[test]
fn a_forged_address_moves_neither_the_rate_nor_the_verdict() {
    on_a_worker(async |stage| {
        let rate = RateLimit { requests: 1, per_ms: 3_600_000, burst: 1, key: RateKey::Client };
        let mut route = filtered(&stage, |filters| {
            filters.rate = Some(rate);
            filters.deny = ["127.0.0.3/32".parse().unwrap(), "198.51.100.0/24".parse().unwrap()].into();
        });
        route.action = respond(200, "in");
        stage.routes([route]);
        let forged = [
            "X-Forwarded-For: 203.0.113.1\r\n",
            "X-Forwarded-For: 203.0.113.2, 203.0.113.3\r\nX-Forwarded-For: 203.0.113.4\r\n",
            "Forwarded: for=203.0.113.5\r\n",
            "X-Real-IP: 203.0.113.6\r\n",
            "Client-IP: 203.0.113.7\r\nTrue-Client-IP: 203.0.113.7\r\nCF-Connecting-IP: 203.0.113.7\r\n",
        ];
        // Nobody who is not trusted gets a bucket of their own by what they say.
        let mut client = stage.connect().await;
        assert_eq!(status(&client.ask(GET).await.0), 200);
        for fields in forged {
            assert_eq!(status(&client.ask(&get("/", fields)).await.0), 429, "{fields}");
        }
        // Nor is anybody let in, or kept out.
        let mut denied = stage.connect_by(HTTP, "127.0.0.3").await;
        for fields in forged {
            assert_eq!(status(&denied.ask(&get("/", fields)).await.0), 403, "{fields}");
        }
        let mut other = stage.connect_by(HTTP, "127.0.0.4").await;
        assert_eq!(status(&other.ask(&get("/", "X-Forwarded-For: 198.51.100.1\r\n")).await.0), 200);
        // Behind a trusted proxy what counts is what the proxy wrote: the last of the list.
        let mut proxy = stage.connect_by(HTTP, "127.0.0.9").await;
        let through = |forged: &str| get("/", &format!("X-Forwarded-For: {forged}203.0.113.77\r\n"));
        assert_eq!(status(&proxy.ask(&through("")).await.0), 200);
        for before in ["203.0.113.8, ", "127.0.0.1, ", "198.51.100.1, "] {
            assert_eq!(status(&proxy.ask(&through(before)).await.0), 429, "{before}");
        }
    });
}

#[test]
fn a_refused_password_costs_one_verification_whatever_is_wrong_with_it() {
    on_a_worker(async |stage| {
        let mut route = filtered(&stage, |filters| filters.basic_auth = Some(auth()));
        route.action = respond(200, "in");
        stage.routes([route]);
        let verified = || stage.worker.shared.filters.verified.load(Relaxed);
        let mut client = stage.connect().await;
        for (name, password) in [("ann", "wrong"), ("nobody", "wrong"), ("", ""), ("bob", "p\u{e4}:ss")] {
            let before = verified();
            assert_eq!(status(&client.ask(&with(name, password)).await.0), 401, "{name}");
            assert_eq!(verified(), before + 1, "{name:?}");
        }
        let before = verified();
        assert_eq!(client.ask(&with("ann", "p\u{e4}:ss")).await.1, "in");
        assert_eq!(client.ask(&with("ann", "p\u{e4}:ss")).await.1, "in");
        assert_eq!(verified(), before + 1, "once, then it is remembered");
        assert_eq!(status(&client.ask(GET).await.0), 401);
        assert_eq!(verified(), before + 1, "who says nothing costs nothing");
    });
}

/// What the origin's answer becomes for a client that takes gzip.
async fn coding(stage: &Stage, request: &str, response: &str) -> Option<String> {
    let mut client = stage.connect().await;
    client.send(get("/", &format!("Accept-Encoding: gzip\r\n{request}"))).await;
    let mut origin = stage.accept().await;
    origin.message().await;
    let body = "x".repeat(2_000);
    origin
        .send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n{response}Content-Length: 2000\r\n\r\n{body}"
        ))
        .await;
    let head = client.until("\r\n\r\n").await;
    assert_eq!(field(&head, "vary"), Some("Accept-Encoding"), "{head}");
    field(&head, "content-encoding").map(str::to_owned)
}

#[test]
fn what_is_for_one_person_by_its_heads_is_not_compressed() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| filters.gzip = true)]);
        assert_eq!(coding(&stage, "", "").await.as_deref(), Some("gzip"));
        assert_eq!(coding(&stage, "Authorization: Bearer x\r\n", "").await, None);
        assert_eq!(coding(&stage, "", "Set-Cookie: session=1\r\n").await, None);
        // By nature not to be told: OPTIONS.md says what to do.
        assert_eq!(coding(&stage, "Cookie: session=1\r\n", "").await.as_deref(), Some("gzip"));
    });
}

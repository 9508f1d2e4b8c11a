//! What a newcomer tries, step by step: publishing by domain, changing under load, balancing and stickiness.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tests::api::Api;
use tests::binaries::Up;
use tests::client::{self, Connection};
use tests::origin::Origin;
use tests::wait::{wait_for, within};
use tokio_tungstenite::tungstenite::Message;

const WEBSOCKETS: usize = 1_000;
const UNRELATED: usize = 100;

/// Scenario 8.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_leads_to_its_service_with_the_forwarding_fields_and_nothing_else_does() {
    let up = Up::start();
    let origin = Origin::start("app").await;
    let api = Api::of(up.data());
    let id = api.route("app.example.com", &origin.url()).await;
    let http = up.address("http");
    // The command line waits until the gateway serves; the API answers before, and the wait is the change's way.
    wait_for("the route serves", || async {
        client::get(http, "app.example.com", "/").await.ok().filter(|answer| answer.status == 200)
    })
    .await;

    let output = Command::new("curl")
        .args(["-sS", "-H", "Host: app.example.com", "-H", "X-Forwarded-For: 6.6.6.6"])
        .arg(format!("http://{http}/echo?a=b"))
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "GET /echo?a=b HTTP/1.1",
        "Host: app.example.com",
        "X-Real-IP: 127.0.0.1",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line:?} is missing in {seen}");
    }
    assert!(!seen.contains("6.6.6.6"), "a stranger's forwarding field passed: {seen}");

    let unknown = client::get(http, "other.example.com", "/").await.unwrap();
    assert!(matches!(unknown.status, 404 | 421), "{}", unknown.head);
    assert!(!unknown.text().contains("app.example.com"), "{}", unknown.text());
    for bad in ["http://app.example.com", "app example", "", "app\nexample.com", "app{x}.example.com"] {
        let refused =
            api.call("POST", "/api/v1/routes", Some(&json!({"host": bad, "target": origin.url()}))).await;
        assert_eq!(refused.status, 422, "{bad:?}: {}", refused.text());
    }
    api.delete(&format!("/api/v1/routes/{id}")).await;
}

/// Scenario 13. The bound on p99 is measured by `benches/compare changes`: a test asserts no times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_websockets_and_steady_requests_outlive_changes_of_a_hundred_routes() {
    let up = Up::start();
    let origin = Origin::start("steady").await;
    let api = Api::of(up.data());
    let route = json!({"host": "steady.example.com", "target": origin.url(), "websocket": true});
    api.post("/api/v1/routes", route).await;
    let http = up.address("http");
    wait_for("the route serves", || async {
        client::get(http, "steady.example.com", "/").await.ok().filter(|answer| answer.status == 200)
    })
    .await;
    let mut sockets = Vec::with_capacity(WEBSOCKETS);
    for _ in 0..WEBSOCKETS {
        sockets.push(client::websocket(http, "steady.example.com", "/ws").await);
    }
    let done = Arc::new(AtomicBool::new(false));
    let steady: Vec<_> = (0..16).map(|_| tokio::spawn(steady_requests(http, Arc::clone(&done)))).collect();

    let mut ids = Vec::new();
    for number in 0..UNRELATED {
        ids.push(api.route(&format!("h{number}.example.com"), "http://10.0.0.5:80").await);
    }
    for id in &ids {
        let path = format!("/api/v1/routes/{id}");
        let changed = api
            .call_with("PATCH", &path, &[("If-Match", "*")], Some(&json!({"target": "http://10.0.0.6:80"})))
            .await;
        assert_eq!(changed.status, 200, "{}", changed.text());
    }
    let invalid = api
        .call(
            "POST",
            "/api/v1/routes",
            Some(&json!({"host": "h0.example.com", "target": "http://10.0.0.7:80"})),
        )
        .await;
    assert_eq!(invalid.status, 409, "a table that contradicts itself is refused: {}", invalid.text());
    for id in &ids {
        api.delete(&format!("/api/v1/routes/{id}")).await;
    }
    api.route("last.example.com", &origin.url()).await;
    wait_for("the last change serves", || async {
        client::get(http, "last.example.com", "/").await.ok().filter(|answer| answer.status == 200)
    })
    .await;

    done.store(true, Ordering::Relaxed);
    for requests in steady {
        let served = within("the requests end", requests).await.expect("no request failed");
        assert!(served > 0, "a client that asked nothing shows nothing");
    }
    for socket in &mut sockets {
        socket.send(Message::text("still here")).await.expect("the websocket is open");
        let echo = within("an echo", socket.next()).await.unwrap().expect("the websocket is open");
        assert_eq!(echo, Message::text("still here"));
    }
}

async fn steady_requests(http: SocketAddr, done: Arc<AtomicBool>) -> u64 {
    let mut connection = Connection::open(http).await;
    let mut served = 0;
    while !done.load(Ordering::Relaxed) {
        let answer = connection.get("steady.example.com", "/").await.expect("the connection stays open");
        assert_eq!((answer.status, answer.text().as_str()), (200, "steady"));
        served += 1;
    }
    served
}

/// Scenario 24, the balancer's half; joining a second gateway is in `programs.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_checked_shared_in_turn_and_an_origin_that_comes_back_is_used_again() {
    let up = Up::start_single();
    let (one, two) = (Origin::start("one").await, Origin::start("two").await);
    up.cli(&[
        "route",
        "add",
        "pool.example.com",
        &one.url(),
        "--target",
        &two.url(),
        "--check",
        "/version",
        "--check-interval",
        "200ms",
    ]);
    let http = up.address("http");
    let mut turns = Vec::new();
    for _ in 0..10 {
        turns.push(ask(http, "pool.example.com", "/").await.expect("both are well"));
    }
    assert_eq!(turns.iter().filter(|name| *name == "one").count(), 5, "in turn: {turns:?}");

    let address = two.address();
    drop(two);
    wait_for("all traffic moves to the one that is left", || all_from(http, "one")).await;
    let two = Origin::start_on(address, "two").await;
    wait_for("the one that came back is used again", || async {
        (ask(http, "pool.example.com", "/").await? == "two").then_some(())
    })
    .await;
    // A try that failed moves the traffic sooner than a check does.
    wait_for("the check asks what it was told to ask", || async {
        two.seen().iter().any(|head| head.starts_with("GET /version ")).then_some(())
    })
    .await;
}

/// Scenario 24, stickiness (INVENTORY B-44).
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_response_told_keeps_its_path_at_the_origin_until_it_expires() {
    let up = Up::start_single();
    let (one, two) = (Origin::start("one").await, Origin::start("two").await);
    up.cli(&[
        "route",
        "add",
        "im.example.com",
        &one.url(),
        "--target",
        &two.url(),
        "--sticky",
        "learned:InfID:/infrastructures/:3:2s",
    ]);
    let shown: Value =
        serde_json::from_str(&up.cli(&["route", "show", "im.example.com", "-o", "json"])).unwrap();
    let learned = &shown["upstream"]["sticky"]["learned"];
    assert_eq!(learned["header"].as_str().map(str::to_ascii_lowercase).as_deref(), Some("infid"), "{shown}");
    let http = up.address("http");
    let teller = ask(http, "im.example.com", "/infrastructures?abc-1").await.unwrap();
    for _ in 0..6 {
        let sticks = ask(http, "im.example.com", "/infrastructures/abc-1/vms").await.unwrap();
        assert_eq!(sticks, teller, "the key leads to who told it");
    }
    // A key that nobody told stays where it was first answered, as with HAProxy's `stick on`.
    let mut others = Vec::new();
    for number in 0..8 {
        let path = format!("/infrastructures/other-{number}/vms");
        let first = ask(http, "im.example.com", &path).await.unwrap();
        assert_eq!(ask(http, "im.example.com", &path).await.unwrap(), first, "{path}");
        others.push((path, first));
    }
    let names: BTreeSet<&str> = others.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names.len(), 2, "new keys are balanced: {others:?}");
    // Using a key renews it, so the wait is in one piece.
    let asked = Instant::now();
    wait_for("the keys expire", || async { (asked.elapsed() > Duration::from_secs(3)).then_some(()) }).await;
    let mut after = BTreeSet::new();
    for (path, _) in others.iter().filter(|(_, name)| *name == teller) {
        after.insert(ask(http, "im.example.com", path).await.unwrap());
    }
    assert_eq!(after.len(), 2, "keys of one origin are balanced again: {after:?}");
}

/// The body of a good answer.
async fn ask(http: SocketAddr, host: &str, path: &str) -> Option<String> {
    let answer = client::get_if_open(http, host, path).await?;
    (answer.status == 200).then(|| answer.text())
}

async fn all_from(http: SocketAddr, name: &str) -> Option<()> {
    for _ in 0..8 {
        if ask(http, "pool.example.com", "/").await? != name {
            return None;
        }
    }
    Some(())
}

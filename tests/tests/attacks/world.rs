//! A gateway with one route to a recorder, and the verdict on what is sent to it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::raw::{self, Answer};
use tests::recorder::{Recorder, Request};
use tests::stack::Stack;
use tests::wait::wait_for;

pub(crate) const HOST: &str = "app.example";
/// What an intruder wants the origin to see.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n";
/// What somebody else asks on the same connection.
pub(crate) const AFTER: &str = "GET /after HTTP/1.1\r\nHost: app.example\r\n\r\n";

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) origin: Recorder,
    canaries: std::cell::Cell<usize>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// With options of the route.
    pub(crate) async fn with(options: Value) -> Self {
        let stack = Stack::start().await;
        let origin = Recorder::start().await;
        let mut body = json!({ "host": HOST, "target": origin.url() });
        body.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        stack.api.post("/api/v1/routes", body).await;
        let world = Self { stack, origin, canaries: std::cell::Cell::new(0) };
        world.route_serves(HOST).await;
        world
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.stack.http(0)
    }

    pub(crate) async fn route_serves(&self, host: &str) {
        let http = self.http();
        wait_for("the route is in force", || async {
            let answer = tests::client::get_if_open(http, host, "/").await?;
            (answer.status != 404 && answer.status != 503).then_some(())
        })
        .await;
        self.origin.take();
    }

    /// Sends bytes and ends; what came back.
    pub(crate) async fn converse(&self, bytes: &[u8]) -> Vec<Answer> {
        let (came, close) = raw::converse(self.http(), bytes).await;
        raw::answers(&came, close)
    }

    /// What reached the origin since the last look; nothing that is out of grammar may be among it.
    pub(crate) fn reached(&self, attack: &str) -> Vec<Request> {
        let seen = self.origin.take();
        assert!(seen.violations.is_empty(), "{attack} reached the origin: {:#?}", seen.violations);
        seen.requests
    }

    /// Somebody else, on a connection of their own, gets their own answer.
    pub(crate) async fn canary(&self, attack: &str) {
        let number = self.canaries.get();
        self.canaries.set(number + 1);
        let request = format!("GET /canary-{number} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        let answers = self.converse(request.as_bytes()).await;
        let texts: Vec<String> = answers.iter().map(Answer::text).collect();
        assert_eq!(texts, [format!("/canary-{number}")], "after {attack}");
        let reached: Vec<String> = self.reached(attack).into_iter().map(|request| request.target).collect();
        assert_eq!(reached, [format!("/canary-{number}")], "after {attack}");
    }

    /// The attack is refused: one answer with an error, then the end, and nothing of it reaches the origin. What was
    /// sent behind it is never read.
    pub(crate) async fn refuses(&self, attack: &str, bytes: &[u8]) {
        let mut all = bytes.to_vec();
        all.extend_from_slice(AFTER.as_bytes());
        let answers = self.converse(&all).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert!(
            matches!(statuses[..], [400 | 405 | 408 | 411 | 413 | 414 | 417 | 421 | 426 | 431 | 501 | 505]),
            "{attack} was answered {statuses:?}: {:?}",
            String::from_utf8_lossy(bytes),
        );
        let reached = self.reached(attack);
        assert!(reached.is_empty(), "{attack} reached the origin: {reached:#?}");
        self.canary(attack).await;
    }

    /// The attack is read as the one harmless request that it is, whose target is `/attack`, and the next request on
    /// the connection gets its own answer. Returns what the origin saw.
    pub(crate) async fn passes(&self, attack: &str, bytes: &[u8]) -> Request {
        let mut all = bytes.to_vec();
        all.extend_from_slice(AFTER.as_bytes());
        let answers = self.converse(&all).await;
        let texts: Vec<(u16, String)> = answers.iter().map(|answer| (answer.status, answer.text())).collect();
        let wanted = ["/attack", "/after"].map(|target| (200, target.to_owned()));
        assert_eq!(texts, wanted, "{attack}: {:?}", String::from_utf8_lossy(bytes));
        let mut reached = self.reached(attack);
        let targets: Vec<&str> = reached.iter().map(|request| request.target.as_str()).collect();
        assert_eq!(targets, ["/attack", "/after"], "{attack}");
        self.canary(attack).await;
        reached.swap_remove(0)
    }
}

use super::*;
use crate::live::Live;
use crate::session::{SessionKind, Subject};
use crate::worker::testing;
use config::snapshot::{Generation, Lineage, Snapshot};
use http_body_util::BodyExt as _;

fn shared() -> Arc<Shared> {
    let dir = tempfile::tempdir().unwrap();
    Shared::new(testing::settings(dir.path()), 1)
}

fn put_in_force(shared: &Shared, generation: u64) {
    let snapshot = Snapshot::empty(Lineage([7; 16]), Generation(generation));
    shared.current.replace(Arc::new(Live::compile(Arc::new(snapshot)).unwrap().0));
}

fn ask(shared: &Shared, method: Method, path: &str) -> (u16, String) {
    let answer = answer(shared, &method, path, Some("127.0.0.1:1882"));
    let status = answer.status().as_u16();
    let body =
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer.into_body().collect());
    (status, String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap())
}

#[test]
fn without_a_generation_it_is_alive_and_not_ready() {
    let shared = shared();
    assert_eq!(ask(&shared, Method::GET, "/livez").0, 200);
    let (status, why) = ask(&shared, Method::GET, "/readyz");
    assert_eq!(status, 503);
    assert!(why.contains("no generation"), "{why}");

    put_in_force(&shared, 5);

    assert_eq!(ask(&shared, Method::GET, "/readyz").0, 200);
    assert_eq!(ask(&shared, Method::GET, "/healthz").0, 200);
}

#[test]
fn a_draining_gateway_is_alive_and_not_ready() {
    let shared = shared();
    put_in_force(&shared, 5);
    shared.drain.begin();
    assert_eq!(ask(&shared, Method::GET, "/readyz"), (503, "draining\n".into()));
    assert_eq!(ask(&shared, Method::GET, "/livez").0, 200);
}

#[test]
fn the_generation_is_shown_with_its_lineage() {
    let shared = shared();
    put_in_force(&shared, 42);
    let (status, body) = ask(&shared, Method::GET, "/generation");
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(value["generation"], 42);
    assert_eq!(value["lineage"], "07".repeat(16));
    assert_eq!(value["control_connected"], false);
}

#[test]
fn sessions_are_listed_and_ended() {
    let shared = shared();
    let subject = Subject {
        kind: SessionKind::Jump,
        peer: ([192, 0, 2, 1], 1).into(),
        principal: None,
        route: None,
        forward: None,
        endpoint: None,
        vm: None,
        console: None,
    };
    let session = shared.sessions.open(subject);
    let (_, body) = ask(&shared, Method::GET, "/sessions");
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(value["items"][0]["id"], session.id().to_string());

    assert_eq!(ask(&shared, Method::DELETE, &format!("/sessions/{}", session.id())).0, 204);

    let unknown = SessionId::from_bytes([9; 16]);
    assert_eq!(ask(&shared, Method::DELETE, &format!("/sessions/{unknown}")).0, 404);
    assert_eq!(ask(&shared, Method::DELETE, "/sessions/nonsense").0, 400);
}

#[test]
fn only_requests_addressed_to_loopback_are_answered() {
    let shared = shared();
    let status = |host| answer(&shared, &Method::GET, "/livez", host).status().as_u16();
    for host in ["127.0.0.1", "127.0.0.1:1882", "localhost", "LocalHost:80", "[::1]:1882", "[::1]"] {
        assert_eq!(status(Some(host)), 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example:80", "192.0.2.1:1882", ""] {
        assert_eq!(status(Some(host)), 403, "{host}");
    }
    assert_eq!(status(None), 403);
}

#[test]
fn what_is_not_there_is_told_from_what_has_no_such_method() {
    let shared = shared();
    assert_eq!(ask(&shared, Method::GET, "/nothing").0, 404);
    assert_eq!(ask(&shared, Method::POST, "/metrics").0, 405);
    assert_eq!(ask(&shared, Method::GET, "/metrics").0, 200);
}

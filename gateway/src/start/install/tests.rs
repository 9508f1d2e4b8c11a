use super::*;
use crate::listener::ports::Ports;
use crate::listener::supervisor::Supervisor;
use crate::worker::testing;
use config::delta::diff;
use config::id::RouteId;
use config::name::{HostPattern, Namespace, PathPrefix};
use config::snapshot::{Action, FlowPolicy, Generation, Lineage, Object, Route, Service, TlsMode, Value};

struct Fixture {
    install: Install,
    dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(testing::settings(dir.path()), 1);
    let supervisor = Supervisor::new(Vec::new().into(), Ports::load(dir.path()));
    let checkpoint = Arc::new(Mutex::new(Checkpoint::open(dir.path()).unwrap().0));
    let listeners = Arc::new(tokio::sync::Mutex::new(supervisor));
    Fixture { install: Install { shared, listeners, checkpoint }, dir }
}

fn route(id: u8, host: &str) -> Object {
    let route = Route {
        id: RouteId::from_bytes([id; 16]),
        namespace: Namespace::parse("ns1").unwrap(),
        host: HostPattern::parse(host).unwrap(),
        path: PathPrefix::root(),
        tls: TlsMode::Off,
        redirect_https: false,
        hsts_seconds: None,
        websocket: false,
        action: Action::Service(Service::Novnc),
        on_change: FlowPolicy::Keep,
        on_delete: FlowPolicy::Cut,
    };
    Object::encode(&Value::Route(route)).unwrap()
}

fn snapshot(generation: u64, objects: impl IntoIterator<Item = Object>) -> Arc<Snapshot> {
    Arc::new(Snapshot::of(Lineage([1; 16]), Generation(generation), objects))
}

impl Fixture {
    fn in_force(&self) -> Option<u64> {
        self.install.shared.current.pin().map(|live| live.snapshot.generation().0)
    }

    fn on_disk(&self) -> Option<u64> {
        Some(Checkpoint::open(self.dir.path()).unwrap().1?.generation().0)
    }
}

#[tokio::test]
async fn what_is_installed_is_in_force_and_durable() {
    let fixture = fixture();
    let first = snapshot(1, [route(1, "one.example")]);
    assert_eq!(fixture.install.install(Arc::clone(&first), None).await.unwrap(), Vec::<String>::new());
    let second = snapshot(2, [route(1, "one.example"), route(2, "two.example")]);
    let delta = diff(&first, &second);

    fixture.install.install(second, Some(delta)).await.unwrap();

    assert_eq!((fixture.in_force(), fixture.on_disk()), (Some(2), Some(2)));
    assert_eq!(fixture.install.shared.current.pin().unwrap().table.routes_len(), 2);
    assert!(fixture.install.shared.gauges.applied_at_ms() > 0);
}

#[tokio::test]
async fn a_generation_that_does_not_compile_changes_nothing() {
    let fixture = fixture();
    fixture.install.install(snapshot(1, [route(1, "one.example")]), None).await.unwrap();

    let twice = snapshot(2, [route(1, "one.example"), route(2, "one.example")]);
    let error = fixture.install.install(twice, None).await.unwrap_err();

    assert_eq!(error.routes.len(), 1);
    assert_eq!((fixture.in_force(), fixture.on_disk()), (Some(1), Some(1)));
    assert!(!fixture.install.shared.gauges.last_apply_succeeded());
}

#[tokio::test]
async fn a_delta_of_another_base_is_compiled_whole() {
    let fixture = fixture();
    let [one, two] = [snapshot(1, []), snapshot(2, [route(1, "one.example")])];
    let delta = diff(&one, &two);

    // Nothing is in force that the delta could change.
    fixture.install.install(two, Some(delta)).await.unwrap();

    assert_eq!(fixture.install.shared.current.pin().unwrap().table.routes_len(), 1);
}

#[tokio::test]
async fn a_disk_that_does_not_take_it_degrades_and_is_named() {
    let fixture = fixture();
    std::fs::remove_dir_all(fixture.dir.path().join("gateway")).unwrap();
    std::fs::write(fixture.dir.path().join("gateway"), b"").unwrap();

    let degraded = fixture.install.install(snapshot(1, []), None).await.unwrap();

    assert_eq!(degraded.len(), 1);
    assert!(degraded[0].starts_with("checkpoint: cannot be written"), "{degraded:?}");
    assert_eq!(fixture.in_force(), Some(1), "it serves all the same");
}

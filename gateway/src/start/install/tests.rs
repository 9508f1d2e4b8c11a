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
    _dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(testing::settings(dir.path()), 1);
    let supervisor = Supervisor::new(Vec::new().into(), Ports::load(dir.path()));
    let listeners = Arc::new(tokio::sync::Mutex::new(supervisor));
    let doors = Doors::new(Arc::clone(&shared), Vec::new().into());
    let doors = Arc::new(tokio::sync::Mutex::new(doors));
    Fixture { install: Install { shared, listeners, doors, boot: 7 }, _dir: dir }
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
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: None,
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
}

#[tokio::test]
async fn what_is_installed_is_in_force() {
    let fixture = fixture();
    let first = snapshot(1, [route(1, "one.example")]);
    assert_eq!(fixture.install.install(Arc::clone(&first), None).await.unwrap(), Vec::<String>::new());
    let second = snapshot(2, [route(1, "one.example"), route(2, "two.example")]);
    let delta = diff(&first, &second);

    fixture.install.install(second, Some(delta)).await.unwrap();

    assert_eq!(fixture.in_force(), Some(2));
    assert_eq!(fixture.install.shared.current.pin().unwrap().table.routes_len(), 2);
    assert!(fixture.install.shared.gauges.applied_at_ms() > 0);
}

#[tokio::test]
async fn a_generation_that_does_not_compile_changes_nothing() {
    let fixture = fixture();
    fixture.install.install(snapshot(1, [route(1, "one.example")]), None).await.unwrap();

    let twice = snapshot(2, [route(1, "one.example"), route(2, "one.example")]);
    let error = fixture.install.install(twice, None).await.unwrap_err();

    assert!(error.contains("one.example/ belongs to route"), "{error}");
    assert_eq!(fixture.in_force(), Some(1));
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
async fn hello_names_the_listeners_that_are_open() {
    use crate::listener::Kind;
    use crate::listener::supervisor::Listed;
    let fixture = fixture();
    let open = Listed { kind: Kind::Ssh, address: ([127, 0, 0, 1], 2222).into(), paused: None };
    let paused = Listed { kind: Kind::Http, paused: Some("address in use".into()), ..open.clone() };
    fixture.install.shared.listeners.store(Arc::new(vec![paused, open]));
    fixture.install.shared.admin.store(Some(Arc::new(([127, 0, 0, 1], 1882).into())));
    fixture.install.shared.drain.begin();

    let hello = fixture.install.hello();

    let named: Vec<String> =
        hello.listeners.iter().map(|one| format!("{} {}", one.kind, one.address)).collect();
    assert_eq!(named, ["ssh 127.0.0.1:2222", "admin 127.0.0.1:1882"]);
    assert_eq!((hello.boot, hello.draining), (7, true));
}

#[tokio::test]
async fn the_link_to_control_is_shown() {
    let fixture = fixture();
    fixture.install.link(Link::Down { why: "control at c:1881 cannot be reached".into() });
    assert_eq!(
        fixture.install.shared.gauges.link_down().as_deref(),
        Some("control at c:1881 cannot be reached")
    );

    fixture.install.link(Link::Up);

    assert!(fixture.install.shared.gauges.control_connected());
    assert_eq!(fixture.install.shared.gauges.link_down(), None);
}

use config::id::IdentityId;
use config::name::{HostName, HostPattern, Namespace, NetworkName, PathPrefix, UserName, VmName};
use config::snapshot::{
    Action, Console, ConsoleKind, ConsoleWire, Endpoint, Generation, Lineage, Object, Principal, Route,
    TlsMode, Upstream, Value, Vm,
};
use config::target::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

const ROUTE: RouteId = RouteId::from_bytes([1; 16]);
const VM: VmId = VmId::from_bytes([2; 16]);
const USER: UserId = UserId::from_bytes([3; 16]);
const ENDPOINT: EndpointId = EndpointId::from_bytes([4; 16]);
const CONSOLE: ConsoleId = ConsoleId::from_bytes([5; 16]);

fn route() -> Route {
    Route {
        id: ROUTE,
        namespace: Namespace::parse("ns1").unwrap(),
        host: HostPattern::Exact(HostName::parse("app.example").unwrap()),
        path: PathPrefix::root(),
        tls: TlsMode::Off,
        redirect_https: false,
        hsts_seconds: None,
        websocket: true,
        action: Action::Forward(Upstream {
            endpoints: Box::new([Endpoint {
                id: ENDPOINT,
                target: Target::Address("10.0.0.5:80".parse().unwrap()),
                loopback_ok: false,
                vm: Some(VM),
                weight: 1,
                draining: false,
            }]),
            policy: None,
        }),
        on_change: FlowPolicy::Keep,
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: None,
        on_delete: FlowPolicy::Drain { ms: 30_000 },
    }
}

fn vm() -> Vm {
    Vm {
        id: VM,
        name: VmName::parse("web-01").unwrap(),
        namespace: Namespace::parse("ns1").unwrap(),
        network: NetworkName::parse("default").unwrap(),
        address: "10.0.0.5".parse().unwrap(),
        ssh_port: 22,
        loopback_ok: false,
    }
}

fn principal(grants: &str) -> Principal {
    Principal {
        id: USER,
        name: UserName::parse("alice").unwrap(),
        keys: Box::default(),
        grants: grants.parse().unwrap(),
        ssh: Default::default(),
    }
}

fn generation(number: u64, values: impl IntoIterator<Item = Value>) -> Snapshot {
    let objects = values.into_iter().map(|value| Object::encode(&value).unwrap());
    Snapshot::of(Lineage([9; 16]), Generation(number), objects)
}

fn everything() -> Vec<Value> {
    vec![Value::Route(route()), Value::Vm(vm()), Value::Principal(principal("operator:ns1"))]
}

fn upgrade() -> Subject {
    Subject {
        kind: SessionKind::Upgrade,
        peer: "192.0.2.1:4711".parse().unwrap(),
        principal: None,
        route: Some(ROUTE),
        forward: None,
        endpoint: Some(ENDPOINT),
        vm: None,
        console: None,
    }
}

fn jump() -> Subject {
    Subject {
        kind: SessionKind::Jump,
        principal: Some(USER),
        route: None,
        forward: None,
        endpoint: None,
        vm: Some(VM),
        console: None,
        ..upgrade()
    }
}

/// What a step from `everything` to `after` does to a session with this subject.
fn policy(subject: &Subject, after: Vec<Value>) -> FlowPolicy {
    Step::new(&generation(1, everything()), &generation(2, after)).policy(subject)
}

fn with_route(change: impl FnOnce(&mut Route)) -> Vec<Value> {
    let mut route = route();
    change(&mut route);
    vec![Value::Route(route), Value::Vm(vm()), Value::Principal(principal("operator:ns1"))]
}

fn with_principal(grants: &str) -> Vec<Value> {
    vec![Value::Route(route()), Value::Vm(vm()), Value::Principal(principal(grants))]
}

#[test]
fn a_step_that_does_not_concern_a_session_keeps_it() {
    let mut after = everything();
    after.push(Value::Identity(config::snapshot::Identity {
        id: IdentityId::from_bytes([8; 16]),
        names: Box::default(),
        preferred: false,
        chain: Box::default(),
        key: config::secret::Secret::new(Vec::new()),
    }));
    assert_eq!(policy(&upgrade(), after.clone()), FlowPolicy::Keep);
    assert_eq!(policy(&jump(), after), FlowPolicy::Keep);
}

#[test]
fn a_changed_route_applies_its_policy_for_changes() {
    assert_eq!(policy(&upgrade(), with_route(|route| route.websocket = false)), FlowPolicy::Keep);
    for wanted in [FlowPolicy::Cut, FlowPolicy::Drain { ms: 5 }] {
        assert_eq!(policy(&upgrade(), with_route(|route| route.on_change = wanted)), wanted);
    }
}

#[test]
fn an_endpoint_that_left_its_route_is_a_change_of_the_route() {
    let after = with_route(|route| {
        route.on_change = FlowPolicy::Cut;
        if let Action::Forward(upstream) = &mut route.action {
            upstream.endpoints[0].id = EndpointId::from_bytes([5; 16]);
        }
    });
    assert_eq!(policy(&upgrade(), after), FlowPolicy::Cut);
}

#[test]
fn a_deleted_route_applies_its_policy_for_deletion() {
    let after = vec![Value::Vm(vm())];
    assert_eq!(policy(&upgrade(), after), FlowPolicy::Drain { ms: 30_000 });
}

#[test]
fn a_deleted_vm_cuts_jumps_and_upgrades_to_it() {
    let after = vec![Value::Route(route()), Value::Principal(principal("operator:ns1"))];
    assert_eq!(policy(&jump(), after.clone()), FlowPolicy::Cut);
    assert_eq!(policy(&Subject { vm: Some(VM), ..upgrade() }, after), FlowPolicy::Cut);
}

#[test]
fn a_disabled_person_is_cut() {
    assert_eq!(policy(&jump(), vec![Value::Route(route()), Value::Vm(vm())]), FlowPolicy::Cut);
}

#[test]
fn a_withdrawn_grant_cuts_and_a_wider_one_does_not() {
    assert_eq!(policy(&jump(), with_principal("guest:ns1")), FlowPolicy::Cut);
    assert_eq!(policy(&jump(), with_principal("admin:ns2")), FlowPolicy::Cut);
    assert_eq!(policy(&jump(), with_principal("admin")), FlowPolicy::Keep);
}

#[test]
fn a_vm_that_moved_out_of_reach_is_cut_and_a_new_address_alone_is_not() {
    let moved = |change: fn(&mut Vm)| {
        let mut vm = vm();
        change(&mut vm);
        vec![Value::Vm(vm), Value::Principal(principal("operator:ns1"))]
    };
    let elsewhere = moved(|vm| vm.namespace = Namespace::parse("ns2").unwrap());
    assert_eq!(policy(&jump(), elsewhere), FlowPolicy::Cut);
    let renumbered = moved(|vm| vm.address = "10.0.0.6".parse().unwrap());
    assert_eq!(policy(&jump(), renumbered), FlowPolicy::Keep);
}

#[test]
fn a_jump_to_a_literal_address_stays_only_with_root() {
    let literal = Subject { vm: None, ..jump() };
    assert_eq!(policy(&literal, with_principal("admin")), FlowPolicy::Cut);
    assert_eq!(policy(&literal, with_principal("root")), FlowPolicy::Keep);
}

fn console(change: impl FnOnce(&mut Console)) -> Value {
    let mut console = Console {
        id: CONSOLE,
        namespace: Namespace::parse("ns1").unwrap(),
        vm: VM,
        kind: ConsoleKind::Vnc,
        endpoint: Endpoint {
            id: ENDPOINT,
            target: Target::Address("10.0.0.5:5900".parse().unwrap()),
            loopback_ok: false,
            vm: Some(VM),
            weight: 1,
            draining: false,
        },
        wire: ConsoleWire::Tcp,
        secret: None,
        read_only: false,
        on_change: FlowPolicy::Keep,
        on_delete: FlowPolicy::Cut,
    };
    change(&mut console);
    Value::Console(console)
}

#[test]
fn a_console_says_what_a_change_and_its_end_do_and_a_restriction_cuts() {
    let shown =
        |kind| Subject { kind, vm: Some(VM), console: Some(CONSOLE), principal: Some(USER), ..upgrade() };
    let step = |kind, before: Option<Value>, after: Option<Value>| {
        let with = |value: Option<Value>| generation(1, everything().into_iter().chain(value));
        Step::new(&with(before), &with(after)).policy(&shown(kind))
    };
    let drain = FlowPolicy::Drain { ms: 5 };
    for kind in [SessionKind::Console, SessionKind::Look] {
        for wanted in [FlowPolicy::Keep, drain, FlowPolicy::Cut] {
            let before = console(|console| console.on_change = FlowPolicy::Keep);
            let changed = console(|console| (console.on_change, console.endpoint.weight) = (wanted, 2));
            assert_eq!(
                step(kind, Some(before.clone()), Some(changed)),
                wanted,
                "the newer one's word counts"
            );
            let deleted = console(|console| console.on_delete = wanted);
            assert_eq!(step(kind, Some(deleted), None), wanted);
            assert_eq!(step(kind, Some(before.clone()), Some(before.clone())), FlowPolicy::Keep);
            assert_eq!(step(kind, None, Some(before)), FlowPolicy::Keep);
        }
    }
    let free = || Some(console(|_| {}));
    let held = || Some(console(|console| console.read_only = true));
    assert_eq!(step(SessionKind::Console, free(), held()), FlowPolicy::Cut);
    assert_eq!(step(SessionKind::Look, free(), held()), FlowPolicy::Keep, "it only looks already");
    for kind in [SessionKind::Console, SessionKind::Look] {
        assert_eq!(step(kind, held(), free()), FlowPolicy::Keep);
    }
}

#[test]
fn the_strictest_of_several_wins() {
    let both = Subject { vm: Some(VM), ..upgrade() };
    assert_eq!(policy(&both, Vec::new()), FlowPolicy::Cut);
}

async fn reason(handle: &SessionHandle) -> EndReason {
    tokio::time::timeout(Duration::from_secs(10), handle.ended()).await.expect("the session was not ended")
}

#[tokio::test]
async fn sessions_are_listed_ended_and_closed() {
    let sessions = Arc::new(Sessions::default());
    let first = sessions.open(upgrade());
    let second = sessions.open(jump());
    let listed = sessions.list();
    assert_eq!(listed.len(), 2);
    assert_eq!(serde_json::to_value(&listed).unwrap()[1]["vm"], VM.to_string());

    assert!(sessions.end(first.id()));
    assert_eq!(reason(&first).await, EndReason::Cut);
    drop(first);
    assert_eq!(sessions.list().len(), 1);
    assert!(!sessions.end(SessionId::from_bytes([0; 16])));

    sessions.stop();
    assert_eq!(reason(&second).await, EndReason::Stopping);
    drop(second);
    assert!(sessions.is_empty());
}

#[tokio::test]
async fn a_later_and_milder_change_does_not_call_an_order_back() {
    let sessions = Arc::new(Sessions::default());
    let session = sessions.open(Subject { vm: Some(VM), ..upgrade() });
    let full = generation(1, everything());
    let without_vm = generation(2, [Value::Route(route())]);

    sessions.reconcile(&full, &without_vm);
    sessions.reconcile(&without_vm, &generation(3, []));

    assert_eq!(reason(&session).await, EndReason::Cut);
}

#[tokio::test]
async fn an_order_that_comes_nearer_is_obeyed_while_waiting() {
    let sessions = Arc::new(Sessions::default());
    let session = sessions.open(Subject { vm: Some(VM), ..upgrade() });
    let before = generation(1, everything());
    let drained = generation(2, [Value::Vm(vm())]);
    sessions.reconcile(&before, &drained);

    let (reason, ()) = tokio::join!(reason(&session), async {
        sessions.reconcile(&drained, &generation(3, []));
    });

    assert_eq!(reason, EndReason::Cut);
}

#[tokio::test]
async fn the_list_shows_bytes_while_they_pass() {
    let sessions = Arc::new(Sessions::default());
    let session = sessions.open(jump());
    let (mut person, mut downstream) = duplex(64);
    let (mut upstream, mut origin) = duplex(64);
    let limits = RelayLimits { idle: Duration::from_secs(60) };

    let (totals, ()) = tokio::join!(session.relay(&mut downstream, &mut upstream, limits), async {
        person.write_all(b"four").await.unwrap();
        origin.read_exact(&mut [0; 4]).await.unwrap();
        assert_eq!(sessions.list()[0].bytes_up, 4);
        sessions.stop();
    });

    assert_eq!(totals, Totals { up: 4, down: 0, reason: EndReason::Stopping });
}

/// A gateway in force, for sessions that are admitted under it.
fn in_force(values: Vec<Value>) -> (Arc<Snapshot>, Current) {
    let snapshot = Arc::new(generation(1, values));
    let current = Current::default();
    let (live, _) = crate::live::Live::compile(Arc::clone(&snapshot)).unwrap();
    current.replace(Arc::new(live));
    (snapshot, current)
}

#[test]
fn two_consoles_with_one_id_are_both_listed_and_each_leaves_alone() {
    let (snapshot, current) = in_force(everything());
    let ticket = SessionId::from_bytes([7; 16]);
    for _ in 0..2_000 {
        let sessions = Arc::new(Sessions::default());
        let at_once = std::sync::Barrier::new(2);
        let open = || {
            at_once.wait();
            sessions.open_console(ticket, jump(), &snapshot, &current)
        };
        let (one, two) = std::thread::scope(|scope| {
            let other = scope.spawn(open);
            (open(), other.join().unwrap())
        });
        assert_eq!(sessions.len(), 2);
        drop(one);
        assert!(sessions.end(two.id()), "the other one can still be ended");
    }
}

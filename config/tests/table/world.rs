//! Small random worlds: few names, so that patterns meet, shadow and conflict often.

use std::collections::BTreeMap;

use config::id::{EndpointId, RouteId, UserId, VmId};
use config::name::{HostPattern, Namespace, NetworkName, PathPrefix, UserName, VmName};
use config::snapshot::{
    Action, Endpoint, FlowPolicy, Generation, Lineage, Object, ObjectKey, Principal, Route, Snapshot, SshKey,
    TlsMode, Upstream, Value, Vm,
};
use config::table::Facts;
use config::target::Target;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) const PATTERNS: &[&str] =
    &["a.example", "b.example", "c.b.example", "example", "*.example", "*.b.example", "*"];
pub(crate) const HOSTS: &[&str] = &[
    "a.example",
    "b.example",
    "c.b.example",
    "d.b.example",
    "example",
    "z.example",
    "other",
    ".example",
    "",
];
pub(crate) const PREFIXES: &[&str] =
    &["/", "/a", "/a/b", "/a/b/c", "/a/b/c/d", "/ab", "/a-b", "/a/b.c", "/b"];
pub(crate) const PATHS: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/",
    "/a/bc",
    "/a/b/c/x",
    "/a/b/c/d/e",
    "/a/b/cd",
    "/ab",
    "/abc",
    "/a-b/x",
    "/a/b.c/d",
    "/b/a",
    "/c",
    "*",
];

/// Values by key, so that an id that comes again is a change.
pub(crate) type World = BTreeMap<ObjectKey, Value>;

pub(crate) fn facts<'a>(host: &'a str, path: &'a str) -> Facts<'a> {
    Facts { host, path, query: "", method: "GET", fields: &(), client: [192, 0, 2, 1].into() }
}

pub(crate) fn worlds(routes_max: usize) -> impl Strategy<Value = World> {
    let values = (
        prop::collection::vec(routes(), 0..routes_max),
        prop::collection::vec(vms(), 0..6),
        prop::collection::vec(principals(), 0..4),
    );
    values.prop_map(|(routes, vms, principals)| {
        let values = routes.into_iter().chain(vms).chain(principals);
        values.filter_map(|value| Some((value.key()?, value))).collect()
    })
}

pub(crate) fn snapshot(world: &World, generation: u64) -> Snapshot {
    let objects = world.values().filter_map(Object::encode);
    Snapshot::of(Lineage([1; 16]), Generation(generation), objects)
}

pub(crate) fn routes_of(world: &World) -> Vec<&Route> {
    let values = world.values();
    values.filter_map(|value| if let Value::Route(route) = value { Some(route) } else { None }).collect()
}

/// Leaves one route of each host and path.
pub(crate) fn without_conflicts(mut world: World) -> World {
    let mut seen = std::collections::BTreeSet::new();
    world.retain(|_, value| {
        let Value::Route(route) = value else { return true };
        seen.insert((route.host.clone(), route.path.clone()))
    });
    world
}

fn id() -> impl Strategy<Value = [u8; 16]> {
    // Few, and some in the same shard.
    (0..24_u8).prop_map(|n| {
        let mut id = [0; 16];
        id[0] = n;
        id[15] = n % 5;
        id
    })
}

fn routes() -> impl Strategy<Value = Value> {
    (id(), select(PATTERNS), select(PREFIXES), select(&["ns1", "ns2"]), any::<bool>()).prop_map(
        |(id, host, path, namespace, websocket)| {
            let endpoint = Endpoint {
                id: EndpointId::from_bytes(id),
                target: Target::Address(([10, 0, 0, 5], 80).into()),
                loopback_ok: false,
                vm: None,
                weight: 1,
                draining: false,
            };
            Value::Route(Route {
                id: RouteId::from_bytes(id),
                namespace: Namespace::parse(namespace).unwrap(),
                host: HostPattern::parse(host).unwrap(),
                path: PathPrefix::parse(path).unwrap(),
                tls: TlsMode::Off,
                redirect_https: false,
                hsts_seconds: None,
                websocket,
                action: Action::Forward(Upstream { endpoints: [endpoint].into(), policy: None }),
                on_change: FlowPolicy::Keep,
                matchers: None,
                filters: None,
                timeouts: None,
                on_delete: FlowPolicy::Cut,
            })
        },
    )
}

fn vms() -> impl Strategy<Value = Value> {
    let (names, namespaces) = (select(&["web", "Web", "db"]), select(&["ns1", "ns2"]));
    (id(), names, namespaces, select(&["10.0.0.1", "10.0.0.2", "127.0.0.1"])).prop_map(
        |(id, name, namespace, address)| {
            Value::Vm(Vm {
                id: VmId::from_bytes(id),
                name: VmName::parse(name).unwrap(),
                namespace: Namespace::parse(namespace).unwrap(),
                network: NetworkName::parse("default").unwrap(),
                address: address.parse().unwrap(),
                ssh_port: 22,
                loopback_ok: false,
            })
        },
    )
}

fn principals() -> impl Strategy<Value = Value> {
    let grants = select(&["root", "admin", "operator:ns1", "admin:ns2 guest:ns1", "guest", ""]);
    (id(), grants, prop::collection::vec(0..4_u8, 0..3)).prop_map(|(id, grants, keys)| {
        Value::Principal(Principal {
            id: UserId::from_bytes(id),
            name: UserName::parse("someone").unwrap(),
            keys: keys.into_iter().map(|key| SshKey { blob: [key].into() }).collect(),
            grants: grants.parse().unwrap(),
        })
    })
}

//! Small random worlds: few names, so that patterns meet, shadow and conflict often.

use std::collections::BTreeMap;

use config::id::{EndpointId, RouteId, UserId, VmId};
use config::name::{HostPattern, Namespace, NetworkName, PathPrefix, UserName, VmName};
use config::snapshot::{
    Action, Endpoint, FlowPolicy, Generation, Lineage, Matchers, Object, ObjectKey, Principal, Route,
    Snapshot, SshKey, Test, TlsMode, Upstream, Value, ValueMatch, Vm,
};
use config::table::{Facts, Fields};
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

/// What else a request may be: method, fields, query and the last byte of the client's address.
pub(crate) struct Extra {
    pub(crate) method: &'static str,
    pub(crate) fields: &'static [(&'static str, &'static str)],
    pub(crate) query: &'static str,
    pub(crate) client: [u8; 4],
}

pub(crate) const EXTRAS: &[Extra] = &[
    Extra { method: "GET", fields: &[], query: "", client: [192, 0, 2, 1] },
    Extra {
        method: "POST",
        fields: &[("x-a", "one"), ("x-a", "two")],
        query: "v=1&v=22&w",
        client: [10, 1, 2, 3],
    },
    Extra { method: "get", fields: &[("x-b", "")], query: "w=1", client: [10, 2, 0, 1] },
    Extra { method: "GET", fields: &[("x-a", "two"), ("x-b", "t")], query: "%76=1&v", client: [10, 1, 0, 1] },
];

impl Fields for Extra {
    fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_bytes())
    }

    fn any(&self, name: &str, fits: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.fields.iter().any(|(other, value)| *other == name && fits(value.as_bytes()))
    }
}

/// Values by key, so that an id that comes again is a change.
pub(crate) type World = BTreeMap<ObjectKey, Value>;

pub(crate) fn facts<'a>(host: &'a str, path: &'a str, extra: &'a Extra) -> Facts<'a> {
    let Extra { method, query, client, .. } = extra;
    Facts { host, path, query, method, fields: extra, client: (*client).into() }
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

/// What no two routes may share.
pub(crate) fn asked(route: &Route) -> (HostPattern, PathPrefix, Matchers) {
    let matchers = route.matchers.as_deref().map(Matchers::canonical).unwrap_or_default();
    (route.host.clone(), route.path.clone(), matchers)
}

/// Leaves one route of each host, path and set of conditions.
pub(crate) fn without_conflicts(mut world: World) -> World {
    let mut seen = std::collections::BTreeSet::new();
    world.retain(|_, value| {
        let Value::Route(route) = value else { return true };
        seen.insert(asked(route))
    });
    world
}

fn id() -> impl Strategy<Value = [u8; 16]> {
    // Few, and some in the same shard.
    (0..48_u8).prop_map(|n| {
        let mut id = [0; 16];
        id[0] = n;
        id[15] = n % 5;
        id
    })
}

fn conditions(
    names: &'static [&'static str],
    values: &'static [&'static str],
) -> impl Strategy<Value = Box<[ValueMatch]>> {
    let test = (0..4_u8, select(values)).prop_map(|(kind, value)| match kind {
        0 => Test::Absent,
        1 => Test::Present,
        2 => Test::Equals(value.into()),
        _ => Test::Prefix(value.get(..1).unwrap_or("t").into()),
    });
    let condition = (select(names), test).prop_map(|(name, test)| ValueMatch { name: name.into(), test });
    let none = Just([].into());
    // In any order, and never twice the same.
    let some = prop::collection::hash_set(condition, 0..3).prop_map(|set| set.into_iter().collect());
    prop_oneof![3 => none, 1 => some]
}

fn matchers() -> impl Strategy<Value = Matchers> {
    let methods: &[&[&str]] = &[&[], &[], &["GET"], &["POST", "GET"], &["GET", "POST"], &["get"]];
    let clients: &[&[&str]] = &[&[], &[], &[], &["10.0.0.0/8"], &["192.0.2.1/32", "10.1.0.0/16"], &["::/0"]];
    let headers = conditions(&["x-a", "x-b"], &["one", "two", "", "t"]);
    let query = conditions(&["v", "w"], &["1", "22", ""]);
    let order = (prop_oneof![3 => Just(0), 1 => -2..=2_i16], prop::bool::weighted(0.3));
    (order, select(methods), headers, query, select(clients)).prop_map(
        |(order, methods, headers, query, clients)| {
            let (priority, path_exact) = order;
            Matchers {
                priority,
                path_exact,
                methods: methods.iter().map(|method| (*method).into()).collect(),
                headers,
                query,
                clients: clients.iter().map(|network| network.parse().unwrap()).collect(),
            }
        },
    )
}

fn routes() -> impl Strategy<Value = Value> {
    let place = (select(PATTERNS), select(PREFIXES));
    let matchers =
        prop_oneof![1 => Just(None), 2 => matchers().prop_map(|matchers| Some(Box::new(matchers)))];
    (id(), place, select(&["ns1", "ns2"]), any::<bool>(), matchers).prop_map(
        |(id, (host, path), namespace, websocket, matchers)| {
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
                matchers,
                filters: None,
                timeouts: None,
                tls_policy: None,
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
            ssh: Default::default(),
        })
    })
}

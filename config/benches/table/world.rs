//! What the benches look things up in: one tenant to ten hosts, one route to a host.

use config::id::{EndpointId, RouteId};
use config::name::{HostPattern, Namespace, PathPrefix};
use config::snapshot::{
    Action, Endpoint, FlowPolicy, Generation, Lineage, Matchers, Object, Route, Snapshot, TlsMode, Upstream,
    Value,
};
use config::target::Target;

/// The sizes that are measured; look-ups and deltas should take the same in all of them.
pub(crate) const SIZES: [u32; 3] = [10, 1_000, 100_000];

pub(crate) fn host(number: u32) -> String {
    format!("app-{number}.example.com")
}

pub(crate) fn object(number: u32, path: &str) -> Object {
    object_with(number, &host(number), path, None)
}

pub(crate) fn object_with(number: u32, host: &str, path: &str, matchers: Option<Matchers>) -> Object {
    let mut id = [0x5a; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    // The last byte spreads objects over the shards, as the random end of a real id does.
    id[12..].copy_from_slice(&number.to_be_bytes());
    let [_, high, middle, low] = number.to_be_bytes();
    let endpoint = Endpoint {
        id: EndpointId::from_bytes(id),
        target: Target::Address(([10, high, middle, low], 80).into()),
        loopback_ok: false,
        vm: None,
        weight: 1,
        draining: false,
    };
    let route = Route {
        id: RouteId::from_bytes(id),
        namespace: Namespace::parse(&format!("tenant-{}", number / 10)).unwrap(),
        host: HostPattern::parse(host).unwrap(),
        path: PathPrefix::parse(path).unwrap(),
        tls: TlsMode::Off,
        redirect_https: false,
        hsts_seconds: None,
        websocket: false,
        action: Action::Forward(Upstream { endpoints: [endpoint].into(), policy: None }),
        on_change: FlowPolicy::Keep,
        matchers: matchers.map(Box::new),
        filters: None,
        timeouts: None,
        tls_policy: None,
        on_delete: FlowPolicy::Drain { ms: 30_000 },
    };
    Object::encode(&Value::Route(route)).unwrap()
}

pub(crate) fn snapshot(routes: u32) -> Snapshot {
    of_objects((0..routes).map(|number| object(number, "/")))
}

pub(crate) fn of_objects(objects: impl Iterator<Item = Object>) -> Snapshot {
    Snapshot::of(Lineage([1; 16]), Generation(1), objects)
}

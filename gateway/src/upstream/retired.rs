//! Which endpoints a step between two generations leaves behind (DESIGN D5).

use std::collections::HashSet;

use config::delta::Delta;
use config::id::{EndpointId, RouteId};
use config::snapshot::{Action, Kind, Object, ObjectKey, Service, Snapshot, Value};

/// The endpoints that the routes named by `delta` had in `old` and none of them has in `new`. Cost: that of the delta.
pub(crate) fn of_step(old: &Snapshot, new: &Snapshot, delta: &Delta) -> HashSet<EndpointId> {
    let keys = delta.upserts.iter().map(Object::key).chain(delta.removals.iter().copied());
    let routes: Vec<ObjectKey> = keys.filter(|key| key.kind == Kind::ROUTE).collect();
    let all = |snapshot: &Snapshot| -> HashSet<EndpointId> {
        routes.iter().filter_map(|key| snapshot.get(*key)).flat_map(endpoints).collect()
    };
    let mut left = all(old);
    if !left.is_empty() {
        let stay = all(new);
        left.retain(|id| !stay.contains(id));
    }
    left
}

/// The routes that `delta` deletes.
pub(crate) fn routes(delta: &Delta) -> Vec<RouteId> {
    let routes = delta.removals.iter().filter(|key| key.kind == Kind::ROUTE);
    routes.map(|key| RouteId::from_bytes(key.id)).collect()
}

fn endpoints(route: &Object) -> Vec<EndpointId> {
    let Ok(Value::Route(route)) = route.decode() else { return Vec::new() };
    match route.action {
        Action::Forward(upstream) => upstream.endpoints.iter().map(|endpoint| endpoint.id).collect(),
        Action::Service(Service::Control { id, .. }) => vec![id],
        Action::Service(Service::Novnc | Service::Ttyd) | Action::Redirect(_) | Action::Respond(_) => {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use config::delta::diff;
    use config::name::{HostPattern, Namespace, PathPrefix};
    use config::snapshot::{Endpoint, FlowPolicy, Generation, Lineage, Route, TlsMode, Upstream};
    use config::target::Target;

    use super::*;

    fn route(id: u8, endpoints: &[u8]) -> Object {
        let endpoint = |id: &u8| Endpoint {
            id: EndpointId::from_bytes([*id; 16]),
            target: Target::Address(SocketAddr::from(([10, 0, 0, *id], 80))),
            loopback_ok: false,
            vm: None,
            weight: 1,
            draining: false,
        };
        let route = Route {
            id: RouteId::from_bytes([id; 16]),
            namespace: Namespace::parse("ns1").unwrap(),
            host: HostPattern::parse(&format!("h{id}.example")).unwrap(),
            path: PathPrefix::root(),
            tls: TlsMode::Off,
            redirect_https: false,
            hsts_seconds: None,
            websocket: false,
            action: Action::Forward(Upstream {
                endpoints: endpoints.iter().map(endpoint).collect(),
                policy: None,
            }),
            on_change: FlowPolicy::Keep,
            matchers: None,
            filters: None,
            timeouts: None,
            tls_policy: None,
            on_delete: FlowPolicy::Keep,
        };
        Object::encode(&Value::Route(route)).unwrap()
    }

    #[test]
    fn endpoints_of_routes_that_changed_or_went_leave_and_those_that_moved_stay() {
        let of = |number, routes: Vec<Object>| Snapshot::of(Lineage::default(), Generation(number), routes);
        let old = of(1, vec![route(1, &[1, 2]), route(2, &[3]), route(3, &[4]), route(4, &[5])]);
        let new = of(2, vec![route(1, &[1, 6]), route(3, &[4]), route(5, &[3])]);
        let left = of_step(&old, &new, &diff(&old, &new));
        assert_eq!(left, [2, 5].map(|id| EndpointId::from_bytes([id; 16])).into());
    }
}

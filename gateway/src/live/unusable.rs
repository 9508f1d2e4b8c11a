//! Upstreams whose TLS cannot be used: named when their generation is taken, each failing its own route alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::delta::Delta;
use config::id::RouteId;
use config::snapshot::{Action, Kind, Object, Route, Snapshot, Value};
use config::table::RouteTable;

use crate::upstream;

/// What is wrong with the upstreams of a generation, by route.
#[derive(Debug, Clone, Default)]
pub(super) struct Unusable(Arc<BTreeMap<RouteId, String>>);

impl Unusable {
    /// Looks at every route. Cost: proportional to the routes with a policy for TLS.
    pub(super) fn of(table: &RouteTable) -> Self {
        Self(Arc::new(table.routes().filter_map(|route| fault(route)).collect()))
    }

    /// Looks at the routes that a delta touches.
    pub(super) fn after(&self, snapshot: &Snapshot, delta: &Delta) -> Self {
        let removed = delta.removals.iter().copied();
        let touched = delta.upserts.iter().map(|object| object.key()).chain(removed);
        let mut next = self.clone();
        for key in touched.filter(|key| key.kind == Kind::ROUTE) {
            let id = RouteId::from_bytes(key.id);
            let fault = match snapshot.get(key).map(Object::decode) {
                Some(Ok(Value::Route(route))) => fault(&route),
                // What cannot be decoded was refused with the table.
                Some(_) | None => None,
            };
            match fault {
                Some((id, why)) => drop(Arc::make_mut(&mut next.0).insert(id, why)),
                None if next.0.contains_key(&id) => drop(Arc::make_mut(&mut next.0).remove(&id)),
                None => {}
            }
        }
        next
    }

    /// What is wrong, each with its route.
    pub(super) fn told(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(id, why)| format!("route {id}: {why}"))
    }
}

fn fault(route: &Route) -> Option<(RouteId, String)> {
    let Action::Forward(upstream) = &route.action else { return None };
    let policy = upstream.policy.as_deref()?;
    upstream::tls::fault_of(policy.tls.as_ref()?, policy.protocol).map(|why| (route.id, why))
}

#[cfg(test)]
mod tests {
    use config::delta::diff;
    use config::id::EndpointId;
    use config::name::{HostPattern, Namespace, PathPrefix};
    use config::snapshot::{
        Endpoint, FlowPolicy, Generation, Lineage, TlsMode, Upstream, UpstreamPolicy, UpstreamTls, Verify,
    };
    use config::target::Target;

    use super::super::Live;
    use super::*;

    fn route(id: u8, authority: Option<&[u8]>) -> Object {
        let tls = authority.map(|der| UpstreamTls {
            verify: Verify::Authorities([der.to_vec()].into()),
            server_name: None,
            client: None,
        });
        let endpoint = Endpoint {
            id: EndpointId::from_bytes([id; 16]),
            target: Target::Address("10.0.0.5:443".parse().unwrap()),
            loopback_ok: false,
            vm: None,
            weight: 1,
            draining: false,
        };
        let policy = tls.map(|tls| Box::new(UpstreamPolicy { tls: Some(tls), ..UpstreamPolicy::default() }));
        let route = Route {
            id: RouteId::from_bytes([id; 16]),
            namespace: Namespace::parse("default").unwrap(),
            host: HostPattern::parse(&format!("h{id}.example")).unwrap(),
            path: PathPrefix::root(),
            tls: TlsMode::Off,
            redirect_https: false,
            hsts_seconds: None,
            websocket: false,
            action: Action::Forward(Upstream { endpoints: [endpoint].into(), policy }),
            on_change: FlowPolicy::Keep,
            matchers: None,
            filters: None,
            timeouts: None,
            tls_policy: None,
            on_delete: FlowPolicy::Keep,
        };
        Object::encode(&Value::Route(route)).unwrap()
    }

    fn snapshot(generation: u64, objects: impl IntoIterator<Item = Object>) -> Arc<Snapshot> {
        Arc::new(Snapshot::of(Lineage::default(), Generation(generation), objects))
    }

    #[test]
    fn an_authority_that_cannot_be_read_degrades_its_route_alone_until_it_is_mended() {
        let (live, degraded) =
            Live::compile(snapshot(1, [route(1, Some(b"no certificate")), route(2, None)])).unwrap();
        assert_eq!(degraded.len(), 1, "{degraded:?}");
        assert!(degraded[0].starts_with("route 01010101-"), "{degraded:?}");
        assert!(degraded[0].contains("authority 0 of the upstream"), "{degraded:?}");
        assert_eq!(live.table.routes_len(), 2);

        let step = |live: &Live, objects: Vec<Object>| {
            let next = snapshot(live.snapshot.generation().0 + 1, objects);
            let delta = diff(&live.snapshot, &next);
            live.recompile(next, &delta).unwrap()
        };
        let (live, degraded) = step(&live, vec![route(1, Some(b"no certificate")), route(3, Some(b"x"))]);
        assert_eq!(degraded.len(), 2, "what did not change is told again: {degraded:?}");
        let (live, degraded) = step(&live, vec![route(1, None), route(3, Some(b"x"))]);
        assert_eq!(degraded.len(), 1, "{degraded:?}");
        let (_, degraded) = step(&live, vec![route(1, None)]);
        assert!(degraded.is_empty(), "{degraded:?}");
    }
}

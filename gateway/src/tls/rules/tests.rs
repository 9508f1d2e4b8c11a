use config::delta::diff;
use config::id::RouteId;
use config::name::{Namespace, PathPrefix};
use config::snapshot::{
    Action, ClientCertificates, Content, FlowPolicy, Generation, Lineage, Object, Respond, TlsPolicy,
};
use proptest::prelude::*;

use super::*;

fn route(id: u8, host: &str, tls_policy: Option<TlsPolicy>) -> Route {
    Route {
        id: RouteId::from_bytes([id; 16]),
        namespace: Namespace::parse("default").unwrap(),
        host: HostPattern::parse(host).unwrap(),
        path: PathPrefix::parse(&format!("/{id}")).unwrap(),
        tls: TlsMode::SelfSigned,
        redirect_https: false,
        hsts_seconds: None,
        websocket: false,
        action: Action::Respond(Respond {
            status: 200,
            content: Content { media_type: "text/plain".into(), body: (*b"ok").into() },
        }),
        on_change: FlowPolicy::Keep,
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: tls_policy.map(Box::new),
        on_delete: FlowPolicy::Keep,
    }
}

/// One that nobody satisfies: it has a digest like any other.
fn clients(mark: u8) -> TlsPolicy {
    let clients = ClientCertificates { authorities: Box::new([vec![mark]]), revoked: Box::default() };
    TlsPolicy { clients: Some(clients), ..TlsPolicy::default() }
}

fn snapshot(generation: u64, routes: &[Route]) -> Snapshot {
    let objects = routes.iter().map(|route| Object::encode(&Value::Route(route.clone())).unwrap());
    Snapshot::of(Lineage::default(), Generation(generation), objects)
}

fn compile(snapshot: &Snapshot) -> (RouteTable, Rules) {
    let table = RouteTable::compile(snapshot).unwrap();
    let rules = Rules::compile(snapshot, &table);
    (table, rules)
}

fn step(old: &Snapshot, new: &Snapshot, (table, rules): &(RouteTable, Rules)) -> (RouteTable, Rules) {
    let delta = diff(old, new);
    let table = table.recompile(old, new, &delta).unwrap();
    let rules = rules.recompile(old, new, &table, &delta);
    (table, rules)
}

type Told = (HostPattern, Digest, Vec<(RouteId, Digest)>);

/// What two ways to the same generation have to agree on.
fn told(rules: &Rules) -> BTreeSet<Told> {
    let told = |(pattern, rule): (&HostPattern, &Rule)| {
        let gates = rule.terms().map(|terms| &*terms.gates).unwrap_or_default();
        let gates = gates.iter().map(|(id, gate)| (*id, gate.digest)).collect();
        (pattern.clone(), rule.terms().map_or([0; 32], |terms| terms.setup.digest), gates)
    };
    rules.hosts.iter().map(told).collect()
}

#[test]
fn a_delta_about_other_hosts_shares_everything() {
    let guarded = route(1, "app.example", Some(clients(1)));
    let (old, next) = (
        snapshot(1, std::slice::from_ref(&guarded)),
        snapshot(2, &[guarded, route(2, "other.example", None)]),
    );
    let before = compile(&old);
    let (_, after) = step(&old, &next, &before);
    assert!(Arc::ptr_eq(&before.1.hosts, &after.hosts));
    assert!(
        Arc::ptr_eq(&before.1.usual, &after.usual) && Arc::ptr_eq(&before.1.challenges, &after.challenges)
    );
}

#[test]
fn hosts_that_ask_the_same_share_what_handshakes_are_made_with() {
    let routes = [route(1, "a.example", Some(clients(1))), route(2, "b.example", Some(clients(1)))];
    let (_, rules) = compile(&snapshot(1, &routes));
    assert_eq!((rules.hosts.len(), rules.setups.len(), rules.gates.len()), (2, 1, 1));
    let kept = step(&snapshot(1, &routes), &snapshot(2, &[]), &compile(&snapshot(1, &routes))).1;
    assert_eq!((kept.hosts.len(), kept.setups.len(), kept.gates.len()), (0, 0, 0), "nothing is left behind");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn steps_arrive_where_a_whole_compile_does(
        steps in prop::collection::vec(prop::collection::btree_map(0_u8..6, (0_usize..3, 0_u8..5), 0..6), 1..6),
    ) {
        let hosts = ["a.example", "*.example", "*"];
        let mut old = snapshot(0, &[]);
        let mut held = compile(&old);
        for (routes, generation) in steps.into_iter().zip(1..) {
            let routes: Vec<_> = routes
                .into_iter()
                .map(|(id, (host, kind))| {
                    let policy = match kind {
                        0 => None,
                        1 => Some(TlsPolicy { min_version: TlsVersion::Tls13, clients: None }),
                        2 => Some(TlsPolicy::default()),
                        mark => Some(clients(mark)),
                    };
                    route(id, hosts[host], policy)
                })
                .collect();
            let next = snapshot(generation, &routes);
            held = step(&old, &next, &held);
            let whole = compile(&next).1;
            prop_assert_eq!(told(&held.1), told(&whole));
            prop_assert_eq!(held.1.degraded(), whole.degraded());
            let sizes = |rules: &Rules| (rules.setups.len(), rules.gates.len());
            prop_assert_eq!(sizes(&held.1), sizes(&whole));
            old = next;
        }
    }
}

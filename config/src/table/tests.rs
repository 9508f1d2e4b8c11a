use std::net::IpAddr;

use super::explain::Failed;
use super::*;
use crate::delta;
use crate::id::EndpointId;
use crate::name::{HostPattern, Namespace, PathPrefix};
use crate::snapshot::{
    Action, Endpoint, FlowPolicy, Generation, Kind, Lineage, Matchers, Object, ObjectKey, Test, TlsMode,
    Upstream, Value, ValueMatch,
};
use crate::target::Target;

fn id(number: u32) -> RouteId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    RouteId::from_bytes(bytes)
}

fn route(number: u32, host: &str, path: &str) -> Object {
    route_with(number, host, path, None)
}

fn route_with(number: u32, host: &str, path: &str, matchers: Option<Matchers>) -> Object {
    let endpoint = Endpoint {
        id: EndpointId::from_bytes(id(number).to_bytes()),
        target: Target::Address("10.0.0.5:80".parse().unwrap()),
        loopback_ok: false,
        vm: None,
        weight: 1,
        draining: false,
    };
    let route = Route {
        id: id(number),
        namespace: Namespace::parse("ns1").unwrap(),
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

fn snapshot(routes: impl IntoIterator<Item = Object>) -> Snapshot {
    Snapshot::of(Lineage([1; 16]), Generation(1), routes)
}

fn table(routes: &[(u32, &str, &str)]) -> RouteTable {
    RouteTable::compile(&snapshot(routes.iter().map(|(n, host, path)| route(*n, host, path)))).unwrap()
}

fn facts<'a>(host: &'a str, path: &'a str) -> Facts<'a> {
    Facts { host, path, query: "", method: "GET", fields: &(), client: IpAddr::from([192, 0, 2, 1]) }
}

fn found(table: &RouteTable, host: &str, path: &str) -> Option<RouteId> {
    table.route(&facts(host, path)).map(|route| route.id)
}

#[test]
fn an_exact_name_wins_over_a_wildcard_and_both_over_the_catch_all() {
    let table = table(&[(1, "a.example.com", "/"), (2, "*.example.com", "/"), (3, "*", "/")]);
    for (host, wanted) in [
        ("a.example.com", 1),
        ("b.example.com", 2),
        ("example.com", 3),
        ("a.b.example.com", 3),
        (".example.com", 3),
        ("10.0.0.5", 3),
        ("[::1]", 3),
        ("", 3),
    ] {
        assert_eq!(found(&table, host, "/"), Some(id(wanted)), "{host}");
    }
}

#[test]
fn a_name_with_a_wildcards_suffix_is_another_virtual_host() {
    let table = table(&[(1, "example.com", "/"), (2, "*.example.com", "/")]);
    assert_eq!(found(&table, "example.com", "/"), Some(id(1)));
    assert_eq!(found(&table, "a.example.com", "/"), Some(id(2)));
    assert_eq!(found(&table, "com", "/"), None);
    assert!(table.has_host("x.example.com") && !table.has_host("example.org"));
}

#[test]
fn a_path_that_no_route_of_the_host_covers_does_not_fall_through() {
    let table = table(&[(1, "a.example.com", "/api"), (2, "*.example.com", "/"), (3, "*", "/")]);
    assert_eq!(found(&table, "a.example.com", "/other"), None);
    assert!(table.has_host("a.example.com"));
    let explanation = table.explain(&facts("a.example.com", "/other"));
    let failed: Vec<_> = explanation.candidates.iter().map(|candidate| candidate.failed.clone()).collect();
    assert_eq!(failed, [Some(Failed::Path), Some(Failed::ShadowedHost), Some(Failed::ShadowedHost)]);
}

#[test]
fn the_longest_prefix_on_a_segment_boundary_wins() {
    let table = table(&[
        (1, "a.example", "/"),
        (2, "a.example", "/a"),
        (3, "a.example", "/a/b"),
        (4, "a.example", "/a/b/c/d"),
        (5, "a.example", "/a-b"),
        (6, "a.example", "/ab"),
        (7, "a.example", "/a/b.c"),
    ]);
    for (path, wanted) in [
        ("/", 1),
        ("/a", 2),
        ("/a/", 2),
        ("/a/x/b", 2),
        ("/a/b", 3),
        ("/a/b/c", 3),
        ("/a/b/c/dd", 3),
        ("/a/b/c/d", 4),
        ("/a/b/c/d/e", 4),
        ("/a/b/z", 3),
        ("/a/bb", 2),
        ("/a/b.c/x", 7),
        ("/a/b.cc", 2),
        ("/a-b/c", 5),
        ("/abc", 1),
        ("/ab/c", 6),
        ("/z", 1),
        ("*", 1),
        ("", 1),
    ] {
        assert_eq!(found(&table, "a.example", path), Some(id(wanted)), "{path}");
    }
}

#[test]
fn explain_lists_each_candidate_with_its_first_failing_condition() {
    let table =
        table(&[(1, "a.example", "/"), (2, "a.example", "/a"), (3, "a.example", "/b"), (4, "*", "/")]);
    let explanation = table.explain(&facts("a.example", "/a/x"));
    assert_eq!(explanation.matched, Some(id(2)));
    let lines: Vec<_> =
        explanation.candidates.into_iter().map(|candidate| (candidate.pattern, candidate.failed)).collect();
    let wanted = [
        ("a.example/a", None),
        ("a.example/b", Some(Failed::Path)),
        ("a.example/", Some(Failed::ShorterPrefix)),
        ("*/", Some(Failed::ShadowedHost)),
    ];
    assert_eq!(lines, wanted.map(|(pattern, failed)| (pattern.to_owned(), failed)));
}

#[test]
fn an_explanation_is_bounded_and_keeps_what_matched() {
    let paths: Vec<String> = (0..1000).map(|n| format!("/{n}")).collect();
    let mut routes: Vec<_> = paths.iter().zip(2..).map(|(path, n)| route(n, "a.example", path)).collect();
    routes.push(route(1, "a.example", "/"));
    let table = RouteTable::compile(&snapshot(routes)).unwrap();
    let explanation = table.explain(&facts("a.example", "/none"));
    assert_eq!(explanation.matched, Some(id(1)));
    assert_eq!(explanation.candidates.len(), crate::limits::EXPLAINED_ROUTES_MAX + 1);
    assert_eq!(explanation.candidates.last().map(|last| last.failed.clone()), Some(None));
}

#[test]
fn routes_with_one_host_and_path_are_a_conflict_that_names_both_oldest_first() {
    let routes = [route(3, "a.example", "/x"), route(1, "A.example", "/x/"), route(2, "a.example", "/")];
    let conflicts = RouteTable::compile(&snapshot(routes)).unwrap_err();
    let wanted = Conflict { what: "a.example/x".into(), first: id(1), second: id(3) };
    let said = format!("a.example/x belongs to route {}, so route {} cannot have it", id(1), id(3));
    assert_eq!(conflicts.to_string(), said);
    assert_eq!(conflicts, Conflicts { routes: vec![wanted], malformed: vec![] });
}

/// A table of one host, with routes numbered from 1.
fn asking(routes: &[(&str, Matchers)]) -> Result<RouteTable, Conflicts> {
    let routes = routes.iter().zip(1..);
    let objects = routes.map(|((path, asks), n)| route_with(n, "a.example", path, Some(asks.clone())));
    RouteTable::compile(&snapshot(objects))
}

fn priority(priority: i16) -> Matchers {
    Matchers { priority, ..Matchers::default() }
}

fn exact() -> Matchers {
    Matchers { path_exact: true, ..Matchers::default() }
}

fn methods(methods: &[&str]) -> Matchers {
    Matchers { methods: methods.iter().map(|method| (*method).into()).collect(), ..Matchers::default() }
}

fn header(name: &str, test: Test) -> Matchers {
    Matchers { headers: [ValueMatch { name: name.into(), test }].into(), ..Matchers::default() }
}

fn query(name: &str, test: Test) -> Matchers {
    Matchers { query: [ValueMatch { name: name.into(), test }].into(), ..Matchers::default() }
}

#[test]
fn priority_goes_before_exact_paths_they_before_length_and_length_before_conditions() {
    let table = asking(&[
        ("/", Matchers::default()),
        ("/a", Matchers::default()),
        ("/a", methods(&["GET"])),
        ("/a", exact()),
        ("/a/b", Matchers::default()),
        ("/p", priority(5)),
        ("/p/q", methods(&["GET"])),
        ("/a/b/c", priority(-1)),
    ])
    .unwrap();
    for (path, wanted) in
        [("/", 1), ("/a", 4), ("/a/", 3), ("/a/x", 3), ("/a/b/c", 5), ("/p/q", 6), ("/p", 6), ("/pq", 1)]
    {
        assert_eq!(found(&table, "a.example", path), Some(id(wanted)), "{path}");
    }
    let post = Facts { method: "POST", ..facts("a.example", "/a/x") };
    assert_eq!(table.route(&post).map(|route| route.id), Some(id(2)));
    let lower = Facts { method: "get", ..facts("a.example", "/a/x") };
    assert_eq!(table.route(&lower).map(|route| route.id), Some(id(2)), "methods are case-sensitive");
}

#[test]
fn a_route_alone_on_its_host_still_asks_its_conditions() {
    let table = asking(&[("/", methods(&["PUT"]))]).unwrap();
    assert_eq!(found(&table, "a.example", "/"), None);
    assert!(table.has_host("a.example"));
    let failed = table.explain(&facts("a.example", "/")).candidates.remove(0).failed;
    assert_eq!(failed, Some(Failed::Method));
}

#[test]
fn of_several_parameters_one_that_fits_is_enough_and_absent_means_none_at_all() {
    let fits = |test, sent| {
        let table = asking(&[("/", query("v", test))]).unwrap();
        table.route(&Facts { query: sent, ..facts("a.example", "/") }).is_some()
    };
    assert!(fits(Test::Equals("2".into()), "v=1&v=2"));
    assert!(fits(Test::Equals("".into()), "v"));
    assert!(fits(Test::Equals("a=b".into()), "v=a=b"));
    assert!(fits(Test::Prefix("2".into()), "u=1&v=22"));
    assert!(!fits(Test::Equals("1".into()), "%76=1&V=1&vv=1"));
    assert!(fits(Test::Present, "v") && !fits(Test::Present, ""));
    assert!(fits(Test::Absent, "u=v") && !fits(Test::Absent, "u=1&v"));
}

#[test]
fn networks_are_compared_with_the_client_in_either_form() {
    let clients = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let table = asking(&[("/", Matchers { clients: clients.into(), ..Matchers::default() })]).unwrap();
    for (client, wanted) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("2001:db8::1", true),
        ("192.0.2.1", false),
        ("::1", false),
    ] {
        let asked = Facts { client: client.parse().unwrap(), ..facts("a.example", "/") };
        assert_eq!(table.route(&asked).is_some(), wanted, "{client}");
    }
}

#[test]
fn explain_says_which_condition_failed_and_who_went_before() {
    let table = asking(&[
        ("/", Matchers::default()),
        ("/a", Matchers::default()),
        ("/a", exact()),
        ("/a", header("x-tenant", Test::Present)),
        ("/a", query("v", Test::Present)),
        ("/a/b", methods(&["GET"])),
        ("/a/b", query("w", Test::Absent)),
        ("/a", Matchers { clients: ["10.0.0.0/8".parse().unwrap()].into(), ..priority(1) }),
        ("/", priority(-1)),
    ])
    .unwrap();
    let explanation = table.explain(&facts("a.example", "/a/b"));
    let said: Vec<_> =
        explanation.candidates.iter().map(|it| (it.route, it.priority, it.failed.clone())).collect();
    let wanted = [
        (8, 1, Some(Failed::Client)),
        (3, 0, Some(Failed::NotExact)),
        (6, 0, None),
        (7, 0, Some(Failed::Younger)),
        (4, 0, Some(Failed::Header("x-tenant".into()))),
        (5, 0, Some(Failed::Query("v".into()))),
        (2, 0, Some(Failed::ShorterPrefix)),
        (1, 0, Some(Failed::ShorterPrefix)),
        (9, -1, Some(Failed::LowerPriority)),
    ];
    assert_eq!(said, wanted.map(|(n, priority, failed)| (id(n), priority, failed)));
}

#[test]
fn routes_conflict_where_they_ask_for_the_same_in_any_order() {
    let conflicts = asking(&[
        ("/x", methods(&["GET", "HEAD"])),
        ("/x", methods(&["HEAD", "GET"])),
        ("/x", methods(&["HEAD"])),
        ("/x", Matchers { priority: 3, ..methods(&["GET", "HEAD"]) }),
        ("/x", Matchers { path_exact: true, ..methods(&["GET", "HEAD"]) }),
        ("/x", header("authorization", Test::Equals("hunter2".into()))),
        ("/x", header("authorization", Test::Equals("hunter2".into()))),
        ("/x", Matchers::default()),
    ])
    .unwrap_err();
    let said: Vec<_> = conflicts.routes.iter().map(|it| (it.what.as_str(), it.first, it.second)).collect();
    let wanted =
        [("a.example/x (header authorization)", id(6), id(7)), ("a.example/x (GET or HEAD)", id(1), id(2))];
    assert_eq!(said, wanted);
    let none_and_default = [route(1, "a.example", "/"), route_with(2, "a.example", "/", Some(priority(0)))];
    assert!(RouteTable::compile(&snapshot(none_and_default)).is_err());
}

#[test]
fn a_thousand_conflicts_are_named_up_to_the_bound() {
    let routes = (0..1000).map(|n| route(n, "a.example", "/"));
    let conflicts = RouteTable::compile(&snapshot(routes)).unwrap_err();
    assert_eq!(conflicts.routes.len(), crate::limits::CONFLICTS_NAMED_MAX);
    assert!(conflicts.routes.iter().all(|conflict| conflict.first == id(0)));
    assert!(conflicts.to_string().ends_with("; and 61 more"), "{conflicts}");
}

#[test]
fn an_unreadable_route_refuses_the_snapshot_and_an_unreadable_identity_or_unknown_kind_does_not() {
    let odd = |kind| Object::new(ObjectKey { kind, id: [9; 16] }, *b"\xff\xff\xff");
    let conflicts = RouteTable::compile(&snapshot([odd(Kind::ROUTE)])).unwrap_err();
    assert_eq!(conflicts.malformed.len(), 1);
    assert_eq!(conflicts.malformed[0].key.id, [9; 16]);
    assert!(RouteTable::compile(&snapshot([odd(Kind::IDENTITY), odd(Kind(200))])).is_ok());
}

#[test]
fn a_change_that_conflicts_leaves_the_table_as_it_was() {
    let old = snapshot([route(1, "a.example", "/")]);
    let before = RouteTable::compile(&old).unwrap();
    let mut new = old.clone().numbered(Generation(2));
    new.put(route(2, "a.example", "/"));
    let conflicts = before.recompile(&old, &new, &delta::diff(&old, &new)).unwrap_err();
    assert_eq!((conflicts.routes[0].first, conflicts.routes[0].second), (id(1), id(2)));
    assert_eq!(found(&before, "a.example", "/"), Some(id(1)));
    assert_eq!(before.routes_len(), 1);
}

#[test]
fn two_routes_may_swap_their_hosts_in_one_change() {
    let old = snapshot([route(1, "a.example", "/"), route(2, "b.example", "/")]);
    let new = snapshot([route(1, "b.example", "/"), route(2, "a.example", "/")]).numbered(Generation(2));
    let after = RouteTable::compile(&old).unwrap().recompile(&old, &new, &delta::diff(&old, &new)).unwrap();
    assert_eq!(found(&after, "a.example", "/"), Some(id(2)));
    assert_eq!(found(&after, "b.example", "/"), Some(id(1)));
}

#[test]
fn what_a_change_does_not_touch_is_shared_with_the_table_before() {
    let old = snapshot((0..2000).map(|n| route(n, &format!("h{n}.example"), "/")));
    let before = RouteTable::compile(&old).unwrap();
    let mut new = old.clone().numbered(Generation(2));
    new.put(route(5, "h5.example", "/changed"));
    let after = before.recompile(&old, &new, &delta::diff(&old, &new)).unwrap();

    let shared = (0..2000)
        .filter(|n| {
            let host = format!("h{n}.example");
            let [a, b] = [&before, &after].map(|table| table.route(&facts(&host, "/changed")).unwrap());
            Arc::ptr_eq(a, b)
        })
        .count();
    assert_eq!(shared, 1999);
    assert_eq!(before.parts.hosts.shards_not_shared(&after.parts.hosts), 1);
}

#[test]
fn routes_of_one_tenant_share_the_namespace() {
    let table = table(&[(1, "a.example", "/"), (2, "b.example", "/")]);
    let names: Vec<_> = table.routes().map(|route| route.namespace.as_str().as_ptr()).collect();
    assert_eq!(names[0], names[1]);
}

#[test]
fn a_table_that_loses_its_routes_is_empty() {
    let old =
        snapshot((0..500).map(|n| route(n, &format!("h{n}.example"), "/")).chain([route(900, "*", "/")]));
    let new = snapshot([]).numbered(Generation(2));
    let after = RouteTable::compile(&old).unwrap().recompile(&old, &new, &delta::diff(&old, &new)).unwrap();
    assert_eq!(after.routes_len(), 0);
    assert_eq!(after.routes().count(), 0);
    assert!(!after.has_host("h1.example"));
}

#[test]
fn what_a_lookup_reads_of_a_route_fits_one_cache_line_with_its_counts() {
    let counts = 2 * size_of::<usize>();
    assert!(counts + std::mem::offset_of!(Route, matchers) + size_of::<usize>() <= 64);
    assert_eq!(size_of::<Route>(), 184, "a route got larger: there are a million of them");
}

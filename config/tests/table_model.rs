//! The compiled table against a naive linear matcher, and a table grown by deltas against one compiled whole.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "table/world.rs"]
mod world;

use std::cmp::Reverse;
use std::net::IpAddr;

use config::delta;
use config::grant::Role;
use config::name::HostPattern;
use config::snapshot::{Principal, Route, Test, Value, Vm};
use config::table::RouteTable;
use proptest::prelude::*;
use world::{
    EXTRAS, Extra, HOSTS, PATHS, World, asked, facts, routes_of, snapshot, without_conflicts, worlds,
};

/// 0 for exact, 1 for wildcard, 2 for catch-all; `None` where the pattern does not cover the name.
fn rank(pattern: &HostPattern, host: &str) -> Option<u8> {
    match pattern.to_string().as_str() {
        "*" => Some(2),
        text => match text.strip_prefix("*.") {
            None => (text == host).then_some(0),
            Some(suffix) => {
                let labels: Vec<&str> = host.split('.').collect();
                let (first, rest) = labels.split_first()?;
                (rest.join(".") == suffix && !first.is_empty()).then_some(1)
            }
        },
    }
}

/// Number of segments of the prefix, if they are the first ones of the path.
fn segments(prefix: &str, path: &str) -> Option<usize> {
    if prefix == "/" {
        return Some(0);
    }
    let prefix: Vec<&str> = prefix.split('/').collect();
    path.split('/').collect::<Vec<_>>().starts_with(&prefix).then_some(prefix.len())
}

/// Whether the values that a condition is about are what it wants.
fn wanted(test: &Test, values: &[&str]) -> bool {
    match test {
        Test::Absent => values.is_empty(),
        Test::Present => !values.is_empty(),
        Test::Equals(wanted) => values.contains(&&**wanted),
        Test::Prefix(wanted) => values.iter().any(|value| value.starts_with(&**wanted)),
    }
}

fn is_asked_for(route: &Route, path: &str, extra: &Extra) -> bool {
    let Some(matchers) = &route.matchers else { return true };
    let fields = |name: &str| -> Vec<&str> {
        extra.fields.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value).collect()
    };
    let parameters = |name: &str| -> Vec<&str> {
        let pairs = extra.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(other, _)| *other == name).map(|(_, value)| value).collect()
    };
    (!matchers.path_exact || path == route.path.as_str())
        && (matchers.methods.is_empty() || matchers.methods.contains(&extra.method.into()))
        && matchers.headers.iter().all(|condition| wanted(&condition.test, &fields(&condition.name)))
        && matchers.query.iter().all(|condition| wanted(&condition.test, &parameters(&condition.name)))
        && (matchers.clients.is_empty()
            || matchers.clients.iter().any(|network| network.contains(&IpAddr::from(extra.client))))
}

/// Greater goes first.
fn order(route: &Route, length: usize) -> impl Ord {
    let matchers = route.matchers.as_deref().cloned().unwrap_or_default();
    let sets = [matchers.methods.is_empty(), matchers.clients.is_empty()];
    let conditions =
        matchers.headers.len() + matchers.query.len() + sets.iter().filter(|is_empty| !**is_empty).count();
    (matchers.priority, matchers.path_exact, length, conditions, Reverse(route.id))
}

fn naive<'a>(routes: &[&'a Route], host: &str, path: &str, extra: &Extra) -> Option<&'a Route> {
    let best = routes.iter().filter_map(|route| rank(&route.host, host)).min()?;
    let of_host = routes.iter().filter(|route| rank(&route.host, host) == Some(best));
    let matching = of_host
        .filter(|route| is_asked_for(route, path, extra))
        .filter_map(|route| Some((segments(route.path.as_str(), path)?, *route)));
    matching.max_by_key(|(length, route)| order(route, *length)).map(|(_, route)| route)
}

/// The VMs that a word means to a principal.
fn naive_meanings<'a>(world: &'a World, principal: &Principal, word: &str) -> Vec<&'a Vm> {
    let vms = world.values().filter_map(|value| if let Value::Vm(vm) = value { Some(vm) } else { None });
    let means = |vm: &Vm| {
        let name = vm.name.as_str().to_lowercase();
        [name.clone(), format!("{name}.{}", vm.namespace), vm.id.to_string(), vm.address.to_string()]
            .contains(&word.to_lowercase())
    };
    vms.filter(|vm| principal.grants.allows(Role::Operator, &vm.namespace) && means(vm)).collect()
}

fn assert_follows_the_model(table: &RouteTable, world: &World) {
    let routes = routes_of(world);
    assert_eq!(table.routes_len(), routes.len());
    assert_eq!(table.routes().count(), routes.len());
    for host in HOSTS {
        let answers = routes.iter().any(|route| rank(&route.host, host).is_some());
        assert_eq!(table.has_host(host), answers, "{host}");
        for (path, (place, extra)) in
            PATHS.iter().flat_map(|path| EXTRAS.iter().enumerate().map(move |extra| (*path, extra)))
        {
            let found = table.route(&facts(host, path, extra)).map(|route| &**route);
            assert_eq!(found, naive(&routes, host, path, extra), "{host}{path} {place}");
        }
    }
    for value in world.values() {
        if let Value::Principal(principal) = value {
            assert_person(table, world, principal);
        }
        if let Value::Vm(vm) = value {
            assert_eq!(table.vm(vm.id).map(|vm| &**vm), Some(vm));
        }
    }
}

fn assert_person(table: &RouteTable, world: &World, principal: &Principal) {
    assert_eq!(table.principal(principal.id).map(|found| &**found), Some(principal));
    for key in &principal.keys {
        let found = table.principal_by_key(&key.blob).unwrap();
        assert!(found.keys.contains(key) && found.id <= principal.id);
    }
    for word in ["web", "WEB.ns1", "web.ns2", "db", "10.0.0.1", "127.0.0.1", "none"] {
        let meanings = naive_meanings(world, principal, word);
        let granted = table.jump(principal, word, 22, 0).ok().and_then(|target| target.vm);
        let wanted = match meanings.as_slice() {
            [vm] if !vm.address.is_loopback() => Some(vm.id),
            _ => None,
        };
        assert_eq!(granted, wanted, "{word} {:?}", principal.grants);
    }
}

proptest! {
    #[test]
    fn the_table_finds_what_a_linear_search_finds(world in worlds(40).prop_map(without_conflicts)) {
        let table = RouteTable::compile(&snapshot(&world, 1)).unwrap();
        assert_follows_the_model(&table, &world);
    }

    #[test]
    fn a_table_grown_by_deltas_is_the_table_compiled_whole(steps in prop::collection::vec(worlds(16), 1..8)) {
        let mut have = snapshot(&World::new(), 1);
        let mut table = RouteTable::compile(&have).unwrap();
        for (world, generation) in steps.iter().zip(2..) {
            let next = snapshot(world, generation);
            let whole = RouteTable::compile(&next);
            match table.recompile(&have, &next, &delta::diff(&have, &next)) {
                Ok(grown) => {
                    assert!(whole.is_ok());
                    assert_follows_the_model(&grown, world);
                    (table, have) = (grown, next);
                }
                // Refused: the table in force stays, and the next delta starts from it.
                Err(conflicts) => assert_eq!(whole.err(), Some(conflicts)),
            }
        }
    }

    #[test]
    fn a_conflict_is_named_exactly_where_two_routes_ask_for_the_same(world in worlds(40)) {
        let routes = routes_of(&world);
        let unique = routes_of(&without_conflicts(world.clone())).len();
        match RouteTable::compile(&snapshot(&world, 1)) {
            Ok(_) => assert_eq!(unique, routes.len()),
            Err(conflicts) => {
                assert_eq!(conflicts.routes.len(), routes.len() - unique);
                for conflict in conflicts.routes {
                    let of = |id| routes.iter().find(|route| route.id == id).unwrap();
                    let (first, second) = (of(conflict.first), of(conflict.second));
                    assert!(first.id < second.id);
                    assert_eq!(asked(first), asked(second));
                    assert!(conflict.what.starts_with(&format!("{}{}", first.host, first.path)));
                }
            }
        }
    }
}

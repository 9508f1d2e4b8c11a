//! An explanation and the look-up it explains never disagree.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "table/world.rs"]
mod world;

use config::table::RouteTable;
use config::table::explain::Failed;
use proptest::prelude::*;
use world::{HOSTS, PATHS, facts, routes_of, snapshot, without_conflicts, worlds};

proptest! {
    #[test]
    fn explain_matches_what_route_finds_and_each_reason_holds(
        world in worlds(24).prop_map(without_conflicts),
    ) {
        let table = RouteTable::compile(&snapshot(&world, 1)).unwrap();
        let routes = routes_of(&world);
        for (host, path) in HOSTS.iter().flat_map(|host| PATHS.iter().map(move |path| (*host, *path))) {
            let explanation = table.explain(&facts(host, path));
            prop_assert_eq!(explanation.matched, table.route(&facts(host, path)).map(|route| route.id));
            let covering = routes.iter().filter(|route| route.host.covers(host)).count();
            prop_assert_eq!(explanation.candidates.len(), covering, "{}{}", host, path);

            let answering = explanation.candidates.first().map(|first| first.route);
            let of = |id| *routes.iter().find(|route| route.id == id).unwrap();
            let winner = explanation.matched.map(of);
            for candidate in &explanation.candidates {
                let route = of(candidate.route);
                prop_assert_eq!(&candidate.pattern, &format!("{}{}", route.host, route.path));
                let is_answering = answering.is_some_and(|id| of(id).host == route.host);
                let reason_holds = match candidate.failed {
                    None => explanation.matched == Some(route.id),
                    Some(Failed::ShadowedHost) => !is_answering,
                    Some(Failed::Path) => is_answering && !route.path.covers(path),
                    Some(Failed::ShorterPrefix) => {
                        is_answering
                            && route.path.covers(path)
                            && winner.is_some_and(|it| it.path.as_str().len() > route.path.as_str().len())
                    }
                };
                prop_assert!(reason_holds, "{}{}: {:?}", host, path, candidate);
            }
        }
    }
}

//! An explanation and the look-up it explains never disagree.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "table/world.rs"]
mod world;

use config::snapshot::{Matchers, Route};
use config::table::RouteTable;
use config::table::explain::Failed;
use proptest::prelude::*;
use world::{EXTRAS, HOSTS, PATHS, facts, routes_of, snapshot, without_conflicts, worlds};

proptest! {
    #[test]
    fn explain_matches_what_route_finds_and_each_reason_holds(
        world in worlds(40).prop_map(without_conflicts),
    ) {
        let table = RouteTable::compile(&snapshot(&world, 1)).unwrap();
        let routes = routes_of(&world);
        let places = HOSTS.iter().flat_map(|host| PATHS.iter().map(move |path| (*host, *path)));
        for ((host, path), extra) in places.flat_map(|place| EXTRAS.iter().map(move |extra| (place, extra))) {
            let explanation = table.explain(&facts(host, path, extra));
            prop_assert_eq!(explanation.matched, table.route(&facts(host, path, extra)).map(|route| route.id));
            let covering = routes.iter().filter(|route| route.host.covers(host)).count();
            prop_assert_eq!(explanation.candidates.len(), covering, "{}{}", host, path);

            let answering = explanation.candidates.first().map(|first| first.route);
            let of = |id| *routes.iter().find(|route| route.id == id).unwrap();
            let winner = explanation.matched.map(of);
            for candidate in &explanation.candidates {
                let route = of(candidate.route);
                prop_assert_eq!(&candidate.pattern, &format!("{}{}", route.host, route.path));
                let is_answering = answering.is_some_and(|id| of(id).host == route.host);
                let asks = route.matchers.as_deref().cloned().unwrap_or_default();
                prop_assert_eq!(candidate.priority, asks.priority);
                let is_covered = is_answering && route.path.covers(path);
                let is_behind = |behind: fn(&Route, &Matchers, &Route, &Matchers) -> bool| {
                    let first = winner.map(|first| (first, first.matchers.as_deref().cloned().unwrap_or_default()));
                    is_covered && first.is_some_and(|(first, wants)| behind(route, &asks, first, &wants))
                };
                let reason_holds = match &candidate.failed {
                    None => explanation.matched == Some(route.id),
                    Some(Failed::ShadowedHost) => !is_answering,
                    Some(Failed::Path) => is_answering && !route.path.covers(path),
                    Some(Failed::NotExact) => is_covered && asks.path_exact && route.path.as_str() != path,
                    Some(Failed::Method) => is_covered && !asks.methods.contains(&extra.method.into()),
                    Some(Failed::Header(name)) => is_covered && asks.headers.iter().any(|it| it.name == *name),
                    Some(Failed::Query(name)) => is_covered && asks.query.iter().any(|it| it.name == *name),
                    Some(Failed::Client) => is_covered && !asks.clients.is_empty(),
                    Some(Failed::LowerPriority) => is_behind(|_, mine, _, first| mine.priority < first.priority),
                    Some(Failed::ShorterPrefix) => {
                        is_behind(|mine, _, first, _| mine.path.as_str().len() < first.path.as_str().len())
                    }
                    Some(Failed::PrefixOnly) => is_behind(|_, mine, _, first| first.path_exact && !mine.path_exact),
                    Some(Failed::FewerConditions) => {
                        is_behind(|_, mine, _, first| mine.conditions_len() < first.conditions_len())
                    }
                    Some(Failed::Younger) => is_behind(|mine, _, first, _| mine.id > first.id),
                };
                prop_assert!(reason_holds, "{}{}: {:?}", host, path, candidate);
            }
        }
    }
}

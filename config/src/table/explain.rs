//! Why a request goes where it goes: every candidate in order, with the first condition that failed.

use crate::id::RouteId;
use crate::limits;
use crate::snapshot::Route;
use crate::table::conditions::{Unmet, unmet};
use crate::table::virtual_host::{asking_order, rank};
use crate::table::{Facts, RouteTable};

/// One route that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The route.
    pub route: RouteId,
    /// `host` and `path` as they were written.
    pub pattern: String,
    /// What comes first in the order inside a virtual host; 0 where the route sets none.
    pub priority: i16,
    /// `None` for the route that matched.
    pub failed: Option<Failed>,
}

/// The first condition that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// A more exact virtual host answers this name, and there is no fall-through.
    ShadowedHost,
    /// The path does not begin with the route's prefix on a segment boundary.
    Path,
    /// The path goes on behind the route's, and the route wants it exactly.
    NotExact,
    /// The method is none of the route's.
    Method,
    /// No field of this name is what the route wants; or there is one and it wants none.
    Header(Box<str>),
    /// The same for a parameter of the query.
    Query(Box<str>),
    /// The client's address is in none of the route's networks.
    Client,
    /// A route of a higher priority matched first.
    LowerPriority,
    /// A longer prefix matched first.
    ShorterPrefix,
    /// A route that wants the path exactly matched first.
    PrefixOnly,
    /// A route with more conditions matched first.
    FewerConditions,
    /// An older route that ranks the same matched first.
    Younger,
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What matched; equal to what [`RouteTable::route`] returns.
    pub matched: Option<RouteId>,
    /// Candidates in the order they were considered, bounded.
    pub candidates: Vec<Candidate>,
}

impl RouteTable {
    /// Explains a look-up. Allocates; not for the request path.
    ///
    /// Lists the routes of every virtual host that covers the name, most exact host first, in the order of
    /// [`crate::snapshot::Matchers`] inside each. At most [`limits::EXPLAINED_ROUTES_MAX`], besides the one that
    /// matched, which is always there.
    pub fn explain(&self, facts: &Facts<'_>) -> Explanation {
        let mut matched: Option<&Route> = None;
        let mut candidates = Vec::new();
        for (place, virtual_host) in self.parts.hosts.covering(&self.parts.hasher, facts.host).enumerate() {
            let mut routes: Vec<_> = virtual_host.routes().collect();
            routes.sort_by(|a, b| asking_order(a, b));
            for route in routes {
                let failed =
                    if place > 0 { Some(Failed::ShadowedHost) } else { failed(route, matched, facts) };
                if failed.is_none() {
                    matched = Some(route);
                }
                if failed.is_none() || candidates.len() < limits::EXPLAINED_ROUTES_MAX {
                    let pattern = format!("{}{}", route.host, route.path);
                    let priority = rank(route).priority;
                    candidates.push(Candidate { route: route.id, pattern, priority, failed });
                }
            }
        }
        Explanation { matched: matched.map(|route| route.id), candidates }
    }
}

/// What is wrong with `route` itself, and then who was before it.
fn failed(route: &Route, matched: Option<&Route>, facts: &Facts<'_>) -> Option<Failed> {
    if !route.path.covers(facts.path) {
        return Some(Failed::Path);
    }
    match unmet(route, facts) {
        Some(Unmet::Exact) => Some(Failed::NotExact),
        Some(Unmet::Method) => Some(Failed::Method),
        Some(Unmet::Header(name)) => Some(Failed::Header(name.into())),
        Some(Unmet::Query(name)) => Some(Failed::Query(name.into())),
        Some(Unmet::Client) => Some(Failed::Client),
        None => matched.map(|winner| shadowed(route, winner)),
    }
}

fn shadowed(route: &Route, winner: &Route) -> Failed {
    let (mine, first) = (rank(route), rank(winner));
    if mine.priority < first.priority {
        Failed::LowerPriority
    } else if route.path.as_str().len() < winner.path.as_str().len() {
        Failed::ShorterPrefix
    } else if first.path_exact && !mine.path_exact {
        Failed::PrefixOnly
    } else if mine.conditions < first.conditions {
        Failed::FewerConditions
    } else {
        Failed::Younger
    }
}

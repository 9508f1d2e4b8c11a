//! Why a request goes where it goes: every candidate in order, with the first condition that failed.

use crate::id::RouteId;
use crate::limits;
use crate::snapshot::Route;
use crate::table::{Facts, RouteTable};

/// One route that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The route.
    pub route: RouteId,
    /// `host` and `path` as they were written.
    pub pattern: String,
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
    /// A longer prefix matched first.
    ShorterPrefix,
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
    /// Lists the routes of every virtual host that covers the name, most exact host first, longest prefix first. At
    /// most [`limits::EXPLAINED_ROUTES_MAX`], besides the one that matched, which is always there.
    pub fn explain(&self, facts: &Facts<'_>) -> Explanation {
        let mut matched = None;
        let mut candidates = Vec::new();
        for (rank, virtual_host) in self.parts.hosts.covering(&self.parts.hasher, facts.host).enumerate() {
            let mut routes: Vec<_> = virtual_host.routes().collect();
            routes.sort_by(|a, b| {
                let length = |route: &Route| route.path.trimmed().len();
                length(b).cmp(&length(a)).then_with(|| a.path.cmp(&b.path))
            });
            for route in routes {
                let failed = if rank > 0 {
                    Some(Failed::ShadowedHost)
                } else if !route.path.covers(facts.path) {
                    Some(Failed::Path)
                } else if matched.is_some() {
                    Some(Failed::ShorterPrefix)
                } else {
                    matched = Some(route.id);
                    None
                };
                if failed.is_none() || candidates.len() < limits::EXPLAINED_ROUTES_MAX {
                    let pattern = format!("{}{}", route.host, route.path);
                    candidates.push(Candidate { route: route.id, pattern, failed });
                }
            }
        }
        Explanation { matched, candidates }
    }
}

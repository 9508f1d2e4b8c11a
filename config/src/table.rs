//! The compiled form of a snapshot: what a request, a handshake or a jump looks things up in.
//!
//! Immutable. A table derived from the one before shares every shard that the change does not touch. Look-ups allocate
//! nothing, lock nothing and return references that live as long as the table. Start reading at [`RouteTable::route`].

mod changes;
mod conditions;
pub mod explain;
mod hosts;
pub mod jump;
mod shards;
mod virtual_host;

#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;

use crate::delta::Delta;
use crate::id::RouteId;
use crate::name::{HostPattern, Namespace};
use crate::snapshot::{Route, Snapshot};
use crate::table::changes::Changes;
use crate::table::hosts::Hosts;
use crate::table::jump::index::{Authorities, Machines, People};
use crate::table::shards::Sharded;
use crate::table::virtual_host::VirtualHost;

pub use jump::{JumpRefusal, JumpTarget};

/// Header fields of a request, as the matchers see them.
pub trait Fields {
    /// The value of the first field with this lower-case name.
    fn field(&self, name: &str) -> Option<&[u8]>;

    /// Whether one of the fields with this lower-case name has a value that fits. Stops at the first that does.
    fn any(&self, name: &str, fits: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// No fields at all.
impl Fields for () {
    fn field(&self, _name: &str) -> Option<&[u8]> {
        None
    }

    fn any(&self, _name: &str, _fits: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

/// What a request is known by.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Lower-case, without port and trailing dot; an IP literal stands as it came.
    pub host: &'a str,
    /// Begins with `/`; without query.
    pub path: &'a str,
    /// Without the `?`; empty when there is none.
    pub query: &'a str,
    /// As it came: methods are case-sensitive (RFC 9110 § 9.1).
    pub method: &'a str,
    /// The header fields.
    pub fields: &'a dyn Fields,
    /// The downstream address, after trusted proxies.
    pub client: IpAddr,
}

/// Two routes that cannot both be in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What they share, for people: `app.example.com/path (priority 5, GET)`.
    pub what: String,
    /// The one that was there first.
    pub first: RouteId,
    /// The other.
    pub second: RouteId,
}

/// Why a snapshot does not compile. Every conflict is listed, up to a bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Conflicts {
    /// Pairs of routes with the same host, path and matchers.
    pub routes: Vec<Conflict>,
    /// Objects whose bytes cannot be read.
    pub malformed: Vec<crate::snapshot::object::Malformed>,
}

/// Conflicts and unreadable objects that the message spells out; the rest is a number.
const SPELLED_OUT_MAX: usize = 3;

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for conflict in self.routes.iter().take(SPELLED_OUT_MAX) {
            let Conflict { what, first, second } = conflict;
            write!(f, "{separator}{what} belongs to route {first}, so route {second} cannot have it")?;
            separator = "; ";
        }
        for malformed in self.malformed.iter().take(SPELLED_OUT_MAX) {
            write!(f, "{separator}{malformed}")?;
            separator = "; ";
        }
        let unsaid = [self.routes.len(), self.malformed.len()].map(|n| n.saturating_sub(SPELLED_OUT_MAX));
        match unsaid.iter().sum() {
            0_usize => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// The compiled form of one snapshot. Cheap to clone.
#[derive(Clone)]
pub struct RouteTable {
    parts: Arc<Parts>,
}

/// What a table is made of. A clone shares every shard.
#[derive(Clone)]
struct Parts {
    // Keyed, because tenants choose the names that are hashed; the same from table to table, because shards that
    // are shared keep their order.
    hasher: RandomState,
    hosts: Hosts,
    people: People,
    authorities: Authorities,
    machines: Machines,
    // Every tenant's name once. Names of tenants that are gone stay until the next whole compile.
    namespaces: Sharded<Namespace>,
}

impl RouteTable {
    /// Compiles a whole snapshot. Cost: proportional to its size.
    ///
    /// Errors: every pair of routes with the same host, path and matchers, and every route, VM or principal that cannot be read.
    pub fn compile(snapshot: &Snapshot) -> Result<Self, Conflicts> {
        let nothing = Parts {
            hasher: RandomState::new(),
            hosts: Hosts::default(),
            people: People::default(),
            authorities: Authorities::default(),
            machines: Machines::default(),
            namespaces: Sharded::default(),
        };
        nothing.changed(Changes::of_whole(snapshot)?)
    }

    /// The table of `new`, derived from this one, which is the table of `old`. Cost: proportional to the delta.
    ///
    /// A changed route costs as much as its virtual host has routes. Of the delta only the keys are read. Errors: those of [`RouteTable::compile`]; this table is untouched.
    pub fn recompile(&self, old: &Snapshot, new: &Snapshot, delta: &Delta) -> Result<Self, Conflicts> {
        Parts::clone(&self.parts).changed(Changes::of_delta(old, new, delta)?)
    }

    /// Finds the route for a request.
    ///
    /// Host match first (exact, then the one-label wildcard, then catch-all, with no fall-through between virtual
    /// hosts), then the first route in the order of [`crate::snapshot::Matchers`] whose conditions all hold: without
    /// any, the longest path prefix on segment boundaries. Returns `None` when no virtual host matches or none of its
    /// routes does. Allocates nothing; cost: at most two hashes of `host`, one walk of `path` for each priority in the
    /// virtual host, and the conditions of the routes above the one found.
    ///
    /// Wildcard covers one label: RFC 9525 § 6.3.
    pub fn route(&self, facts: &Facts<'_>) -> Option<&Arc<Route>> {
        self.parts.hosts.answering(&self.parts.hasher, facts.host)?.find(facts)
    }

    /// Whether any virtual host answers to `host` (catch-all included): tells 404 from 421.
    pub fn has_host(&self, host: &str) -> bool {
        self.parts.hosts.answering(&self.parts.hasher, host).is_some()
    }

    /// The pattern of the virtual host that answers to `host`, as [`RouteTable::route`] finds it.
    pub fn pattern(&self, host: &str) -> Option<&HostPattern> {
        self.parts.hosts.answering(&self.parts.hasher, host)?.host()
    }

    /// The routes of one virtual host in no particular order; none where there is no such host.
    pub fn routes_of(&self, pattern: &HostPattern) -> impl Iterator<Item = &Arc<Route>> {
        self.parts.hosts.of(&self.parts.hasher, pattern).into_iter().flat_map(VirtualHost::routes)
    }

    /// How many routes it holds.
    pub fn routes_len(&self) -> usize {
        self.parts.hosts.routes_len()
    }

    /// Every route, in no particular order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.parts.hosts.routes()
    }
}

impl Parts {
    fn changed(mut self, changes: Changes) -> Result<RouteTable, Conflicts> {
        let Changes { mut routes, mut machines, people, authorities } = changes;
        let added = routes.iter_mut().filter(|change| change.added);
        for route in added.filter_map(|change| Arc::get_mut(&mut change.route)) {
            self.namespaces.share(&self.hasher, &mut route.namespace);
        }
        for vm in machines.iter_mut().filter_map(|change| change.now.as_mut()) {
            self.namespaces.share(&self.hasher, &mut vm.namespace);
        }
        let routes = self.hosts.apply(&self.hasher, routes);
        if !routes.is_empty() {
            return Err(Conflicts { routes, malformed: Vec::new() });
        }
        for change in machines {
            self.machines.apply(&self.hasher, change);
        }
        for change in people {
            self.people.apply(&self.hasher, change);
        }
        for change in authorities {
            self.authorities.apply(change);
        }
        Ok(RouteTable { parts: Arc::new(self) })
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouteTable({} routes)", self.routes_len())
    }
}

//! What the routes of a generation ask of handshakes, by host: compiled once, changed where a delta touches it.
//!
//! Only hosts that ask for something have a rule. Which virtual host a name belongs to is the table's to say, so a name
//! with routes of its own never falls under the rule of a wildcard.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use config::delta::Delta;
use config::id::RouteId;
use config::name::HostPattern;
use config::snapshot::{Kind, ObjectKey, Route, Snapshot, TlsMode, TlsVersion, Value};
use config::table::RouteTable;
use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest as _, Sha256};

use super::challenge::Challenges;
use super::ciphers::ByTaste;
use super::clients::{self, Asking, Gate};
use super::tickets::{Secrets, Tickets};
use super::{Acceptor, SecuredMeta};

/// Names the keys of handshakes that ask for nothing.
const DEFAULT_LABEL: &[u8] = b"default";

type Digest = [u8; 32];

/// The rules of one generation.
pub(crate) struct Rules {
    hosts: Arc<HashMap<HostPattern, Rule>>,
    /// What handshakes are made with, by what tells policies apart; those in use.
    setups: HashMap<Digest, Arc<Setup>>,
    /// Those in use.
    gates: HashMap<Digest, Arc<Gate>>,
    secrets: Arc<Secrets>,
    /// What a handshake is made with that no rule speaks of.
    pub(super) usual: Arc<Setup>,
    /// Answers to authorities.
    pub(crate) challenges: Arc<Challenges>,
}

/// What one host asks.
#[derive(Clone)]
pub(super) enum Rule {
    /// Its bytes go to the upstream as they are.
    Passthrough(Arc<Route>),
    /// More than usual of a handshake.
    Terms(Arc<Terms>),
}

/// More than usual.
pub(super) struct Terms {
    pub(super) setup: Arc<Setup>,
    gates: Box<[(RouteId, Arc<Gate>)]>,
}

/// What handshakes are made with.
pub(super) struct Setup {
    digest: Digest,
    min_version: TlsVersion,
    asking: Option<Arc<Asking>>,
    tickets: Arc<Tickets>,
    configs: OnceLock<Result<ByTaste, rustls::Error>>,
}

impl Setup {
    fn new(
        digest: Digest,
        label: &[u8],
        min_version: TlsVersion,
        asking: Option<Arc<Asking>>,
        secrets: &Secrets,
    ) -> Self {
        let tickets = Arc::new(secrets.derive(label));
        Self { digest, min_version, asking, tickets, configs: OnceLock::new() }
    }

    fn usual(secrets: &Secrets) -> Self {
        Self::new([0; 32], DEFAULT_LABEL, TlsVersion::Tls12, None, secrets)
    }

    /// Whether clients are asked for a certificate.
    pub(super) const fn asks(&self) -> bool {
        self.asking.is_some()
    }

    /// The configuration for this hello, made at the first handshake of parts that were made before.
    pub(super) fn config(
        &self,
        acceptor: &Acceptor,
        hello: &ClientHello<'_>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.configs(acceptor).map(|configs| Arc::clone(configs.of_hello(hello)))
    }

    /// Every configuration of it.
    pub(super) fn configs(&self, acceptor: &Acceptor) -> Result<&ByTaste, rustls::Error> {
        self.configs.get_or_init(|| self.make(acceptor)).as_ref().map_err(Clone::clone)
    }

    fn make(&self, acceptor: &Acceptor) -> Result<ByTaste, rustls::Error> {
        let versions: &[_] = match self.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let asking = self.asking.clone().map(|asking| asking as Arc<dyn ClientCertVerifier>);
        let mut config = acceptor.build(versions, asking)?;
        config.send_tls13_tickets = if self.tickets.seals() { super::TICKETS_GIVEN } else { 0 };
        config.ticketer = Arc::clone(&self.tickets) as _;
        Ok(ByTaste::of(config))
    }
}

impl Rules {
    /// Compiles the rules of a snapshot, whose table is `table`. Cost: proportional to its routes.
    pub(crate) fn compile(snapshot: &Snapshot, table: &RouteTable) -> Self {
        let secrets = Arc::new(Secrets::of(snapshot));
        let mut rules = Self {
            hosts: Arc::default(),
            setups: HashMap::new(),
            gates: HashMap::new(),
            usual: Arc::new(Setup::usual(&secrets)),
            secrets,
            challenges: Arc::new(Challenges::of(snapshot)),
        };
        let asking: BTreeSet<_> =
            table.routes().filter(|route| asks(route)).map(|route| &route.host).collect();
        rules.change(table, asking.into_iter().cloned());
        rules
    }

    /// The rules of `new`, derived from these, which are `old`'s. Cost: proportional to the delta and to the hosts that
    /// have rules.
    pub(crate) fn recompile(
        &self,
        old: &Snapshot,
        new: &Snapshot,
        table: &RouteTable,
        delta: &Delta,
    ) -> Self {
        let keys = || delta.upserts.iter().map(|object| object.key()).chain(delta.removals.iter().copied());
        let touches = |kind| keys().any(|key| key.kind == kind);
        let challenges = if touches(Kind::CHALLENGE) {
            Arc::new(Challenges::of(new))
        } else {
            Arc::clone(&self.challenges)
        };
        let has_new_keys = touches(Kind::TICKET_KEY);
        let mut rules = Self { challenges, ..self.share() };
        if has_new_keys {
            rules.secrets = Arc::new(Secrets::of(new));
            rules.usual = Arc::new(Setup::usual(&rules.secrets));
            rules.setups = HashMap::new();
        }
        let routes = keys().filter(|key| key.kind == Kind::ROUTE);
        let mut touched: BTreeSet<HostPattern> = routes
            .flat_map(|key| [route(old, key), route(new, key)])
            .flatten()
            .filter(|route| asks(route) || self.hosts.contains_key(&route.host))
            .map(|route| route.host)
            .collect();
        if has_new_keys {
            touched.extend(self.hosts.keys().cloned());
        }
        rules.change(table, touched.into_iter());
        rules
    }

    fn share(&self) -> Self {
        Self {
            hosts: Arc::clone(&self.hosts),
            setups: self.setups.clone(),
            gates: self.gates.clone(),
            secrets: Arc::clone(&self.secrets),
            usual: Arc::clone(&self.usual),
            challenges: Arc::clone(&self.challenges),
        }
    }

    /// Makes the rules of these hosts anew.
    fn change(&mut self, table: &RouteTable, patterns: impl ExactSizeIterator<Item = HostPattern>) {
        if patterns.len() == 0 {
            return;
        }
        let mut hosts = HashMap::clone(&self.hosts);
        for pattern in patterns {
            match self.rule(table, &pattern) {
                Some(rule) => hosts.insert(pattern, rule),
                None => hosts.remove(&pattern),
            };
        }
        self.hosts = Arc::new(hosts);
        let terms = || self.hosts.values().filter_map(Rule::terms);
        let setups: HashSet<_> = terms().map(|terms| terms.setup.digest).collect();
        let gates: HashSet<_> = terms().flat_map(|terms| &terms.gates).map(|(_, gate)| gate.digest).collect();
        self.setups.retain(|digest, _| setups.contains(digest));
        self.gates.retain(|digest, _| gates.contains(digest));
    }

    fn rule(&mut self, table: &RouteTable, pattern: &HostPattern) -> Option<Rule> {
        let mut gates = Vec::new();
        let mut min_version = TlsVersion::default();
        let mut is_mandatory = true;
        for route in table.routes_of(pattern) {
            if route.tls == TlsMode::Passthrough {
                return Some(Rule::Passthrough(Arc::clone(route)));
            }
            let policy = route.tls_policy.as_deref();
            min_version = min_version.max(policy.map_or(TlsVersion::default(), |policy| policy.min_version));
            match policy.and_then(|policy| policy.clients.as_ref()) {
                Some(asked) => {
                    let known = self.gates.entry(clients::digest(asked));
                    gates.push((route.id, Arc::clone(known.or_insert_with(|| Arc::new(Gate::new(asked))))));
                }
                None => is_mandatory = false,
            }
        }
        if gates.is_empty() && min_version == TlsVersion::default() {
            return None;
        }
        // The table keeps no order that two gateways would share.
        gates.sort_by_key(|(id, _)| *id);
        let setup = self.setup(min_version, &gates, is_mandatory);
        Some(Rule::Terms(Arc::new(Terms { setup, gates: gates.into() })))
    }

    fn setup(
        &mut self,
        min_version: TlsVersion,
        gates: &[(RouteId, Arc<Gate>)],
        is_mandatory: bool,
    ) -> Arc<Setup> {
        let mut distinct: Vec<Arc<Gate>> = gates.iter().map(|(_, gate)| Arc::clone(gate)).collect();
        distinct.sort_by_key(|gate| gate.digest);
        distinct.dedup_by_key(|gate| gate.digest);
        let mut hash = Sha256::new();
        hash.update(b"policy");
        hash.update([u8::from(min_version == TlsVersion::Tls13), u8::from(is_mandatory)]);
        for gate in &distinct {
            hash.update(gate.digest);
        }
        let digest: Digest = hash.finalize().into();
        let secrets = &self.secrets;
        let make = || {
            let asking = (!distinct.is_empty()).then(|| Arc::new(Asking::new(distinct.into(), is_mandatory)));
            Arc::new(Setup::new(digest, &digest, min_version, asking, secrets))
        };
        Arc::clone(self.setups.entry(digest).or_insert_with(make))
    }

    /// The rule for a name, if there is any.
    pub(super) fn of(&self, table: &RouteTable, host: &str) -> Option<&Rule> {
        // Most gateways have none.
        if self.hosts.is_empty() {
            return None;
        }
        self.hosts.get(table.pattern(host)?)
    }

    /// Whether requests for `host` may come by a connection with this handshake: it asked what the host's would have.
    pub(crate) fn admits(&self, table: &RouteTable, secured: &SecuredMeta, host: &str) -> bool {
        let terms = match self.of(table, host) {
            None => return true,
            Some(Rule::Passthrough(_)) => return false,
            Some(Rule::Terms(terms)) => terms,
        };
        let asked = secured.sni.as_deref().and_then(|sni| self.of(table, sni)).and_then(Rule::terms);
        let is_asked_the_same = asked.is_some_and(|asked| asked.setup.digest == terms.setup.digest);
        let is_new_enough = terms.setup.min_version == TlsVersion::Tls12 || secured.agreed.is_tls_1_3();
        is_asked_the_same && is_new_enough
    }

    /// What `route` demands of client certificates; `None` where nothing could satisfy it.
    pub(crate) fn gate(&self, route: &Route) -> Option<&Arc<Gate>> {
        let terms = self.hosts.get(&route.host)?.terms()?;
        let at = terms.gates.binary_search_by_key(&route.id, |(id, _)| *id).ok()?;
        terms.gates.get(at).map(|(_, gate)| gate)
    }

    /// When the next list of revoked certificates expires after `now`, both in Unix seconds.
    pub(crate) fn next_end(&self, now: i64) -> Option<i64> {
        self.gates.values().filter_map(|gate| gate.end()).filter(|end| *end > now).min()
    }

    /// What is wrong now, each named.
    pub(crate) fn degraded(&self) -> Vec<String> {
        let mut degraded: Vec<String> = self.secrets.faults.clone();
        degraded.extend(self.challenges.faults.iter().cloned());
        let mut shut: Vec<(&HostPattern, RouteId, &Gate)> = Vec::new();
        for (pattern, rule) in self.hosts.iter() {
            let gates = rule.terms().into_iter().flat_map(|terms| &terms.gates);
            shut.extend(gates.map(|(id, gate)| (pattern, *id, &**gate)));
        }
        shut.sort_by_key(|(_, id, _)| *id);
        let now = clients::now();
        for (pattern, id, gate) in shut {
            if let Some(why) = gate.shut(now) {
                degraded.push(format!("route {id} ({pattern}) is closed: {why}"));
            }
        }
        degraded
    }
}

impl Rule {
    fn terms(&self) -> Option<&Terms> {
        match self {
            Self::Passthrough(_) => None,
            Self::Terms(terms) => Some(terms),
        }
    }
}

/// Whether a route asks for more than usual.
fn asks(route: &Route) -> bool {
    route.tls == TlsMode::Passthrough || route.tls_policy.is_some()
}

fn route(snapshot: &Snapshot, key: ObjectKey) -> Option<Route> {
    match snapshot.get(key)?.decode() {
        Ok(Value::Route(route)) => Some(route),
        // What cannot be read was refused with the table.
        Ok(_) | Err(_) => None,
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rules({} hosts, {:?})", self.hosts.len(), self.challenges)
    }
}

#[cfg(test)]
mod tests;

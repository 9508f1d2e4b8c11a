//! Names of endpoints to addresses, for as long as the answer says.
//!
//! Each worker keeps its own answers, so nobody waits for a lock: a name costs one look-up per worker and life of the
//! answer. Requests for one name share one look-up. A name in use is looked up again before its answer ends, so only the
//! first request waits. An answer that says that the name is not there counts at once. When the resolver fails, the last
//! addresses are used for [`limits::RESOLVED_STALE_MS`] more; without any, requests fail at once until it is asked
//! again. A request that waits holds up nobody else.

mod system;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use config::limits;
use config::name::HostName;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::fault::{Cause, Fault, Kind, Retry};
use crate::worker::Worker;

/// One worker's answers.
#[derive(Default)]
pub(super) struct Resolver {
    names: RefCell<HashMap<HostName, Rc<Name>>>,
    source: Rc<system::Source>,
    flights: Rc<Cell<usize>>,
}

/// What is known of one name.
#[derive(Debug)]
pub(super) struct Name {
    host: HostName,
    known: RefCell<Known>,
    is_in_flight: Cell<bool>,
    landed: Notify,
}

#[derive(Debug)]
struct Known {
    /// The last good answer; empty before the first, and once the name is known to be gone.
    ips: Rc<[IpAddr]>,
    /// When the answer is to be renewed, when it ends, and until when it may stand in for one that cannot be had.
    renew: Instant,
    ends: Instant,
    stale_ends: Instant,
    /// Why the last look-up failed, and until when that is answer enough.
    failed: Option<(Rc<str>, Instant)>,
    /// Failures in a row.
    failures: u32,
}

/// Where a name led when a connection was made.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: Rc<Name>,
    pub(super) ip: IpAddr,
}

impl Place {
    /// Whether the name still leads there.
    pub(super) fn is_current(&self) -> bool {
        self.name.known.borrow().ips.contains(&self.ip)
    }
}

/// What a look-up brought.
enum Found {
    /// Addresses, good for so long.
    Addresses(Rc<[IpAddr]>, Duration),
    /// The name is not there, or has no address; good for so long.
    Nothing(Duration),
    /// Nobody could say.
    Failed(String),
}

/// What is known of a name at one moment.
enum Answer {
    Addresses(Rc<[IpAddr]>),
    Failed(Rc<str>),
    Unknown,
}

impl Name {
    fn new(host: HostName) -> Rc<Self> {
        let now = Instant::now();
        let known =
            Known { ips: Rc::from([]), renew: now, ends: now, stale_ends: now, failed: None, failures: 0 };
        Rc::new(Self {
            host,
            known: RefCell::new(known),
            is_in_flight: Cell::new(false),
            landed: Notify::new(),
        })
    }

    fn answer(&self, now: Instant) -> Answer {
        let known = self.known.borrow();
        let has_stale = !known.ips.is_empty() && now < known.stale_ends;
        match &known.failed {
            None if now < known.ends => Answer::Addresses(Rc::clone(&known.ips)),
            // While the resolver fails nobody waits for it again and again.
            Some(_) if has_stale => Answer::Addresses(Rc::clone(&known.ips)),
            Some((cause, until)) if now < *until => Answer::Failed(Rc::clone(cause)),
            Some(_) | None => Answer::Unknown,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.is_in_flight.get() && {
            let known = self.known.borrow();
            now >= known.failed.as_ref().map_or(known.renew, |(_, until)| *until)
        }
    }

    /// Takes in what a look-up brought. Returns whether an address went.
    fn land(&self, found: Found, now: Instant) -> bool {
        let mut known = self.known.borrow_mut();
        match found {
            Found::Addresses(ips, life) => {
                let went = known.ips.iter().any(|ip| !ips.contains(ip));
                known.ips = ips;
                known.renew = now + life * 4 / 5;
                known.ends = now + life;
                known.stale_ends = now + life + Duration::from_millis(limits::RESOLVED_STALE_MS);
                known.failed = None;
                known.failures = 0;
                went
            }
            Found::Nothing(life) => {
                let went = !known.ips.is_empty();
                known.ips = Rc::from([]);
                known.failed = Some((Rc::from("there is no such name, or it has no address"), now + life));
                known.failures = 0;
                went
            }
            Found::Failed(cause) => {
                let (first, longest) = limits::RESOLVER_RETRY_MS;
                let pause = first.saturating_mul(1 << known.failures.min(16)).min(longest);
                known.failures = known.failures.saturating_add(1);
                known.failed = Some((Rc::from(cause), now + Duration::from_millis(pause)));
                false
            }
        }
    }
}

impl Resolver {
    fn name(&self, host: &HostName) -> Rc<Name> {
        let mut names = self.names.borrow_mut();
        if let Some(name) = names.get(host) {
            return Rc::clone(name);
        }
        let name = Name::new(host.clone());
        if names.len() >= limits::RESOLVED_NAMES_MAX {
            let now = Instant::now();
            names.retain(|_, name| Rc::strong_count(name) > 1 || now < name.known.borrow().ends);
        }
        if names.len() < limits::RESOLVED_NAMES_MAX {
            names.insert(host.clone(), Rc::clone(&name));
        }
        name
    }

    /// A resolver that asks `source`.
    #[cfg(test)]
    pub(super) fn asking(source: system::Source) -> Self {
        Self { source: Rc::new(source), ..Self::default() }
    }
}

/// Where `host` is; never empty.
///
/// Errors: an upstream fault that is safe to try elsewhere.
pub(super) async fn addresses(
    worker: &Rc<Worker>,
    host: &HostName,
) -> Result<(Rc<Name>, Rc<[IpAddr]>), Fault> {
    let name = worker.upstream.resolver.name(host);
    loop {
        match name.answer(Instant::now()) {
            Answer::Addresses(ips) => {
                renew(worker, &name);
                return Ok((name, ips));
            }
            Answer::Failed(cause) => return Err(unresolved(&format!("{host} does not resolve: {cause}"))),
            Answer::Unknown => {
                let landed = name.landed.notified();
                if !name.is_in_flight.get() && !take_off(worker, &name) {
                    let rule = Cause::Rule("too many names are being looked up");
                    return Err(Fault::upstream(Kind::Unresolved, Retry::Safe, rule));
                }
                landed.await;
            }
        }
    }
}

/// Keeps the name of a connection in use up to date.
pub(super) fn touch(worker: &Rc<Worker>, place: &Place) {
    renew(worker, &place.name);
}

fn renew(worker: &Rc<Worker>, name: &Rc<Name>) {
    if name.is_due(Instant::now()) {
        // With too many under way the answer at hand stays in use until it ends.
        take_off(worker, name);
    }
}

fn unresolved(cause: &str) -> Fault {
    Fault::upstream(Kind::Unresolved, Retry::Safe, std::io::Error::other(cause))
}

/// Looks a name up in a task of its own, which no request that gives up takes down with it. Returns whether it was begun.
fn take_off(worker: &Rc<Worker>, name: &Rc<Name>) -> bool {
    let resolver = &worker.upstream.resolver;
    if resolver.flights.get() >= limits::RESOLVING_MAX {
        return false;
    }
    let flight = Flight::begin(&resolver.flights, name);
    let source = Rc::clone(&resolver.source);
    let worker = Rc::downgrade(worker);
    tokio::task::spawn_local(async move {
        let found = source.look_up(&flight.name.host).await;
        if flight.name.land(found, Instant::now())
            && let Some(worker) = worker.upgrade()
        {
            worker.upstream.pool.leave_moved();
        }
    });
    true
}

/// One look-up under way. Its end wakes those who wait, however it ends.
struct Flight {
    flights: Rc<Cell<usize>>,
    name: Rc<Name>,
}

impl Flight {
    fn begin(flights: &Rc<Cell<usize>>, name: &Rc<Name>) -> Self {
        flights.set(flights.get() + 1);
        name.is_in_flight.set(true);
        Self { flights: Rc::clone(flights), name: Rc::clone(name) }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.set(self.flights.get() - 1);
        self.name.is_in_flight.set(false);
        self.name.landed.notify_waiters();
    }
}

#[cfg(test)]
pub(super) mod tests;

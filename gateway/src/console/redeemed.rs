//! Which tickets were redeemed, until they expire: each opens one session.
//!
//! One table for all workers behind a lock; opening a console is rare. What an earlier process redeemed is known only if it
//! handed its table over; otherwise tickets that were made before this one started open nothing.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use config::id::SessionId;
use config::limits;
use config::snapshot::ConsoleKind;
use config::ticket::Claims;

use super::ticket::Refusal;
use crate::upgrade::manifest::{self, Tickets};

/// What is known of the browser that shows a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Browser {
    /// Where it is.
    pub(crate) source: IpAddr,
    /// A digest of what it calls itself.
    pub(crate) agent: u64,
}

/// The redeemed tickets of one gateway process.
pub struct Redeemed {
    max: usize,
    table: Mutex<Table>,
}

struct Table {
    /// Tickets of before that moment open nothing.
    since_ms: u64,
    /// Makes digests of browsers' names ours alone.
    key: [u64; 2],
    /// Another process redeems from now on.
    handed: bool,
    used: HashMap<SessionId, Used>,
    /// When so many are remembered, those that expired are looked for.
    sweep_at: usize,
}

struct Used {
    by: Browser,
    at_ms: u64,
    forget_ms: u64,
    /// The session in the registry that it opened last.
    session: Option<SessionId>,
}

/// Least number of tickets between two sweeps.
const SWEEP_MIN: usize = 1_024;

impl Default for Redeemed {
    fn default() -> Self {
        Self::since(now_ms(), limits::TICKETS_REDEEMED_MAX)
    }
}

impl Redeemed {
    /// Nothing redeemed since `started_ms`, room for `max`.
    pub(crate) fn since(started_ms: u64, max: usize) -> Self {
        let table = Table {
            since_ms: started_ms,
            key: rand::random(),
            handed: false,
            used: HashMap::new(),
            sweep_at: 0,
        };
        Self { max, table: Mutex::new(table) }
    }

    /// A digest of what a browser calls itself; the same in every worker, and nothing that a stranger could aim at.
    pub(crate) fn digest<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> u64 {
        let [one, other] = self.table().key;
        let mut digest = DefaultHasher::new();
        digest.write_u64(one);
        digest.write_u64(other);
        names.for_each(|name| digest.write(name));
        digest.finish()
    }

    /// What the process that takes over has to know. No ticket is redeemed here any more.
    pub(crate) fn hand_over(&self) -> Tickets {
        let mut table = self.table();
        table.handed = true;
        let used = table.used.iter().map(|(session, used)| manifest::Used {
            session: session.to_string(),
            source: used.by.source,
            agent: used.by.agent,
            at_ms: used.at_ms,
            forget_ms: used.forget_ms,
        });
        Tickets { since_ms: table.since_ms, key: table.key, used: used.collect() }
    }

    /// Nobody took over.
    pub(crate) fn take_back(&self) {
        self.table().handed = false;
    }

    /// Goes on with what the process before knew.
    pub(crate) fn inherit(&self, tickets: &Tickets) {
        let mut table = self.table();
        (table.since_ms, table.key) = (tickets.since_ms, tickets.key);
        for one in &tickets.used {
            // Never half a table: what cannot be told apart was redeemed by nobody we know.
            let Ok(session) = one.session.parse() else {
                table.since_ms = now_ms();
                continue;
            };
            let by = Browser { source: one.source, agent: one.agent };
            let used = Used { by, at_ms: one.at_ms, forget_ms: one.forget_ms, session: None };
            table.used.insert(session, used);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redeems a ticket that was verified: of several who show it at once, one gets it. A VNC ticket may be shown again
    /// for a short time by the same browser; the session that it opened before is returned, to be ended.
    pub(crate) fn redeem(
        &self,
        claims: &Claims,
        by: Browser,
        now_ms: u64,
    ) -> Result<Option<SessionId>, Refusal> {
        let mut table = self.table();
        table.sweep(now_ms);
        let len = table.used.len();
        let unused = table.check_unused(claims, now_ms);
        match table.used.entry(claims.session) {
            Entry::Occupied(entry) => {
                let used = entry.get();
                let is_again = claims.kind == ConsoleKind::Vnc
                    && used.by == by
                    && now_ms.saturating_sub(used.at_ms) < limits::TICKET_AGAIN_MS;
                if is_again { Ok(used.session) } else { Err(Refusal::Used) }
            }
            Entry::Vacant(entry) => {
                unused?;
                // Never by forgetting one that could be shown again.
                if len >= self.max {
                    return Err(Refusal::Full);
                }
                let forget_ms = claims.expires_ms.max(now_ms.saturating_add(limits::TICKET_AGAIN_MS));
                entry.insert(Used { by, at_ms: now_ms, forget_ms, session: None });
                Ok(None)
            }
        }
    }

    /// Notes a ticket that another gateway redeemed for this browser; the session that it opened here before is
    /// returned, to be ended.
    pub(crate) fn adopt(&self, claims: &Claims, by: Browser, now_ms: u64) -> Option<SessionId> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.sweep(now_ms);
        // The other gateway is the judge: without room here, a browser that comes again keeps two sessions for a while.
        if table.used.len() >= self.max {
            return None;
        }
        let forget_ms = claims.expires_ms.max(now_ms).saturating_add(limits::TICKET_AGAIN_MS);
        let fresh = Used { by, at_ms: now_ms, forget_ms, session: None };
        table.used.entry(claims.session).or_insert(fresh).session
    }

    /// What redeeming would answer, without doing it.
    pub(crate) fn check(&self, claims: &Claims, by: Browser, now_ms: u64) -> Result<(), Refusal> {
        let table = self.table();
        match table.used.get(&claims.session) {
            None => table.check_unused(claims, now_ms),
            Some(used)
                if claims.kind == ConsoleKind::Vnc
                    && used.by == by
                    && now_ms.saturating_sub(used.at_ms) < limits::TICKET_AGAIN_MS =>
            {
                Ok(())
            }
            Some(_) => Err(Refusal::Used),
        }
    }

    /// Notes the session that a redeemed ticket opened.
    pub(crate) fn opened(&self, claims: &Claims, session: SessionId) {
        let mut table = self.table();
        if let Some(used) = table.used.get_mut(&claims.session) {
            used.session = Some(session);
        }
    }
}

impl Table {
    const fn check_unused(&self, claims: &Claims, now_ms: u64) -> Result<(), Refusal> {
        if claims.expires_ms <= now_ms {
            return Err(Refusal::Expired);
        }
        if claims.issued_ms < self.since_ms {
            return Err(Refusal::BeforeStart);
        }
        if self.handed {
            return Err(Refusal::Moved);
        }
        Ok(())
    }

    fn sweep(&mut self, now_ms: u64) {
        if self.used.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.used.retain(|_, used| used.forget_ms > now_ms);
            self.sweep_at = self.used.len().saturating_add(SWEEP_MIN);
        }
    }
}

/// Milliseconds since 1970 UTC.
pub(crate) fn now_ms() -> u64 {
    let passed = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::id::{ConsoleId, GatewayId, VmId};

    const NOW: u64 = 1_800_000_000_000;
    const HERE: Browser = Browser { source: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), agent: 1 };

    fn claims(session: u16, kind: ConsoleKind) -> Claims {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&session.to_be_bytes());
        Claims {
            session: SessionId::from_bytes(id),
            user: None,
            vm: VmId::from_bytes([1; 16]),
            console: ConsoleId::from_bytes([1; 16]),
            kind,
            read_only: false,
            source: None,
            gateway: GatewayId::from_bytes([1; 16]),
            issued_ms: NOW,
            expires_ms: NOW + limits::TICKET_LIFE_MS,
        }
    }

    fn redeemed() -> Redeemed {
        Redeemed::since(NOW, 10_000)
    }

    #[test]
    fn of_many_who_show_one_ticket_at_once_exactly_one_wins() {
        let redeemed = redeemed();
        let claims = claims(1, ConsoleKind::Ttyd);
        let won: usize = std::thread::scope(|scope| {
            let shows = |agent| {
                scope.spawn({
                    let redeemed = &redeemed;
                    move || usize::from(redeemed.redeem(&claims, Browser { agent, ..HERE }, NOW).is_ok())
                })
            };
            let all: Vec<_> = (0..16).map(shows).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
    }

    #[test]
    fn a_vnc_ticket_serves_the_same_browser_again_for_a_while_and_ends_its_first_session() {
        let redeemed = redeemed();
        let claims = claims(1, ConsoleKind::Vnc);
        assert_eq!(redeemed.redeem(&claims, HERE, NOW + 59_000), Ok(None));
        redeemed.opened(&claims, SessionId::from_bytes([7; 16]));

        let again = redeemed.redeem(&claims, HERE, NOW + 59_000 + limits::TICKET_AGAIN_MS - 1);
        assert_eq!(again, Ok(Some(SessionId::from_bytes([7; 16]))));
        let late = redeemed.redeem(&claims, HERE, NOW + 59_000 + limits::TICKET_AGAIN_MS);
        assert_eq!(late, Err(Refusal::Used));
        for other in [Browser { agent: 2, ..HERE }, Browser { source: [10, 0, 0, 1].into(), ..HERE }] {
            assert_eq!(redeemed.redeem(&claims, other, NOW + 59_001), Err(Refusal::Used));
        }
    }

    #[test]
    fn a_terminals_ticket_serves_once() {
        let redeemed = redeemed();
        let claims = claims(1, ConsoleKind::Ttyd);
        assert_eq!(redeemed.check(&claims, HERE, NOW), Ok(()));
        assert_eq!(redeemed.redeem(&claims, HERE, NOW), Ok(None));
        assert_eq!(redeemed.check(&claims, HERE, NOW), Err(Refusal::Used));
        assert_eq!(redeemed.redeem(&claims, HERE, NOW), Err(Refusal::Used));
    }

    #[test]
    fn a_ticket_of_before_the_start_or_after_its_end_opens_nothing() {
        let redeemed = redeemed();
        let old = Claims { issued_ms: NOW - 1, ..claims(1, ConsoleKind::Vnc) };
        assert_eq!(redeemed.redeem(&old, HERE, NOW), Err(Refusal::BeforeStart));
        let claims = claims(2, ConsoleKind::Vnc);
        assert_eq!(redeemed.redeem(&claims, HERE, claims.expires_ms), Err(Refusal::Expired));
    }

    #[test]
    fn what_was_redeemed_before_an_upgrade_stays_redeemed_and_the_browser_is_known_again() {
        let (old, new) = (redeemed(), Redeemed::since(NOW + 5_000, 10_000));
        let agent = old.digest([&b"a browser"[..]].into_iter());
        let by = Browser { agent, ..HERE };
        let (vnc, ttyd) = (claims(1, ConsoleKind::Vnc), claims(2, ConsoleKind::Ttyd));
        old.redeem(&vnc, by, NOW).unwrap();
        old.redeem(&ttyd, by, NOW).unwrap();

        new.inherit(&old.hand_over());

        assert_eq!(new.digest([&b"a browser"[..]].into_iter()), agent);
        assert_eq!(new.redeem(&vnc, by, NOW + 1), Ok(None));
        assert_eq!(new.redeem(&vnc, HERE, NOW + 1), Err(Refusal::Used));
        assert_eq!(new.redeem(&ttyd, by, NOW + 1), Err(Refusal::Used));
        // Made before the new process started, and shown to it for the first time.
        assert_eq!(new.redeem(&claims(3, ConsoleKind::Ttyd), by, NOW + 1), Ok(None));
        let late = claims(4, ConsoleKind::Ttyd);
        assert_eq!(old.redeem(&late, by, NOW + 1), Err(Refusal::Moved));
        old.take_back();
        assert_eq!(old.redeem(&late, by, NOW + 1), Ok(None));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_only_what_expired() {
        let redeemed = Redeemed::since(NOW, 2_000);
        for number in 0..2_000 {
            assert!(redeemed.redeem(&claims(number, ConsoleKind::Vnc), HERE, NOW).is_ok());
        }
        let one_more = claims(2_000, ConsoleKind::Vnc);
        assert_eq!(redeemed.redeem(&one_more, HERE, NOW + 1), Err(Refusal::Full));
        let later = NOW + limits::TICKET_LIFE_MS;
        let next = Claims { issued_ms: later, expires_ms: later + 1_000, ..one_more };
        // The sweep comes with the number of tickets, and here it has to come at once.
        redeemed.table().sweep_at = 0;
        assert!(redeemed.redeem(&next, HERE, later).is_ok());
        assert_eq!(redeemed.table().used.len(), 1);
    }
}

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
use crate::clock::now_ms;
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
    /// The session that it opened last, or is about to open.
    session: SessionId,
}

/// What a ticket opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The session that it opens: the ticket's own at its first show, as audit rows name it. Nobody else gets this one.
    pub(crate) session: SessionId,
    /// The session that it opened before, which has to end.
    pub(crate) before: Option<SessionId>,
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
            opened: Some(used.session.to_string()),
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
            let opened = one.opened.as_ref().and_then(|opened| opened.parse().ok()).unwrap_or(session);
            let used = Used { by, at_ms: one.at_ms, forget_ms: one.forget_ms, session: opened };
            table.used.insert(session, used);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redeems a ticket that was verified: of several who show it at once, one gets it. A VNC ticket may be shown again
    /// for a short time by the same browser.
    ///
    /// The session is taken here, before it is open: who comes again meanwhile learns of it, and [`Redeemed::opened`]
    /// tells the first.
    pub(crate) fn redeem(&self, claims: &Claims, by: Browser, now_ms: u64) -> Result<Granted, Refusal> {
        let mut table = self.table();
        table.sweep(now_ms);
        table.check(claims, by, now_ms)?;
        // The clock of control may be ahead of ours. What is redeemed has to be older than the process that starts after
        // a crash and remembers nothing.
        if claims.issued_ms > now_ms {
            return Err(Refusal::Early);
        }
        let len = table.used.len();
        match table.used.entry(claims.session) {
            Entry::Occupied(mut entry) => Ok(entry.get_mut().again()),
            // Never by forgetting one that could be shown again.
            Entry::Vacant(_) if len >= self.max => Err(Refusal::Full),
            Entry::Vacant(entry) => {
                let forget_ms = claims.expires_ms.max(now_ms.saturating_add(limits::TICKET_AGAIN_MS));
                entry.insert(Used { by, at_ms: now_ms, forget_ms, session: claims.session });
                Ok(Granted { session: claims.session, before: None })
            }
        }
    }

    /// Notes a ticket that another gateway redeemed for this browser.
    pub(crate) fn adopt(&self, claims: &Claims, by: Browser, now_ms: u64) -> Granted {
        let mut table = self.table();
        table.sweep(now_ms);
        let len = table.used.len();
        match table.used.entry(claims.session) {
            Entry::Occupied(mut entry) => entry.get_mut().again(),
            // The other gateway is the judge: without room here, a browser that comes again keeps two sessions for a
            // while.
            Entry::Vacant(_) if len >= self.max => Granted { session: new_session(), before: None },
            Entry::Vacant(entry) => {
                let forget_ms = claims.expires_ms.max(now_ms).saturating_add(limits::TICKET_AGAIN_MS);
                entry.insert(Used { by, at_ms: now_ms, forget_ms, session: claims.session });
                Granted { session: claims.session, before: None }
            }
        }
    }

    /// What redeeming would answer, without doing it.
    pub(crate) fn check(&self, claims: &Claims, by: Browser, now_ms: u64) -> Result<(), Refusal> {
        self.table().check(claims, by, now_ms)
    }

    /// Says that what a ticket was granted is open, as this session. `false` if its browser came again meanwhile: then
    /// the session is over before it began.
    pub(crate) fn opened(&self, claims: &Claims, granted: &Granted, session: SessionId) -> bool {
        match self.table().used.get_mut(&claims.session) {
            Some(used) if used.session == granted.session => {
                used.session = session;
                true
            }
            Some(_) => false,
            // There was no room to note it.
            None => true,
        }
    }
}

fn new_session() -> SessionId {
    SessionId::from_uuid(uuid::Uuid::now_v7())
}

impl Used {
    /// Gives the ticket another session: the browser came again.
    fn again(&mut self) -> Granted {
        let session = new_session();
        Granted { session, before: Some(std::mem::replace(&mut self.session, session)) }
    }
}

impl Table {
    fn check(&self, claims: &Claims, by: Browser, now_ms: u64) -> Result<(), Refusal> {
        let Some(used) = self.used.get(&claims.session) else { return self.check_unused(claims, now_ms) };
        let is_again = claims.kind == ConsoleKind::Vnc
            && used.by == by
            && now_ms.saturating_sub(used.at_ms) < limits::TICKET_AGAIN_MS;
        match is_again {
            // Here nobody would learn of it who judges from now on.
            true if self.handed => Err(Refusal::Moved),
            true => Ok(()),
            false => Err(Refusal::Used),
        }
    }

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
        let first = redeemed.redeem(&claims, HERE, NOW + 59_000).unwrap();
        assert_eq!(first, Granted { session: claims.session, before: None });
        assert!(redeemed.opened(&claims, &first, SessionId::from_bytes([7; 16])));

        let again = redeemed.redeem(&claims, HERE, NOW + 59_000 + limits::TICKET_AGAIN_MS - 1).unwrap();
        assert_eq!(again.before, Some(SessionId::from_bytes([7; 16])));
        let late = redeemed.redeem(&claims, HERE, NOW + 59_000 + limits::TICKET_AGAIN_MS);
        assert_eq!(late, Err(Refusal::Used));
        for other in [Browser { agent: 2, ..HERE }, Browser { source: [10, 0, 0, 1].into(), ..HERE }] {
            assert_eq!(redeemed.redeem(&claims, other, NOW + 59_001), Err(Refusal::Used));
        }
    }

    #[test]
    fn of_two_shows_before_either_is_open_the_later_one_stays() {
        let redeemed = redeemed();
        let claims = claims(1, ConsoleKind::Vnc);
        for grant in [Redeemed::redeem, |redeemed: &Redeemed, claims: &Claims, by, now| {
            Ok(redeemed.adopt(claims, by, now))
        }] {
            let first = grant(&redeemed, &claims, HERE, NOW).unwrap();
            let second = grant(&redeemed, &claims, HERE, NOW).unwrap();

            assert_ne!(first.session, second.session);
            assert_eq!(second.before, Some(first.session));
            assert!(!redeemed.opened(&claims, &first, first.session), "it is over before it began");
            assert!(redeemed.opened(&claims, &second, second.session));
        }
    }

    #[test]
    fn a_terminals_ticket_serves_once() {
        let redeemed = redeemed();
        let claims = claims(1, ConsoleKind::Ttyd);
        assert_eq!(redeemed.check(&claims, HERE, NOW), Ok(()));
        assert!(redeemed.redeem(&claims, HERE, NOW).is_ok());
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
    fn what_was_redeemed_before_a_crash_stays_redeemed_though_controls_clock_is_ahead() {
        let ahead = limits::TICKET_CLOCK_SKEW_MS;
        let claims = Claims { issued_ms: NOW + ahead, ..claims(1, ConsoleKind::Ttyd) };
        let mut opened = 0;
        for now in NOW..=NOW + ahead {
            match redeemed().redeem(&claims, HERE, now) {
                Ok(_) => opened += 1,
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::Early);
                    continue;
                }
            }
            let next = Redeemed::since(now + 1, 10_000);
            assert_eq!(next.redeem(&claims, HERE, now + 1), Err(Refusal::BeforeStart), "{}", now - NOW);
        }
        assert_eq!(opened, 1, "once our clock has come so far");
    }

    #[test]
    fn what_was_redeemed_before_an_upgrade_stays_redeemed_and_the_browser_is_known_again() {
        let (old, new) = (redeemed(), Redeemed::since(NOW + 5_000, 10_000));
        let agent = old.digest([&b"a browser"[..]].into_iter());
        let by = Browser { agent, ..HERE };
        let (vnc, ttyd) = (claims(1, ConsoleKind::Vnc), claims(2, ConsoleKind::Ttyd));
        let opened = SessionId::from_bytes([7; 16]);
        assert!(old.opened(&vnc, &old.redeem(&vnc, by, NOW).unwrap(), opened));
        old.redeem(&ttyd, by, NOW).unwrap();

        new.inherit(&old.hand_over());

        assert_eq!(new.digest([&b"a browser"[..]].into_iter()), agent);
        // Its session is the old process's, which has to be told.
        assert_eq!(new.redeem(&vnc, by, NOW + 1).unwrap().before, Some(opened));
        assert_eq!(new.redeem(&vnc, HERE, NOW + 1), Err(Refusal::Used));
        assert_eq!(new.redeem(&ttyd, by, NOW + 1), Err(Refusal::Used));
        // Made before the new process started, and shown to it for the first time.
        assert!(new.redeem(&claims(3, ConsoleKind::Ttyd), by, NOW + 1).is_ok());
        let late = claims(4, ConsoleKind::Ttyd);
        for moved in [late, vnc] {
            assert_eq!(old.redeem(&moved, by, NOW + 1), Err(Refusal::Moved));
            assert_eq!(old.check(&moved, by, NOW + 1), Err(Refusal::Moved));
        }
        assert_eq!(old.redeem(&ttyd, by, NOW + 1), Err(Refusal::Used));
        old.take_back();
        for back in [late, vnc] {
            assert!(old.redeem(&back, by, NOW + 1).is_ok());
        }
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

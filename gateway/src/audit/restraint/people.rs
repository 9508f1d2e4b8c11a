//! People, each on their own: the first so many events of each kind are told whatever they are of, then the first of each
//! target, and the rest is counted by target.

use std::collections::HashMap;
use std::net::IpAddr;

use config::limits;
use config::sync::audit::{AuditEvent, Carried, On, What, Who};

use super::{behind, summary};

/// What people did in this span.
#[derive(Default)]
pub(super) struct People(HashMap<(What, Who), Group>);

/// Events of one person and one kind.
#[derive(Default)]
struct Group {
    told: u32,
    named: HashMap<Name, Option<Silent>>,
    others: Option<Silent>,
}

/// What one event has in common with others that may stand for it.
#[derive(PartialEq, Eq, Hash)]
struct Name {
    on: On,
    proof: String,
    source: IpAddr,
}

/// Events that were only counted.
struct Silent {
    count: u32,
    /// With what all of them carried.
    last: AuditEvent,
}

impl People {
    /// Whether an event is told at once; otherwise it is counted.
    pub(super) fn admit(&mut self, event: &AuditEvent) -> bool {
        self.0.entry((event.what, event.who)).or_default().admit(event)
    }

    /// What was counted.
    pub(super) fn sum_up(self) -> impl Iterator<Item = AuditEvent> {
        self.0.into_values().flat_map(|group| {
            let named = group.named.into_values().flatten().map(|silent| silent.told(""));
            named
                .chain(group.others.map(|silent| silent.without_target().told(", to others than were named")))
        })
    }
}

impl Group {
    fn admit(&mut self, event: &AuditEvent) -> bool {
        let has_room = self.told < limits::AUDIT_ROWS_OF_PERSON_MAX;
        // One that was refused may be any text.
        let has_names = event.what != What::Refuse && self.named.len() < limits::AUDIT_TARGETS_OF_PERSON_MAX;
        let AuditEvent { on, proof, source, .. } = event;
        let name = Name { on: on.clone(), proof: proof.clone(), source: *source };
        let count = match self.named.get_mut(&name) {
            Some(silent) if !has_room => silent,
            Some(_) => {
                self.told += 1;
                return true;
            }
            None if has_room || has_names => {
                self.told = self.told.saturating_add(1);
                self.named.insert(name, None);
                return true;
            }
            None => &mut self.others,
        };
        match count {
            Some(silent) => silent.add(event),
            None => *count = Some(Silent { count: 1, last: event.clone() }),
        }
        false
    }
}

impl Silent {
    fn add(&mut self, event: &AuditEvent) {
        self.count = self.count.saturating_add(1);
        let totals = match (self.last.totals, event.totals) {
            (Some(before), Some(more)) => Some(sum(before, more)),
            (before, more) => before.or(more),
        };
        self.last = AuditEvent { totals, ..event.clone() };
    }

    fn without_target(mut self) -> Self {
        self.last.on = match self.last.on {
            On::Jump { .. } => On::Jump { vm: None, target: String::new() },
            On::Ssh { .. } => On::Ssh { login: String::new() },
            On::Console(_) | On::Audit | On::Other => On::Other,
        };
        self
    }

    fn told(self, of: &str) -> AuditEvent {
        let Self { count, last } = self;
        let more = format!("{count} more within a minute{of}");
        let why = match last.what {
            What::Refuse => behind(last.why.clone(), &format!(" ({more})")),
            What::End => format!("{more}; bytes and time are of all of them"),
            What::Open | What::Lose | What::Other => more,
        };
        summary(last, why)
    }
}

const fn sum(one: Carried, other: Carried) -> Carried {
    Carried {
        up: one.up.saturating_add(other.up),
        down: one.down.saturating_add(other.down),
        ms: one.ms.saturating_add(other.ms),
    }
}

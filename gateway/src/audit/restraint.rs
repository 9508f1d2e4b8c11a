//! How much of what happens becomes events at once: of each person so much in a minute, and of all strangers together much
//! less. The rest is counted, and at the minute's end the counts are events themselves: nothing goes unsaid, and nobody
//! keeps others out.

mod people;
mod strangers;

use std::time::{Duration, Instant};

use config::id::AuditId;
use config::limits;
use config::sync::audit::{AuditEvent, Who};

use crate::clock::now_ms;
use people::People;
use strangers::Strangers;

/// What happened of late.
#[derive(Default)]
pub(super) struct Restraint {
    /// When the present span ends; `None` while nothing happens.
    until: Option<Instant>,
    people: People,
    strangers: Strangers,
}

impl Restraint {
    /// Whether it becomes an event at once. Otherwise it is counted, and [`Restraint::sum_up`] says so.
    pub(super) fn admits(&mut self, event: &AuditEvent, now: Instant) -> bool {
        if self.until.is_none() {
            self.until = now.checked_add(Duration::from_millis(limits::AUDIT_SPAN_MS));
        }
        match event.who {
            Who::Nobody => self.strangers.admit(event),
            Who::Root | Who::User(_) => self.people.admit(event),
        }
    }

    /// When [`Restraint::sum_up`] is to be called.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Ends the span: what was counted in it, as events.
    pub(super) fn sum_up(&mut self) -> Vec<AuditEvent> {
        self.until = None;
        let people = std::mem::take(&mut self.people).sum_up();
        people.chain(std::mem::take(&mut self.strangers).sum_up()).collect()
    }

    /// Has the span end now, as time does.
    #[cfg(test)]
    pub(super) fn pass(&mut self) {
        self.until = Some(Instant::now());
    }
}

/// An event that stands for several, told in place of the last of them: it has an id of its own, and no session.
fn summary(last: AuditEvent, why: String) -> AuditEvent {
    AuditEvent { id: AuditId::from_uuid(uuid::Uuid::now_v7()), at_ms: now_ms(), session: None, why, ..last }
}

/// A reason with what is to stand behind it, however long the reason is.
fn behind(mut why: String, more: &str) -> String {
    let room = limits::AUDIT_TEXT_BYTES_MAX.saturating_sub(more.len());
    why.truncate(why.floor_char_boundary(room));
    why.push_str(more);
    why
}

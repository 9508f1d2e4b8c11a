//! What waits: for the disk first, then for control.

use std::collections::VecDeque;
use std::time::Duration;

use config::id::AuditId;
use config::limits;
use config::sync::asking::{Answer, Ask, Question, Told};
use config::sync::audit::{AuditEvent, On, What, Who};
use tokio::time::Instant;

use super::restraint::Restraint;
use crate::clock::now_ms;

/// The numbers of our questions are apart from those of [`crate::sync::Asking`], which count from zero.
const OURS: u64 = 1 << 63;

/// Whether an answer is to one of our questions.
pub(super) const fn is_ours(number: u64) -> bool {
    number & OURS != 0
}

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    /// For the disk.
    unwritten: VecDeque<AuditEvent>,
    /// For control, on the disk already; oldest first.
    kept: VecDeque<AuditEvent>,
    /// What `kept` takes in memory, about.
    kept_bytes: usize,
    /// What control was told and has not answered yet: the first so many of `kept`.
    told: Option<Outstanding>,
    number: u64,
    /// Not told of yet.
    lost: u64,
    /// Since the start.
    pub(super) lost_in_all: u64,
    pub(super) restraint: Restraint,
    /// The writer is to end.
    pub(super) is_over: bool,
    /// How many events were given to the writer.
    pub(super) given: u64,
}

#[derive(Clone, Copy)]
struct Outstanding {
    number: u64,
    count: usize,
    until: Instant,
}

/// What is to be done for control.
pub(super) enum Next {
    /// Tell it this.
    Tell(Ask),
    /// Look again at this time, or when woken.
    Again(Instant),
    /// Nothing until woken.
    Nothing,
}

impl Waiting {
    /// Leaves an event to the writer.
    pub(super) fn write(&mut self, event: AuditEvent) {
        self.given += 1;
        if self.unwritten.len() >= limits::AUDIT_UNWRITTEN_MAX {
            self.unwritten.pop_front();
            self.lose(1);
        }
        self.unwritten.push_back(event);
    }

    /// Writes down what was only counted, if its time has come.
    pub(super) fn settle(&mut self, now: std::time::Instant) {
        if self.restraint.until().is_some_and(|until| until <= now) {
            self.sum_up();
        }
    }

    /// Writes down what was only counted.
    pub(super) fn sum_up(&mut self) {
        for event in self.restraint.sum_up() {
            self.write(event);
        }
    }

    /// All that waits for the disk.
    pub(super) fn take_unwritten(&mut self) -> Vec<AuditEvent> {
        self.unwritten.drain(..).collect()
    }

    /// Whether anything waits for the disk.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Keeps events until control has written them.
    pub(super) fn keep(&mut self, events: impl IntoIterator<Item = AuditEvent>) {
        for event in events {
            self.kept_bytes += size(&event);
            self.kept.push_back(event);
        }
        while self.kept_bytes > limits::AUDIT_WAITING_BYTES_MAX && self.kept.len() > 1 {
            self.forget_first();
            self.lose(1);
            if let Some(told) = &mut self.told {
                told.count = told.count.saturating_sub(1);
            }
        }
    }

    /// Keeps what waits for the disk, where there is none.
    pub(super) fn keep_unwritten(&mut self) {
        let events = self.take_unwritten();
        self.keep(events);
    }

    /// What waits for control, oldest first.
    pub(super) fn kept(&self) -> impl Iterator<Item = &AuditEvent> {
        self.kept.iter()
    }

    /// Whether nothing waits for control.
    pub(super) fn is_all_noted(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many events wait.
    pub(super) fn len(&self) -> usize {
        self.unwritten.len() + self.kept.len()
    }

    /// What to tell control next.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if let Some(told) = self.told.filter(|told| now < told.until) {
            return Next::Again(told.until);
        }
        self.own_up();
        let count = self.kept.len().min(limits::AUDIT_EVENTS_TOLD_MAX);
        if count == 0 {
            self.told = None;
            return Next::Nothing;
        }
        self.number += 1;
        let number = OURS | self.number;
        let until = now + Duration::from_millis(limits::AUDIT_ANSWER_MS);
        self.told = Some(Outstanding { number, count, until });
        let events = self.kept.iter().take(count).cloned().collect();
        Next::Tell(Ask { number, question: Question::Audit(events) })
    }

    /// Forgets what an answer says is written; whether it was the answer that was waited for.
    pub(super) fn noted(&mut self, told: &Told) -> bool {
        // Any other answer, and none, is followed by the same question once its time is over.
        let is_meant = |outstanding: &mut Outstanding| outstanding.number == told.number;
        if told.answer != Answer::Noted {
            return false;
        }
        let Some(Outstanding { count, .. }) = self.told.take_if(is_meant) else { return false };
        for _ in 0..count {
            self.forget_first();
        }
        true
    }

    /// Nothing is outstanding any more.
    pub(super) fn disconnected(&mut self) {
        self.told = None;
    }

    pub(super) fn forget_first(&mut self) {
        if let Some(event) = self.kept.pop_front() {
            self.kept_bytes = self.kept_bytes.saturating_sub(size(&event));
        }
    }

    fn lose(&mut self, count: u64) {
        self.lost += count;
        self.lost_in_all += count;
    }

    /// Says in the audit itself what is missing in it.
    fn own_up(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost == 0 {
            return;
        }
        tracing::error!(
            lost,
            "events for the audit were lost: control was away for too long, or the disk too slow"
        );
        self.keep([AuditEvent {
            id: AuditId::from_uuid(uuid::Uuid::now_v7()),
            at_ms: now_ms(),
            what: What::Lose,
            on: On::Audit,
            who: Who::Nobody,
            proof: String::new(),
            source: std::net::Ipv4Addr::UNSPECIFIED.into(),
            session: None,
            why: format!("{lost} events were lost: control was away for too long, or the disk was too slow"),
            totals: None,
        }]);
    }
}

/// What an event takes, about: its texts and the rest.
fn size(event: &AuditEvent) -> usize {
    let on = match &event.on {
        On::Jump { target, .. } => target.len(),
        On::Ssh { login } => login.len(),
        On::Console(_) | On::Audit | On::Other => 0,
    };
    size_of::<AuditEvent>() + on + event.proof.len() + event.why.len()
}

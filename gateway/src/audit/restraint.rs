//! How many refusals become events: a few of each source and some in all, in each minute; the others are counted.

use std::collections::HashMap;
use std::net::IpAddr;

use config::limits;
use config::sync::audit::AuditEvent;

use crate::guard;

/// What was refused of late.
#[derive(Default)]
pub(super) struct Restraint {
    /// Since when it is counted, in milliseconds since 1970.
    since_ms: u64,
    in_all: u32,
    sources: HashMap<IpAddr, Count>,
    /// Of sources that found no place of their own.
    others: Count,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    admitted: u32,
    /// Refused and not told of, in this span and those before.
    silent: u32,
}

impl Restraint {
    /// Whether a refusal becomes an event; it says then how many before it did not.
    pub(super) fn admits(&mut self, event: &mut AuditEvent) -> bool {
        if event.at_ms.saturating_sub(self.since_ms) >= limits::AUDIT_REFUSALS_MS {
            self.begin(event.at_ms);
        }
        let source = guard::source(event.source);
        let has_room = self.sources.len() < limits::AUDIT_SOURCES_MAX;
        let count = match self.sources.get_mut(&source) {
            Some(count) => count,
            None if has_room => self.sources.entry(source).or_default(),
            None => &mut self.others,
        };
        let is_admitted =
            count.admitted < limits::AUDIT_REFUSALS_OF_SOURCE_MAX && self.in_all < limits::AUDIT_REFUSALS_MAX;
        if !is_admitted {
            count.silent = count.silent.saturating_add(1);
            return false;
        }
        count.admitted += 1;
        self.in_all += 1;
        let silent = std::mem::take(&mut count.silent);
        if silent > 0 {
            let more = format!(" (and {silent} more from there, not listed)");
            let room = limits::AUDIT_TEXT_BYTES_MAX.saturating_sub(more.len());
            event.why.truncate(event.why.floor_char_boundary(room));
            event.why.push_str(&more);
        }
        true
    }

    /// A new span; what nobody was told of yet is kept for the next refusal of that source.
    fn begin(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
        self.in_all = 0;
        self.others.admitted = 0;
        self.sources.retain(|_, count| {
            let was_idle = count.admitted == 0;
            count.admitted = 0;
            !was_idle && count.silent > 0
        });
    }

    /// Begins a new span, as time does.
    #[cfg(test)]
    pub(super) fn pass_a_span(&mut self) {
        self.begin(self.since_ms);
    }
}

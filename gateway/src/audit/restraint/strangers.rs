//! Strangers, all together: a few of each source are told and some in all; of the others one event says how many they were
//! and where most came from.

use std::collections::HashMap;
use std::net::IpAddr;

use config::limits;
use config::sync::audit::{AuditEvent, On};

use super::summary;
use crate::guard;

/// What strangers did in this span.
#[derive(Default)]
pub(super) struct Strangers {
    told: u32,
    sources: HashMap<IpAddr, Source>,
    /// Of sources that found no place of their own.
    others: u32,
    last: Option<AuditEvent>,
}

struct Source {
    /// As it was seen last: the key is a whole network of IPv6.
    seen: IpAddr,
    told: u32,
    silent: u32,
}

impl Strangers {
    /// Whether an event is told at once; otherwise it is counted.
    pub(super) fn admit(&mut self, event: &AuditEvent) -> bool {
        let source = guard::source(event.source);
        if self.sources.len() >= limits::AUDIT_SOURCES_MAX && !self.sources.contains_key(&source) {
            self.others = self.others.saturating_add(1);
            self.last = Some(event.clone());
            return false;
        }
        let new = Source { seen: event.source, told: 0, silent: 0 };
        let source = self.sources.entry(source).or_insert(new);
        source.seen = event.source;
        if source.told < limits::AUDIT_STRANGERS_OF_SOURCE_MAX && self.told < limits::AUDIT_STRANGERS_MAX {
            source.told += 1;
            self.told += 1;
            return true;
        }
        source.silent = source.silent.saturating_add(1);
        self.last = Some(event.clone());
        false
    }

    /// What was counted.
    pub(super) fn sum_up(self) -> Option<AuditEvent> {
        let silent = || self.sources.values().filter(|source| source.silent > 0);
        let busiest = silent().max_by_key(|source| source.silent);
        let (seen, most) = busiest.map_or((self.last.as_ref()?.source, 0), |one| (one.seen, one.silent));
        let count = silent().map(|source| u64::from(source.silent)).sum::<u64>() + u64::from(self.others);
        let and_more = if self.others > 0 { " and more" } else { "" };
        let why = format!(
            "{count} more in vain within a minute, not listed, from {} sources{and_more}; {most} of them from here",
            silent().count(),
        );
        let last = AuditEvent {
            on: On::Ssh { login: String::new() },
            proof: String::new(),
            source: seen,
            ..self.last?
        };
        Some(summary(last, why))
    }
}

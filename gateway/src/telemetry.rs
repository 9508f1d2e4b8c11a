//! Counters, the log and the access record.

/// Counters of the process; only atomics.
#[derive(Default)]
pub struct Metrics {}

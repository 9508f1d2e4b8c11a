//! The time of day.

use std::time::UNIX_EPOCH;

/// Milliseconds since 1970 UTC.
pub(crate) fn now_ms() -> u64 {
    let passed = UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

//! What a gateway tells the audit.

/// Longest text in an event of the audit or in an answer on the gateways' stream, in bytes: a target, a reason.
pub const AUDIT_TEXT_BYTES_MAX: usize = 256;
/// What waits on a gateway until control has written it, in bytes: some 60 000 events; the oldest is lost first. It is in
/// memory as well as on disk, so that nothing is read back while it is sent.
pub const AUDIT_WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events that wait to be written to a gateway's disk: what workers tell in the time that a slow disk takes.
pub const AUDIT_UNWRITTEN_MAX: usize = 16_384;
/// Events in one message to control; each is a row of one transaction.
pub const AUDIT_EVENTS_TOLD_MAX: usize = 64;
/// Time for control to write them, in milliseconds, after which they are told again.
pub const AUDIT_ANSWER_MS: u64 = 10_000;
/// Pause between two looks whether what was noted is on the disk, in milliseconds, should the writer be gone.
pub const AUDIT_FLUSH_STEP_MS: u64 = 100;
/// Pause of a gateway between two looks for what another process of it left behind, in milliseconds.
pub const AUDIT_LEFT_BEHIND_MS: u64 = 60_000;
/// Refusals from one source that become events in [`AUDIT_REFUSALS_MS`]: each becomes a row, and whoever holds a ticket or a
/// key could be refused all day. The others are counted in the next one.
pub const AUDIT_REFUSALS_OF_SOURCE_MAX: u32 = 10;
/// The same of all sources together.
pub const AUDIT_REFUSALS_MAX: u32 = 120;
/// See [`AUDIT_REFUSALS_OF_SOURCE_MAX`], in milliseconds.
pub const AUDIT_REFUSALS_MS: u64 = 60_000;
/// Sources whose refusals are counted apart in that time; others share one count.
pub const AUDIT_SOURCES_MAX: usize = 1_024;

//! What a gateway tells the audit.

/// Longest text in an event of the audit or in an answer on the gateways' stream, in bytes: a target, a reason.
pub const AUDIT_TEXT_BYTES_MAX: usize = 256;
/// What waits on a gateway until control has written it, in bytes: some 60 000 events; the oldest is lost first. It is in
/// memory as well as on disk, so that nothing is read back while it is sent.
pub const AUDIT_WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes by which the file of what waits grows, once it could not be written anew, until that is tried again: not with each
/// event on a full disk.
pub const AUDIT_FILE_AGAIN_BYTES: u64 = 1024 * 1024;
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
/// Time in which the events of one person, or those of strangers, are bounded, in milliseconds: what goes beyond is counted,
/// and told at its end.
pub const AUDIT_SPAN_MS: u64 = 60_000;
/// Events of one person and one kind (opened, refused or ended) in [`AUDIT_SPAN_MS`] that become rows whatever they are of:
/// a script that opens a channel a thousand times a second must not keep control's database to itself.
pub const AUDIT_ROWS_OF_PERSON_MAX: u32 = 60;
/// Targets of one person and one kind that are named in that time: the first jump to each becomes a row even beyond
/// [`AUDIT_ROWS_OF_PERSON_MAX`], so that who reached what is not lost where one opens hundreds of machines at once.
pub const AUDIT_TARGETS_OF_PERSON_MAX: usize = 500;
/// Refusals of strangers that become rows in [`AUDIT_SPAN_MS`]: nothing prunes the audit, and anybody can be refused.
pub const AUDIT_STRANGERS_MAX: u32 = 20;
/// The same from one source.
pub const AUDIT_STRANGERS_OF_SOURCE_MAX: u32 = 5;
/// Sources of strangers that are counted apart in that time; others share one count.
pub const AUDIT_SOURCES_MAX: usize = 1_024;

//! Handing sockets to a new process.

/// Time in which a new gateway program has to say what it is, in milliseconds.
pub const UPGRADE_HELLO_MS: u64 = 10_000;
/// Time in which it has to have the generation in force and every listener in hand, in milliseconds: a large table
/// compiles for seconds on a busy machine.
pub const UPGRADE_READY_MS: u64 = 120_000;
/// Time from the word to go until it serves, in milliseconds; meanwhile datagrams of forwards wait in their sockets.
pub const UPGRADE_SERVING_MS: u64 = 10_000;
/// Longest the process before waits for its successor to follow control, in milliseconds, before it steps back there.
pub const UPGRADE_FOLLOW_MS: u64 = 30_000;
/// Largest message between the two, in bytes: a session of datagrams takes some 300, and there may be 65 536.
pub const UPGRADE_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Descriptors in one message between the two: every listening socket or every session of datagrams.
pub const UPGRADE_DESCRIPTORS_MAX: usize = 131_072;
/// Descriptors in one call of the kernel (`SCM_MAX_FD`).
pub const UPGRADE_DESCRIPTORS_AT_ONCE: usize = 253;
/// Processes of earlier upgrades that may still drain when another begins.
pub const UPGRADE_DRAINING_MAX: usize = 8;
/// Time that open flows get after an upgrade in milliseconds, if nothing else is said: a working day and its night.
pub const UPGRADE_AGE_MS: u64 = 24 * 60 * 60 * 1000;
/// Time after an upgrade in milliseconds in which a jump host's connection that has no channel may still open one.
pub const UPGRADE_GRACE_MS: u64 = 10_000;
/// Longest order to upgrade in bytes: a path and a few words.
pub const UPGRADE_ORDER_BYTES_MAX: usize = 8 * 1024;
/// Time for such an order to be written, and its answer to be read, in milliseconds.
pub const UPGRADE_ORDER_MS: u64 = 5_000;
/// Orders that are listened to at once: one works, the others are told so.
pub const UPGRADE_ORDERS_MAX: usize = 8;

//! The admin API and the processes that control starts.

/// Violations that one check names: enough to mend by hand, short enough to read.
pub const VIOLATIONS_NAMED_MAX: usize = 32;
/// Longest `Retry-After` of maintenance, and life of a learned key, in seconds: one week.
pub const WEEK_SECONDS: u32 = 7 * 24 * 60 * 60;
/// Time for the target of a forward to answer when it is looked into, in milliseconds: a person waits.
pub const DIAGNOSE_DIAL_MS: u64 = 3_000;
/// Largest request body of the admin API in bytes.
pub const API_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest time a body takes to reach the admin API; one that drips in would hold a connection for ever.
pub const API_BODY_DEADLINE_MS: u64 = 30_000;
/// Items in a list when the caller names no limit, and at most (DESIGN §12).
pub const PAGE_ITEMS: (usize, usize) = (50, 500);
/// Longest note in characters.
pub const NOTE_CHARS_MAX: usize = 255;
/// Life of an API token in seconds: default and most (INVENTORY 2.1, API token).
pub const TOKEN_SECONDS: (u64, u64) = (600, 24 * 60 * 60);
/// Connections to the admin API at once; a person and a few scripts need a handful.
pub const API_CONNECTIONS_MAX: usize = 1024;
/// TLS handshakes of the admin API at once; those beyond are closed, so that silent ones hold nothing but each other's room.
pub const API_HANDSHAKES_MAX: usize = 128;
/// Addresses that the certificate of the admin API's TLS listeners names beside loopback: those that clients reached it by.
pub const API_CERTIFICATE_ADDRESSES_MAX: usize = 64;
/// Largest answer that the command line reads, in bytes.
pub const CLI_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often `up` looks whether its children are ready, in milliseconds.
pub const UP_LOOK_MS: u64 = 20;
/// Time for one such look, in milliseconds.
pub const UP_ASK_MS: u64 = 2_000;
/// Time that open connections of control get at a stop, in milliseconds; they are short, and the gateways reconnect.
pub const CONTROL_STOP_MS: u64 = 10_000;

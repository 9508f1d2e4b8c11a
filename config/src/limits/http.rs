//! One HTTP request: its head, its body, its waits.

/// Longest silence that a route may grant a tunnel, in milliseconds: one week.
pub const TUNNEL_IDLE_MS_MAX: u32 = 7 * 24 * 60 * 60 * 1000;
/// Longest HTTP/1.1 header section in bytes, request or response (DESIGN D10).
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header fields in one head (DESIGN D10).
pub const FIELDS_MAX: usize = 100;
/// Longest request target in bytes (DESIGN D10; RFC 9112 § 3 recommends at least 8000).
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Longest chunk-size line with extensions in bytes; extensions are read and dropped, never stored.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Longest trailer section in bytes.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Longest `X-Request-Id` in bytes that is taken over from a client: room for a UUID or a trace id with its parents.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Smallest response in bytes that is compressed: below, the head and the work cost more than is saved.
pub const GZIP_BYTES_MIN: u64 = 1_024;
/// Longest name of a protocol that a route lets upgrades through to, in bytes: known ones have under twenty.
pub const UPGRADE_NAME_BYTES_MAX: usize = 64;
/// Time for a whole request head to arrive once its first byte did, in milliseconds.
pub const REQUEST_HEAD_DEADLINE_MS: u64 = 15_000;
/// Longest silence inside a response body on the origin's side, in milliseconds.
pub const BODY_IDLE_DEADLINE_MS: u64 = 60_000;
/// Longest silence inside a request body on the client's side, in milliseconds.
pub const REQUEST_BODY_DEADLINE_MS: u64 = 60_000;
/// Longest time that a client takes nothing of what it asked for, in milliseconds (nginx's `send_timeout`).
pub const SEND_DEADLINE_MS: u64 = 60_000;
/// A client that neither sends nor takes as many bytes in as many milliseconds, although nothing but the client is
/// waited for, holds a connection for nothing: 68 bytes a second, below the slowest modem.
pub const PACE: (u64, u64) = (2_048, 30_000);
/// Longest silence of a downstream connection between two requests, in milliseconds.
pub const KEEP_ALIVE_IDLE_MS: u64 = 75_000;
/// Silence after which a downstream connection gives back the room that a request needs, in milliseconds: one that is
/// used again and again does not allocate it anew.
pub const QUIET_MS: u64 = 1_000;
/// Time for a response head to arrive after the request was sent, in milliseconds.
pub const RESPONSE_HEAD_DEADLINE_MS: u64 = 60_000;
/// Longest silence of an upgraded connection in milliseconds (INVENTORY A-50: 24 h).
pub const TUNNEL_IDLE_MS: u64 = 24 * 60 * 60 * 1000;
/// Interim responses (1xx) of one request; more are an origin out of order.
pub const INTERIM_RESPONSES_MAX: usize = 16;
/// Time a request goes on after its sender closed its writing side before the response began, in milliseconds: it may
/// have gone (then the work is for nobody) or wait with half the connection closed.
pub const HALF_CLOSED_MS: u64 = 3_000;
/// Time that a closing connection is still read, in milliseconds, so that the answer is not lost to a reset.
pub const LINGER_MS: u64 = 2_000;

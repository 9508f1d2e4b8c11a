//! HTTP/2, whose frames may make work without end.

use super::HEAD_BYTES_MAX;

/// Streams of one HTTP/2 connection at once: what browsers and RFC 9113 § 6.5.2 expect at least.
pub const H2_STREAMS_MAX: u32 = 128;
/// Bytes of one stream's request body on their way to a slow origin: 20 MiB/s at 50 ms.
pub const H2_STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for a whole connection, which is what a client may have us hold.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Memory that small DATA frames may take on one connection beyond their bytes: some 32 000 of them unread. The crate's
/// own choice, half of the window, ends a connection of small messages in one burst.
pub const H2_SMALL_DATA_BUDGET_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of one stream's response that wait for the connection.
pub const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Requests of one HTTP/2 connection; then it is closed gracefully, and its tables begin anew.
pub const H2_REQUESTS_MAX: u64 = 1_000_000;
/// Streams reset by us that are remembered for what is still under way to them.
pub const H2_RESET_STREAMS_KEPT: usize = 64;
/// Streams that the client opened and reset before we looked at them.
pub const H2_PENDING_RESETS_MAX: usize = 64;
/// Streams of one connection that we had to reset, in all its life; below it [`H2_FORCED_RESETS_MAX`] counts by time.
pub const H2_FORCED_RESETS_IN_ALL_MAX: usize = 10_000;
/// Requests under way at once on one HTTP/2 connection to an endpoint; the endpoint may allow fewer. Then there is another
/// connection: a slow reader of one stream must not fill the window of too many others.
pub const H2_UPSTREAM_STREAMS_MAX: usize = 100;
/// Bytes of responses on their way to slow clients, of one HTTP/2 connection to an endpoint.
pub const H2_UPSTREAM_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Time in which the frames below are counted, in milliseconds. Above a bound the connection ends.
pub const H2_FLOOD_WINDOW_MS: u64 = 10_000;
/// Streams reset by the client (CVE-2023-44487): a page full of cancelled requests is a hundred.
pub const H2_RESETS_MAX: u32 = 1_000;
/// Streams that the client made us reset (CVE-2025-8671).
pub const H2_FORCED_RESETS_MAX: u32 = 200;
/// SETTINGS of the client (CVE-2019-9515): one at the start, few ever after.
pub const H2_SETTINGS_MAX: u32 = 100;
/// PINGs of the client (CVE-2019-9512): gRPC measures with one for each round trip.
pub const H2_PINGS_MAX: u32 = 5_000;
/// PRIORITY and unknown frames (CVE-2019-9513).
pub const H2_IDLE_FRAMES_MAX: u32 = 1_000;
/// DATA, HEADERS and CONTINUATION without a byte (CVE-2019-9518).
pub const H2_EMPTY_FRAMES_MAX: u32 = 200;
/// CONTINUATION (CVE-2024-27316): a head of 64 KiB has three.
pub const H2_CONTINUATIONS_MAX: u32 = 500;
/// Bytes of one header block as sent: twice the largest head, since nothing grows so much by packing.
pub const H2_HEADER_BLOCK_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;
/// Windows that grow by less than [`H2_SMALL_WINDOW_BYTES`] (CVE-2019-9511).
pub const H2_SMALL_WINDOWS_MAX: u32 = 5_000;
/// Growth of a window in bytes below which it is a drip.
pub const H2_SMALL_WINDOW_BYTES: u32 = 64;

//! Logs and metrics.

/// Forwards with metrics of their own.
pub const METRIC_FORWARDS_MAX: usize = 1_000;
/// Lines of the log that wait for their writer; more are dropped and counted.
pub const LOG_QUEUE_MAX: usize = 8_192;
/// Room for access records of one worker that wait for their writer, in bytes: about 4 000 of them, a tenth of a second
/// at full load. More are dropped and counted.
pub const ACCESS_RING_BYTES: usize = 1024 * 1024;
/// Longest time an access record waits for others before it is written, in milliseconds.
pub const ACCESS_BATCH_MS: u64 = 100;
/// Lines of access records that go out in one write, in bytes.
pub const ACCESS_WRITE_BYTES: usize = 64 * 1024;
/// Longest path, query, referer or user agent in an access record in bytes; what is longer is cut.
pub const ACCESS_TEXT_BYTES_MAX: usize = 1024;
/// Longest host, user or method in an access record in bytes.
pub const ACCESS_NAME_BYTES_MAX: usize = 255;
/// Query parameters whose values the access log hides.
pub const REDACTED_NAMES_MAX: usize = 256;
/// Longest name of such a parameter in bytes.
pub const REDACTED_NAME_BYTES_MAX: usize = 64;
/// Routes that have series of their own on the metrics page; those of the rest are one, `other`.
pub const METRIC_ROUTES_MAX: usize = 1_000;
/// Endpoints whose health is on the metrics page; those that are down come first.
pub const METRIC_ENDPOINTS_MAX: usize = 4_096;
/// Certificates whose end of life is on the metrics page; those that end first.
pub const METRIC_CERTIFICATES_MAX: usize = 1_000;
/// Time that the series of a route that is gone stay on the metrics page, in milliseconds: a few scrapes.
pub const METRIC_ROUTE_KEPT_MS: u64 = 5 * 60 * 1000;
/// Rotated log files deleted at one rotation.
pub const LOG_FILES_PRUNED_MAX: usize = 1_000;

//! Bytes between two sockets.

/// Size of a lent buffer in bytes while heads and small bodies pass (PERF.md 5).
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Size of a buffer in bytes while a large body or a tunnel flows (PERF.md 6).
pub const BUFFER_BULK_BYTES: usize = 128 * 1024;
/// Size of a buffer in bytes once a large body filled the one above several times in a row (PERF.md 6), and how many of
/// these one worker lends at once: a slow client holds the one that its answer is in.
pub const BUFFER_BIG: (usize, usize) = (512 * 1024, 16);
/// What is left of a body of known length, in bytes, from which it passes between two plain sockets by splice(2): a pipe
/// costs some system calls to take and fill.
pub const SPLICE_BYTES_MIN: u64 = 64 * 1024;
/// Size of a pipe for splice(2) in bytes, how many one worker lends at once (a slow client holds the one that its answer
/// is in) and how many it keeps. A user's pipes have 64 MiB in sum before the kernel makes them small.
pub const SPLICE_PIPES: (usize, usize, usize) = (512 * 1024, 16, 4);
/// Responses that one worker compresses at once, each with some 300 KiB of state, and how many of these states it keeps.
pub const GZIP_AT_ONCE: (usize, usize) = (64, 8);
/// Size of a relay's buffer in bytes, one for each direction while it holds data: 20 to 30 % less CPU than 8 KiB
/// (CRATES.md 5), and twice it buys nothing.
pub const RELAY_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of one read from which a relay between two plain sockets goes on by splice(2), and below which a piece is a
/// small one: small messages are cheaper by copy (one visit less), 64 KiB ones cost 0.8 as much by pipe (PERF.md 6).
pub const RELAY_SPLICE_BYTES: (usize, usize) = (32 * 1024, 8 * 1024);
/// Small pieces in a row after which a relay goes back to copying.
pub const RELAY_SPLICE_SMALL_MAX: u8 = 4;
/// Pipes lent by one worker, of [`SPLICE_PIPES`], above which a relay copies.
pub const RELAY_PIPES_MAX: usize = 12;
/// Pieces of a source's own memory that are written by one call: OpenSSH sends 32 KiB in each, and a relay's buffer holds two.
pub const RELAY_PIECES_MAX: usize = 8;
/// Relay buffers a thread keeps for reuse; a relay without data in flight holds none.
pub const RELAY_BUFFERS_KEPT_MAX: usize = 16;
/// Reads and writes a relay makes before it lets the other tasks of its thread run.
pub const RELAY_STEPS_MAX: usize = 32;
/// Buffers a worker keeps for reuse; more are freed when given back.
pub const BUFFERS_KEPT_MAX: usize = 64;

//! Generations: the stream, their objects, the disk.

/// Largest message on the gateways' stream in bytes: a snapshot of a million routes.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Largest message a peer may send before it has authenticated, in bytes.
pub const MESSAGE_BYTES_UNAUTHENTICATED_MAX: usize = 64 * 1024;
/// Largest message a gateway sends to control in bytes: an acknowledgement that names what is paused.
pub const MESSAGE_BYTES_FROM_GATEWAY_MAX: usize = 4 * 1024 * 1024;
/// Parts (fields, list items) of a message that carries no objects; memory per part is far above its bytes.
pub const MESSAGE_PARTS_MAX: usize = 65_536;
/// Silence on the gateways' stream after which a ping is sent, in milliseconds.
pub const SYNC_PING_MS: u64 = 10_000;
/// Silence on the gateways' stream after which it is given up, in milliseconds.
pub const SYNC_DEAD_MS: u64 = 30_000;
/// First and longest pause before a gateway dials control again, in milliseconds.
pub const SYNC_BACKOFF_MS: (u64, u64) = (200, 15_000);
/// Generations whose snapshots control keeps to answer with a delta; an older base gets the whole.
pub const GENERATIONS_KEPT_MAX: usize = 256;
/// Objects in one snapshot.
pub const OBJECTS_MAX: usize = 4_000_000;
/// Size of one object in bytes: a user with thousands of keys, a long chain.
pub const OBJECT_BYTES_MAX: usize = 1024 * 1024;
/// Conflicts and unreadable objects that a refused snapshot names: enough to mend by hand, short enough to read.
pub const CONFLICTS_NAMED_MAX: usize = 64;
/// Routes that an explanation lists: a virtual host may hold thousands.
pub const EXPLAINED_ROUTES_MAX: usize = 256;
/// Candidates that the refusal of an ambiguous jump names.
pub const JUMP_CANDIDATES_MAX: usize = 8;
/// Life of a join token in seconds.
pub const JOIN_TOKEN_SECONDS: u64 = 60 * 60;
/// Life of a gateway's certificate in days (DESIGN §12).
pub const GATEWAY_CERTIFICATE_DAYS: i64 = 90;
/// Gateways' streams at once in one control, those that have not authenticated included.
pub const SYNC_STREAMS_MAX: usize = 1024;
/// Gateways' streams at once that have not authenticated yet; each holds a handshake and one small message.
pub const SYNC_STRANGERS_MAX: usize = 64;

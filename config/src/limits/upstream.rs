//! Origins: names, connections, checks, choice.

/// Weight of an endpoint: the least and the most.
pub const WEIGHT: (u16, u16) = (1, 256);
/// Keys of learned stickiness on one route: default (HAProxy's `size 30k` of INVENTORY B-44) and most.
pub const LEARNED_KEYS: (u32, u32) = (30_000, 1_000_000);
/// Longest learned key in bytes (`type string len 32` of INVENTORY B-44).
pub const LEARNED_KEY_BYTES_MAX: usize = 32;
/// Life of a learned key in seconds (`expire 60m` of INVENTORY B-44).
pub const LEARNED_SECONDS: u32 = 3_600;
/// Active checks under way at once in one gateway; each holds a connection for as long as its timeout.
pub const CHECKS_AT_ONCE_MAX: usize = 256;
/// Pause between the checks of an endpoint of which nothing is known yet, in milliseconds, where the interval is longer.
pub const CHECK_FIRST_PAUSE_MS: u32 = 250;
/// Time for one upstream connection where there are several endpoints, in milliseconds (INVENTORY D-39).
pub const CONNECT_DEADLINE_OF_SEVERAL_MS: u64 = 2_000;
/// Longest target of a probe in bytes.
pub const PROBE_BYTES_MAX: usize = 1_024;
/// Ranges of statuses that a probe takes for well.
pub const PROBE_STATUSES_MAX: usize = 16;
/// Pause between two questions of an active check, in milliseconds: the least and the most.
pub const CHECK_INTERVAL_MS: (u32, u32) = (100, 60 * 60 * 1000);
/// Longest time for the answer to an active check, in milliseconds.
pub const CHECK_TIMEOUT_MS_MAX: u32 = 60_000;
/// Longest slow start of an endpoint that came back, in milliseconds: one hour.
pub const SLOW_START_MS_MAX: u32 = 60 * 60 * 1000;
/// Most tries that a retry policy may ask for: each multiplies the load of an upstream in trouble.
pub const RETRY_TRIES_MAX: u8 = 10;
/// Authorities that one upstream is trusted by, and certificates of one client chain.
pub const AUTHORITIES_MAX: usize = 16;
/// Largest certificate or private key in an upstream's TLS, in bytes of DER.
pub const DER_BYTES_MAX: usize = 8 * 1024;
/// Longest life of a cookie in seconds: browsers cut it to 400 days (RFC 6265bis § 5.5).
pub const COOKIE_SECONDS_MAX: u32 = 400 * 24 * 60 * 60;
/// Longest silence of a pooled upstream connection in milliseconds; below the 60 s at which common origins close.
pub const UPSTREAM_IDLE_MS: u64 = 50_000;
/// Time for one upstream connection to be made, in milliseconds.
pub const CONNECT_DEADLINE_MS: u64 = 5_000;
/// Idle upstream connections kept for one endpoint by one worker: two HTTP/2 clients with all their streams busy. With fewer
/// each burst closes some and the next one opens them again, at several times the price of a request.
pub const IDLE_PER_ENDPOINT_MAX: usize = 256;
/// Idle upstream connections kept by one worker, all endpoints together: a share of the open files.
pub const IDLE_PER_WORKER_MAX: usize = 4_096;
/// Tries of one request: the first, one after a reused connection turned out dead, one more endpoint.
pub const FORWARD_TRIES_MAX: u8 = 3;
/// Ways to make connections to one endpoint that one worker keeps: a change leaves the old one to its requests.
pub const WAYS_PER_ENDPOINT_MAX: usize = 4;
/// TLS sessions kept for one way to an endpoint: each is used once, and one handshake brings a few.
pub const UPSTREAM_SESSIONS_KEPT: usize = 8;
/// Keep-alive of a socket, upstream or accepted: silence and pause between probes in milliseconds, and probes without an answer.
pub const UPSTREAM_KEEPALIVE: (u64, u64, u32) = (60_000, 15_000, 4);
/// Head start of an upstream address over the next one of its name, in milliseconds (RFC 8305 § 5).
pub const ADDRESS_HEAD_START_MS: u64 = 250;
/// Longest line of the PROXY protocol's version 1 in bytes, with its end (section 2.1 of its text).
pub const PROXY_LINE_BYTES_MAX: usize = 107;
/// Longest header of its version 2 in bytes: a client's certificate among the extras fits well.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * 1024;
/// Time for such a header to arrive once the connection stands, in milliseconds: a proxy sends it at once.
pub const PROXY_HEADER_DEADLINE_MS: u64 = 5_000;
/// Names of upstreams whose addresses one worker remembers.
pub const RESOLVED_NAMES_MAX: usize = 4_096;
/// Names that one worker looks up at once; each takes a socket or two.
pub const RESOLVING_MAX: usize = 256;
/// Time an answer of the resolver is used, whatever it says itself: least and most, in milliseconds. A hosts file says
/// nothing, so the most is the time until a change of it counts.
pub const RESOLVED_FOR_MS: (u64, u64) = (1_000, 60_000);
/// The same for the answer that a name is not there.
pub const NOT_RESOLVED_FOR_MS: (u64, u64) = (1_000, 10_000);
/// Time that addresses are used beyond their own while the resolver fails, in milliseconds.
pub const RESOLVED_STALE_MS: u64 = 10 * 60 * 1000;
/// First and longest pause before a resolver that failed is asked for the same name again, in milliseconds.
pub const RESOLVER_RETRY_MS: (u64, u64) = (1_000, 30_000);
/// Time for one question to a name server in milliseconds, at most, and how often it is asked again: together less than
/// the time for a connection.
pub const RESOLVER_TRY_MS: u64 = 2_000;
/// See [`RESOLVER_TRY_MS`].
pub const RESOLVER_TRIES_MAX: usize = 1;
/// Time after which the resolver's files are looked at again, in milliseconds, when a name is looked up.
pub const RESOLVER_FILES_MS: u64 = 5_000;
/// Addresses of one upstream name that are tried.
pub const RESOLVED_ADDRESSES_MAX: usize = 8;
/// Endpoints of one upstream.
pub const ENDPOINTS_MAX: usize = 256;
/// Size of the delta log in bytes at which the checkpoint's base is written anew, if it also exceeds the base.
pub const CHECKPOINT_LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Older checkpoints kept beside the newest.
pub const CHECKPOINTS_KEPT: usize = 2;

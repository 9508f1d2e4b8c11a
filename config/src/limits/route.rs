//! What may be said of a route.

/// Longest host name in bytes, without a trailing dot (RFC 1035 § 2.3.4).
pub const HOST_NAME_BYTES_MAX: usize = 253;
/// Longest label of a host name in bytes (RFC 1035 § 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;
/// Longest path prefix of a route in bytes: no request target longer than [`TARGET_BYTES_MAX`] could match one.
pub const PATH_PREFIX_BYTES_MAX: usize = 1024;
/// Highest priority of a route; the lowest is its negative.
pub const PRIORITY_MAX: i16 = 1_000;
/// Conditions of one kind (methods, fields, parameters, networks) on one route.
pub const MATCHERS_MAX: usize = 32;
/// Changes to fields, error pages, or networks of one route.
pub const FILTERS_MAX: usize = 64;
/// Largest page (error, maintenance, fixed answer) in bytes: it is in memory for each route that has it.
pub const PAGE_BYTES_MAX: usize = 64 * 1024;
/// Names with passwords of one route.
pub const BASIC_USERS_MAX: usize = 256;
/// Keys of rate limits that one gateway remembers; an idle one says nothing and makes room. About 30 MB.
pub const RATE_KEYS_MAX: usize = 262_144;
/// Longest name and password together in bytes; a browser's field takes far less.
pub const CREDENTIALS_BYTES_MAX: usize = 1024;
/// Passwords verified at once in one gateway: each takes a core for some 20 ms and 19 MiB.
pub const PASSWORDS_VERIFIED_AT_ONCE_MAX: usize = 4;
/// Time a request waits until its password's turn comes, in milliseconds.
pub const PASSWORD_WAIT_MS: u64 = 5_000;
/// Right passwords that one worker remembers, and for how long, in milliseconds.
pub const PASSWORDS_REMEMBERED_MAX: usize = 4_096;
/// Time a right password is not verified again, in milliseconds.
pub const PASSWORD_REMEMBERED_MS: u64 = 300_000;
/// Wrong passwords of one client on one route: this many in so many milliseconds, and this many at once.
pub const PASSWORD_GUESSES: (u32, u32, u32) = (10, 60_000, 10);
/// Longest time that a route may set for anything but a tunnel, in milliseconds: one day.
pub const TIMEOUT_MS_MAX: u32 = 24 * 60 * 60 * 1000;
/// Longest name of a header field, cookie or query parameter in a route, in bytes: real ones are far shorter.
pub const FIELD_NAME_BYTES_MAX: usize = 128;
/// Longest value in a condition or a change of a field, in bytes; a content security policy fits.
pub const FIELD_VALUE_BYTES_MAX: usize = 1024;
/// Longest method in bytes; the longest registered one has 17 (IANA, UPDATEREDIRECTREF).
pub const METHOD_BYTES_MAX: usize = 32;
/// Longest media type in bytes (RFC 6838 § 4.2 allows 127 to each half; real ones are far shorter).
pub const MEDIA_TYPE_BYTES_MAX: usize = 128;
/// All pages of one route together, in bytes: with everything else of the route they fit [`OBJECT_BYTES_MAX`].
pub const PAGES_BYTES_MAX: usize = 256 * 1024;
/// Longest realm or name of basic authentication in bytes.
pub const BASIC_TEXT_BYTES_MAX: usize = 128;
/// Longest password hash in bytes: Argon2id with a salt and an output of 64 bytes has about 230.
pub const PASSWORD_HASH_BYTES_MAX: usize = 256;
/// Cost of checking one password: memory in KiB, passes, lanes. Strangers make a gateway pay it.
pub const PASSWORD_COST_MAX: (u32, u32, u32) = (64 * 1024, 10, 8);
/// Longest place of a redirect in bytes, before the rest of the path is put behind it.
pub const REDIRECT_BYTES_MAX: usize = 2_048;

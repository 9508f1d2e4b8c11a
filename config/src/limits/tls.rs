//! Identities, handshakes and what proves a client.

use std::time::Duration;

/// Authorities of client certificates on one route, and their lists of revoked ones.
pub const CLIENT_AUTHORITIES_MAX: usize = 64;
/// All of them together, in bytes: with everything else of the route they fit [`OBJECT_BYTES_MAX`].
pub const CLIENT_AUTHORITIES_BYTES_MAX: usize = 256 * 1024;
/// What a person brings as a certificate, chain and key together, in bytes: ten times a long chain with an RSA key.
pub const UPLOAD_BYTES_MAX: usize = 256 * 1024;
/// A PKCS#12 archive in bytes: ten times one with a long chain.
pub const ARCHIVE_BYTES_MAX: usize = 64 * 1024;
/// Rounds that one part of an archive may ask for: about a second, and more than any program writes (OpenSSL 2048, Windows
/// and Java 10 000, what OWASP asks for 600 000).
pub const ARCHIVE_ROUNDS_MAX: u64 = 1_000_000;
/// Parts of an archive with a key derivation of their own: its MAC, its certificates and its key are three.
pub const ARCHIVE_DERIVATIONS_MAX: usize = 8;
/// Memory that scrypt may ask for in an archive, in bytes: four times the parameters that programs write.
pub const ARCHIVE_SCRYPT_BYTES_MAX: u64 = 64 << 20;
/// Lanes of scrypt in an archive: they are worked through one after another.
pub const ARCHIVE_SCRYPT_PARALLEL_MAX: u64 = 4;
/// PEM blocks in one upload: chain and key, and what `openssl` adds to them.
pub const PEM_BLOCKS_MAX: usize = 32;
/// Time for a TLS handshake in milliseconds.
pub const HANDSHAKE_DEADLINE_MS: u64 = 10_000;
/// Bytes of a ClientHello, with what came behind it: the most that a message of a handshake may have (RFC 8446 § 4), and
/// its records' heads.
pub const HELLO_BYTES_MAX: usize = 68 * 1024;
/// Bytes of a hello that are read at once: most hellos are shorter.
pub const HELLO_READ_BYTES: usize = 4 * 1024;
/// Age of a session ticket that still opens, in seconds: half a day, as long as ticket keys are usually kept.
pub const TICKET_LIFETIME_SECONDS: u32 = 12 * 60 * 60;
/// Ticket keys of one generation: the one that seals, the one on its way in, and those on their way out.
pub const TICKET_KEYS_MAX: usize = 8;
/// Challenges answered at once: orders are few, and each name of an order is one.
pub const CHALLENGES_MAX: usize = 4096;
/// How long it is believed that a client's certificate satisfies a route, in milliseconds: it may expire, and so may lists.
pub const CLIENT_VERDICT_MS: u64 = 60_000;
/// Routes whose answer about a client's certificate a connection remembers.
pub const CLIENT_VERDICTS_MAX: usize = 16;
/// TLS handshakes under way at once in one worker: a flood of hellos must not starve traffic.
pub const HANDSHAKES_PER_WORKER_MAX: usize = 256;
/// Longest pause between two looks at the clock for lists of revoked certificates that expire: it may have jumped.
pub const EXPIRY_LOOK: Duration = Duration::from_secs(60);

//! The jump host.

/// Time from connect to authenticated on SSH, in milliseconds (OpenSSH's LoginGraceTime is 120 s).
pub const SSH_AUTH_DEADLINE_MS: u64 = 30_000;
/// Time from connect to the end of the first key exchange on SSH, in milliseconds: no person acts in it, and three round
/// trips and 100 ms of computing fit many times.
pub const SSH_KEX_DEADLINE_MS: u64 = 10_000;
/// Authentication attempts on one SSH connection (OpenSSH's MaxAuthTries is 6; scenario 16 wants five).
pub const SSH_AUTH_TRIES_MAX: usize = 5;
/// Time that a refused authentication attempt takes on SSH, whatever the reason, in milliseconds: more than looking a
/// key up and checking its signature ever do.
pub const SSH_REJECTION_MS: u64 = 500;
/// Silence of a VM's sshd below a terminal after which it is asked for a sign of life, in milliseconds, and how many go
/// unanswered before it is given up.
pub const SSH_KEEPALIVE_MS: (u64, usize) = (30_000, 3);
/// The same of a client of the jump host: often enough for what forgets idle connections on the way, and ten minutes in
/// all. A stopped client (^Z) or a closed lid is no end; sshd, by default, waits for ever, and holds a process meanwhile.
pub const SSH_CLIENT_KEEPALIVE_MS: (u64, usize) = (30_000, 19);
/// Size of the read buffer of an SSH connection in bytes: without one, each packet costs two reads (CRATES.md 5).
pub const SSH_READ_BUFFER_BYTES: usize = 64 * 1024;
/// Time that a jump's last bytes get to reach the VM after its channel was closed, in milliseconds.
pub const SSH_LINGER_MS: u64 = 5_000;
/// Longest jump target in bytes that is looked at: a name, a dot and a namespace, or an address, fit well.
pub const SSH_TARGET_BYTES_MAX: usize = 255;
/// Characters of an SSH login name that the log shows: it says nothing about who came.
pub const SSH_LOGIN_CHARS_SHOWN: usize = 64;
/// Channels open at once on one SSH connection.
pub const SSH_CHANNELS_MAX: usize = 64;
/// Channels opened in all on one SSH connection: russh 0.65 keeps a few KiB for each that we were first to close, until
/// the connection ends.
pub const SSH_CHANNELS_IN_ALL_MAX: usize = 10_000;
/// A public key in SSH wire form in bytes: RSA with 16384 bits has 2 100.
pub const SSH_KEY_BYTES_MAX: usize = 4 * 1024;
/// An OpenSSH certificate in its one-line form in bytes: with a hundred names it has some 4 KiB.
pub const SSH_CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// Authorities of people's SSH certificates; each login that shows a certificate looks through them.
pub const SSH_USER_CAS_MAX: usize = 64;
/// Revoked numbers, names and keys of one such authority, each: certificates are short-lived, so few are revoked.
pub const SSH_REVOKED_MAX: usize = 1_024;
/// Name of such an authority in bytes.
pub const SSH_CA_NAME_BYTES_MAX: usize = 64;
/// Key id of an SSH certificate in bytes.
pub const SSH_KEY_ID_BYTES_MAX: usize = 255;
/// Host keys that one VM has shown and that are remembered: three kinds, each changed a few times.
pub const SSH_PINNED_KEYS_MAX: usize = 16;
/// Grants of SSH that one person has.
pub const SSH_GRANTS_MAX: usize = 256;
/// Rows of ports in one grant of SSH.
pub const SSH_GRANT_PORTS_MAX: usize = 32;
/// SSH connections of one gateway that have not authenticated yet; one more displaces the oldest of the source that has
/// most.
pub const SSH_UNAUTHENTICATED_MAX: usize = 256;
/// Connections of one source that have not authenticated yet, the slowed ones included; one more displaces the oldest.
pub const SSH_UNAUTHENTICATED_PER_SOURCE_MAX: usize = 32;
/// Connections of one source that may end unauthenticated before its next ones are slowed.
pub const SSH_STRIKES_FREE: u32 = 5;
/// By how much each further one slows the source's next connection, and by how much at most, in milliseconds.
pub const SSH_STRIKE_MS: (u64, u64) = (100, 5_000);
/// Time after which one such connection is forgotten, in milliseconds.
pub const SSH_STRIKE_FORGOTTEN_MS: u64 = 10_000;
/// Sources whose failures are remembered; one that finds no place is not slowed.
pub const SSH_SOURCES_MAX: usize = 16_384;
/// Time in which an SSH client takes nothing of what waits for it, after which its connection is cut, in milliseconds: as
/// long as [`SSH_CLIENT_KEEPALIVE_MS`] waits for one that says nothing.
pub const SSH_WRITE_STALL_MS: u64 = 600_000;
/// Source networks that one certificate names.
pub const SSH_CERTIFICATE_SOURCES_MAX: usize = 64;

//! Port forwards.

use super::TUNNEL_IDLE_MS;

/// Ports of one forward: the relay ports of a media server or of TURN (49152 to 65535, or 20 000 of them) fit. Each is a
/// socket for each address, of which the gateway has [`FORWARD_SOCKETS_MAX`] at most.
pub const FORWARD_PORTS_MAX: usize = 32_768;
/// Networks that one forward lets in.
pub const FORWARD_SOURCES_MAX: usize = 64;
/// Ports of a forward up to which each is a socket in every worker; of a wider row each port is one worker's, which
/// spreads it just as well and takes a socket for each port only.
pub const FORWARD_PORTS_SHARED_MAX: usize = 16;
/// Rows of ports in the setting of what people may take.
pub const FORWARD_RANGES_MAX: usize = 64;
/// Ports that control picks and finds taken by other programs before it gives up: so many beside each other are rather a
/// range that belongs to somebody else.
pub const FORWARD_PROBES_MAX: usize = 64;
/// Sockets that all forwards of one gateway listen with; it has fewer where it may open few files.
pub const FORWARD_SOCKETS_MAX: usize = 65_536;
/// Ports that are opened before anything else of the gateway's main thread has its turn.
pub const FORWARD_PORTS_AT_ONCE: usize = 256;
/// Share of the open files for the sockets that forwards listen with, and the same for UDP sessions: one in so many.
pub const FORWARD_FILES_SHARE: usize = 8;
/// UDP sessions of one gateway, all forwards together: each is an open file and about 2 KiB.
pub const UDP_SESSIONS_MAX: usize = 32_768;
/// Longest silence of a forwarded connection in milliseconds, where the forward says nothing: 24 h, as of a tunnel.
pub const FORWARD_TCP_IDLE_MS: u64 = TUNNEL_IDLE_MS;
/// Longest silence of a UDP session in milliseconds, where the forward says nothing: name servers and games answer or
/// knock within it, and it is what most firewalls grant.
pub const FORWARD_UDP_IDLE_MS: u64 = 60 * 1000;
/// Datagrams one socket takes before it lets the other tasks of its thread run.
pub const UDP_BATCH_MAX: usize = 64;
/// Batches of datagrams that are taken out of a socket that is closed: more than lay in it when it was decided, as each costs
/// the kernel 768 of its bytes at least. What a flood adds meanwhile is not waited for.
pub const UDP_LAST_BATCHES_MAX: usize = 64;
/// Largest datagram in bytes, and one more: what UDP can carry over IPv4 is 65 507, over IPv6 65 527.
pub const UDP_BUFFER_BYTES: usize = 65_536;
/// Bytes of datagrams that one UDP session keeps while its target's name is looked up.
pub const UDP_WAITING_BYTES_MAX: usize = 64 * 1024;
/// Bytes of datagrams that all UDP sessions of one worker keep meanwhile.
pub const UDP_WAITING_WORKER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes the kernel may queue for a UDP socket that a forward listens with; it cuts this to its own `rmem_max`.
pub const UDP_SOCKET_BYTES: usize = 1024 * 1024;
/// Time for the sockets of a deleted forward to be closed before its generation is acknowledged, in milliseconds: a
/// worker closes them in its next turn.
pub const FORWARD_CLOSE_DEADLINE_MS: u64 = 5_000;
/// Ports that forwards get when they name none, both ends included: above the services that have a number, below
/// those that Linux takes for outgoing connections (32768 to 60999).
pub const FORWARD_AUTO_PORTS: (u16, u16) = (20_000, 29_999);
/// Forwards in one import: all of them are one transaction and one generation.
pub const FORWARD_IMPORT_ROWS_MAX: usize = 5_000;

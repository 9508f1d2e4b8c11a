//! What a gateway process holds at once.

use std::time::Duration;

/// Listeners of one kind in the settings.
pub const LISTENERS_MAX: usize = 64;
/// Networks of trusted proxies: they are compared one by one on each connection.
pub const TRUSTED_PROXIES_MAX: usize = 64;
/// Addresses of control that a gateway tries in order.
pub const CONTROL_ADDRESSES_MAX: usize = 16;
/// Worker threads of one gateway.
pub const WORKERS_MAX: usize = 1_024;
/// Downstream connections of one gateway, all listeners together.
pub const CONNECTIONS_MAX: usize = 100_000;
/// Downstream connections from one address: well above a large office behind NAT.
pub const CONNECTIONS_PER_SOURCE_MAX: usize = 4_096;
/// Open sessions (tunnels, jumps) of one gateway.
pub const SESSIONS_MAX: usize = 50_000;
/// Open jumps of one principal.
pub const SESSIONS_PER_PRINCIPAL_MAX: usize = 256;
/// Time that open requests and tunnels get after SIGTERM, in milliseconds.
pub const DRAIN_DEADLINE_MS: u64 = 30_000;
/// Drain of a deleted object's flows when its policy names no other, in milliseconds (DESIGN D5).
pub const DRAIN_ON_DELETE_MS: u32 = 30_000;
/// Open files below which a warning is logged (INVENTORY A-54).
pub const OPEN_FILES_WANTED: u64 = 65_536;
/// Longest path of a unix socket in bytes (sun_path of Linux, less its final NUL).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Pause after accepting failed for want of descriptors or memory, in milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;
/// Open files kept for listeners, logs, the checkpoint, the stream to control and the admin endpoint.
pub const OPEN_FILES_RESERVED: usize = 256;
/// Connections the kernel queues for one listening socket; it cuts this to its own `somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// First and longest pause before a listener that could not bind is tried again.
pub const LISTENER_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Commands under way to one worker: a set of listeners.
pub const WORKER_COMMANDS_MAX: usize = 64;
/// Time that tunnels get to close when the time to drain is over, in milliseconds.
pub const CUT_GRACE_MS: u64 = 500;
/// Time a worker gets to take its last command, in milliseconds; one that does not is stuck.
pub const WORKER_STOP_DEADLINE_MS: u64 = 5_000;
/// Connections open at once on the gateway's own admin endpoint.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Time for one request on the gateway's own admin endpoint, in milliseconds.
pub const ADMIN_REQUEST_DEADLINE_MS: u64 = 10_000;

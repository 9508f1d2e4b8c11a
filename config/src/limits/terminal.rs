//! The bounds of terminals in the browser.

/// Most columns or rows of a terminal: eight times a large screen. A page may say what it likes, and a program on the VM
/// may take memory for it.
pub const TERMINAL_SIDE_MAX: u32 = 2_000;
/// Longest wait for a page's first message, in milliseconds: it is sent with the handshake.
pub const TERMINAL_HELLO_DEADLINE_MS: u64 = 10_000;
/// Largest message of a page to a terminal, in bytes: four times what our page sends in one; a paste is many.
pub const TERMINAL_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Characters of the secret by which a page is known again, at least and at most: 128 bits in base64, and a digest of any
/// kind.
pub const TERMINAL_SECRET_BYTES: (usize, usize) = (22, 128);
/// Messages of a page that wait for its session, and as many again for the shell. With the longest message in each
/// this is half a megabyte for a program on the VM that does not read.
pub const TERMINAL_SAID_QUEUED_MAX: usize = 4;
/// Messages of a shell that wait for its page. With a packet of SSH (32 KiB) in each this is half a megabyte for a page
/// that does not read.
pub const TERMINAL_TOLD_QUEUED_MAX: usize = 16;
/// Longest wait for a page to take one message, in milliseconds. A page that asked for a pause is not waited for.
pub const TERMINAL_WRITE_DEADLINE_MS: u64 = 60_000;
/// Longest way from a connection to a VM to its shell, in milliseconds: `sshd` may ask slow directories.
pub const TERMINAL_OPEN_DEADLINE_MS: u64 = 20_000;
/// What a VM may print before it is read, in bytes.
pub const TERMINAL_WINDOW_BYTES: u32 = 256 * 1024;
/// What is kept of a terminal for a page that comes back, in bytes (DESIGN D13).
pub const TERMINAL_SCROLLBACK_BYTES: usize = 256 * 1024;
/// What of it is sent in one message, in bytes: the whole, with the modes before it, is more than may wait to be written
/// to one browser.
pub const TERMINAL_REPLAY_BYTES: usize = 32 * 1024;
/// How far into what is kept the beginning of a line is looked for, in bytes: a few lines. A screen that a program draws
/// has none.
pub const TERMINAL_LINE_SOUGHT_BYTES: usize = 4 * 1024;
/// How long a terminal has another size when its page comes back, in milliseconds: a program that was told of two sizes
/// at once would see no change, and not draw its screen again.
pub const TERMINAL_NUDGE_MS: u64 = 100;
/// How long a terminal waits for its page to come back, in milliseconds: a change of network, a lid closed by mistake.
pub const TERMINAL_REATTACH_MS: u64 = 60_000;
/// How long after its end a ticket may name a terminal that is still open, in milliseconds: as long as a tunnel may be
/// idle.
pub const TERMINAL_TICKET_LATE_MS: u64 = 24 * 3_600_000;

//! Consoles, their tickets, and the questions on the stream.

/// Longest path of a console that speaks WebSocket itself, in bytes.
pub const CONSOLE_PATH_BYTES_MAX: usize = 512;
/// Longest VNC password in bytes: the key of DES takes no more (RFC 6143 § 7.2.2).
pub const VNC_PASSWORD_BYTES_MAX: usize = 8;
/// Time in which a console ticket has to be redeemed, in milliseconds.
pub const TICKET_LIFE_MS: u64 = 60_000;
/// How far the clock of control may be ahead of a gateway's, in milliseconds.
pub const TICKET_CLOCK_SKEW_MS: u64 = 10_000;
/// Time in which the same browser may use a VNC ticket again, in milliseconds: RFB cannot resume (DESIGN D13).
pub const TICKET_AGAIN_MS: u64 = 30_000;
/// Redeemed tickets that one gateway remembers until they expire: a thousand a second for a minute; some 8 MB.
pub const TICKETS_REDEEMED_MAX: usize = 65_536;
/// Read buffer of a console's WebSocket in bytes: it is held while the console is open.
pub const CONSOLE_READ_BUFFER_BYTES: usize = 8 * 1024;
/// Largest message that a browser may send to a console, in bytes: a long paste; more is sent in several.
pub const CONSOLE_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// What may wait to be written to a browser, in bytes: one read of the console with room for control frames.
pub const CONSOLE_WRITE_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// Time between two pings on a console, in milliseconds: proxies on the way cut what is silent for 60 s (ANCHORS I 62).
pub const CONSOLE_PING_MS: u64 = 25_000;
/// Pings in a row without any sign of life, after which a browser counts as gone.
pub const CONSOLE_PINGS_UNANSWERED_MAX: u32 = 3;
/// Time for the handshake with a VNC server, in milliseconds, ours and the browser's part together.
pub const RFB_HANDSHAKE_DEADLINE_MS: u64 = 10_000;
/// Longest reason of a VNC server for refusing, in bytes, of which the beginning is shown.
pub const RFB_REASON_BYTES_MAX: usize = 1_024;
/// Encodings that a read-only client may name.
pub const RFB_ENCODINGS_MAX: usize = 256;
/// Largest clipboard of a read-only client that is read over, in bytes.
pub const RFB_CUT_TEXT_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Time for the closing handshake of a console's WebSocket, in milliseconds.
pub const CONSOLE_CLOSE_DEADLINE_MS: u64 = 3_000;
/// Time for an answer over the gateways' stream, in milliseconds: a person waits for it (DESIGN D13).
pub const ASKED_DEADLINE_MS: u64 = 2_000;
/// The part of it that control gives another gateway, in milliseconds: the answer has a way to go yet.
pub const ASKED_ONWARD_DEADLINE_MS: u64 = 1_700;
/// Questions over one stream that wait to be sent or answered: a console being opened is one.
pub const ASKED_AT_ONCE_MAX: usize = 256;
/// Sessions in one answer of a gateway; some 100 KB.
pub const SESSIONS_TOLD_MAX: usize = 500;
/// Answers of one gateway that are read for one page: a tenant's sessions may be rare among ten thousand.
pub const SESSIONS_ANSWERS_MAX: usize = 200;

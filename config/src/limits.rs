//! Every bound of the system, with its unit and reason. A limit that is not here does not exist.

mod terminal;

pub use terminal::*;

use std::time::Duration;

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
/// Ports of one forward: a row for passive FTP or a media server fits; each is a socket in every worker.
pub const FORWARD_PORTS_MAX: usize = 1_024;
/// Networks that one forward lets in.
pub const FORWARD_SOURCES_MAX: usize = 64;
/// Ports of a forward up to which each is a socket in every worker; of a wider row each port is one worker's, which
/// spreads it just as well and takes a socket for each port only.
pub const FORWARD_PORTS_SHARED_MAX: usize = 16;
/// Sockets that all forwards of one gateway listen with; it has fewer where it may open few files.
pub const FORWARD_SOCKETS_MAX: usize = 65_536;
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
/// Forwards with metrics of their own.
pub const METRIC_FORWARDS_MAX: usize = 1_000;
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
/// Longest time that a route may set for anything but a tunnel, in milliseconds: one day.
pub const TIMEOUT_MS_MAX: u32 = 24 * 60 * 60 * 1000;
/// Longest silence that a route may grant a tunnel, in milliseconds: one week.
pub const TUNNEL_IDLE_MS_MAX: u32 = 7 * 24 * 60 * 60 * 1000;
/// Violations that one check names: enough to mend by hand, short enough to read.
pub const VIOLATIONS_NAMED_MAX: usize = 32;
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
/// Longest `Retry-After` of maintenance, and life of a learned key, in seconds: one week.
pub const WEEK_SECONDS: u32 = 7 * 24 * 60 * 60;

/// Longest HTTP/1.1 header section in bytes, request or response (DESIGN D10).
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header fields in one head (DESIGN D10).
pub const FIELDS_MAX: usize = 100;
/// Longest request target in bytes (DESIGN D10; RFC 9112 § 3 recommends at least 8000).
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Longest chunk-size line with extensions in bytes; extensions are read and dropped, never stored.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Longest trailer section in bytes.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Longest `X-Request-Id` in bytes that is taken over from a client: room for a UUID or a trace id with its parents.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
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
/// Smallest response in bytes that is compressed: below, the head and the work cost more than is saved.
pub const GZIP_BYTES_MIN: u64 = 1_024;
/// Responses that one worker compresses at once, each with some 300 KiB of state, and how many of these states it keeps.
pub const GZIP_AT_ONCE: (usize, usize) = (64, 8);
/// Size of a relay's buffer in bytes, one for each direction while it holds data: 20 to 30 % less CPU than 8 KiB
/// (CRATES.md 5), and twice it buys nothing.
pub const RELAY_BUFFER_BYTES: usize = 64 * 1024;
/// Longest name of a protocol that a route lets upgrades through to, in bytes: known ones have under twenty.
pub const UPGRADE_NAME_BYTES_MAX: usize = 64;
/// Bytes of one read from which a relay between two plain sockets goes on by splice(2), and below which a piece is a
/// small one: small messages are cheaper by copy (one visit less), 64 KiB ones cost 0.8 as much by pipe (PERF.md 6).
pub const RELAY_SPLICE_BYTES: (usize, usize) = (32 * 1024, 8 * 1024);
/// Small pieces in a row after which a relay goes back to copying.
pub const RELAY_SPLICE_SMALL_MAX: u8 = 4;
/// Pipes lent by one worker, of [`SPLICE_PIPES`], above which a relay copies.
pub const RELAY_PIPES_MAX: usize = 12;
/// Relay buffers a thread keeps for reuse; a relay without data in flight holds none.
pub const RELAY_BUFFERS_KEPT_MAX: usize = 16;
/// Reads and writes a relay makes before it lets the other tasks of its thread run.
pub const RELAY_STEPS_MAX: usize = 32;
/// Buffers a worker keeps for reuse; more are freed when given back.
pub const BUFFERS_KEPT_MAX: usize = 64;

/// Time for a whole request head to arrive once its first byte did, in milliseconds.
pub const REQUEST_HEAD_DEADLINE_MS: u64 = 15_000;
/// Longest silence inside a response body on the origin's side, in milliseconds.
pub const BODY_IDLE_DEADLINE_MS: u64 = 60_000;
/// Longest silence inside a request body on the client's side, in milliseconds.
pub const REQUEST_BODY_DEADLINE_MS: u64 = 60_000;
/// Longest time that a client takes nothing of what it asked for, in milliseconds (nginx's `send_timeout`).
pub const SEND_DEADLINE_MS: u64 = 60_000;
/// A client that neither sends nor takes as many bytes in as many milliseconds, although nothing but the client is
/// waited for, holds a connection for nothing: 68 bytes a second, below the slowest modem.
pub const PACE: (u64, u64) = (2_048, 30_000);
/// Longest silence of a downstream connection between two requests, in milliseconds.
pub const KEEP_ALIVE_IDLE_MS: u64 = 75_000;
/// Silence after which a downstream connection gives back the room that a request needs, in milliseconds: one that is
/// used again and again does not allocate it anew.
pub const QUIET_MS: u64 = 1_000;
/// Longest silence of a pooled upstream connection in milliseconds; below the 60 s at which common origins close.
pub const UPSTREAM_IDLE_MS: u64 = 50_000;
/// Time for one upstream connection to be made, in milliseconds.
pub const CONNECT_DEADLINE_MS: u64 = 5_000;
/// Time for a response head to arrive after the request was sent, in milliseconds.
pub const RESPONSE_HEAD_DEADLINE_MS: u64 = 60_000;
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
/// Longest silence of an upgraded connection in milliseconds (INVENTORY A-50: 24 h).
pub const TUNNEL_IDLE_MS: u64 = 24 * 60 * 60 * 1000;
/// Idle upstream connections kept for one endpoint by one worker.
pub const IDLE_PER_ENDPOINT_MAX: usize = 64;
/// Idle upstream connections kept by one worker, all endpoints together: a share of the open files.
pub const IDLE_PER_WORKER_MAX: usize = 4_096;
/// Tries of one request: the first, one after a reused connection turned out dead, one more endpoint.
pub const FORWARD_TRIES_MAX: u8 = 3;
/// Interim responses (1xx) of one request; more are an origin out of order.
pub const INTERIM_RESPONSES_MAX: usize = 16;
/// Time a request goes on after its sender closed its writing side before the response began, in milliseconds: it may
/// have gone (then the work is for nobody) or wait with half the connection closed.
pub const HALF_CLOSED_MS: u64 = 3_000;
/// Time that a closing connection is still read, in milliseconds, so that the answer is not lost to a reset.
pub const LINGER_MS: u64 = 2_000;
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

/// Streams of one HTTP/2 connection at once: what browsers and RFC 9113 § 6.5.2 expect at least.
pub const H2_STREAMS_MAX: u32 = 128;
/// Bytes of one stream's request body on their way to a slow origin: 20 MiB/s at 50 ms.
pub const H2_STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for a whole connection, which is what a client may have us hold.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Memory that small DATA frames may take on one connection beyond their bytes: some 32 000 of them unread. The crate's
/// own choice, half of the window, ends a connection of small messages in one burst.
pub const H2_SMALL_DATA_BUDGET_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of one stream's response that wait for the connection.
pub const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Requests of one HTTP/2 connection; then it is closed gracefully, and its tables begin anew.
pub const H2_REQUESTS_MAX: u64 = 1_000_000;
/// Streams reset by us that are remembered for what is still under way to them.
pub const H2_RESET_STREAMS_KEPT: usize = 64;
/// Streams that the client opened and reset before we looked at them.
pub const H2_PENDING_RESETS_MAX: usize = 64;
/// Streams of one connection that we had to reset, in all its life; below it [`H2_FORCED_RESETS_MAX`] counts by time.
pub const H2_FORCED_RESETS_IN_ALL_MAX: usize = 10_000;
/// Requests under way at once on one HTTP/2 connection to an endpoint; the endpoint may allow fewer. Then there is another
/// connection: a slow reader of one stream must not fill the window of too many others.
pub const H2_UPSTREAM_STREAMS_MAX: usize = 100;
/// Bytes of responses on their way to slow clients, of one HTTP/2 connection to an endpoint.
pub const H2_UPSTREAM_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Time in which the frames below are counted, in milliseconds. Above a bound the connection ends.
pub const H2_FLOOD_WINDOW_MS: u64 = 10_000;
/// Streams reset by the client (CVE-2023-44487): a page full of cancelled requests is a hundred.
pub const H2_RESETS_MAX: u32 = 1_000;
/// Streams that the client made us reset (CVE-2025-8671).
pub const H2_FORCED_RESETS_MAX: u32 = 200;
/// SETTINGS of the client (CVE-2019-9515): one at the start, few ever after.
pub const H2_SETTINGS_MAX: u32 = 100;
/// PINGs of the client (CVE-2019-9512): gRPC measures with one for each round trip.
pub const H2_PINGS_MAX: u32 = 5_000;
/// PRIORITY and unknown frames (CVE-2019-9513).
pub const H2_IDLE_FRAMES_MAX: u32 = 1_000;
/// DATA, HEADERS and CONTINUATION without a byte (CVE-2019-9518).
pub const H2_EMPTY_FRAMES_MAX: u32 = 200;
/// CONTINUATION (CVE-2024-27316): a head of 64 KiB has three.
pub const H2_CONTINUATIONS_MAX: u32 = 500;
/// Bytes of one header block as sent: twice the largest head, since nothing grows so much by packing.
pub const H2_HEADER_BLOCK_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;
/// Windows that grow by less than [`H2_SMALL_WINDOW_BYTES`] (CVE-2019-9511).
pub const H2_SMALL_WINDOWS_MAX: u32 = 5_000;
/// Growth of a window in bytes below which it is a drip.
pub const H2_SMALL_WINDOW_BYTES: u32 = 64;

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

/// Time from connect to authenticated on SSH, in milliseconds (OpenSSH's LoginGraceTime is 120 s).
pub const SSH_AUTH_DEADLINE_MS: u64 = 30_000;
/// Authentication attempts on one SSH connection (OpenSSH's MaxAuthTries is 6; scenario 16 wants five).
pub const SSH_AUTH_TRIES_MAX: usize = 5;
/// Time that a refused authentication attempt takes on SSH, whatever the reason, in milliseconds: more than looking a
/// key up and checking its signature ever do.
pub const SSH_REJECTION_MS: u64 = 500;
/// Silence of an SSH client after which it is asked for a sign of life, in milliseconds, and how many go unanswered
/// before it is given up.
pub const SSH_KEEPALIVE_MS: (u64, usize) = (30_000, 3);
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
/// SSH connections of one gateway that have not authenticated yet.
pub const SSH_UNAUTHENTICATED_MAX: usize = 256;
/// Of those, connections of one source, the slowed ones included: one source leaves room for the others.
pub const SSH_UNAUTHENTICATED_PER_SOURCE_MAX: usize = 32;
/// Connections of one source that may end unauthenticated before its next ones are slowed.
pub const SSH_STRIKES_FREE: u32 = 5;
/// By how much each further one slows the source's next connection, and by how much at most, in milliseconds.
pub const SSH_STRIKE_MS: (u64, u64) = (100, 5_000);
/// Time after which one such connection is forgotten, in milliseconds.
pub const SSH_STRIKE_FORGOTTEN_MS: u64 = 10_000;
/// Sources whose failures are remembered; one that finds no place is not slowed.
pub const SSH_SOURCES_MAX: usize = 16_384;
/// Time in which an SSH client takes nothing of what waits for it, after which its connection is cut, in milliseconds:
/// no sign of life can be asked for meanwhile, so it is the time those would take.
pub const SSH_WRITE_STALL_MS: u64 = 120_000;
/// Source networks that one certificate names.
pub const SSH_CERTIFICATE_SOURCES_MAX: usize = 64;

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
/// Endpoints of one upstream.
pub const ENDPOINTS_MAX: usize = 256;
/// Size of the delta log in bytes at which the checkpoint's base is written anew, if it also exceeds the base.
pub const CHECKPOINT_LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Older checkpoints kept beside the newest.
pub const CHECKPOINTS_KEPT: usize = 2;

/// Time that open requests and tunnels get after SIGTERM, in milliseconds.
pub const DRAIN_DEADLINE_MS: u64 = 30_000;
/// Drain of a deleted object's flows when its policy names no other, in milliseconds (DESIGN D5).
pub const DRAIN_ON_DELETE_MS: u32 = 30_000;

/// Ports that forwards get when they name none, both ends included: above the services that have a number, below
/// those that Linux takes for outgoing connections (32768 to 60999).
pub const FORWARD_AUTO_PORTS: (u16, u16) = (20_000, 29_999);
/// Forwards in one import: all of them are one transaction and one generation.
pub const FORWARD_IMPORT_ROWS_MAX: usize = 5_000;
/// Time for the target of a forward to answer when it is looked into, in milliseconds: a person waits.
pub const DIAGNOSE_DIAL_MS: u64 = 3_000;

/// Largest request body of the admin API in bytes.
pub const API_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest time a body takes to reach the admin API; one that drips in would hold a connection for ever.
pub const API_BODY_DEADLINE_MS: u64 = 30_000;
/// Items in a list when the caller names no limit, and at most (DESIGN §12).
pub const PAGE_ITEMS: (usize, usize) = (50, 500);
/// Longest note in characters.
pub const NOTE_CHARS_MAX: usize = 255;
/// Life of an API token in seconds: default and most (INVENTORY 2.1, API token).
pub const TOKEN_SECONDS: (u64, u64) = (600, 24 * 60 * 60);
/// Life of a join token in seconds.
pub const JOIN_TOKEN_SECONDS: u64 = 60 * 60;
/// Life of a gateway's certificate in days (DESIGN §12).
pub const GATEWAY_CERTIFICATE_DAYS: i64 = 90;
/// Pause in seconds before a gateway asks again for a certificate that did not come: a third of its life is left.
pub const RENEWAL_PAUSE_SECONDS: i64 = 60 * 60;
/// Open files below which a warning is logged (INVENTORY A-54).
pub const OPEN_FILES_WANTED: u64 = 65_536;
/// Longest path of a unix socket in bytes (sun_path of Linux, less its final NUL).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Connections to the admin API at once; a person and a few scripts need a handful.
pub const API_CONNECTIONS_MAX: usize = 1024;
/// TLS handshakes of the admin API at once; those beyond are closed, so that silent ones hold nothing but each other's room.
pub const API_HANDSHAKES_MAX: usize = 128;
/// Addresses that the certificate of the admin API's TLS listeners names beside loopback: those that clients reached it by.
pub const API_CERTIFICATE_ADDRESSES_MAX: usize = 64;
/// Pause after accepting failed for want of descriptors or memory, in milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;
/// Largest answer that the command line reads, in bytes.
pub const CLI_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Gateways' streams at once in one control, those that have not authenticated included.
pub const SYNC_STREAMS_MAX: usize = 1024;
/// How often `up` looks whether its children are ready, in milliseconds.
pub const UP_LOOK_MS: u64 = 20;
/// Time for one such look, in milliseconds.
pub const UP_ASK_MS: u64 = 2_000;
/// Open files kept for listeners, logs, the checkpoint, the stream to control and the admin endpoint.
pub const OPEN_FILES_RESERVED: usize = 256;
/// Connections the kernel queues for one listening socket; it cuts this to its own `somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// First and longest pause before a listener that could not bind is tried again.
pub const LISTENER_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Longest pause between two looks at the clock for lists of revoked certificates that expire: it may have jumped.
pub const EXPIRY_LOOK: Duration = Duration::from_secs(60);
/// Commands under way to one worker: a set of listeners.
pub const WORKER_COMMANDS_MAX: usize = 64;
/// Time that tunnels get to close when the time to drain is over, in milliseconds.
pub const CUT_GRACE_MS: u64 = 500;
/// Time a worker gets to take its last command, in milliseconds; one that does not is stuck.
pub const WORKER_STOP_DEADLINE_MS: u64 = 5_000;
/// Lines of the log that wait for their writer; more are dropped and counted.
pub const LOG_QUEUE_MAX: usize = 8_192;
/// Room for access records of one worker that wait for their writer, in bytes: about 4 000 of them, a tenth of a second
/// at full load. More are dropped and counted.
pub const ACCESS_RING_BYTES: usize = 1024 * 1024;
/// Longest time an access record waits for others before it is written, in milliseconds.
pub const ACCESS_BATCH_MS: u64 = 100;
/// Lines of access records that go out in one write, in bytes.
pub const ACCESS_WRITE_BYTES: usize = 64 * 1024;
/// Longest path, query, referer or user agent in an access record in bytes; what is longer is cut.
pub const ACCESS_TEXT_BYTES_MAX: usize = 1024;
/// Longest host, user or method in an access record in bytes.
pub const ACCESS_NAME_BYTES_MAX: usize = 255;
/// Query parameters whose values the access log hides.
pub const REDACTED_NAMES_MAX: usize = 256;
/// Longest name of such a parameter in bytes.
pub const REDACTED_NAME_BYTES_MAX: usize = 64;
/// Routes that have series of their own on the metrics page; those of the rest are one, `other`.
pub const METRIC_ROUTES_MAX: usize = 1_000;
/// Endpoints whose health is on the metrics page; those that are down come first.
pub const METRIC_ENDPOINTS_MAX: usize = 4_096;
/// Certificates whose end of life is on the metrics page; those that end first.
pub const METRIC_CERTIFICATES_MAX: usize = 1_000;
/// Time that the series of a route that is gone stay on the metrics page, in milliseconds: a few scrapes.
pub const METRIC_ROUTE_KEPT_MS: u64 = 5 * 60 * 1000;
/// Connections open at once on the gateway's own admin endpoint.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Time for one request on the gateway's own admin endpoint, in milliseconds.
pub const ADMIN_REQUEST_DEADLINE_MS: u64 = 10_000;
/// Rotated log files deleted at one rotation.
pub const LOG_FILES_PRUNED_MAX: usize = 1_000;
/// Gateways' streams at once that have not authenticated yet; each holds a handshake and one small message.
pub const SYNC_STRANGERS_MAX: usize = 64;
/// Time that every gateway gets to answer a challenge before the authority is told to look, in milliseconds.
pub const CHALLENGE_ACKNOWLEDGED_MS: u64 = 30_000;
/// Time that every authoritative server gets to show a TXT record, in milliseconds: secondaries are told within seconds.
pub const ACME_PROPAGATION_MS: u64 = 120_000;
/// Resolvers of an account with a certificate authority.
pub const ACME_RESOLVERS_MAX: usize = 3;
/// Orders that are worked on at once: each speaks to an authority that counts.
pub const ACME_ORDERS_AT_ONCE_MAX: usize = 8;
/// Questions after an order that stands still, seconds apart, before it is given up and begun anew.
pub const ACME_POLLS_MAX: u32 = 120;
/// First and longest pause in seconds before a step of an order is taken again.
pub const ACME_RETRY_SECONDS: (u64, u64) = (30, 60 * 60);
/// Contacts of an account with a certificate authority.
pub const ACME_ACCOUNT_CONTACTS_MAX: usize = 8;
/// Time that open connections of control get at a stop, in milliseconds; they are short, and the gateways reconnect.
pub const CONTROL_STOP_MS: u64 = 10_000;
/// Names in one order: what the strictest public authority takes (Let's Encrypt: 100 per certificate).
pub const ACME_NAMES_MAX: usize = 100;
/// Contacts of one ACME account.
pub const ACME_CONTACTS_MAX: usize = 8;
/// Time for one request to an ACME authority, the connection and TLS included, in milliseconds.
pub const ACME_REQUEST_DEADLINE_MS: u64 = 30_000;
/// Time for one step of an order in milliseconds: with a hundred names it is some two hundred requests.
pub const ACME_STEP_DEADLINE_MS: u64 = 5 * 60 * 1000;
/// Longest answer of an ACME authority in bytes: a chain has a few thousand, a directory less.
pub const ACME_ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Certificates in a chain that an authority hands out.
pub const ACME_CHAIN_MAX: usize = 10;
/// Times a request is tried again because the authority did not like its nonce, three attempts of the library each.
pub const ACME_NONCE_TRIES: usize = 6;
/// Characters of what an authority says that are shown.
pub const ACME_DETAIL_CHARS_MAX: usize = 600;
/// Time for one question to a name server in milliseconds, over UDP and then TCP.
pub const DNS_QUESTION_DEADLINE_MS: u64 = 5_000;
/// Times a question over UDP is sent before it counts as unanswered.
pub const DNS_QUESTION_TRIES: u32 = 3;
/// Aliases followed from one name; resolvers give up at about as many.
pub const DNS_ALIASES_MAX: usize = 8;
/// Authoritative servers of a zone that are asked; the protocol's own priming answer has 13.
pub const DNS_SERVERS_MAX: usize = 16;
/// Time between two rounds of questions while a record spreads, in milliseconds.
pub const DNS_PROPAGATION_PAUSE_MS: u64 = 2_000;
/// Output of a DNS hook that is kept, in bytes; its end is shown when it fails.
pub const DNS_HOOK_OUTPUT_BYTES_MAX: usize = 8 * 1024;
/// Time for one run of a DNS hook in milliseconds, if the settings say nothing else.
pub const DNS_HOOK_DEADLINE_MS: u64 = 120_000;
/// Time for one look of our own at a challenge's answer in milliseconds; authorities allow about as much.
pub const ACME_LOOK_DEADLINE_MS: u64 = 10_000;
/// Longest answer to such a look in bytes: a key authorization has 87.
pub const ACME_LOOK_BYTES_MAX: usize = 4 * 1024;
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
/// Longest text in a question or an answer, in bytes: a kind, a reason.
pub const ASKED_TEXT_BYTES_MAX: usize = 256;
/// Sessions in one answer of a gateway; some 100 KB.
pub const SESSIONS_TOLD_MAX: usize = 500;
/// Answers of one gateway that are read for one page: a tenant's sessions may be rare among ten thousand.
pub const SESSIONS_ANSWERS_MAX: usize = 200;
/// What became of consoles that waits to be told to control; the oldest is lost first.
pub const CONSOLE_EVENTS_MAX: usize = 1_024;
/// How much of it one message carries.
pub const CONSOLE_EVENTS_TOLD_MAX: usize = 64;
/// Refused consoles that one gateway tells control of in [`CONSOLE_REFUSALS_MS`]: each becomes a row of the audit.
pub const CONSOLE_REFUSALS_MAX: u32 = 60;
/// See [`CONSOLE_REFUSALS_MAX`], in milliseconds.
pub const CONSOLE_REFUSALS_MS: u64 = 60_000;
/// Time in which a new gateway program has to say what it is, in milliseconds.
pub const UPGRADE_HELLO_MS: u64 = 10_000;
/// Time in which it has to have the generation in force and every listener in hand, in milliseconds: a large table
/// compiles for seconds on a busy machine.
pub const UPGRADE_READY_MS: u64 = 120_000;
/// Time from the word to go until it serves, in milliseconds; meanwhile datagrams of forwards wait in their sockets.
pub const UPGRADE_SERVING_MS: u64 = 10_000;
/// Longest the process before waits for its successor to follow control, in milliseconds, before it steps back there.
pub const UPGRADE_FOLLOW_MS: u64 = 30_000;
/// Largest message between the two, in bytes: a session of datagrams takes some 300, and there may be 65 536.
pub const UPGRADE_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Descriptors in one message between the two: every listening socket or every session of datagrams.
pub const UPGRADE_DESCRIPTORS_MAX: usize = 131_072;
/// Descriptors in one call of the kernel (`SCM_MAX_FD`).
pub const UPGRADE_DESCRIPTORS_AT_ONCE: usize = 253;
/// Processes of earlier upgrades that may still drain when another begins.
pub const UPGRADE_DRAINING_MAX: usize = 8;
/// Time that open flows get after an upgrade in milliseconds, if nothing else is said: a working day and its night.
pub const UPGRADE_AGE_MS: u64 = 24 * 60 * 60 * 1000;
/// Time after an upgrade in milliseconds in which a jump host's connection that has no channel may still open one.
pub const UPGRADE_GRACE_MS: u64 = 10_000;
/// Longest order to upgrade in bytes: a path and a few words.
pub const UPGRADE_ORDER_BYTES_MAX: usize = 8 * 1024;
/// Time for such an order to be written, and its answer to be read, in milliseconds.
pub const UPGRADE_ORDER_MS: u64 = 5_000;
/// Orders that are listened to at once: one works, the others are told so.
pub const UPGRADE_ORDERS_MAX: usize = 8;

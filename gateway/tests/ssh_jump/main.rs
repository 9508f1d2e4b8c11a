//! The jump host as OpenSSH's own client sees it, and as a client that knows no manners does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test stops at the first surprise"
)]

mod client;
mod gate;
mod host_keys;
mod hostile;
mod kex;
mod keys;
mod openssh;
mod raw;
mod refused;
mod russh_client;
mod security_key;
mod stalled;
mod two_way;

//! The data plane: carries every byte.
//!
//! A request, a handshake or a channel pins one generation ([`live`]) and is served by one [`worker`] thread from first
//! byte to last. Start at [`worker`], then [`http::serve`](http).
//!
//! Invariants: the gateway never opens a database and never depends on control. Nothing on the request path takes a
//! lock that all workers share, blocks on a file, or spawns across threads. Nothing here panics on input from a peer.

#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test stops at the first surprise"
    )
)]

pub mod admin;
pub mod arguments;
pub mod audit;
pub mod buffers;
pub mod checkpoint;
pub(crate) mod clock;
pub mod console;
pub mod drain;
pub mod fault;
pub mod forward;
pub mod guard;
pub mod http;
pub mod listener;
pub mod live;
pub(crate) mod plain;
pub mod relay;
pub mod session;
pub(crate) mod splice;
pub mod ssh;
pub mod start;
pub mod sync;
pub mod telemetry;
pub mod terminal;
pub mod tls;
pub mod upgrade;
pub mod upstream;
pub mod worker;

pub use start::{Gateway, Running};

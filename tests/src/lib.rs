//! The harness: a whole Gatehouse in one process, fake origins, and clients that see raw bytes.
//!
//! [`Stack`](stack::Stack) is control, gateways and what they need, on port 0 and in a directory of its own.
//! [`Binaries`](binaries::Up) drives the real programs. Everything waits on conditions with a deadline.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "the harness of tests stops at the first surprise"
)]

pub mod api;
pub mod binaries;
pub mod canary;
pub mod client;
pub mod cut;
pub mod firehose;
pub mod frames;
pub mod origin;
pub mod ports;
pub mod raw;
pub mod recorder;
pub mod rogue;
pub mod sshd;
pub mod stack;
pub mod wait;

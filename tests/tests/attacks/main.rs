//! The gateway as an intruder meets it: raw bytes from outside, origins that misbehave, and what came of it.
//!
//! Every attack has one measure: nothing reaches an origin but whole, strictly valid requests that the gateway meant to
//! send, every answer goes to who asked for it, and others are served meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod chunks;
mod downgrade;
mod fields;
mod handover;
mod mutations;
mod origins;
mod smuggling;
mod world;

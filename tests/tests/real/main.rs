//! The real programs with the real clients: what a person does, what a crash does, what a mistake does.
//!
//! Needs openssh, curl and openssl; `./test` installs them and turns the feature `real` on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test stops at the first surprise"
)]

// The authority and the name server that `certs` is tried against.
#[allow(dead_code, reason = "shared with certs' own tests, a part is used here")]
#[path = "../../../certs/tests/support/bind.rs"]
mod bind;
#[allow(dead_code, reason = "shared with certs' own tests, a part is used here")]
#[path = "../../../certs/tests/support/pebble.rs"]
mod pebble;
#[allow(dead_code, reason = "shared with certs' own tests, a part is used here")]
#[path = "../../../certs/tests/support/program.rs"]
mod program;

mod admin;
mod audited;
mod consoles;
mod crash;
mod datagrams;
mod elder;
mod floods;
mod flows;
mod forwards;
mod https;
mod issued;
mod killed;
mod machine;
mod mistakes;
mod netns;
mod programs;
mod readme;
mod renewal;
mod scenarios;
mod sessions;
mod slow;
mod ssh;
mod suites;
mod swap;
mod terminal;
mod tour;
mod two;
mod two_gates;
mod upgrade;
mod websockets;
mod wires;

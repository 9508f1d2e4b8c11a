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

mod crash;
mod floods;
mod https;
mod mistakes;
mod programs;
mod readme;
mod scenarios;
mod slow;
mod suites;
mod swap;
mod tour;

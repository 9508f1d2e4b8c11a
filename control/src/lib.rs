//! The control plane: decides, stores, publishes, serves the admin API, and is the command line of everything.
//!
//! Invariants: the database is opened here and nowhere else; no handler decides who may do what (that is
//! [`auth::rbac`]); a change is rows, audit, change log and generation in one transaction.

#![forbid(unsafe_code)]
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

pub mod api;
pub mod app;
pub mod auth;
pub mod authority;
pub mod cli;
pub mod keys;
pub mod listen;
pub mod options;
pub mod publish;
pub mod start;
pub mod store;
pub mod telemetry;
pub mod up;

pub use start::{Control, Running, StartError};

//! Counters, the log and the access record.
//!
//! The hot path touches only its own worker's [`Counters`]; the metrics page adds them up.

pub mod access;
pub mod counters;
pub mod gauges;
pub mod log;
pub mod page;
mod writer;

pub use access::{Access, Record};
pub use counters::{Counters, InFlight, Metrics, OpenConnection};
pub use gauges::Gauges;

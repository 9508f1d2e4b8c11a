//! Counters, the log and the access log.
//!
//! The hot path touches only its own worker's [`Counters`]; the metrics page adds them up.

pub mod access;
pub mod counters;
pub mod gauges;
pub mod log;
pub mod page;
pub mod routes;
mod writer;

pub use access::{Access, Protocol, Record, Recorder, TlsFacts, UpstreamWay};
pub use counters::{Counters, InFlight, Metrics, OpenConnection};
pub use gauges::Gauges;
pub use routes::Routes;

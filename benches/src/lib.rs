//! What the measurements share: running the built programs, blocking HTTP, and readings from `/proc`.

#![forbid(unsafe_code)]

pub mod http;
pub mod load;
pub mod peers;
pub mod process;
pub mod stats;
pub mod table;

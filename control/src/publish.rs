//! From rows to gateways: the desired state in memory, built once from the store and moved by each change.

pub mod acknowledged;
pub mod build;
pub mod desired;
pub mod gateways;

pub use acknowledged::{Unacknowledged, await_acknowledged};
pub use desired::{Desired, Staged, State};

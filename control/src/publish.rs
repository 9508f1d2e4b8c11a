//! From rows to gateways: the desired state in memory, built once from the store and moved by each change.

pub mod build;
pub mod desired;
pub mod gateways;

pub use desired::{Desired, Staged, State};

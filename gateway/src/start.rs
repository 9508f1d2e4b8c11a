//! From settings to a running gateway.

/// The data plane.
pub struct Gateway {}

/// A gateway that runs.
pub struct Running {}

//! The buffers that a worker lends.

/// A worker's buffers, lent while a socket is ready and given back when it is idle.
#[derive(Default)]
pub struct Buffers {}

//! Towards the VM: which endpoint, over which connection.

/// One worker's upstream connections and resolver answers.
#[derive(Default)]
pub struct Upstreams {}

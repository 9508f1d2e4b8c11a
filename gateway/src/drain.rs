//! The way out: stop accepting, tell peers, wait, cut.

/// Whether the process is on its way out.
#[derive(Default)]
pub struct Drain {}

impl Drain {
    /// Whether connections should close at their next chance.
    pub fn is_draining(&self) -> bool {
        false
    }

    /// Resolves when draining begins.
    pub async fn begun(&self) {
        std::future::pending().await
    }
}

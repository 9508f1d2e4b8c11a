//! Waiting on a condition, with a deadline that fails the test and says what was waited for.

use std::time::Duration;

/// Longest any condition is waited for: far above what a loaded machine needs, so that only a real failure ends there.
pub const DEADLINE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(10);

/// Polls until `probe` gives a value; panics with `what` after [`DEADLINE`].
pub async fn wait_for<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    wait_at_most(DEADLINE, what, probe).await
}

/// [`wait_for`] with another deadline, for what rests between its steps.
pub async fn wait_at_most<T, F>(deadline: Duration, what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = tokio::time::Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        tokio::time::sleep(STEP).await;
    }
}

/// Bounds a future that must finish; panics with `what` after [`DEADLINE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("not done after {DEADLINE:?}: {what}"))
}

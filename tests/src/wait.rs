//! Waiting for a condition, within a bound.

use std::time::{Duration, Instant};

/// No single wait of a test is longer; reaching it is a failure. Ten times what the slowest thing waited for takes on
/// two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(POLL);
    loop {
        looks.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
    }
}

/// Like [`eventually`], for where no runtime is, with a bound of the caller's. `None` when it is reached.
pub fn eventually_blocking<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(POLL);
    }
}

//! For tests only: a mesh in one process. Real sockets, real certificates, real stores in a directory of their own;
//! a test names who serves and who calls, and says what is to happen.
//!
//! A [`World`] is two domains without processes. `world.start("catalog", Config::read, build)` runs a service in it as
//! its `main` would, `world.caller("commerce-edge").await.channel(&API)` calls it under an identity, and [`signed_in`]
//! adds an end user's token.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must stop")]

mod ports;
mod process;
mod refused;
mod world;

use std::time::Duration;

pub use process::{Caller, Killable, Process};
pub use refused::{refused, tampered};
pub use world::{Access, Token, World, signed_in};

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `holds`.
///
/// # Panics
/// With `what`, if that does not happen within [`PATIENCE`].
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(outcome.is_ok(), "in vain: {what}");
}

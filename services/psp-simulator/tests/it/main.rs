//! The bank through its ports: what it accepts, what it refuses, and that it keeps its word through a kill.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod notifications;
mod program;
mod transactions;
mod world;

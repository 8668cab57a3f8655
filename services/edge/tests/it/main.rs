//! The three edges over real sockets, between apps without certificates and workloads with scripted answers.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod browsers;
mod forward;
mod harness;
mod notify;
mod rate;
mod session;

//! What the tests of crashes, load, traces and leaks need beyond the harness: stopped processes and their sockets,
//! stores as files, spans as they were exported, and a bank's signature.

pub(crate) mod freeze;
pub(crate) mod snap;
pub(crate) mod spans;
pub(crate) mod stores;

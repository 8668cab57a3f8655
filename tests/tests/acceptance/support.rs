//! What the tests of crashes, load, traces and leaks need beyond the harness: stopped processes and their sockets,
//! stores as files, spans as they were exported, the bank's side of a payment, and an app that does not give up.

pub(crate) mod app;
pub(crate) mod canaries;
pub(crate) mod evidence;
pub(crate) mod freeze;
pub(crate) mod snap;
pub(crate) mod spans;
pub(crate) mod stores;
pub(crate) mod till;

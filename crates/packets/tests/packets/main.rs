//! Real packets: each trap of NetworkPolicy with its allow and its deny.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must stop")]

mod support;
mod traps;

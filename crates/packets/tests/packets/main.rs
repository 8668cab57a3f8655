//! Real packets: each trap of NetworkPolicy with its allow and its deny, planted faults, what a killed run leaves, and
//! generated policies against the tables of somebody else's analysis.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on must stop")]

mod cases;
mod cyclonus;
mod faults;
mod lifetime;
mod support;
mod traps;

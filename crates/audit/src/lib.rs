//! Who called whom, as the traces tell it, against who is meant to call whom.
//!
//! Spans come from OTLP files, from hash-chained segments of a witness, or from Jaeger ([`source`]); an [`Audit`] joins
//! them, attributes each call to the caller whose certificate the server saw, holds it against an
//! [`Intent`](sekat_policy::Intent), and reconciles the whole with counters and access records that did not come through
//! the trace pipeline. What cannot be known is said to be unknown. Each run plants faults in a copy of the spans and
//! must find them.
//!
//! It works on traces of other meshes as well; without certificates in the spans a caller is claimed, and never proven.

mod audit;
mod chain;
mod dialect;
mod finding;
pub mod input;
mod join;
mod judge;
pub mod learn;
mod names;
mod options;
mod partition;
mod plan;
mod reconcile;
mod record;
mod report;
mod sample;
mod sampling;
pub mod segments;
mod self_test;
pub mod shadow;
pub mod source;
mod span;
mod tally;
mod time;
mod trace;

pub use audit::Audit;
pub use dialect::Status;
pub use finding::{Finding, Verdict, What, Witness};
pub use options::Options;
pub use report::{Clock, Coverage, Edge, Report};
pub use sampling::Sampling;
pub use self_test::{Case, SelfTest};
pub use span::*;
pub use tally::Evidence;

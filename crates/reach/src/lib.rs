//! Who can reach whom by a cluster's manifests, and by which line: an answer with three values, because a claim that
//! nobody can connect must not rest on what the manifests leave open.
//!
//! It reads YAML and knows nothing of the compiler that may have written it. One engine answers everything: listing,
//! explaining, comparing two sets of manifests, and checking a stated intent; [`naive`] checks the engine.

pub mod addresses;
mod analysis;
mod classes;
mod diff;
mod explain;
pub mod exposure;
mod extents;
mod input;
mod intent;
pub mod labels;
mod list;
pub mod naive;
pub mod objects;
mod plan;
pub mod ports;
mod recheck;
pub mod render;
mod rows;
mod verdict;

pub use analysis::{Analysis, Summary};
pub use diff::{Change, Diff, Relation, diff};
pub use explain::{Explanation, Reason, Verdict};
pub use input::{Source, gather, read};
pub use intent::{Checked, Pair};
pub use list::{GATEWAY, INGRESS_CONTROLLER, Row};
pub use plan::Direction;
pub use recheck::{End, Recheck};

/// A file that cannot be read.
pub const UNREADABLE: &str = "SK0500";
/// A document that begins like a Kubernetes object and is none.
pub const NO_OBJECT: &str = "SK0501";
/// A field that is not known, or a value that cannot be meant.
pub const INVALID: &str = "SK0502";
/// An object that stands twice.
pub const TWICE: &str = "SK0503";
/// A name that fits no peer, or several.
pub const NO_PEER: &str = "SK0504";
/// Allowed by the manifests and not meant.
pub const VIOLATED: &str = "SK0510";
/// Meant and denied by the manifests.
pub const MISSING: &str = "SK0511";
/// What the manifests leave open.
pub const UNDECIDED: &str = "SK0512";
/// A workload of the intent that is not in the manifests.
pub const ABSENT: &str = "SK0513";
/// A workload of the manifests that is several of the intent.
pub const AMBIGUOUS: &str = "SK0514";

/// What manifests do not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The ranges from which pods have their addresses, where these are not stated. By default the private ones.
    pub pod_ranges: Vec<addresses::Range>,
    /// Kinds that this analysis does not know, and of which the user knows that they do not bear on reachability.
    pub harmless_kinds: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { pod_ranges: addresses::private(), harmless_kinds: Vec::new() }
    }
}

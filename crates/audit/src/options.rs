//! What an audit is told beside the policy and the spans.

use std::collections::{BTreeMap, BTreeSet};

/// How an audit judges. The default is for a mesh whose servers write down the caller's certificate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names that workloads have in `service.name`, where that is not the workload's own name.
    pub services: BTreeMap<String, String>,
    /// Whether `sekat.exporter.id` of a resource counts as the exporter's identity: only if the collector that stamps it
    /// also strips what senders wrote there.
    pub trust_stamp: bool,
    /// Whether a caller that only its own `service.name` names is an incomplete proof rather than an unexplained call.
    /// It never becomes more.
    pub accept_claims: bool,
    /// Classes (with all that they imply) whose every access has an access record at services whose records are given.
    /// Upper and lower case are not told apart.
    pub recorded_classes: BTreeSet<String>,
    /// Digests that `sekat.policy.digest` may have; empty: any.
    pub policy_digests: BTreeSet<String>,
    /// Traces in which somebody tried on purpose what must be refused.
    pub probes: BTreeSet<[u8; 16]>,
    /// Whether a blocked attempt outside of these traces is a violation. Else it is evidence that enforcement works.
    pub attempts_violate: bool,
    /// By how much a server's span may lie outside of its client's.
    pub skew_tolerance_ns: u64,
    /// Whether the proof is incomplete while an edge was never used, or a forbidden one never tried.
    pub require_coverage: bool,
    /// Memory for spans whose trace may not be complete; what is more goes to a temporary file.
    pub memory_bytes: usize,
    /// Whether the audit first proves itself on planted faults. Off only inside of that.
    pub(crate) self_test: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            trust_stamp: false,
            accept_claims: false,
            recorded_classes: BTreeSet::from(["user".to_owned(), "payment".to_owned()]),
            policy_digests: BTreeSet::new(),
            probes: BTreeSet::new(),
            attempts_violate: false,
            // Machines that keep their time by NTP are within some milliseconds.
            skew_tolerance_ns: 500_000_000,
            require_coverage: false,
            memory_bytes: 64 << 20,
            self_test: true,
        }
    }
}

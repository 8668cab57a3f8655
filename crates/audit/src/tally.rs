//! What is counted while traces go by: edges, calls by counter, spans by process, clocks. Its size is that of the mesh
//! and not that of the traffic.

use std::collections::HashMap;

use serde::Serialize;

use crate::dialect::Status;
use crate::finding::Findings;
use crate::judge::Meaning;
use crate::names::Name;
use crate::plan::Who;

/// Edges that are told apart: far more than any mesh has.
const EDGES: usize = 1 << 17;

/// By what a caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The server checked its certificate.
    Certificate,
    /// An access record of the server names it.
    Record,
    /// Its half of the call was received with its certificate.
    Exporter,
    /// It came to a public listener, where nobody has a certificate.
    Public,
    /// Its own `service.name` says so: claimed.
    Claimed,
    /// Nothing.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EdgeKey {
    pub(crate) caller: Name,
    pub(crate) callee: Name,
    pub(crate) method: Name,
    pub(crate) evidence: Evidence,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EdgeTally {
    pub(crate) calls: u64,
    /// Allowed, and let in.
    pub(crate) allowed: u64,
    /// Allowed, and refused or lost all the same.
    pub(crate) in_vain: u64,
    /// Not allowed, and stopped.
    pub(crate) blocked: u64,
    /// Of these, in announced probes.
    pub(crate) announced: u64,
    /// Not allowed, and let in or unclear.
    pub(crate) forbidden: u64,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

/// Calls that spans show, over the time of one set of counters.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    /// The place of the counters in the audit's input.
    pub(crate) input: usize,
    /// Caller, method and status; 255 for none.
    pub(crate) seen: HashMap<(Name, Name, u8), u64>,
}

/// The spans of one process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    pub(crate) spans: u64,
    /// The most that it said to have recorded, and to have dropped.
    pub(crate) recorded: Option<u64>,
    pub(crate) dropped: Option<u64>,
    /// Numbered refusals, and their highest number.
    pub(crate) refusals: u64,
    pub(crate) highest_refusal: u64,
}

/// How two workloads' clocks differ, as far as spans of common calls show it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Skew {
    pub(crate) pairs: u64,
    pub(crate) most_ns: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) findings: Findings,
    pub(crate) edges: HashMap<EdgeKey, EdgeTally>,
    pub(crate) edges_refused: u64,
    pub(crate) intervals: HashMap<Who, Vec<Interval>>,
    /// By service and instance.
    pub(crate) processes: HashMap<(Name, Name), Process>,
    pub(crate) skew: HashMap<(Name, Name), Skew>,
    pub(crate) spans: u64,
    pub(crate) duplicates: u64,
    pub(crate) calls: u64,
    pub(crate) platform_calls: u64,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

impl Tally {
    pub(crate) fn edge(&mut self, key: EdgeKey, meaning: Meaning, at_ns: u64, announced: bool) {
        self.calls += 1;
        if self.edges.len() >= EDGES && !self.edges.contains_key(&key) {
            self.edges_refused += 1;
            return;
        }
        let edge = self.edges.entry(key).or_insert(EdgeTally { first_ns: at_ns, ..EdgeTally::default() });
        edge.calls += 1;
        edge.first_ns = edge.first_ns.min(at_ns);
        edge.last_ns = edge.last_ns.max(at_ns);
        match meaning {
            Meaning::Allowed => edge.allowed += 1,
            Meaning::AllowedInVain => edge.in_vain += 1,
            Meaning::Attempt => {
                edge.blocked += 1;
                edge.announced += u64::from(announced);
            }
            Meaning::Forbidden | Meaning::Unclear => edge.forbidden += 1,
        }
    }

    /// Counts a served call as the server's counters do.
    pub(crate) fn served(&mut self, callee: Who, caller: Name, method: Name, status: Option<Status>, end_ns: u64) {
        for interval in self.intervals.get_mut(&callee).into_iter().flatten() {
            if (interval.from_ns..interval.to_ns).contains(&end_ns) {
                let status = status.map_or(u8::MAX, Status::number);
                *interval.seen.entry((caller, method, status)).or_default() += 1;
            }
        }
    }

    pub(crate) fn process(&mut self, service: Name, instance: Name) -> &mut Process {
        self.processes.entry((service, instance)).or_default()
    }

    pub(crate) fn window(&mut self, start_ns: u64, end_ns: u64) {
        if self.first_ns == 0 || start_ns < self.first_ns {
            self.first_ns = start_ns;
        }
        self.last_ns = self.last_ns.max(end_ns);
    }
}

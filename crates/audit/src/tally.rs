//! What is counted while traces go by: edges, calls by counter, spans by process, clocks. Its size is that of the mesh
//! and not that of the traffic.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::dialect::Status;
use crate::finding::Findings;
use crate::input::Run;
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

/// How often calls were seen, by caller, method and status; 255 for none.
pub(crate) type Seen = HashMap<(Name, Name, u8), u64>;

/// Around the moment at which a run wrote its counters a call may be in them or not: it is counted when it ends, and its
/// span ends a little later.
const UNSURE_NS: u64 = 100_000_000;

/// Calls that spans show, over the time of one set of counters.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    pub(crate) run: Run,
    /// The place of the counters in the audit's input.
    pub(crate) input: usize,
    /// What the counters must have.
    pub(crate) seen: Seen,
    /// What they may have.
    pub(crate) unsure: Seen,
    /// How many calls of the run they cannot have, because they were later.
    pub(crate) later: u64,
}

impl Interval {
    fn add(&mut self, key: (Name, Name, u8), end_ns: u64) {
        let open = self.run != Run::Ended;
        if open && end_ns.abs_diff(self.to_ns) < UNSURE_NS {
            *self.unsure.entry(key).or_default() += 1;
        } else if (self.from_ns..self.to_ns).contains(&end_ns) {
            *self.seen.entry(key).or_default() += 1;
        } else if open && end_ns >= self.to_ns {
            self.later += 1;
        }
    }
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
    /// By workload and instance; no instance for all that have no counters of their own.
    pub(crate) intervals: HashMap<(Who, Name), Vec<Interval>>,
    /// Workloads that count.
    pub(crate) counting: HashSet<Who>,
    /// Calls of runs that count nothing, at workloads that count.
    pub(crate) uncounted: HashMap<(Who, Name), u64>,
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

    /// Counts a served call of one run of `callee` as its counters do.
    pub(crate) fn served(&mut self, callee: Who, instance: Name, call: (Name, Name, Option<Status>), end_ns: u64) {
        if !self.counting.contains(&callee) {
            return;
        }
        let own = if self.intervals.contains_key(&(callee, instance)) { instance } else { Name::NONE };
        let Some(intervals) = self.intervals.get_mut(&(callee, own)) else {
            *self.uncounted.entry((callee, instance)).or_default() += 1;
            return;
        };
        let (caller, method, status) = call;
        let key = (caller, method, status.map_or(u8::MAX, Status::number));
        intervals.iter_mut().for_each(|interval| interval.add(key, end_ns));
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

//! The engine held against the naive checker: all pairs of small inputs, a spread of those of large ones.

use std::collections::BTreeSet;

use rayon::prelude::*;
use sekat_policy::intent::Protocol;

use crate::addresses::Range;
use crate::analysis::Analysis;
use crate::labels::Truth;
use crate::naive::connects;
use crate::objects::{Ports, Workload};
use crate::ports::{Conn, FIRST};

/// Up to so many workloads every pair is checked.
const ALL_PAIRS: usize = 300;
/// Above, this many pairs are.
const SAMPLE: usize = 20_000;
/// Of the ports at which some rule begins or ends, this many are tried for every pair.
const COMMON_PORTS: usize = 6;

/// What a check of the engine found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recheck {
    /// Pairs of ends that were checked.
    pub pairs: usize,
    /// Ports that were checked, over all pairs.
    pub ports: usize,
    /// Where the two differ: who, to whom, at which port, and what each says.
    pub differences: Vec<String>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A pod.
    Pod(&'a Workload),
    /// Addresses outside of the cluster that no block parts.
    Outside(Range),
}

/// The number of an end: workloads come first, ranges of addresses follow.
type Pair = (usize, usize);

impl Analysis {
    /// What is open between two workloads, by their numbers in the cluster.
    #[must_use]
    pub fn between(&self, from: usize, to: usize) -> Conn {
        self.edge(self.class(from), self.class(to))
    }

    /// Holds the result against the naive checker.
    #[must_use]
    pub fn recheck(&self) -> Recheck {
        let workloads = self.cluster.workloads.len();
        let ends = workloads + self.model.atoms.len();
        let common = self.common_ports();
        let of_pair = |pair: Pair| self.recheck_pair(pair, &common);
        let pairs: Vec<Pair> = if workloads <= ALL_PAIRS {
            (0..ends).flat_map(|from| (0..ends).map(move |to| (from, to))).collect()
        } else {
            // A step that shares no factor with the number of ends visits all of them in both places.
            let step = (1_000_003..).find(|step| common_factor(*step, ends * ends) == 1).unwrap_or(1);
            (0..SAMPLE).map(|at| at * step % (ends * ends)).map(|at| (at / ends, at % ends)).collect()
        };
        let is_pair = |(from, to): &Pair| from != to && (*from < workloads || *to < workloads);
        let empty = Recheck::default;
        pairs.into_par_iter().filter(is_pair).map(of_pair).reduce(empty, |mut left, mut right| {
            left.pairs += right.pairs;
            left.ports += right.ports;
            left.differences.append(&mut right.differences);
            left
        })
    }

    fn recheck_pair(&self, (from, to): Pair, common: &BTreeSet<(Protocol, u16)>) -> Recheck {
        let workloads = self.cluster.workloads.len();
        let (Some(source), Some(target)) = (self.end(from), self.end(to)) else { return Recheck::default() };
        let class = |at: usize| self.class(at);
        let atom = |at: usize| self.model.first_atom() + crate::extents::number(at - workloads);
        let conn = match (from < workloads, to < workloads) {
            (true, true) => self.between(from, to),
            (true, false) => self.leaving(class(from), atom(to)),
            (false, _) => self.entering(class(to), atom(from)),
        };
        let mut ports = common.clone();
        for (protocol, first, last) in conn.certain.ranges().chain(conn.possible.ranges()) {
            let around = [first.saturating_sub(1).max(FIRST), first, last, last.saturating_add(1)];
            ports.extend(around.map(|port| (protocol, port)));
        }
        let mut found = Recheck { pairs: 1, ports: ports.len(), differences: Vec::new() };
        for (protocol, port) in ports {
            let engine = truth(&conn, protocol, port);
            let naive = connects(&self.cluster, &self.options.pod_ranges, source, target, (protocol, port));
            if engine != naive {
                let [from, to] = [from, to].map(|at| self.end_name(at));
                found.differences.push(format!("{from} to {to} at {protocol} {port}: {engine:?}, naive {naive:?}"));
            }
        }
        found
    }

    fn end(&self, at: usize) -> Option<End<'_>> {
        match self.cluster.workloads.get(at) {
            Some(workload) => Some(End::Pod(workload)),
            None => self.model.atoms.get(at - self.cluster.workloads.len()).map(|range| End::Outside(*range)),
        }
    }

    fn end_name(&self, at: usize) -> String {
        let range = |at: usize| self.model.atoms.get(at).map(ToString::to_string).unwrap_or_default();
        at.checked_sub(self.cluster.workloads.len()).map_or_else(|| self.name(at), range)
    }

    /// Ports at which rules begin and end, those behind names, and one of each transport.
    fn common_ports(&self) -> BTreeSet<(Protocol, u16)> {
        let rules =
            self.cluster.policies.iter().flat_map(|policy| policy.ingress.iter().chain(&policy.egress)).flatten();
        let sets = rules.flat_map(|rule| rule.ports.iter().flatten()).filter_map(|ports| match ports {
            Ports::Numbers(set) => Some(set),
            Ports::Named(..) => None,
        });
        let ends =
            sets.flat_map(|set| set.ranges()).flat_map(|(protocol, first, last)| [(protocol, first), (protocol, last)]);
        let named = self.cluster.workloads.iter().flat_map(|one| &one.ports).map(|port| (port.protocol, port.number));
        let ends: BTreeSet<_> = ends.chain(named).collect();
        let step = ends.len().div_ceil(COMMON_PORTS).max(1);
        ends.into_iter().step_by(step).chain(Protocol::ALL.map(|protocol| (protocol, 7))).collect()
    }
}

fn truth(conn: &Conn, protocol: Protocol, port: u16) -> Truth {
    if conn.certain.contains(protocol, port) {
        Truth::Yes
    } else if conn.possible.contains(protocol, port) {
        Truth::Maybe
    } else {
        Truth::No
    }
}

const fn common_factor(left: usize, right: usize) -> usize {
    let (mut left, mut right) = (left, right);
    while right > 0 {
        (left, right) = (right, left % right);
    }
    left
}

//! What an audit says: the verdict, what led to it, what was covered, and what it cannot know.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use sekat_policy::Intent;
use sekat_policy::intent::Classes;
use serde::Serialize;

use crate::finding::{At, Finding, On, Verdict, What};
use crate::names::{Name, Names};
use crate::options::Options;
use crate::plan::{Plan, Who};
use crate::sampling::Sampling;
use crate::self_test::SelfTest;
use crate::tally::{Evidence, Tally};

mod text;

/// The result of an audit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What it comes to. Only as good as [`Self::self_test`]: see [`Self::is_sound`].
    pub verdict: Verdict,
    /// When the first span began, in nanoseconds since the Unix epoch.
    pub from_ns: u64,
    /// When the last span ended.
    pub to_ns: u64,
    /// Spans that were read.
    pub spans_read: u64,
    /// Of these, deliveries of what was there already.
    pub duplicates: u64,
    /// Calls, messages and uses of stores that were judged.
    pub calls: u64,
    /// Calls of the platform, which carry no data: health checks, telemetry.
    pub platform_calls: u64,
    /// What is not as it should be, the worst first.
    pub findings: Vec<Finding>,
    /// Everything that was seen, by caller, callee and method.
    pub edges: Vec<Edge>,
    /// What was used and tried, and what was not.
    pub coverage: Coverage,
    /// How much of the traffic is traced.
    pub sampling: Sampling,
    /// By how much clocks differ.
    pub clocks: Vec<Clock>,
    /// Whether the audit finds what it is meant to find; `None` only within that test.
    pub self_test: Option<SelfTest>,
    /// What no trace can show.
    pub limits: &'static [&'static str],
}

/// What was seen between two parties of one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The workload that called, or the identity or claim that no workload has.
    pub caller: String,
    /// The workload, store or claim that was called.
    pub callee: String,
    /// The gRPC path, or the topic.
    pub method: String,
    /// By what the caller is known.
    pub evidence: Evidence,
    /// How often.
    pub calls: u64,
    /// Allowed, and let in.
    pub allowed: u64,
    /// Allowed, and refused or lost all the same.
    pub in_vain: u64,
    /// Not allowed, and stopped: evidence that enforcement works.
    pub blocked: u64,
    /// Of these, in announced probes.
    pub announced: u64,
    /// Not allowed, and let in.
    pub forbidden: u64,
    /// When the first began.
    pub first_ns: u64,
    /// When the last began.
    pub last_ns: u64,
}

/// What the traffic covers of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Edges that the policy declares.
    pub edges: usize,
    /// Of these, those that nobody used: caller and method.
    pub unused: Vec<(String, String)>,
    /// Calls that must fail and whose messages hold classes that the caller's domain may not: workload and method.
    pub forbidden_pairs: usize,
    /// Of these, those that nobody tried and saw refused with a certificate.
    pub untried: Vec<(String, String)>,
}

/// How two workloads' clocks agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// The caller's workload.
    pub caller: String,
    /// The callee's workload.
    pub callee: String,
    /// Calls of which both halves are there.
    pub calls: u64,
    /// The most by which a server's span lay outside of its client's.
    pub most_ns: u64,
}

/// Said in every report.
const LIMITS: &[&str] = &[
    "Traces show what was observed; they never prove absence by themselves.",
    "Traces show who called whom, not what was in a message: an allowed caller may hand on what it received.",
    "A compromised workload of a domain that may hold a class, its node, its certificate authority and the kernel are \
     trusted.",
    "A store has no spans of its own: who reached it is told by its clients.",
];

pub(crate) struct Input<'a> {
    pub(crate) intent: &'a Intent,
    pub(crate) options: &'a Options,
    pub(crate) plan: &'a Plan,
    pub(crate) names: &'a Names,
    pub(crate) tally: &'a mut Tally,
    pub(crate) sampling: Sampling,
    pub(crate) read: u64,
    pub(crate) self_test: Option<SelfTest>,
}

pub(crate) fn build(input: Input<'_>) -> Report {
    let coverage = coverage(&input);
    let Input { options, names, tally, .. } = input;
    if options.require_coverage {
        let mut add = |what, pairs: &[(String, String)], why: &str| {
            for (caller, method) in pairs {
                let known = |text: &str| names.known(text).unwrap_or(Name::OTHER);
                let on = On { caller: known(caller), callee: Name::NONE, method: known(method) };
                tally.findings.add(what, on, At::default(), why);
            }
        };
        add(What::EdgeUnused, &coverage.unused, "no call of it got in");
        add(What::PairUntried, &coverage.untried, "no refusal of it was seen with the caller's certificate");
    }
    let findings = tally.findings.report(names);
    let text = |name| names.text(name).to_owned();
    let mut edges: Vec<Edge> = tally
        .edges
        .iter()
        .map(|(key, edge)| Edge {
            caller: text(key.caller),
            callee: text(key.callee),
            method: text(key.method),
            evidence: key.evidence,
            calls: edge.calls,
            allowed: edge.allowed,
            in_vain: edge.in_vain,
            blocked: edge.blocked,
            announced: edge.announced,
            forbidden: edge.forbidden,
            first_ns: edge.first_ns,
            last_ns: edge.last_ns,
        })
        .collect();
    edges.sort_by(|one, other| edge_order(one).cmp(&edge_order(other)));
    let mut clocks: Vec<Clock> = tally
        .skew
        .iter()
        .map(|((caller, callee), skew)| Clock {
            caller: text(*caller),
            callee: text(*callee),
            calls: skew.pairs,
            most_ns: skew.most_ns,
        })
        .collect();
    clocks.sort_by(|one, other| (&one.caller, &one.callee).cmp(&(&other.caller, &other.callee)));
    Report {
        verdict: findings.iter().map(|finding| finding.verdict).min().unwrap_or(Verdict::Holds),
        from_ns: tally.first_ns,
        to_ns: tally.last_ns,
        spans_read: input.read,
        duplicates: tally.duplicates,
        calls: tally.calls,
        platform_calls: tally.platform_calls,
        findings,
        edges,
        coverage,
        sampling: input.sampling,
        clocks,
        self_test: input.self_test,
        limits: LIMITS,
    }
}

fn edge_order(edge: &Edge) -> (&str, &str, &str, Evidence) {
    (&edge.caller, &edge.callee, &edge.method, edge.evidence)
}

fn coverage(input: &Input<'_>) -> Coverage {
    let Input { intent, plan, names, tally, .. } = input;
    let mut used: BTreeSet<(Name, Name)> = BTreeSet::new();
    let mut tried: BTreeSet<(Name, Name)> = BTreeSet::new();
    for (key, edge) in &tally.edges {
        if edge.allowed > 0 {
            used.insert((key.caller, key.method));
        }
        if edge.blocked > 0 && matches!(key.evidence, Evidence::Certificate | Evidence::Record) {
            tried.insert((key.caller, key.method));
        }
    }
    let known = |caller: &str, method: &str| Some((names.known(caller)?, names.known(method)?));
    let is_in = |set: &BTreeSet<_>, caller, method| known(caller, method).is_some_and(|pair| set.contains(&pair));
    let unused = intent.edges.iter().filter(|edge| !is_in(&used, &edge.caller, &edge.method));
    let unused = unused.map(|edge| (edge.caller.clone(), edge.method.clone())).collect();
    let may_hold: BTreeMap<&str, Classes> =
        intent.domains.iter().map(|domain| (domain.name.as_str(), intent.closed(&domain.may_hold))).collect();
    let mut coverage = Coverage { edges: intent.edges.len(), unused, ..Coverage::default() };
    for method in &intent.methods {
        let classes = intent.closed(&method.request.union(&method.response).cloned().collect());
        for (index, workload) in intent.workloads.iter().enumerate() {
            let may = may_hold.get(workload.domain.as_str()).is_some_and(|may| classes.is_subset(may));
            let allowed = known(&workload.name, &method.path).is_some_and(|(_, path)| plan.allows(Who(index), path));
            if may || allowed || workload.name == method.workload {
                continue;
            }
            coverage.forbidden_pairs += 1;
            if !is_in(&tried, &workload.name, &method.path) {
                coverage.untried.push((workload.name.clone(), method.path.clone()));
            }
        }
    }
    coverage
}

impl Report {
    /// Whether the audit found all faults that it planted in a copy of the spans. If it did not, its verdict is worth
    /// nothing, and whoever runs it has to fail.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.self_test.as_ref().is_some_and(|test| test.missed().next().is_none())
    }

    /// Writes the report as JSON, on several lines.
    ///
    /// # Errors
    /// If `to` cannot be written.
    pub fn render_json(&self, mut to: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut to, self)?;
        writeln!(to)
    }

    /// Writes the report for people, without colours.
    ///
    /// # Errors
    /// If `to` cannot be written.
    pub fn render_text(&self, to: &mut impl Write) -> io::Result<()> {
        text::render(self, to)
    }
}

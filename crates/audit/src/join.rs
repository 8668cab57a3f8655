//! The audit of one trace: each call is attributed to its caller, joined with its other half and its records, and held
//! against the policy.
//!
//! INVARIANT: who called is what the server's certificate check saw, or else an access record, or else the certificate
//! with which the client's half was received. A parent's id or a `service.name` never makes a caller more than claimed.

use std::collections::HashSet;

use crate::dialect::Status;
use crate::finding::{At, On, What};
use crate::judge::{Decision, Meaning, Told, judge};
use crate::names::{Name, Names};
use crate::options::Options;
use crate::plan::{MethodPlan, Plan, Who};
use crate::record::{Of, Record, bit};
use crate::tally::{EdgeKey, Evidence, Tally};
use crate::trace::{Trace, dedupe};

mod client;
mod others;
mod server;

/// What is joined, against what, and where it is counted.
pub(crate) struct Join<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) names: &'a Names,
    pub(crate) options: &'a Options,
    /// Workloads whose access records are there.
    pub(crate) recording: &'a HashSet<Who>,
    pub(crate) tally: &'a mut Tally,
}

/// Somebody, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Party {
    who: Option<Who>,
    /// The workload's name, or the identity or claim that no workload has.
    name: Name,
    evidence: Evidence,
}

impl Join<'_> {
    /// Audits one trace.
    pub(crate) fn trace(&mut self, records: &mut Vec<Record>) {
        let twice = dedupe(records);
        self.tally.duplicates += twice.same;
        for record in &twice.different {
            let on = self.on(Name::NONE, self.owner(record).name, record.method);
            self.tally.findings.add(What::ConflictingSpan, on, at(record), "it came before with another content");
        }
        let mut trace = Trace::new(records);
        let numbered = refused_calls(trace.records());
        for record in trace.records() {
            self.span(record);
            match record.of {
                Of::Server => self.server(&mut trace, record),
                Of::Producer | Of::Consumer => self.message(record),
                Of::Database => self.database(record),
                Of::Access => self.access(&trace, record),
                Of::Link => self.link(&trace, record),
                Of::Refusal => self.refusal(&numbered, record),
                Of::Internal | Of::Client => {}
            }
        }
        for (index, record) in trace.records().iter().enumerate() {
            if record.of == Of::Client && !trace.is_answered(index) {
                self.unanswered(record);
            }
        }
    }

    /// What holds for every span.
    fn span(&mut self, record: &Record) {
        if !record.of.is_span() {
            return;
        }
        self.tally.spans += 1;
        self.tally.window(record.start_ns, record.end_ns);
        let process = self.tally.process(record.service, record.instance);
        process.spans += 1;
        if record.sequence > 0 {
            process.refusals += 1;
            process.highest_refusal = process.highest_refusal.max(record.sequence);
        }
        if record.bits & (bit::DROPPED | bit::CONTRADICTORY) == 0 {
            return;
        }
        let on = self.on(Name::NONE, self.owner(record).name, record.method);
        if record.has(bit::DROPPED) {
            self.tally.findings.add(What::DroppedContent, on, at(record), "its process says so");
        }
        if record.has(bit::CONTRADICTORY) {
            let why = "its method, status or side differs between conventions";
            self.tally.findings.add(What::Contradiction, on, at(record), why);
        }
    }

    /// Whose span it is.
    fn owner(&self, record: &Record) -> Party {
        if !record.exporter.is_none() {
            let who = self.plan.by_identity(record.exporter);
            let name = who.map_or(record.exporter, |who| self.plan.name(who));
            return Party { who, name, evidence: Evidence::Exporter };
        }
        let who = self.plan.by_service(record.service);
        let name = who.map_or(record.service, |who| self.plan.name(who));
        let evidence = if record.service.is_none() { Evidence::Nobody } else { Evidence::Claimed };
        Party { who, name, evidence }
    }

    /// Somebody by a certificate; `public` stands for callers without one.
    fn certified(&self, identity: Name, evidence: Evidence) -> Party {
        let evidence = if identity == Name::PUBLIC { Evidence::Public } else { evidence };
        let who = self.plan.by_identity(identity);
        Party { who, name: who.map_or(identity, |who| self.plan.name(who)), evidence }
    }

    fn on(&self, caller: Name, callee: Name, method: Name) -> On {
        On { caller, callee, method }
    }

    fn text(&self, name: Name) -> &str {
        self.names.text(name)
    }

    /// Judges one call and keeps what it means.
    fn conclude(&mut self, call: &Call<'_>) -> Meaning {
        let meaning = judge(call.allowed, decision(call.record), status(call.record), call.told);
        let Call { caller, callee, method, record, .. } = *call;
        let announced = self.plan.probes.contains(&record.trace);
        let key = EdgeKey { caller: caller.name, callee, method, evidence: caller.evidence };
        self.tally.edge(key, meaning, record.start_ns, announced);
        let on = self.on(caller.name, callee, method);
        let known = caller.evidence <= Evidence::Public;
        let what = match meaning {
            Meaning::Allowed if caller.evidence == Evidence::Claimed && self.options.accept_claims => {
                What::ClaimAccepted
            }
            Meaning::Allowed if caller.evidence == Evidence::Claimed => What::ClaimedCaller,
            Meaning::Allowed | Meaning::AllowedInVain => return meaning,
            Meaning::Attempt if self.options.attempts_violate && !announced && caller.evidence != Evidence::Public => {
                What::UnannouncedAttempt
            }
            Meaning::Attempt => return meaning,
            Meaning::Forbidden | Meaning::Unclear if caller.evidence == Evidence::Nobody => What::UnknownCaller,
            Meaning::Forbidden => What::ForbiddenCall,
            Meaning::Unclear => What::UnclearCall,
        };
        let ended = status(record).map_or("an unknown status", Status::name);
        let why = match (known, call.told) {
            (true, Told::Server) => format!("its server let it end with {ended}; {}", by(caller.evidence)),
            (true, Told::Client) => format!("its client saw it end with {ended}; {}", by(caller.evidence)),
            (false, _) => format!("it ended with {ended}; {}", by(caller.evidence)),
        };
        self.tally.findings.add(what, on, at(record), why);
        meaning
    }

    /// Whether a caller may call a method at a callee. The public may call what the callee's public listener forwards:
    /// what the callee itself may call, and its own methods.
    fn may_call(&self, caller: Party, callee: Option<Who>, path: Name, method: Option<MethodPlan>) -> bool {
        match (caller.evidence, caller.who, callee, method) {
            (Evidence::Public, _, Some(callee), Some(method)) => {
                let is_public = self.plan.workload(callee).is_some_and(|workload| workload.public);
                is_public && (method.workload == callee || self.plan.allows(callee, path))
            }
            (_, Some(caller), _, Some(_)) => self.plan.allows(caller, path),
            _ => false,
        }
    }
}

/// Service and number of the refused calls of a trace, if an audit log has entries for it.
fn refused_calls(records: &[Record]) -> HashSet<(Name, u64)> {
    if !records.iter().any(|record| record.of == Of::Refusal) {
        return HashSet::new();
    }
    let servers = records.iter().filter(|record| record.of == Of::Server && record.sequence > 0);
    servers.map(|record| (record.service, record.sequence)).collect()
}

/// A call, attributed.
struct Call<'a> {
    record: &'a Record,
    caller: Party,
    callee: Name,
    method: Name,
    allowed: bool,
    told: Told,
}

fn by(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Certificate => "the caller is known by its certificate",
        Evidence::Record => "the caller is known by the access record",
        Evidence::Exporter => "the caller is known by the certificate that its span came with",
        Evidence::Public => "the caller came to a public listener",
        Evidence::Claimed => "the caller is claimed, by its own service.name",
        Evidence::Nobody => "nothing says who called",
    }
}

const fn at(record: &Record) -> At {
    At { at_ns: record.start_ns, trace: record.trace, span: record.span }
}

fn status(record: &Record) -> Option<Status> {
    Status::of_number(i64::from(record.status))
}

fn decision(record: &Record) -> Decision {
    if record.has(bit::DENY) {
        Decision::Deny
    } else if record.has(bit::ALLOW) {
        Decision::Allow
    } else {
        Decision::Unsaid
    }
}

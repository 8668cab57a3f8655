//! The layers of the traces and of the records: the audit of everything that the mesh wrote down.

use sekat_audit::{Finding, Report, Verdict, What};
use sekat_evidence::{Check, Layer, LayerName};

/// What the audit says of records rather than of spans.
const OF_RECORDS: [What; 4] =
    [What::ConflictingRecord, What::BrokenChain, What::UnrecordedAccess, What::RecordWithoutSpan];

/// Everything that was seen, and every finding that is not of records.
pub(super) fn layer(report: &Report) -> Layer {
    let edges = report.edges.iter().filter(|edge| edge.forbidden == 0).map(|edge| {
        let subject = format!("{} -> {} {}", edge.caller, edge.callee, edge.method);
        let seen = match (edge.allowed, edge.blocked) {
            (allowed, 0) => format!("{allowed} calls, all declared"),
            (0, blocked) => format!("{blocked} tried, all refused"),
            (allowed, blocked) => format!("{allowed} calls, {blocked} refused"),
        };
        Check { observed: seen, ..Check::holds(subject, "declared, or refused") }
    });
    let self_test = report.self_test.iter().map(|test| {
        let (subject, expected) = ("faults that the audit plants in a copy of the spans", "all found");
        match test.missed().next() {
            None => Check::holds(subject, expected),
            Some(missed) => Check::unknown(subject, expected, format!("missed: {missed}")),
        }
    });
    let checks = edges.chain(self_test).chain(findings(report, |what| !OF_RECORDS.contains(&what)));
    Layer::ran(LayerName::Traces, checks.collect())
}

/// Every chain of records that was read, and every finding of records.
pub(super) fn records(report: &Report, chains: Vec<Check>) -> Layer {
    let found = findings(report, |what| OF_RECORDS.contains(&what));
    Layer::ran(LayerName::Records, chains.into_iter().chain(found).collect())
}

fn findings(report: &Report, of: impl Fn(What) -> bool) -> Vec<Check> {
    report.findings.iter().filter(|finding| of(finding.what)).map(of_finding).collect()
}

fn of_finding(finding: &Finding) -> Check {
    let Finding { caller, callee, method, title, count, .. } = finding;
    let why = finding.witnesses.first().map_or(String::new(), |witness| format!(": {}", witness.why));
    let subject = [caller, callee, method].map(|name| if name.is_empty() { "?" } else { name }).join(" ");
    let (expected, observed) = (finding.help, format!("{title}, {count} times{why}"));
    let check = match finding.verdict {
        Verdict::Violated => Check::violated(subject, expected, observed),
        _ => Check::unknown(subject, expected, observed),
    };
    let trace = finding.witnesses.iter().find(|witness| !witness.trace_id.is_empty());
    let check = check.coded(finding.code);
    match trace {
        Some(witness) => check.at(format!("trace {} span {}", witness.trace_id, witness.span_id)),
        None => check,
    }
}

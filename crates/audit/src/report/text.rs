//! A report for people: the verdict first, then why, then what was covered.

use std::io::{self, Write};

use super::{Edge, Report};
use crate::finding::{Finding, Verdict, Witness};
use crate::tally::Evidence;
use crate::time::utc;

/// Items of a list that are shown; the JSON has all.
const SHOWN: usize = 10;

pub(super) fn render(report: &Report, to: &mut impl Write) -> io::Result<()> {
    let word = match report.verdict {
        Verdict::Violated => "VIOLATED",
        Verdict::Unexplained => "UNEXPLAINED",
        Verdict::Incomplete => "INCOMPLETE",
        Verdict::Holds => "HOLDS for what was observed",
    };
    writeln!(
        to,
        "{word}: {} calls in {} spans, {} to {}",
        report.calls,
        report.spans_read,
        utc(report.from_ns),
        utc(report.to_ns)
    )?;
    self_test(report, to)?;
    for finding in &report.findings {
        render_finding(finding, to)?;
    }
    let blocked: Vec<&Edge> = report.edges.iter().filter(|edge| edge.blocked > 0).collect();
    if !blocked.is_empty() {
        writeln!(to, "\nblocked: {} kinds of forbidden calls were tried and refused", blocked.len())?;
        list(to, &blocked, |edge| {
            let unannounced = edge.blocked - edge.announced;
            let probes = if unannounced == 0 { String::new() } else { format!(", {unannounced} outside of probes") };
            format!("{} {} {}: {} times{probes}", edge.caller, edge.callee, edge.method, edge.blocked)
        })?;
    }
    coverage(report, to)?;
    if let Some(clock) = report.clocks.iter().max_by_key(|clock| clock.most_ns) {
        let (ms, us) = (clock.most_ns / 1_000_000, clock.most_ns / 1_000 % 1_000);
        writeln!(to, "clocks: at most {ms}.{us:03} ms apart, {} and {}", clock.caller, clock.callee)?;
    }
    for limit in report.limits {
        writeln!(to, "note: {limit}")?;
    }
    Ok(())
}

fn self_test(report: &Report, to: &mut impl Write) -> io::Result<()> {
    let Some(test) = &report.self_test else { return Ok(()) };
    let missed: Vec<&str> = test.missed().collect();
    if missed.is_empty() {
        writeln!(to, "self-test: {} planted faults, all found", test.cases.len())
    } else {
        writeln!(to, "self-test FAILED, so the verdict is worth nothing; not found: {}", missed.join(", "))
    }
}

fn render_finding(finding: &Finding, to: &mut impl Write) -> io::Result<()> {
    let Finding { code, title, caller, callee, method, count, witnesses, help, .. } = finding;
    let verdict = match finding.verdict {
        Verdict::Violated => "violated",
        Verdict::Unexplained => "unexplained",
        Verdict::Incomplete | Verdict::Holds => "incomplete",
    };
    writeln!(to, "\n{verdict}[{code}]: {title} ({count})")?;
    let edge = match (caller.as_str(), callee.as_str()) {
        ("", "") => String::new(),
        ("", callee) => callee.to_owned(),
        (caller, "") => caller.to_owned(),
        (caller, callee) => format!("{caller} -> {callee}"),
    };
    if !edge.is_empty() || !method.is_empty() {
        writeln!(to, "  {}", format!("{edge} {method}").trim())?;
    }
    for Witness { trace_id, span_id, at_ns, why } in witnesses {
        if trace_id.is_empty() {
            writeln!(to, "  {why}")?;
        } else {
            writeln!(to, "  {} trace {trace_id} span {span_id}: {why}", utc(*at_ns))?;
        }
    }
    writeln!(to, "  help: {help}")
}

fn coverage(report: &Report, to: &mut impl Write) -> io::Result<()> {
    let coverage = &report.coverage;
    writeln!(
        to,
        "\ncoverage: {} of {} declared edges used, {} of {} forbidden calls tried",
        coverage.edges - coverage.unused.len(),
        coverage.edges,
        coverage.forbidden_pairs - coverage.untried.len(),
        coverage.forbidden_pairs
    )?;
    let pair = |(caller, method): &(String, String)| format!("{caller} {method}");
    if !coverage.unused.is_empty() {
        writeln!(to, "never used:")?;
        list(to, &coverage.unused, pair)?;
    }
    if !coverage.untried.is_empty() {
        writeln!(to, "never tried:")?;
        list(to, &coverage.untried, pair)?;
    }
    let claimed: u64 =
        report.edges.iter().filter(|edge| edge.evidence == Evidence::Claimed).map(|edge| edge.calls).sum();
    if claimed > 0 {
        writeln!(to, "claimed: of {claimed} calls only the caller's own service.name says who called")?;
    }
    Ok(())
}

fn list<T>(to: &mut impl Write, items: &[T], line: impl Fn(&T) -> String) -> io::Result<()> {
    for item in items.iter().take(SHOWN) {
        writeln!(to, "  {}", line(item))?;
    }
    if items.len() > SHOWN {
        writeln!(to, "  and {} more", items.len() - SHOWN)?;
    }
    Ok(())
}

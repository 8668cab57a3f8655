//! Replaying what was recorded against a changed policy: what would be denied, and whose it is, before it is enforced.

use std::collections::BTreeMap;
use std::io::{self, Write};

use sekat_policy::Intent;
use serde::Serialize;

use crate::report::{Edge, Report};
use crate::tally::Evidence;

/// A call that got in, and that the changed policy denies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// The domain of the caller in the changed policy; empty if it is no workload of it.
    pub owner: String,
    /// The workload that called, or the identity or claim that no workload has.
    pub caller: String,
    /// The workload that was called.
    pub callee: String,
    /// The gRPC path.
    pub method: String,
    /// By what the caller is known.
    pub evidence: Evidence,
    /// How often it got in.
    pub calls: u64,
    /// Why it would be denied.
    pub why: &'static str,
}

/// What `changed` would deny of the calls that got in while `report` was made, by owner.
#[must_use]
pub fn replay(report: &Report, changed: &Intent) -> Vec<Denial> {
    let got_in = report.edges.iter().filter(|edge| edge.method.starts_with('/') && edge.allowed + edge.forbidden > 0);
    let mut denials: Vec<Denial> = got_in.filter_map(|edge| denial(edge, changed)).collect();
    denials.sort_by(|one, other| key(one).cmp(&key(other)));
    denials
}

fn key(denial: &Denial) -> (&str, &str, &str, Evidence) {
    (&denial.owner, &denial.caller, &denial.method, denial.evidence)
}

fn denial(edge: &Edge, changed: &Intent) -> Option<Denial> {
    let caller = changed.workload(&edge.caller).or_else(|| changed.by_identity(&edge.caller));
    let method = changed.method(&edge.method);
    let why = match (caller, method) {
        (_, None) => "the method is not in the policy",
        // What a public listener forwards is judged by what it may call itself.
        (None, Some(method)) if edge.evidence == Evidence::Public => {
            if method.workload == edge.callee || changed.allows(&edge.callee, &edge.method) {
                return None;
            }
            "the listener may not call it itself"
        }
        (None, Some(_)) => "the caller is not in the policy",
        (Some(caller), Some(_)) if changed.allows(&caller.name, &edge.method) => return None,
        (Some(_), Some(_)) => "no edge allows it",
    };
    let owner = caller.or_else(|| changed.workload(&edge.callee).filter(|_| edge.evidence == Evidence::Public));
    Some(Denial {
        owner: owner.map(|workload| workload.domain.clone()).unwrap_or_default(),
        caller: edge.caller.clone(),
        callee: edge.callee.clone(),
        method: edge.method.clone(),
        evidence: edge.evidence,
        calls: edge.allowed + edge.forbidden,
        why,
    })
}

/// Writes the denials for people, a paragraph an owner.
///
/// # Errors
/// If `to` cannot be written.
pub fn render_text(denials: &[Denial], to: &mut impl Write) -> io::Result<()> {
    if denials.is_empty() {
        return writeln!(to, "nothing that got in would be denied");
    }
    let mut owners: BTreeMap<&str, Vec<&Denial>> = BTreeMap::new();
    for denial in denials {
        owners.entry(&denial.owner).or_default().push(denial);
    }
    for (owner, denials) in owners {
        let calls: u64 = denials.iter().map(|denial| denial.calls).sum();
        let owner = if owner.is_empty() { "(nobody's)" } else { owner };
        writeln!(to, "{owner}: {calls} calls would be denied")?;
        for Denial { caller, callee, method, calls, why, evidence, .. } in denials {
            let claimed = if *evidence == Evidence::Claimed { " (claimed)" } else { "" };
            writeln!(to, "  {caller}{claimed} -> {callee} {method}: {calls} times; {why}")?;
        }
    }
    Ok(())
}

/// Writes the denials as JSON, on several lines.
///
/// # Errors
/// If `to` cannot be written.
pub fn render_json(denials: &[Denial], mut to: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut to, denials)?;
    writeln!(to)
}

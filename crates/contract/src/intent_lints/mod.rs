//! The rules of intents, whatever they were read from; one a file, each with the tests that try it on its planted fault
//! and on its lawful twin.

use sekat_policy::intent::{Classes, Workload};
use sekat_policy::{Diagnostic, Intent};

mod assertion;
mod class_circle;
mod duplicate;
mod edge;
mod external;
#[cfg(test)]
pub(crate) mod fixture;
mod flow;
mod identity;
mod index;
mod owner;
mod selector;
mod server;
mod store;
mod topic;
mod trust_domain;
mod unknown;

/// A rule that intents keep.
#[derive(Debug)]
pub struct IntentLint {
    /// The stable code of its findings.
    pub code: &'static str,
    /// The rule in one sentence.
    pub rule: &'static str,
    check: fn(&Intent, &mut Vec<Diagnostic>),
}

/// The code of a name that means nothing; readers that resolve names themselves report it too.
pub(crate) const UNKNOWN: &str = unknown::LINT.code;

/// All rules in the order of their codes.
pub static ALL: &[IntentLint] = &[
    duplicate::LINT,
    unknown::LINT,
    owner::LINT,
    identity::LINT,
    trust_domain::LINT,
    edge::LINT,
    server::LINT,
    store::LINT,
    topic::LINT,
    external::LINT,
    assertion::LINT,
    selector::LINT,
    class_circle::LINT,
];

/// Classes that protect nothing: what anyone may see, and what means nothing outside. Every domain may hold them.
const PLAIN: [&str; 2] = ["public", "internal"];

/// Everything in the intent that breaks a rule, in the order of place and code.
#[must_use]
pub fn run(intent: &Intent) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for lint in ALL {
        (lint.check)(intent, &mut findings);
    }
    findings.sort_by(|left, right| (&left.span, left.code).cmp(&(&right.span, right.code)));
    findings
}

/// The classes of a set that protect something.
pub(crate) fn classified(classes: &Classes) -> Vec<&str> {
    classes.iter().map(String::as_str).filter(|class| !PLAIN.contains(class)).collect()
}

/// The names of workloads.
pub(crate) fn names(workloads: &[Workload]) -> impl Iterator<Item = &str> + Clone {
    workloads.iter().map(|workload| workload.name.as_str())
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(ALL.is_sorted_by(|left, right| left.code < right.code));
        assert!(ALL.iter().all(|lint| lint.rule.ends_with('.')));
    }

    #[test]
    fn the_lawful_policy_has_no_fault() {
        fixture::planted(&[]).finds_nothing();
    }
}

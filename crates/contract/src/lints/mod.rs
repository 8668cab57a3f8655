//! The rules of contracts, one a file, each with the tests that try it on its planted fault and on its lawful twin.

use sekat_policy::Diagnostic;

use crate::model::Model;

mod any;
mod audience;
mod callers;
mod class_on_message;
mod client_streaming;
mod comments;
mod crossing;
mod crossing_internal;
mod cycle;
mod deadline;
mod effect;
mod egress;
mod field_behavior;
#[cfg(test)]
pub(crate) mod fixture;
mod foreign_type;
mod listener;
mod longrunning;
mod max_bytes;
mod may_hold;
mod opaque;
mod paging;
mod request_id;
mod scopes;
mod service_policy;
mod topology;
mod unclassified;
mod update;

/// A rule that contracts keep.
#[derive(Debug)]
pub struct Lint {
    /// The stable code of its findings.
    pub code: &'static str,
    /// The rule in one sentence.
    pub rule: &'static str,
    check: fn(&Model, &mut Vec<Diagnostic>),
}

/// The rule that is kept before any other can be checked.
const COMPILES: Lint = Lint {
    code: crate::source::CODE,
    rule: "Every file of the tree can be read and is valid protobuf.",
    check: |_, _| {},
};

/// All rules in the order of their codes.
pub static ALL: &[Lint] = &[
    COMPILES,
    topology::LINT,
    unclassified::LINT,
    opaque::LINT,
    class_on_message::LINT,
    any::LINT,
    service_policy::LINT,
    callers::LINT,
    effect::LINT,
    request_id::LINT,
    crossing::LINT,
    crossing_internal::LINT,
    may_hold::LINT,
    cycle::LINT,
    scopes::LINT,
    client_streaming::LINT,
    egress::LINT,
    audience::LINT,
    field_behavior::LINT,
    comments::LINT,
    update::LINT,
    paging::LINT,
    longrunning::LINT,
    foreign_type::LINT,
    listener::LINT,
    deadline::LINT,
    max_bytes::LINT,
];

/// What to do about a leaf without a class.
const CLASSES: &str = "state (sekat.policy.v1.class): DATA_CLASS_PUBLIC, _USER, _PAYMENT, _MERCHANT or _INTERNAL";

/// Everything in the model that breaks a rule, in the order of place and code.
#[must_use]
pub fn run(model: &Model) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for lint in ALL {
        (lint.check)(model, &mut findings);
    }
    findings.sort_by(|left, right| (&left.span, left.code).cmp(&(&right.span, right.code)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(ALL.is_sorted_by(|left, right| left.code < right.code));
        assert!(ALL.iter().all(|lint| lint.rule.ends_with('.')));
    }
}
